"""Recorded runs: what each step did is kept as plain data, and a run that begins again finds its place by it.

A record holds what the run reads later: changes of the conversation and of the interceptors' `state`, tokens and calls
so far, and the step's own result, stop or error. Calls of one answer are made at once, so each change has a number, and
is made again in that order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar, cast

from opentelemetry.trace import SpanContext

from otelier import llm
from otelier.agents._calls import UNKNOWN, in_a_task, make_call, result_of
from otelier.agents._conversation import Message, same_beginning
from otelier.agents._loop import add_results, think
from otelier.agents._results import RunUsage, ToolResult
from otelier.agents._run import Moment, Read, Run
from otelier.agents._stored_errors import error_again, stop_again, stored_error, stored_stop
from otelier.codec import to_plain
from otelier.errors import AnswerError, CodecError
from otelier.interceptors import Phase, StopExecution

Json = Any
Work = Callable[[], Awaitable[Json]]
R = TypeVar("R")


class Recorder(Protocol):
    """Does the steps of a run, each once: what a step returned is kept, and given back where the run begins again."""

    span_context: SpanContext
    """Ids of the run's span, the same each time."""

    def now_ns(self) -> int:
        """Return the time of what was recorded last, in nanoseconds since the epoch: the same each time."""
        ...

    def is_replaying(self) -> bool:
        """Tell whether all that happens here happened before."""
        ...

    async def do(self, name: str, work: Work) -> Json:
        """Return what *work* returns, or returned: plain data."""
        ...

    async def do_all(self, works: Sequence[tuple[str, Work]], seen: Callable[[int, Json], bool]) -> None:
        """Do all of *works* at once; what each returned goes to *seen*, with its number, in the order of their ends.

        Once *seen* returns `False`, the others are given up: those that go on are cancelled, and none is begun.
        """
        ...

    def error_of(self, stored: Mapping[str, Json]) -> BaseException:
        """Return the error that `otelier.codec.error_to_json` made *stored* of, or what stands for it."""
        ...


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class RecordedRun(Run):
    """A run whose steps are recorded."""

    changes: int = 0
    """How often interceptors were asked: the number of the next change is one more."""
    known: list[Json] = field(default_factory=list[Json])
    """Changes of `state` by earlier lives that are not made here yet."""
    base: list[Message] = field(default_factory=list[Message])
    """The conversation when the step, or the calls of an answer, began."""
    replaced: tuple[int, list[Message]] | None = None
    """The conversation that an earlier life left, with the number of its change, where it is not restored yet."""
    replaced_at: int = 0
    live_error: tuple[BaseException, BaseException] | None = None
    """The error that the last step ended with, and what was raised here in its place."""
    under_way: list[asyncio.Future[Any]] = field(default_factory=list[asyncio.Future[Any]])
    """Calls that are made here."""

    async def ask(self, phase: Phase, moment: Moment | None = None) -> None:
        """Ask the interceptors, and note what they changed; what has no form in JSON is refused at once."""
        if not self.spec.interceptors:
            return
        moment = Moment() if moment is None else moment
        state, messages = self.plain_state(), list(self.messages)
        try:
            await Run.ask(self, phase, moment)
        finally:
            self._note(state, messages)
        if phase is Phase.PRE_ACT:
            moment.arguments = to_plain(moment.arguments, what=f"the arguments of tool {moment.tool_name!r}")

    def plain_state(self) -> dict[str, Json]:
        """Return the interceptors' state as plain data; a key that is an interceptor is its place among them.

        Raises:
            CodecError: if it has no form in JSON.
        """
        return {self._key_of(key): to_plain(value, what=self._state_name()) for key, value in self.state.items()}

    def _state_name(self) -> str:
        return f"the `state` of the interceptors of agent {self.spec.name!r}"

    def _key_of(self, key: object) -> str:
        if isinstance(key, str):
            return f"={key}"
        for place, interceptor in enumerate(self.spec.interceptors):
            if interceptor is key:
                return f"#{place}"
        raise CodecError(
            f"Cannot store {self._state_name()}: it has a key of type {type(key).__name__}, which is not found again "
            f"after a crash. Use a text, or the interceptor itself.",
            problem="a key of another type",
        )

    def _key_in(self, name: str) -> object:
        return name[1:] if name[0] == "=" else self.spec.interceptors[int(name[1:])]

    def _note(self, state: Mapping[str, Json], messages: Sequence[Message]) -> None:
        self.changes += 1
        part, now = _PART.get(), self.plain_state()
        changed = {key: value for key, value in now.items() if key not in state or state[key] != value}
        removed = [key for key in state if key not in now]
        if changed or removed:
            part.changes.append([self.changes, changed, removed])
        for name, value in changed.items():
            if self.state[key := self._key_in(name)] != value:
                self.state[key] = value  # a list in place of a tuple: as it will be found again
        kept = same_beginning(self.messages, messages)
        if kept < max(len(self.messages), len(messages)):
            self.conversation.restore([*self.messages[:kept], *to_plain(self.messages[kept:], what="a conversation")])
            part.replaced_at = self.replaced_at = self.changes

    def take(self, record: Mapping[str, Json]) -> None:
        """Take what a step of an earlier life did."""
        counted = record["counts"]
        self.known += record.get("changes", ())
        if (replaced := record.get("messages")) is not None:
            at, kept, messages = replaced
            if at >= self.replaced_at:
                self.replaced_at, self.replaced = at, (at, [*self.base[:kept], *messages])
        self.changes = max(self.changes, counted["changes"])
        for name in _COUNTS:
            setattr(self, name, max(getattr(self, name), counted[name]))
        before = asdict(self.usage)
        self.usage = RunUsage(**{name: max(before[name], count) for name, count in counted["usage"].items()})
        if (chosen := record.get("chosen")) is not None:
            tools, step_tools = chosen["tools"], chosen["step_tools"]
            self.model, self.step_model = chosen["model"], chosen["step_model"]
            self.tools = {name: self.spec.tools[name] for name in tools if name in self.spec.tools}
            self.step_tools = None if step_tools is None else tuple(step_tools)

    def settle(self) -> None:
        """Make the changes that were taken, in their order."""
        for _, changed, removed in sorted(self.known, key=lambda change: change[0]):
            self.state.update((self._key_in(name), value) for name, value in changed.items())
            for name in removed:
                self.state.pop(self._key_in(name), None)
        self.known.clear()
        if self.replaced is not None:
            self.conversation.restore(self.replaced[1])
            self.replaced = None


