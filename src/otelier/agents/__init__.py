"""Agents: a run's context, tools, the loop between model and tools, delegation."""

from __future__ import annotations

from otelier.agents._agent import Agent
from otelier.agents._context import RunContext, generate_id, now_utc
from otelier.agents._exported import exported
from otelier.agents._lazy import AgentRun
from otelier.agents._results import (
    AgentEvent,
    AgentResult,
    RunFinished,
    TextDelta,
    ToolCall,
    ToolFinished,
    ToolStarted,
    Usage,
)
from otelier.agents._stream import AgentStream
from otelier.agents._tool import Tool, tool

__all__ = [
    "Agent",
    "AgentEvent",
    "AgentResult",
    "AgentRun",
    "AgentStream",
    "RunContext",
    "RunFinished",
    "TextDelta",
    "Tool",
    "ToolCall",
    "ToolFinished",
    "ToolStarted",
    "Usage",
    "exported",
    "generate_id",
    "now_utc",
    "tool",
]
