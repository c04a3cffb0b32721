"""What a streamed run tells, as soon as it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from otelier.agents._results import AgentResult, ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentEvent:
    """One thing that happened in a streamed run, or in a run that it delegated.

    Example:
        >>> import asyncio, otelier
        >>> agent = otelier.Agent("triage", "gpt-4.1-nano")
        >>> async def main():
        ...     return {(event.agent, event.depth) async for event in agent.stream("Hello")}
        >>> asyncio.run(main())
        {('triage', 0)}
    """

    agent: str
    """Name of the agent that it happened to."""
    depth: int
    """How many runs there are around that agent's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta(AgentEvent):
    """A piece of what the model says.

    Example:
        >>> import asyncio, otelier
        >>> agent = otelier.Agent("triage", "gpt-4.1-nano")
        >>> async def main():
        ...     async for event in agent.stream("Hello"):
        ...         if isinstance(event, otelier.agents.TextDelta):
        ...             print(event.text, end="")
        >>> asyncio.run(main())
        Hello! How can I help you today?
    """

    text: str = field(repr=False)
    """The piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStarted(AgentEvent):
    """A tool is about to be called.

    Example:
        >>> import asyncio, otelier
        >>> @otelier.tool
        ... def now() -> str:
        ...     '''Say how late it is.'''
        ...     return "12:00"
        >>> agent = otelier.Agent("triage", "gpt-4.1-nano", tools=[now])
        >>> async def main():
        ...     async for event in agent.stream("How late is it?"):
        ...         if isinstance(event, otelier.agents.ToolStarted):
        ...             print(event.name, dict(event.arguments))
        >>> asyncio.run(main())
        now {}
    """

    call_id: str
    """Id that the model gave the call."""
    name: str
    """Name of the tool."""
    arguments: Mapping[str, Any] = field(repr=False)
    """What it is called with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFinished(AgentEvent):
    """A tool was called, or could not be.

    Example:
        >>> import asyncio, otelier
        >>> @otelier.tool
        ... def now() -> str:
        ...     '''Say how late it is.'''
        ...     return "12:00"
        >>> agent = otelier.Agent("triage", "gpt-4.1-nano", tools=[now])
        >>> async def main():
        ...     async for event in agent.stream("How late is it?"):
        ...         if isinstance(event, otelier.agents.ToolFinished):
        ...             print(event.call.result)
        >>> asyncio.run(main())
        12:00
    """

    call: ToolCall
    """The call and its result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(AgentEvent):
    """A run has its output; the last event of a stream is that of the run itself.

    Example:
        >>> import asyncio, otelier
        >>> agent = otelier.Agent("triage", "gpt-4.1-nano")
        >>> async def main():
        ...     async for event in agent.stream("Hello"):
        ...         if isinstance(event, otelier.agents.RunFinished):
        ...             print(event.result.output)
        >>> asyncio.run(main())
        Hello! How can I help you today?
    """

    result: AgentResult[Any]
    """What it came to."""
