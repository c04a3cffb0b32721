"""What a streamed run tells, as soon as it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from otelier.agents._results import AgentResult, ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentEvent:
    """One thing that happened in a streamed run, or in a run that it delegated."""

    agent: str
    """Name of the agent that it happened to."""
    depth: int
    """How many runs there are around that agent's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta(AgentEvent):
    """A piece of what the model says."""

    text: str = field(repr=False)
    """The piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStarted(AgentEvent):
    """A tool is about to be called."""

    call_id: str
    """Id that the model gave the call."""
    name: str
    """Name of the tool."""
    arguments: Mapping[str, Any] = field(repr=False)
    """What it is called with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFinished(AgentEvent):
    """A tool was called, or could not be."""

    call: ToolCall
    """The call and its result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(AgentEvent):
    """A run has its output; the last event of a stream is that of the run itself."""

    result: AgentResult[Any]
    """What it came to."""
