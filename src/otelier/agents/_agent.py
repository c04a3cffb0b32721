"""`Agent`: a model with instructions, tools and other agents to delegate to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Generic, cast

from pydantic import BaseModel

from otelier.agents._calls import FunctionOffer
from otelier.agents._context import RunContext
from otelier.agents._delegate import Delegate
from otelier.agents._execute import Plan, execute
from otelier.agents._lazy import AgentRun
from otelier.agents._results import AgentResult, T
from otelier.agents._run import Offer
from otelier.agents._stream import AgentStream, Emit
from otelier.agents._tool import Tool
from otelier.errors import AgentError, ToolError
from otelier.fields import checked
from otelier.interceptors import Interceptor

MAX_STEPS: Final = 16
"""Answers that a model may give in one run."""
MAX_DEPTH: Final = 8
"""How deep a run may be delegated."""
MAX_PARALLEL_TOOLS: Final = 16
"""Functions that a run calls at once."""


class Agent(Generic[T]):
    """A model with a name, instructions, tools, and subagents that it delegates to as if they were tools.

    One object serves any number of runs, also at once. Spans: `invoke_agent {name}` for a run, `execute_tool {name}`
    for each call of a tool, and those of the model's calls below them; all of them carry the agent's name.

    Args:
        name: Name of the agent, on every signal of its runs.
        model: Model that is asked.
        version: Version of the agent, for its spans.
        description: What a parent's model is told about it, also on the spans of its runs; `None` tells that model
            its instructions, and spans nothing.
        client: `openai.AsyncOpenAI` or `openai.OpenAI`, with any `base_url`; yours to close. `None` makes an
            `AsyncOpenAI()` for each event loop, closed when that ends.
        output_type: A pydantic model class: the output of a run is an instance of it. The model is asked for it as a
            strict JSON schema. What does not fit is told to it once; after that the run fails. `None` is text.
        instructions: The system message; `None` sends none.
        tools: Functions made by `tool`, or plain ones, which become tools by that.
        subagents: Agents that the model may delegate to: each is a tool that takes a task. They are given a child of
            the run's context.
        interceptors: Asked at each phase, in this order.
        max_steps: Answers that the model may give in one run.
        max_depth: How deep its run may be delegated: 1 is a subagent of an agent.
        max_parallel_tools: Functions that one run calls at once; further calls wait.

    Raises:
        AgentError: if there is no name, or a limit is too low.
        ContextValueError: if *name* cannot be carried as the field `agent`.
        ToolError: if two tools have one name, or one is neither a tool nor a function.

    Example:
        >>> import otelier
        >>> @otelier.tool
        ... def find_parcel(number: int) -> str:
        ...     '''Say where a parcel is.'''
        ...     return f"Parcel {number} is on its way."
        >>> agent = otelier.Agent("parcels", "gpt-4.1-nano", tools=[find_parcel])
        >>> agent.run("Where is parcel 1?").tool_calls[0].result
        'Parcel 1 is on its way.'
    """

    def __init__(
        self,
        name: str,
        model: str,
        *,
        version: str | None = None,
        description: str | None = None,
        client: Any = None,
        output_type: type[T] | None = None,
        instructions: str | None = None,
        tools: Iterable[Tool[..., Any] | Callable[..., Any]] = (),
        subagents: Iterable[Agent[Any]] = (),
        interceptors: Iterable[Interceptor] = (),
        max_steps: int = MAX_STEPS,
        max_depth: int = MAX_DEPTH,
        max_parallel_tools: int = MAX_PARALLEL_TOOLS,
    ) -> None:
        checked((None, None, name, None, None, None))
        if not name:
            raise AgentError("An agent needs a name: every signal of its runs carries it. Pass `name=`.")
        for limit, value, least in (
            ("max_steps", max_steps, 1), ("max_depth", max_depth, 0), ("max_parallel_tools", max_parallel_tools, 1)
        ):  # fmt: skip
            if value < least:
                raise AgentError(f"Agent {name!r} could do nothing with `{limit}={value}`: give {least} or more.")
        self._plan = Plan(
            name=name,
            model=model,
            version=version,
            description=description,
            client=client,
            output_type=_checked_type(output_type),
            instructions=instructions,
            # `tools=[...]` is how pages show an agent whose tools do not matter: there is nothing to offer then.
            offers=_by_name(
                name,
                [
                    *(_offer(one) for one in tools if one is not ...),
                    *(Delegate(_subagent(one)._plan) for one in subagents),
                ],
            ),
            interceptors=tuple(map(_interceptor, interceptors)),
            max_steps=max_steps,
            max_depth=max_depth,
            max_parallel_tools=max_parallel_tools,
        )

    @property
    def name(self) -> str:
        """Name of the agent."""
        return self._plan.name

    @property
    def model(self) -> str:
        """Model that is asked."""
        return self._plan.model

    @property
    def instructions(self) -> str | None:
        """The system message; `None` when there is none."""
        return self._plan.instructions

    @property
    def description(self) -> str | None:
        """What a parent's model is told about it; `None` is its instructions."""
        return self._plan.description

    def __repr__(self) -> str:
        return f"Agent({self.name!r}, {self.model!r})"

    def run(self, query: str, *, context: RunContext | Mapping[str, Any] | None = None) -> AgentRun[T]:
        """Return a run of *query*, which starts when it is awaited, or its `output` is read.

        Args:
            query: What the agent is asked.
            context: What tools and interceptors are given, and who the run is for. The run works with a child of it.
                A mapping becomes the metadata of a `RunContext`; `None` gives an empty one.

        Raises:
            TypeError: if *context* is neither.

        Example:
            >>> import asyncio
            >>> import otelier
            >>> agent = otelier.Agent("triage", "gpt-4.1-nano")
            >>> async def main():
            ...     result = await agent.run("Hello", context={"plan": "pro"})
            ...     return result.output, result.context.get("plan")
            >>> asyncio.run(main())
            ('Hello! How can I help you today?', 'pro')
        """
        given = _as_context(context)
        return AgentRun(self.name, lambda: execute(self._plan, query, given, None))

    def stream(self, query: str, *, context: RunContext | Mapping[str, Any] | None = None) -> AgentStream[T]:
        """Return the events of a run of *query*, which starts with the first event that is asked for.

        Phases, tools, subagents, spans and errors are those of `run`.

        Example:
            >>> import asyncio
            >>> import otelier
            >>> agent = otelier.Agent("triage", "gpt-4.1-nano")
            >>> async def main():
            ...     async with agent.stream("Hello") as events:
            ...         async for event in events:
            ...             if isinstance(event, otelier.agents.RunFinished):
            ...                 return event.result.output
            >>> asyncio.run(main())
            'Hello! How can I help you today?'
        """
        given = _as_context(context)

        async def start(emit: Emit) -> AgentResult[T]:
            return await execute(self._plan, query, given, emit)

        return AgentStream(start)


