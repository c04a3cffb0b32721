"""Results of a run: its output, usage and tool calls, and the events of a stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic

from pydantic import BaseModel
from typing_extensions import TypeVar

from otelier import llm
from otelier.agents._context import RunContext

T = TypeVar("T", bound="BaseModel | str", default=str)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunUsage(llm.Usage):
    """Tokens and model calls of a run, including the runs that it delegated.

    Example:
        >>> RunUsage(model_calls=1, input_tokens=12, output_tokens=3).total_tokens
        15
    """

    model_calls: int = 0
    """Answers of models; `max_model_calls` counts the questions, those without an answer too."""

    def with_answer(self, used: llm.Usage | None) -> RunUsage:
        """Return this with one more answer, which used *used*; `None` if the provider did not report its usage."""
        # Written out: adding up by the names of the fields takes 12 times as long, at each step for each run around.
        used = used or _NOTHING
        return RunUsage(
            model_calls=self.model_calls + 1,
            input_tokens=self.input_tokens + used.input_tokens,
            output_tokens=self.output_tokens + used.output_tokens,
            cached_tokens=self.cached_tokens + used.cached_tokens,
            reasoning_tokens=self.reasoning_tokens + used.reasoning_tokens,
        )


_NOTHING: Final = llm.Usage()


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """One tool call of a run, with its result or its error.

    Example:
        >>> ToolResult(id="call_1", name="add", arguments={"a": 1}, result="2", error=None).error is None
        True
    """

    id: str
    """Id that the model gave it."""
    name: str
    """Name of the tool, as the model called it."""
    arguments: Mapping[str, Any] = field(repr=False)
    """What the model sent; empty when that could not be read."""
    result: str = field(repr=False)
    """Result of the call, as the model got it."""
    error: BaseException | None = field(repr=False)
    """What the tool raised, or why it was not called; `None` when it gave a result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentResult(Generic[T]):
    """The result of an agent's run.

    Example:
        >>> AgentResult(output="Hello!", messages=[], usage=RunUsage(), tool_calls=[], context=RunContext()).output
        'Hello!'
    """

    output: T = field(repr=False)
    """The last answer of the model, as an instance of the agent's `output_type` if it has one; after a stop, the
    response of that stop, as it was given."""
    messages: list[dict[str, Any]] = field(repr=False)
    """The whole conversation, in the form of chat completions."""
    usage: RunUsage = field(default_factory=RunUsage)
    """Tokens and calls, those of subagents included."""
    tool_calls: list[ToolResult] = field(default_factory=list[ToolResult])
    """Calls of this agent's own tools, in the order in which the model made them."""
    finish_reason: str | None = None
    """Why the model ended the answer that is the output, such as `stop`; `length` and `content_filter` say that it is
    not whole. `None` when the provider did not say, or the run was stopped."""
    context: RunContext = field(default_factory=RunContext, repr=False)
    """The run's own context: a child of the one that was passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentEvent:
    """An event of a streamed run, or of a run that it delegated.

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
    """A piece of the text that the model writes.

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
    """A tool call has finished, failed, or could not be made.

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

    call: ToolResult
    """The call and its result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(AgentEvent):
    """A run has finished; the last event of a stream is the one of the run itself.

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
    """Its result."""
