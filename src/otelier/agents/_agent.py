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
from otelier.agents._recorded import RecordedSteps, Recorder
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

    One object serves any number of runs, also concurrently. Each run has a span `invoke_agent {name}`; below it are a
    span `execute_tool {name}` for each tool call and the spans of the model calls. All of them carry the agent's name.

    Args:
        name: Name of the agent, on every signal of its runs.
        model: Name of the model.
        version: Version of the agent, for its spans.
        description: Description of the agent, for the model of a parent agent and for the spans of its runs. `None`
            sends its instructions to that model, and adds nothing to spans.
        client: An `openai.AsyncOpenAI` or `openai.OpenAI` with any `base_url`, which you close yourself. `None` creates
            an `AsyncOpenAI()` for each event loop, closed when the loop ends.
        output_type: Pydantic model class of the output. The model receives it as a strict JSON schema. If an answer
            does not match, the model is told once and may answer again; after that the run fails. `None` is text.
        instructions: The system message; `None` sends none.
        tools: Tools made by `tool`, or plain functions, which become tools with its defaults.
        subagents: Agents that the model may delegate to: each becomes a tool that takes a task, and receives a child
            of the run's context.
        interceptors: Called at each phase, in this order.
        settings: Other arguments of `chat.completions.create` for each model call: `temperature`, `max_tokens`,
            `tool_choice`, `reasoning_effort`, `timeout`, `extra_body` and so on. For an unknown one the client raises
            its own error. A `tool_choice` that forces a call applies until a tool has been called.
        max_steps: Most answers of the model in one run.
        max_depth: Deepest level at which its run may be delegated: 1 is a subagent of an agent.
        max_parallel_tools: Most functions that one run calls concurrently; further calls wait.
        max_calls_per_answer: Most tool calls that the model may ask for in one answer; if it asks for more, none is
            made and the run fails.
        max_model_calls: Most model calls in one run and all runs below it, including failed and cancelled ones.

    Raises:
        AgentError: if *name* is empty, or a limit is too low.
        ContextValueError: if *name* is not a valid value of the field `agent`.
        ToolError: if two tools have the same name, or one is neither a tool nor a function.
        TypeError: if an argument has the wrong type, such as a client in place of a model's name.

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
        """Name of the model."""
        return self._spec.model

    @property
    def instructions(self) -> str | None:
        """The system message; `None` if there is none."""
        return self._spec.instructions

    @property
    def description(self) -> str | None:
        """Description for the model of a parent agent; `None` sends it the instructions."""
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
        """Return a run of *query*, which starts when it is awaited or its `output` is read.

        Args:
            query: The user's turn: a text, or parts in the format of chat completions, such as a text and an image.
            context: Context for tools and interceptors, with the fields of the run. The run works with a child of it.
                A mapping becomes the metadata of a `RunContext`; `None` creates an empty one.
            messages: The conversation so far: the `messages` of an earlier result, or of an error that ended a run. The
                agent's instructions replace those at its beginning. `None` starts a new conversation.
            settings: Settings of this run, which override the agent's; subagents use their own.

        Raises:
            TypeError: if an argument has the wrong type.

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
        """Return the events of a run of *query*, which starts when the first event is requested.

        Arguments, phases, tools, subagents, spans and errors are the same as for `run`.

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


async def run_recorded(
    agent: Agent[T],
    query: str | Sequence[Mapping[str, Any]],
    recorder: Recorder,
    *,
    context: RunContext | Mapping[str, Any] | None = None,
    messages: Sequence[Mapping[str, Any]] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> AgentResult[T]:
    """Run *agent* as `Agent.run` does, with each of its steps done by *recorder*, once.

    A run that begins again with the same arguments, and a recorder that knows what was done, asks and calls nothing a
    second time. Runs that it delegates are parts of a step.
    """
    task, given = make_task(query, messages, settings), as_context(context)
    spec = agent._spec  # pyright: ignore[reportPrivateUsage] -- of this module's own class
    return await execute(spec, task, given, None, RecordedSteps(recorder))


def _subagent(one: Agent[Any]) -> Agent[Any]:
    if isinstance(one, Agent):  # pyright: ignore[reportUnnecessaryIsInstance]
        return one
    raise ToolError(f"Cannot delegate to a {type(one).__name__}: `subagents` takes agents. Use `Agent(...)`.")
