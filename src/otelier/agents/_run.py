"""One run of an agent: its settings, its state, and its interceptors."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias

from opentelemetry.context import Context, create_key, get_current
from opentelemetry.util.types import AttributeValue
from pydantic import BaseModel

from otelier import llm, names
from otelier.agents._context import RunContext
from otelier.agents._conversation import Conversation, ReadOnlyDict, Task, plain_copy, read_only
from otelier.agents._results import AgentEvent, RunUsage, ToolResult
from otelier.errors import AgentLimitError, AnswerError, ToolError
from otelier.identity import AgentIdentity
from otelier.interceptors import InterceptContext, Interceptor, InterceptResult, Phase, StopExecution
from otelier.llm.functions import OfferedTool
from otelier.redaction import ContentGate
from otelier.telemetry import errors_in, fit_text

RUN: Final = create_key("otelier-agents-run")
"""Slot of the run that is under way, in the OpenTelemetry Context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a run may do."""

    max_steps: int
    """Answers that its model may give."""
    max_depth: int
    """Runs that may be around it."""
    max_parallel_tools: int
    """Functions that it calls at once."""
    max_calls_per_answer: int
    """Calls of tools that one answer may ask for."""
    max_model_calls: int
    """Model calls, with those of the runs below."""


class RunTool(OfferedTool, Protocol):
    """A tool as a run offers and calls it: a function, or another agent."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str:
        """What its spans show; the model may be given more."""
        ...

    @property
    def max_result_chars(self) -> int: ...
    async def call(self, arguments: Mapping[str, Any], run: Run) -> object: ...
    async def on_error(self, error: BaseException, run: Run) -> object:
        """Return the result of a call that raised *error*; `None` for the error's own text."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """The checked arguments of an `Agent`, shared by its runs."""

    name: str
    model: str
    version: str | None
    description: str | None
    client: Any = field(repr=False)
    output_type: type[BaseModel] | None
    """Type of the output; `None` is text."""
    instructions: str | None = field(repr=False)
    tools: Mapping[str, RunTool]
    interceptors: Sequence[Interceptor]
    limits: Limits
    settings: Mapping[str, Any] = field(repr=False)
    model_attribute: str = field(init=False)
    """The model's name as signals may carry it."""
    attributes: Mapping[str, AttributeValue] = field(init=False, repr=False)
    """Attributes that the span of each run starts with."""

    def __post_init__(self) -> None:
        model = fit_text(self.model) or ""
        found: dict[str, AttributeValue | None] = {
            names.OPERATION: names.INVOKE_AGENT,
            names.AGENT_NAME: self.name,
            names.REQUEST_MODEL: model,
            names.OUTPUT_TYPE: None if self.output_type is None else "json",
            names.AGENT_VERSION: fit_text(self.version, lines=True),
            names.AGENT_DESCRIPTION: fit_text(self.description, lines=True),
        }
        object.__setattr__(self, "model_attribute", model)
        object.__setattr__(self, "attributes", {name: value for name, value in found.items() if value is not None})


@dataclass(slots=True, kw_only=True)
class Moment:
    """The subject of a phase: interceptors are shown it, and their answers change it.

    That of a tool's call goes from PRE_ACT to POST_ACT.
    """

    tool_name: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)
    """Arguments of the tool's call."""
    result: str | None = field(default=None, repr=False)
    """Result of the tool's call, as the model gets it."""
    model_response: dict[str, Any] | None = field(default=None, repr=False)
    output: Any = field(default=None, repr=False)
    error: BaseException | None = None
    is_skipped: bool = False
    """Whether the tool is not to be called."""
    retry_model: str | None = None
    """Model to ask in place of one that failed."""
    _view: tuple[dict[str, Any], ReadOnlyDict] | None = field(default=None, repr=False)

    def view_of_arguments(self) -> ReadOnlyDict | None:
        """Return the arguments, to be read; `None` where no tool is called. They are copied once."""
        if self.tool_name is None:
            return None
        if self._view is None or self._view[0] is not self.arguments:
            self._view = (self.arguments, read_only(self.arguments))
        return self._view[1]


Read: TypeAlias = "tuple[llm.Answer[Any], AnswerError | None]"
"""An answer, and why its text is not the output that the agent promises."""