def _interceptor(one: Interceptor) -> Interceptor:
    if isinstance(one, type) or not callable(getattr(one, "intercept", None)):
        what = one.__name__ if isinstance(one, type) else f"a {type(one).__name__}"
        raise TypeError(
            f"Cannot ask {what} at the phases of a run: `interceptors` takes objects with a method `intercept`. "
            f"Derive a class from `Interceptor` and pass an instance."
        )
    return one


def _offer(function: Tool[..., Any] | Callable[..., Any]) -> Offer:
    return FunctionOffer(cast("Tool[..., Any]", function) if isinstance(function, Tool) else Tool(function))


def _subagent(one: Agent[Any]) -> Agent[Any]:
    if isinstance(one, Agent):  # pyright: ignore[reportUnnecessaryIsInstance]
        return one
    raise ToolError(f"Cannot delegate to a {type(one).__name__}: `subagents` takes agents. Use `Agent(...)`.")


def _by_name(agent: str, offers: list[Offer]) -> dict[str, Offer]:
    found: dict[str, Offer] = {}
    for offer in offers:
        if offer.name in found:
            raise ToolError(
                f"Agent {agent!r} has two tools named {offer.name!r}: its model could not tell them apart. Rename one "
                f"by `tool(name=)`, or the subagent."
            )
        found[offer.name] = offer
    return found


def _checked_type(output_type: Any) -> type[BaseModel] | None:
    if output_type is None or output_type is str:
        return None
    if isinstance(output_type, type) and issubclass(output_type, BaseModel):
        return output_type
    raise TypeError(
        f"Cannot promise an output of type {output_type!r}: give a pydantic model class, or `None` for text."
    )


def _as_context(context: object) -> RunContext | None:
    if context is None or isinstance(context, RunContext):
        return context
    if isinstance(context, Mapping):
        return RunContext(metadata=dict(context))  # pyright: ignore[reportUnknownArgumentType]
    raise TypeError(
        f"A run's context must be a RunContext, a mapping or `None`, not a {type(context).__name__}: tools are given "
        f"it. Derive a dataclass from `RunContext`."
    )
