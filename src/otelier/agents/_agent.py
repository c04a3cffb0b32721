"""`Agent`: a model with instructions, tools and other agents to delegate to."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Generic

from otelier.agents._agent_run import AgentRun, AgentStream, Emit
from otelier.agents._checks import (
    as_context,
    by_name,
    checked_client,
    checked_interceptor,
    checked_limits,
    checked_list,
    checked_model,
    checked_name,
    checked_text,
    checked_type,
    function_tool,
)
from otelier.agents._context import RunContext
from otelier.agents._conversation import checked_settings, make_task
from otelier.agents._execute import execute
from otelier.agents._results import AgentResult, T
from otelier.agents._run import AgentSpec, Run
from otelier.agents._tool import MAX_RESULT_CHARS, Tool
from otelier.errors import ToolArgumentsError, ToolError
from otelier.interceptors import Interceptor
from otelier.llm.functions import param_of
from otelier.telemetry import fit_text


class SubagentTool:
    """An agent as another one's run offers and calls it: a tool that takes a task."""

    max_result_chars = MAX_RESULT_CHARS

    def __init__(self, spec: AgentSpec) -> None:
        self._spec = spec
        safe = re.sub(r"[^A-Za-z0-9_-]+", "_", spec.name)[:64]
        # A name without any Latin letter still needs one of its own.
        self.name = safe if safe.strip("_-") else f"agent_{zlib.crc32(spec.name.encode()):08x}"
        self.description = fit_text(spec.description, lines=True) or f"Delegate a task to {spec.name}."
        """The description for spans: instructions are content."""

    def to_param(self) -> dict[str, Any]:
        """Return the tool as chat completions take it."""
        parameters = {
            "type": "object",
            "properties": {"task": {"type": "string", "description": "What the agent is to do."}},
            "required": ["task"],
            "additionalProperties": False,
        }
        description = self._spec.description or self._spec.instructions or self.description
        return param_of(self.name, description, parameters)

    async def call(self, arguments: Mapping[str, Any], run: Run) -> object:
        """Run the agent on the task, with a child of the run's context."""
        task = arguments.get("task")
        if not isinstance(task, str):
            raise ToolArgumentsError(
                f"The arguments of tool {self.name!r} do not fit: task: a text is needed.", tool=self.name
            )
        context = run.context
        if not run.context_given:
            context = RunContext(query=context.query, metadata=context.metadata)
        return (await execute(self._spec, make_task(task), context, None)).output

    async def on_error(self, error: BaseException, run: Run) -> object:
        """Return nothing: the model gets the error's text."""
        return None


MAX_STEPS: Final = 16
"""Answers that a model may give in one run."""
MAX_DEPTH: Final = 8
"""How deep a run may be delegated."""
MAX_PARALLEL_TOOLS: Final = 16
"""Functions that a run calls at once."""
MAX_CALLS_PER_ANSWER: Final = 128
"""Calls of tools that a model may ask for in one answer."""
MAX_MODEL_CALLS: Final = 150
"""Model calls in one run and those that it delegated, all together."""