class Steps(Protocol):
    """Does the steps of a run. Whoever records each as a whole can go on between any two of them."""

    def think(self, run: Run, *, again: bool) -> Awaitable[Read]:
        """Ask the model: PRE_THINK, unless it is asked *again* after an error, its answer, and POST_THINK."""
        ...

    def call(self, run: Run, calls: Sequence[llm.ToolCall]) -> Awaitable[None]:
        """Make the calls of one answer, each with PRE_ACT and POST_ACT, and add their results to the conversation."""
        ...

    def ask(self, run: Run, phase: Phase, moment: Moment) -> Awaitable[None]:
        """Ask the interceptors at PRE_RUN, POST_RUN or ON_ERROR."""
        ...


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class Run:
    """The state of one run, from its first phase to its last. Lives on one event loop."""

    spec: AgentSpec
    steps: Steps
    task: Task
    identity: AgentIdentity
    context: RunContext
    context_given: bool
    """Whether the caller passed a context."""
    parent: Run | None
    depth: int
    loop: asyncio.AbstractEventLoop
    gate: ContentGate
    on_event: Callable[[AgentEvent], None] | None
    conversation: Conversation
    limiter: asyncio.Semaphore
    """Slots for functions that are called at once."""
    model: str
    tools: dict[str, RunTool]
    settings: Mapping[str, Any]
    """Arguments of the model's calls beside those that the run gives."""
    step_model: str | None = None
    """Model of the next question; `None` is the run's."""
    step_tools: tuple[str, ...] | None = None
    """Tools of the next question; `None` are the run's."""
    state: dict[Any, Any] = field(default_factory=dict[Any, Any])
    usage: RunUsage = field(default_factory=RunUsage)
    tool_calls: list[ToolResult] = field(default_factory=list[ToolResult])
    answers: int = 0
    """Answers of the model, which `max_steps` limits."""
    model_calls: int = 0
    """Model calls, those that failed too."""
    tree_model_calls: int = 0
    """The same with those of the runs below, which `max_model_calls` limits."""
    executed_tools: int = 0
    """Calls of tools that were made, those that failed too."""
    delegated: set[asyncio.Future[Any]] = field(default_factory=set[asyncio.Future[Any]])
    """Runs that tools of this one started from their threads."""
    stopped: tuple[str, str | None] | None = None
    """Phase and reason of a stop."""
    finish_reason: str | None = None
    """Why the model ended the answer that is the output; `None` when none is, or the provider gave no reason."""
    failed_question: BaseException | None = None
    """What the last question to the model failed with: another model may be asked."""
    reported_error: BaseException | None = None
    """The error that interceptors were asked about last."""
    correction_sent: bool = False
    """Whether the model was asked to correct its output."""
    is_giving_up: bool = False
    """Whether calls of tools that are under way are being cancelled."""
    is_over: bool = False

    def __repr__(self) -> str:
        # It stands in OpenTelemetry's context, which error reporters and debuggers print.
        return f"Run({self.spec.name!r}, depth={self.depth})"

    def offered_tools(self) -> dict[str, RunTool]:
        """Return the tools that the next question offers."""
        if self.step_tools is None:
            return self.tools
        return {name: self.tools[name] for name in self.step_tools if name in self.tools}

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation so far."""
        return self.conversation.messages

    def count_model_call(self) -> None:
        """Count one model call, for this run and those around it.

        Raises:
            AgentLimitError: if it is one more than one of them may have.
        """
        for run in self._upwards():
            most = run.spec.limits.max_model_calls
            if run.tree_model_calls >= most:
                raise AgentLimitError(
                    f"Agent {run.spec.name!r} and those it delegated to started {most} model calls, including "
                    f"failed and cancelled ones: a run ends after `max_model_calls={most}`. Raise it, or tell the "
                    "models when they are done.",
                    limit="max_model_calls",
                )
        self.model_calls += 1
        for run in self._upwards():
            run.tree_model_calls += 1

    def count_answer(self, used: llm.Usage | None) -> None:
        """Count one answer's tokens, for this run and those around it; `None` where the provider did not count."""
        for run in self._upwards():
            run.usage = run.usage.with_answer(used)

    def _upwards(self) -> Iterator[Run]:
        run: Run | None = self
        while run is not None:
            yield run
            run = run.parent

    def emit(self, kind: type[AgentEvent], **values: Any) -> None:
        """Emit an event, if anybody listens."""
        if self.on_event is not None:
            self.on_event(kind(agent=self.spec.name, depth=self.depth, **values))

    async def ask(self, phase: Phase, moment: Moment | None = None) -> None:
        """Ask the interceptors, one after the other, and apply their answers to the run and to *moment*.

        Raises:
            StopExecution: if one of them stops the run.
        """
        moment = Moment() if moment is None else moment
        for interceptor in self.spec.interceptors:
            try:
                returned: Any = interceptor.intercept(phase, self._intercept_context(phase, moment))
                answer = await returned if inspect.isawaitable(returned) else returned
                if answer is None:
                    continue
                result = _checked_result(answer, interceptor)
                self.state.update(result.metadata)
                if not result.proceed:
                    raise StopExecution("" if result.final_response is None else result.final_response, result.reason)
            except Exception as exc:
                if (stop := find_stop(exc)) is None:
                    raise
                self.stopped = self.stopped or (phase.value, stop.reason)
                raise stop from None
            self._apply(phase, result, moment)
            if moment.is_skipped and phase is Phase.PRE_ACT:
                return

    def _intercept_context(self, phase: Phase, moment: Moment) -> InterceptContext:
        response = moment.model_response
        return InterceptContext(
            phase=phase,
            agent=self.identity,
            task=self.task.text,
            run_context=self.context,
            messages=self.conversation.view(),
            state=self.state,
            model=self.step_model or self.model,
            tools=tuple(self.offered_tools()),
            model_calls=self.answers,
            tool_calls=len(self.tool_calls),
            input_tokens=self.usage.input_tokens,
            output_tokens=self.usage.output_tokens,
            model_response=None if response is None else self.conversation.view_of(response),
            tool_name=moment.tool_name,
            tool_args=moment.view_of_arguments(),
            tool_result=moment.result,
            output=moment.output,
            error=moment.error,
        )

    def _apply(self, phase: Phase, result: InterceptResult, moment: Moment) -> None:
        if result.modified_messages is not None:
            self.conversation.replace(result.modified_messages)
        if result.modified_prompt is not None:
            self.conversation.set_prompt(result.modified_prompt)
        if phase is Phase.PRE_RUN or phase is Phase.PRE_THINK:
            self._apply_to_questions(phase, result)
        elif phase is Phase.PRE_ACT:
            if result.modified_tool_args is not None:
                moment.arguments = plain_copy(dict(result.modified_tool_args))
            if result.skip_action:
                moment.is_skipped, moment.result = True, result.final_response
        elif phase is Phase.POST_ACT:
            if result.modified_tool_result is not None:
                moment.result = result.modified_tool_result
        elif phase is Phase.ON_ERROR:
            moment.retry_model = result.modified_model or moment.retry_model

    def _apply_to_questions(self, phase: Phase, result: InterceptResult) -> None:
        """Choose model and tools: of the whole run in PRE_RUN, of the next question in PRE_THINK."""
        chosen = None if result.modified_tools is None else self._known_tools(result.modified_tools)
        if phase is Phase.PRE_THINK:
            self.step_model = result.modified_model or self.step_model
            self.step_tools = self.step_tools if chosen is None else chosen
            return
        self.model = result.modified_model or self.model
        if chosen is not None:
            self.tools = {name: self.tools[name] for name in chosen if name in self.tools}

    def _known_tools(self, chosen: Sequence[str]) -> tuple[str, ...]:
        tools = self.spec.tools
        unknown = [name for name in chosen if name not in tools]
        if unknown:
            raise ToolError(
                f"Cannot offer {', '.join(map(repr, unknown))}: agent {self.spec.name!r} has no such tool, only "
                f"{', '.join(map(repr, tools)) or 'none'}. An interceptor chooses among the agent's tools: give it to "
                f"`Agent(tools=)`, or leave it out."
            )
        return tuple(chosen)


def current_run(context: Context | None = None) -> Run | None:
    """Return the run that is under way here; `None` outside of runs, and once it is over."""
    run: Any = (get_current() if context is None else context).get(RUN)
    return None if run is None or run.is_over else run


def find_stop(error: BaseException) -> StopExecution | None:
    """Return the stop that *error* is, or holds: a task group raises those of its tasks in a group."""
    return next((one for one in errors_in(error) if isinstance(one, StopExecution)), None)


def _checked_result(answer: object, interceptor: Interceptor) -> InterceptResult:
    if isinstance(answer, InterceptResult):
        return answer
    raise TypeError(
        f"{type(interceptor).__name__}.intercept returned {type(answer).__name__}: a run cannot tell what that means. "
        f"Return an `InterceptResult`, or `None` to go on."
    )
