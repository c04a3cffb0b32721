"""Agents: contexts of runs, tools, the loop between model and tools, and delegation."""

from __future__ import annotations

from otelier.agents._agent import Agent, run_recorded
from otelier.agents._agent_run import AgentRun, AgentStream
from otelier.agents._context import RunContext, generate_id, now_utc
from otelier.agents._exported import exported
from otelier.agents._recorded import Recorder
from otelier.agents._results import (
    AgentEvent,
    AgentResult,
    RunFinished,
    RunUsage,
    TextDelta,
    ToolFinished,
    ToolResult,
    ToolStarted,
)
from otelier.agents._tool import Tool, tool

__all__ = [
    "Agent",
    "AgentEvent",
    "AgentResult",
    "AgentRun",
    "AgentStream",
    "Recorder",
    "RunContext",
    "RunFinished",
    "RunUsage",
    "TextDelta",
    "Tool",
    "ToolFinished",
    "ToolResult",
    "ToolStarted",
    "exported",
    "generate_id",
    "now_utc",
    "run_recorded",
    "tool",
]