_COUNTS: Final = ("answers", "model_calls", "tree_model_calls", "executed_tools")
"""Numbers of a run that only grow: those of a record are how far all steps, which go on at once, had come."""


@dataclass(slots=True, eq=False)
class _Part(Generic[R]):
    """One step: how it is done, and how its result is stored and read."""

    run: RecordedRun
    error_of: Callable[[Mapping[str, Json]], BaseException]
    work: Callable[[], Awaitable[R]]
    dump: Callable[[R], Json]
    load: Callable[[Json], R]
    is_alone: bool = True
    """Whether no other step goes on beside it: all that the run changes is its doing."""
    is_done_here: bool = False
    raised: Exception | None = None
    """What it raised here."""
    changes: list[Json] = field(default_factory=list[Json])
    replaced_at: int | None = None
    """Number of its last change of the conversation; `None` if it made none."""

    async def do(self) -> Json:
        """Do it, and return its record."""
        self.run.settle()
        self.is_done_here = True
        _PART.set(self)
        value: Json = None
        try:
            value = self.dump(await self.work())
        except Exception as exc:
            self.raised = exc
        try:
            return self._record(value)
        except CodecError as exc:
            self.raised = exc
            return self._record(None)

    def _record(self, value: Json) -> Json:
        run = self.run
        counted = {"changes": run.changes, "usage": asdict(run.usage), **{name: getattr(run, name) for name in _COUNTS}}
        record: dict[str, Json] = {"counts": counted, "value": value}
        if self.changes:
            record["changes"] = self.changes
        kept = same_beginning(run.base, run.messages)
        if self.replaced_at is not None or (self.is_alone and kept < max(len(run.base), len(run.messages))):
            at = self.replaced_at or run.changes
            record["messages"] = [at, kept, to_plain(run.messages[kept:], what="a conversation")]
        if self.is_alone:
            chosen = {"model": run.model, "tools": [*run.tools], "step_model": run.step_model}
            record["chosen"] = {**chosen, "step_tools": None if run.step_tools is None else [*run.step_tools]}
        if self.raised is not None:
            record["raised"] = self._stored_raised(self.raised)
        return record

    def _stored_raised(self, raised: Exception) -> Json:
        run = self.run
        if not isinstance(raised, StopExecution):
            return {"error": stored_error(raised), "is_question": raised is run.failed_question}
        stopped = to_plain(run.stopped, what="the reason of a stop")
        return {"stop": stored_stop(raised, run.spec.output_type), "stopped": stopped}

    def result(self, record: Mapping[str, Json]) -> R:
        """Return the step's result, or raise what ended it, as *record* has it: here and in each later life."""
        if not self.is_done_here:
            self.run.take(record)
        if self.is_alone:
            self.run.settle()
        raised = record.get("raised")
        if raised is None:
            return self.load(record["value"])
        run = self.run
        if "stop" in raised:
            run.stopped = None if raised["stopped"] is None else tuple(raised["stopped"])
            raise stop_again(raised["stop"], run.spec.output_type)
        error = cast("Exception", error_again(raised["error"], self.error_of))
        run.failed_question = error if raised["is_question"] else None
        run.live_error = None if self.raised is None else (error, self.raised)
        raise error from self.raised


_PART: Final[ContextVar[_Part[Any]]] = ContextVar("otelier-agents-part")
"""The step that is done here."""


