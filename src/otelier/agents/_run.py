"""One run of an agent: what it knows, and what it asks its interceptors."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from opentelemetry.context import Context, create_key, get_current
from pydantic import BaseModel

from otelier import llm
from otelier.agents._context import RunContext
from otelier.agents._failures import stop_in
from otelier.agents._read_only import Conversation, plain_copy
from otelier.agents._results import AgentEvent, ToolCall, Usage
from otelier.agents._task import Task
from otelier.errors import AgentLimitError
from otelier.identity import AgentIdentity
from otelier.interceptors import InterceptContext, Interceptor, InterceptResult, Phase, StopExecution
from otelier.redaction import ContentGate

RUN: Final = create_key("otelier-agents-run")
"""Slot of the run that is under way, in the OpenTelemetry Context."""


_SHOWN: Final = ("tool_name", "tool_args", "tool_result", "model_response", "output", "error")
"""Facts of a phase that interceptors are shown."""


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


class Offer(Protocol):
    """What a run offers its model: a function, or another agent."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str:
        """What spans tell of it."""
        ...

    @property
    def max_result_chars(self) -> int: ...
    def to_param(self) -> dict[str, Any]: ...
    async def call(self, arguments: Mapping[str, Any], run: Run) -> object: ...
    async def on_error(self, error: BaseException, run: Run) -> object:
        """Return what the model is told of an error; `None` where nobody says."""
        ...


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class Run:
    """One run, from its first phase to its last. Lives on one event loop."""

    identity: AgentIdentity
    model: str
    client: Any
    offers: dict[str, Offer]
    interceptors: Sequence[Interceptor]
    limits: Limits
    task: Task
    settings: Mapping[str, Any]
    """Arguments of the model's calls beside those that the run gives."""
    context: RunContext
    given: bool
    """Whether the caller passed a context."""
    parent: Run | None
    depth: int
    limiter: asyncio.Semaphore
    gate: ContentGate
    emit: Callable[[AgentEvent], None] | None
    conversation: Conversation
    loop: asyncio.AbstractEventLoop
    output_type: type[BaseModel] | None = None
    """What the output is to be; `None` is text."""
    instructions: str | None = None
    state: dict[Any, Any] = field(default_factory=dict[Any, Any])
    usage: Usage = field(default_factory=Usage)
    tool_calls: list[ToolCall] = field(default_factory=list[ToolCall])
    steps: int = 0
    questions: int = 0
    """Model calls, those that failed too."""
    tree_questions: int = 0
    """The same with those of the runs below."""
    calls: int = 0
    """Calls of tools that were made, those that failed too."""
    step_model: str | None = None
    """Model of this one question; `None` is the run's."""
    step_tools: tuple[str, ...] | None = None
    """Tools of this one question; `None` are the run's."""
    stopped: tuple[str, str | None] | None = None
    """Phase and reason of a stop."""
    finish_reason: str | None = None
    """Why the model ended the answer that is the output; `None` when none is, or nobody said."""
    told: BaseException | None = None
    """The error that interceptors were asked about last."""
    delegated: set[asyncio.Future[Any]] = field(default_factory=set[asyncio.Future[Any]])
    """Runs that tools of this one started from their threads."""
    is_told: bool = False
    """Whether the model was told that its output does not fit."""
    is_giving_up: bool = False
    """Whether calls of tools that are under way are being cancelled."""
    is_over: bool = False

    def __repr__(self) -> str:
        # It stands in OpenTelemetry's context, which error reporters and debuggers print.
        return f"Run({self.identity.name!r}, depth={self.depth})"

    def offered(self) -> dict[str, Offer]:
        """Return what the model is offered now."""
        if self.step_tools is None:
            return self.offers
        return {name: self.offers[name] for name in self.step_tools if name in self.offers}

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation so far."""
        return self.conversation.messages

    def begin_question(self) -> None:
        """Count one model call, for this run and those around it.

        Raises:
            AgentLimitError: if it is one more than one of them may have.
        """
        for run in self._upwards():
            most = run.limits.max_model_calls
            if run.tree_questions >= most:
                raise AgentLimitError(
                    f"Agent {run.identity.name!r} and those it delegated to started {most} model calls, including "
                    f"failed and cancelled ones: a run ends after `max_model_calls={most}`. Raise it, or tell the "
                    "models when they are done.",
                    limit="max_model_calls",
                )
        self.questions += 1
        for run in self._upwards():
            run.tree_questions += 1

    def count(self, used: llm.Usage | None) -> None:
        """Count one answer of a model, for this run and those around it; `None` where the provider did not count."""
        for run in self._upwards():
            run.usage = run.usage.counting(used)

    def _upwards(self) -> Iterator[Run]:
        run: Run | None = self
        while run is not None:
            yield run
            run = run.parent

    def tell(self, kind: type[AgentEvent], **facts: Any) -> None:
        """Emit an event, if anybody listens."""
        if self.emit is not None:
            self.emit(kind(agent=self.identity.name or "", depth=self.depth, **facts))

    async def ask(self, phase: Phase, **facts: Any) -> dict[str, Any]:
        """Ask the interceptors, one after the other, and do what they say; returns *facts* as they left them.

        `skip` is added for a call that shall not be made, and `retry` for a model to ask in place of one that failed.

        Raises:
            StopExecution: if one of them stops the run.
        """
        for interceptor in self.interceptors:
            try:
                given: Any = interceptor.intercept(phase, self._shown(phase, facts))
                answer = await given if inspect.isawaitable(given) else given
                if answer is None:
                    continue
                result = _checked(answer, interceptor)
                self.state.update(result.metadata)
                if not result.proceed:
                    raise StopExecution("" if result.final_response is None else result.final_response, result.reason)
            except Exception as exc:
                if (stop := stop_in(exc)) is None:
                    raise
                self.stopped = self.stopped or (phase.value, stop.reason)
                raise stop from None
            self._apply(phase, result, facts)
            if result.skip_action and phase is Phase.PRE_ACT:
                facts["skip"] = result
                break
        return facts

    def _shown(self, phase: Phase, facts: dict[str, Any]) -> InterceptContext:
        shown = {key: facts[key] for key in _SHOWN if key in facts}
        if "tool_args" in shown:
            shown["tool_args"] = plain_copy(shown["tool_args"])
        if "model_response" in shown:
            shown["model_response"] = self.conversation.shown(shown["model_response"])
        return InterceptContext(
            phase=phase,
            agent=self.identity,
            task=self.task.text,
            run_context=self.context,
            messages=self.conversation.view(),
            state=self.state,
            model=self.step_model or self.model,
            tools=tuple(self.offered()),
            model_calls=self.steps,
            tool_calls=len(self.tool_calls),
            input_tokens=self.usage.input_tokens,
            output_tokens=self.usage.output_tokens,
            **shown,
        )

    def _apply(self, phase: Phase, result: InterceptResult, facts: dict[str, Any]) -> None:
        if result.modified_messages is not None:
            self.conversation.replace(result.modified_messages)
        if result.modified_prompt is not None:
            self.conversation.set_prompt(result.modified_prompt)
        if result.modified_tool_args is not None and "tool_args" in facts:
            facts["tool_args"] = dict(result.modified_tool_args)
        if result.modified_tool_result is not None and "tool_result" in facts:
            facts["tool_result"] = result.modified_tool_result
        if phase is Phase.PRE_RUN:
            self.model = result.modified_model or self.model
            if result.modified_tools is not None:
                self.offers = {name: self.offers[name] for name in result.modified_tools if name in self.offers}
        elif phase is Phase.PRE_THINK:
            self.step_model = result.modified_model or self.step_model
            if result.modified_tools is not None:
                self.step_tools = tuple(result.modified_tools)
        elif phase is Phase.ON_ERROR and result.modified_model is not None:
            facts["retry"] = result.modified_model


def current_run(context: Context | None = None) -> Run | None:
    """Return the run that is under way here; `None` outside of runs, and once it is over."""
    run: Any = (get_current() if context is None else context).get(RUN)
    return None if run is None or run.is_over else run


def _checked(answer: object, interceptor: Interceptor) -> InterceptResult:
    if isinstance(answer, InterceptResult):
        return answer
    raise TypeError(
        f"{type(interceptor).__name__}.intercept returned {type(answer).__name__}: a run cannot tell what that means. "
        f"Return an `InterceptResult`, or `None` to go on."
    )


class Permit:
    """One of the places of a run's limiter, given back while its holder waits for another run.

    Used on the run's loop only. A holder may wait for several runs at once, in threads of its own.
    """

    __slots__ = ("_held", "_limiter", "_waits", "is_over", "runs")

    def __init__(self, limiter: asyncio.Semaphore) -> None:
        self._limiter = limiter
        self._held = False
        self._waits = 0
        self.is_over = False
        """Whether the call is over, though a thread of it may go on."""
        self.runs: set[asyncio.Future[Any]] = set()
        """Runs that the call waits for in threads."""

    async def take(self) -> None:
        """Wait for a place, unless the call is over or waits for another run again."""
        if self.is_over:
            return
        await self._limiter.acquire()
        if self._held or self._waits or self.is_over:
            self._limiter.release()
        else:
            self._held = True

    def start_waiting(self) -> None:
        """Leave the place to another."""
        self._waits += 1
        self._leave()

    async def stop_waiting(self) -> None:
        """Take a place again, if nothing else is waited for."""
        self._waits -= 1
        if not self._waits:
            await self.take()

    def end(self) -> None:
        """Give the place back for good: the call is over, and nobody waits for the runs that it delegated."""
        self.is_over = True
        self._leave()
        for run in self.runs:
            run.cancel()

    def _leave(self) -> None:
        if self._held:
            self._held = False
            self._limiter.release()


PERMIT: Final[ContextVar[Permit | None]] = ContextVar("otelier-agents-permit", default=None)
"""The place that the call of a tool holds which is under way."""
