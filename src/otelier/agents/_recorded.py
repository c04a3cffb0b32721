"""Recorded steps: what each step of a run did is kept as plain data, and a run that begins again finds its place by it.

A record holds what the run reads later: changes of the conversation and of the interceptors' `state`, tokens and calls
so far, and the step's own result, stop or error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast

from opentelemetry.trace import SpanContext

from otelier import llm
from otelier.agents._calls import UNKNOWN, in_a_task, make_call, result_of
from otelier.agents._conversation import same_beginning
from otelier.agents._loop import add_results, think
from otelier.agents._recorded_run import COUNTS, Noted, RecordedRun, note_into
from otelier.agents._results import ToolResult
from otelier.agents._run import Moment, Read, Run
from otelier.agents._stored_errors import error_again, stop_again, stored_error, stored_stop
from otelier.codec import to_plain
from otelier.errors import AnswerError, CodecError
from otelier.interceptors import Phase, StopExecution

Json = Any
Work = Callable[[], Awaitable[Json]]
R = TypeVar("R")


class Recorder(Protocol):
    """Does the steps of a run, each once: what a step returned is kept, and given back where the run begins again.

    Example:
        >>> from otelier.agents import Recorder
        >>> sorted(name for name in vars(Recorder) if name.startswith("do"))
        ['do', 'do_all']
    """

    span_context: SpanContext
    """Ids of the run's span, the same each time."""

    def now_ns(self) -> int:
        """Return the time of what was recorded last, in nanoseconds since the epoch: the same each time."""
        ...

    def is_replaying(self) -> bool:
        """Return whether all that happens here happened before."""
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
    noted: Noted = field(default_factory=Noted)

    async def do(self) -> Json:
        """Do it, and return its record."""
        self.run.settle()
        self.is_done_here = True
        note_into(self.noted)
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
        counted = {"changes": run.changes, "usage": asdict(run.usage), **{name: getattr(run, name) for name in COUNTS}}
        record: dict[str, Json] = {"counts": counted, "value": value}
        noted = self.noted
        if noted.changes:
            record["changes"] = noted.changes
        kept = same_beginning(run.base, run.messages)
        if noted.replaced_at is not None or (self.is_alone and kept < max(len(run.base), len(run.messages))):
            at = noted.replaced_at or run.changes
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
    """Make a call in a task of its own: the run knows that it is given up before the call is cancelled."""
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