class Agent(Generic[T]):
    """A model with a name, instructions, tools, and subagents that it delegates to as if they were tools.

    One object serves any number of runs, also at once. Spans: `invoke_agent {name}` for a run, `execute_tool {name}`
    for each call of a tool, and those of the model's calls below them; all of them carry the agent's name.

    Args:
        name: Name of the agent, on every signal of its runs.
        model: Model that is asked.
        version: Version of the agent, for its spans.
        description: Description for a parent's model and for the spans of its runs; with `None` that model gets the
            instructions, and spans get nothing.
        client: `openai.AsyncOpenAI` or `openai.OpenAI`, with any `base_url`; yours to close. `None` makes an
            `AsyncOpenAI()` for each event loop, closed when that ends.
        output_type: A pydantic model class: the output of a run is an instance of it. The model is asked for it as a
            strict JSON schema, and once to correct an answer that does not fit; after that the run fails. `None` is
            text.
        instructions: The system message; `None` sends none.
        tools: Functions made by `tool`, or plain ones, which become tools by that.
        subagents: Agents that the model may delegate to: each is a tool that takes a task. They are given a child of
            the run's context.
        interceptors: Asked at each phase, in this order.
        settings: What `chat.completions.create` takes besides, for each model call: `temperature`, `max_tokens`,
            `tool_choice`, `reasoning_effort`, `timeout`, `extra_body`, ... An unknown one is the client's own error. A
            `tool_choice` that forces a call holds until a tool was called.
        max_steps: Answers that the model may give in one run.
        max_depth: How deep its run may be delegated: 1 is a subagent of an agent.
        max_parallel_tools: Functions that one run calls at once; further calls wait.
        max_calls_per_answer: Calls of tools that the model may ask for in one answer; none of more is made.
        max_model_calls: Model calls in one run and in all runs below it, including failed and cancelled ones.

    Raises:
        AgentError: if there is no name, or a limit is too low.
        ContextValueError: if *name* cannot be carried as the field `agent`.
        ToolError: if two tools have one name, or one is neither a tool nor a function.
        TypeError: if an argument is of another kind, such as a client in place of a model's name.

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
        settings: Mapping[str, Any] | None = None,
        max_steps: int = MAX_STEPS,
        max_depth: int = MAX_DEPTH,
        max_parallel_tools: int = MAX_PARALLEL_TOOLS,
        max_calls_per_answer: int = MAX_CALLS_PER_ANSWER,
        max_model_calls: int = MAX_MODEL_CALLS,
    ) -> None:
        self._spec = AgentSpec(
            name=checked_name(name),
            model=checked_model(model),
            version=checked_text("version", version),
            description=checked_text("description", description),
            client=checked_client(client),
            output_type=checked_type(output_type),
            instructions=checked_text("instructions", instructions),
            tools=by_name(
                name,
                [
                    *map(function_tool, checked_list("tools", tools)),
                    *(SubagentTool(_subagent(one)._spec) for one in checked_list("subagents", subagents)),
                ],
            ),
            interceptors=tuple(map(checked_interceptor, checked_list("interceptors", interceptors))),
            settings=checked_settings(settings),
            limits=checked_limits(
                name,
                max_steps=max_steps,
                max_depth=max_depth,
                max_parallel_tools=max_parallel_tools,
                max_calls_per_answer=max_calls_per_answer,
                max_model_calls=max_model_calls,
            ),
        )

    @property
    def name(self) -> str:
        """Name of the agent."""
        return self._spec.name

    @property
    def model(self) -> str:
        """Model that is asked."""
        return self._spec.model

    @property
    def instructions(self) -> str | None:
        """The system message; `None` when there is none."""
        return self._spec.instructions

    @property
    def description(self) -> str | None:
        """Description for a parent's model; `None` is its instructions."""
        return self._spec.description

    def __repr__(self) -> str:
        return f"Agent({self.name!r}, {self.model!r})"

    def run(
        self,
        query: str | Sequence[Mapping[str, Any]],
        *,
        context: RunContext | Mapping[str, Any] | None = None,
        messages: Sequence[Mapping[str, Any]] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> AgentRun[T]:
        """Return a run of *query*, which starts when it is awaited, or its `output` is read.

        Args:
            query: What the agent is asked: a text, or parts as chat completions have them, such as a text and an image.
            context: What tools and interceptors are given, and who the run is for. The run works with a child of it.
                A mapping becomes the metadata of a `RunContext`; `None` gives an empty one.
            messages: The conversation so far, as `messages` of an earlier result has it, or of an error that ended a
                run. The agent's instructions take the place of those that it begins with. `None` begins a new one.
            settings: As those of the agent, and in place of them where both have one; runs of subagents have their own.

        Raises:
            TypeError: if an argument is none of these.

        Example:
            >>> import asyncio
            >>> import otelier
            >>> agent = otelier.Agent("triage", "gpt-4.1-nano")
            >>> async def main():
            ...     first = await agent.run("Hello", context={"plan": "pro"})
            ...     second = await agent.run("Hello again", messages=first.messages, settings={"temperature": 0})
            ...     return first.output, first.context.get("plan"), len(second.messages)
            >>> asyncio.run(main())
            ('Hello! How can I help you today?', 'pro', 4)
        """
        task, given = make_task(query, messages, settings), as_context(context)
        return AgentRun(self.name, lambda: execute(self._spec, task, given, None))

    def stream(
        self,
        query: str | Sequence[Mapping[str, Any]],
        *,
        context: RunContext | Mapping[str, Any] | None = None,
        messages: Sequence[Mapping[str, Any]] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> AgentStream[T]:
        """Return the events of a run of *query*, which starts with the first event that is asked for.

        Arguments, phases, tools, subagents, spans and errors are those of `run`.

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
        task, given = make_task(query, messages, settings), as_context(context)

        async def start(emit: Emit) -> AgentResult[T]:
            return await execute(self._spec, task, given, emit)

        return AgentStream(start)


def _subagent(one: Agent[Any]) -> Agent[Any]:
    if isinstance(one, Agent):  # pyright: ignore[reportUnnecessaryIsInstance]
        return one
    raise ToolError(f"Cannot delegate to a {type(one).__name__}: `subagents` takes agents. Use `Agent(...)`.")