class RecordedSteps:
    """Has the steps of a run done by a recorder."""

    run_class: ClassVar[type[Run]] = RecordedRun

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.span_context = recorder.span_context
        self.now_ns = recorder.now_ns
        self.is_replaying = recorder.is_replaying

    async def think(self, run: Run, *, again: bool) -> Read:
        """Ask the model."""
        run = cast("RecordedRun", run)
        work = partial(think, run, again=again)
        return await self._alone(run, "think", work, partial(_dump_read, run), partial(self._load_read, run))

    async def ask(self, run: Run, phase: Phase, moment: Moment) -> None:
        """Ask the interceptors, if there are any."""
        if not run.spec.interceptors:
            return
        run = cast("RecordedRun", run)
        if run.live_error is not None and moment.error is run.live_error[0]:
            moment.error = run.live_error[1]

        def load(value: Json) -> None:
            moment.retry_model = value

        await self._alone(run, phase.value, partial(run.ask, phase, moment), lambda _: moment.retry_model, load)

    async def call(self, run: Run, calls: Sequence[llm.ToolCall]) -> None:
        """Make the calls of one answer at once."""
        run = cast("RecordedRun", run)
        run.base = list(run.messages)
        offered, error_of = run.offered_tools(), self._recorder.error_of
        parts = [
            _Part(run, error_of, partial(_called, run, one), _dump_call, partial(self._load_call, one), is_alone=False)
            for one in calls
        ]
        step_names = [one.name if one.name in offered else UNKNOWN for one in calls]
        done: dict[int, ToolResult] = {}
        ended_by: list[Exception] = []

        def seen(number: int, record: Json) -> bool:
            try:
                done[number] = parts[number].result(record)
            except Exception as exc:
                ended_by.append(exc)
            return not ended_by

        try:
            works = [(name, part.do) for name, part in zip(step_names, parts)]
            await _unreported(run, self._recorder.do_all(works, seen))
        finally:
            await _given_up(run)
            run.settle()
            add_results(run, [done[number] for number in sorted(done)])
        if ended_by:
            raise ended_by[0]

    async def _alone(
        self,
        run: RecordedRun,
        name: str,
        work: Callable[[], Awaitable[R]],
        dump: Callable[[R], Json],
        load: Callable[[Json], R],
    ) -> R:
        run.base = list(run.messages)
        part = _Part(run, self._recorder.error_of, work, dump, load)
        return part.result(await _unreported(run, self._recorder.do(name, part.do)))

    def _load_read(self, run: RecordedRun, value: Json) -> Read:
        if "fault" in value:
            fault = cast("AnswerError", error_again(value["fault"], self._recorder.error_of))
            return fault.answer, fault
        fault = None
        try:
            answer = llm.read_message(value["message"] or run.messages[-1], schema=run.spec.output_type)
        except AnswerError as exc:  # by a validator that judges otherwise than before
            answer, fault = cast("llm.Answer[Any]", exc.answer), exc
        usage = None if value["usage"] is None else llm.Usage(**value["usage"])
        said = {name: value[name] for name in ("finish_reason", "model", "id")}
        return replace(answer, usage=usage, **said), fault

    def _load_call(self, asked: llm.ToolCall, value: Json) -> ToolResult:
        error = None if value["error"] is None else error_again(value["error"], self._recorder.error_of)
        return ToolResult(
            id=asked.id, name=asked.name, arguments=value["arguments"], result=value["result"], error=error
        )


async def _unreported(run: Run, recorded: Awaitable[R]) -> R:
    """Wait for a recorder; what it raises itself is no error of the run, and interceptors are not asked about it."""
    try:
        return await recorded
    except Exception as exc:
        run.reported_error = exc
        raise


def _dump_read(run: Run, read: Read) -> Json:
    answer, fault = read
    if fault is not None:
        return {"fault": stored_error(fault)}
    is_last = bool(run.messages) and run.messages[-1] == answer.message
    return {
        "message": None if is_last else to_plain(answer.message, what="an answer"),
        "finish_reason": answer.finish_reason,
        "model": answer.model,
        "id": answer.id,
        "usage": None if answer.usage is None else asdict(answer.usage),
    }


def _dump_call(call: ToolResult) -> Json:
    stored = {"arguments": call.arguments, "result": call.result}
    return {
        **to_plain(stored, what=f"a call of tool {call.name!r}"),
        "error": None if call.error is None else stored_error(call.error),
    }


async def _called(run: RecordedRun, asked: llm.ToolCall) -> ToolResult:
    """Make a call in a task of its own: one that is given up is told so before it is cancelled."""
    task = asyncio.ensure_future(in_a_task(make_call(run, asked)))
    run.under_way.append(task)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        await _cancelled(run, [task])
        raise
    return result_of(task)


async def _given_up(run: RecordedRun) -> None:
    """End the calls that go on here, and what tools delegated from their threads."""
    pending = [task for task in (*run.under_way, *run.delegated) if not task.done()]
    if pending:
        await _cancelled(run, pending)
    run.under_way.clear()
    run.is_giving_up = False


async def _cancelled(run: RecordedRun, tasks: Sequence[asyncio.Future[Any]]) -> None:
    run.is_giving_up = True
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
