"""The trace of a run, and the span of the run itself: of one tree with it in each life, whatever crashed.

Ids are made of the workflow id, times are those of the journal. So what a killed process had exported, and what the
next one exports, fit into one tree, and what is exported twice is the same.

A span that waits is exported too late to be seen: after a wait of 10 s the span of the run is closed where that wait
began, and what follows it hangs under `resume_workflow`.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import time_ns
from typing import Final

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags
from opentelemetry.util.types import AttributeValue

from otelier import names
from otelier.errors import RunCancelled
from otelier.fields import with_fields
from otelier.redaction import content_gate
from otelier.telemetry import OperationSpan, live, start_operation, would_sample
from otelier.workflows._headers import CLIENT, ROOT, caller_context, fields_in, stored_headers
from otelier.workflows._points import StepPoint
from otelier.workflows.engines.protocol import Json, Kind, Op, Outcome, Run
from otelier.workflows.engines.shown import SAMPLED, run_trace_id

LONG_WAIT_NS: Final = 10_000_000_000
"""A wait of so long closes the span of the run."""
_INVOKE: Final[dict[Kind, str]] = {
    "workflow": names.INVOKE_WORKFLOW,
    "function": names.RUN_FUNCTION,
    "write": names.RUN_ENTITY,
    "read": names.RUN_ENTITY,
}
_RESUME: Final[dict[Kind, str]] = {"workflow": names.RESUME_WORKFLOW, "function": names.RESUME_FUNCTION}


class _Here(NonRecordingSpan):
    """What is current in a body: stands for the span of the run, which is made when it is closed.

    After a long wait it stands for the next one, also in contexts that were made before.
    """

    def __init__(self, where: SpanContext) -> None:
        super().__init__(where)
        self.where = where

    def get_span_context(self) -> SpanContext:
        return self.where


@dataclass(slots=True)
class _Stretch:
    """A part of a run that is one span: from its start or the end of a long wait, to its end or the next one."""

    name: str
    kind: SpanKind
    where: SpanContext
    parent: Context = field(repr=False)
    began_ns: int
    is_first: bool = False
    is_out: bool = False
    """Whether this life has exported it."""


class RunTrace:
    """The trace of one life of a run: its ids and fields, and where in it the body is."""

    def __init__(self, run: Run, kind: Kind, name: str, payload: Json = None) -> None:
        self._run = run
        self._kind: Kind = kind
        self._name = name
        headers = run.headers
        self.root_run_id = headers.get(ROOT) or run.id
        """Workflow id of the root of the tree."""
        self.headers = stored_headers(headers)
        """What `ctx.headers()` returns."""
        caller = caller_context(headers)
        self._root = _root_of(run.id, caller, lambda: _is_sampled(run, span_name(kind, name)))
        stored = fields_in(headers)
        self._tenant = stored.get("tenant_id")
        self._fields = with_fields(
            caller, notes={names.RUN_ID: run.id}, workflow_id=None if "workflow_id" in stored else self.root_run_id
        )
        first = SpanKind.CONSUMER if CLIENT in headers else SpanKind.INTERNAL
        self._stretch = _Stretch(span_name(kind, name), first, self._root, self._fields, run.began_ns, is_first=True)
        self._past: list[_Stretch] = []
        """Those that long waits have ended, or that the run was blocked."""
        ended = [(began, ended) for began, ended in run.blocked_ns if ended is not None]
        self._blocks = [(number, *times) for number, times in enumerate(ended, 1)]
        """Times in which the run was blocked, those that the body is not past of."""
        self._gaps: dict[int, int] = {}
        """Since when no span of the run was open, by the op that ended that."""
        self._here = _Here(self._root)
        self._gate = content_gate()
        self._input = payload if self._gate.mode.on_span else None
        self._waiting: tuple[Op, ...] = ()
        """Ops that the body waits for, or has waited for last."""
        self.now_ns = run.began_ns
        """Time of what the body has seen last, as recorded: the same in each life."""
        self._life_ns = time_ns()
        self._timer: asyncio.TimerHandle | None = None
        self._is_late = False
        """Whether the body has begun a span after it was stopped."""
        self._is_closed = False

    # --- where the body is -----------------------------------------------------------------------------------------
    def waiting(self, ops: tuple[Op, ...]) -> None:
        """Take notice that the body waits for *ops*: its span is closed where it has waited for 10 s."""
        self._waiting = ops
        self._pass_blocks()
        if self._timer is None and not self._stretch.is_out:
            self._set_timer(self._heard_by(self.now_ns) - time_ns())

    def advanced(self, op: Op) -> None:
        """Take notice that the body goes on with *op*."""
        self._stop_timer()
        ended = op.ended_ns
        if ended is not None:
            self._pass_blocks(ended)
            if ended - self.now_ns >= LONG_WAIT_NS:  # else no wait was that long, and there may be thousands of ops
                since = self._idle_since(ended)
                if since is not None and ended - since >= LONG_WAIT_NS:
                    self._gaps[op.number] = since
                    self._resume(str(op.number), since, ended)
            self.now_ns = max(self.now_ns, ended)
        # The body was told so late of a wait that was not long, as recorded, that the span was closed: it goes on.
        self._stretch.is_out = False

    def _idle_since(self, until: int) -> int | None:
        """Return when the body began to do nothing but wait, before *until*; `None` while a step goes on."""
        since = self.now_ns
        for op in self._waiting:
            began = op.began_ns
            if began is None or began > until:
                continue
            if op.kind != "step":
                since = max(since, began)
            elif began < until:
                return None
        return since

    def _pass_blocks(self, now_ns: int | None = None) -> None:
        """Take notice of when the run was blocked: what is done after it was resumed is below a span of its own.

        So is what happened at *now_ns* or later, and all that is done for the first time.
        """
        while self._blocks and (not self._run.replaying() or self._blocks[0][2] <= (now_ns or self.now_ns)):
            number, began, ended = self._blocks.pop(0)
            is_idle = any((op.began_ns or began) < began and (op.ended_ns or ended) > began for op in self._waiting)
            since = self._idle_since(began) if is_idle else None
            if since is not None and began - since >= LONG_WAIT_NS:
                self._resume(f"blocked/{number}", since, ended)
            else:
                self._resume(f"blocked/{number}", began, ended, "blocked")
            self.now_ns = max(self.now_ns, ended)

    def _set_timer(self, after_ns: int) -> None:
        self._timer = asyncio.get_running_loop().call_later(max(after_ns, 0) / 1e9, self._look)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, *, is_stored: bool = False) -> None:
        """Close the span if the body has waited long enough; look again later if not."""
        self._timer = None
        if self._run.stopped is not None or self._stretch.is_out:
            return
        self._pass_blocks()
        now = time_ns()
        since = self._idle_since(now)
        if since is None or self._run.replaying() or self._is_over(since):
            self._set_timer(LONG_WAIT_NS)  # a step goes on, or what ended the wait is being recorded
        elif now < self._heard_by(since):
            self._set_timer(self._heard_by(since) - now)
        elif is_stored:
            self._close_stretch(since, "waiting")
        else:
            waiting = self._waiting

            def look() -> None:
                if self._timer is None and self._waiting is waiting:
                    self._look(is_stored=True)

            # A begin that a kill could still undo would be another one in the next life, and so the span's end.
            self._run.when_stored(look)

    def _heard_by(self, since: int) -> int:
        """Return when the body has heard of what ended a wait since then, if that was not long."""
        return max(since + LONG_WAIT_NS, self._life_ns) + self._run.late_ns

    def _is_over(self, since: int) -> bool:
        """Return whether the wait has ended, or ended before it was long and the body has not heard of it yet."""
        waits = [op for op in self._waiting if not op.is_given_up]
        return any(op.ended_ns or (op.due_ns or math.inf) < since + LONG_WAIT_NS for op in waits)

    def _resume(self, what: str, since: int, began_ns: int, state: str = "waiting") -> None:
        if not self._run.replaying():
            self._close_stretch(since, state)
        name = f"{_RESUME.get(self._kind, names.RESUME_FUNCTION)} {self._name}"
        where = self._span_context(hashed(self._run.id, f"resume/{what}"))
        parent = trace.set_span_in_context(NonRecordingSpan(self._root), self._fields)
        self._past.append(self._stretch)
        self._stretch = _Stretch(name, SpanKind.INTERNAL, where, parent, began_ns)
        self._here.where = where

    def close(self, ended_ns: int | None, outcome: Outcome, failure: BaseException | None) -> None:
        """Export the span of the run, or of what followed its last long wait."""
        self._close_stretch(ended_ns, "completed" if outcome[0] else "failed", outcome, failure)
        self._is_closed = True

    def _close_cancelled(self, error: RunCancelled) -> None:
        # What the body did before it was told is recorded, too; what it does in its `finally` is not.
        seen = [self.now_ns, self._run.cancelled_ns or 0, *(op.began_ns or 0 for op in self._waiting)]
        ended = time_ns() if self._is_late else max(seen)
        if self._stretch.is_out and self._waiting:  # in the midst of a long wait
            self._resume(str(self._waiting[0].number), ended, ended)
        self._close_stretch(ended, "cancelled", failure=error)
        self._is_closed = True

    def _close_blocked(self) -> None:
        """Export the span that was open when the run was blocked, once that is recorded."""
        began, ended = self._run.blocked_ns[-1] if self._run.blocked_ns else (0, 0)
        # What stands in the journal beyond the mismatch may have closed that span already, if it lasted long.
        if ended is None and self._run.longest_ahead_ns(began) < LONG_WAIT_NS:
            self._pass_blocks(began)
            self._run.when_stored(lambda: self._close_stretch(began, "blocked"))

    def _close_stretch(
        self, ended_ns: int | None, state: str, outcome: Outcome | None = None, failure: BaseException | None = None
    ) -> None:
        stretch = self._stretch
        if stretch.is_out:
            return
        stretch.is_out = True
        operation = self._start(stretch.name, stretch.parent, stretch.where, stretch.kind, start_ns=stretch.began_ns)
        operation.attributes[names.RUN_STATE] = state
        for at in self._run.recovered_ns:
            if stretch.began_ns <= at <= (ended_ns or at):
                operation.span.add_event(names.WORKFLOW_RECOVERED, timestamp=at)
        if stretch.is_first:
            operation.show({names.RUN_INPUT: self._input})
        if outcome is not None and outcome[0]:
            operation.show({names.RUN_RESULT: outcome[1]})
        if isinstance(failure, RunCancelled):
            operation.attributes[names.CANCELLED] = True
        else:
            operation.failure = failure
        operation.end_time_ns = ended_ns
        token = context_api.attach(operation.base)  # the run may have been stopped in the midst of its replay
        operation.end()
        context_api.detach(token)

    # --- spans of the run ------------------------------------------------------------------------------------------
    def _base(self, began_ns: int | None = None) -> Context:
        """Return the context of an op's span: below the body's open span, else below that of the run at that time."""
        current = context_api.get_current()
        where = trace.get_current_span(current).get_span_context()
        stretches = (self._stretch, *reversed(self._past))
        is_ours = where.trace_id == self._root.trace_id and all(where.span_id != one.where.span_id for one in stretches)
        if not is_ours or where.trace_flags.sampled < self._root.trace_flags.sampled:
            # A span of another trace, or one that is not exported, would leave it without a parent.
            within = next((one for one in stretches if began_ns is None or one.began_ns <= began_ns), self._stretch)
            current = trace.set_span_in_context(NonRecordingSpan(within.where), current)
        return current

    def _start(
        self,
        name: str,
        base: Context,
        where: SpanContext,
        kind: SpanKind,
        attributes: Mapping[str, AttributeValue] | None = None,
        *,
        links: tuple[Link, ...] = (),
        start_ns: int | None = None,
        point: StepPoint | None = None,
    ) -> OperationSpan:
        return start_operation(
            name,
            live(base),
            point,
            scope=names.SCOPE_WORKFLOWS,
            kind=kind,
            attributes={names.RUN_ID: self._run.id, **(attributes or {})},
            links=links,
            start_time_ns=start_ns,
            span_context=where,
            gate=self._gate,
        )

    def _span_context(self, span_id: int) -> SpanContext:
        root = self._root
        return SpanContext(root.trace_id, span_id, False, root.trace_flags, root.trace_state)


def span_name(kind: Kind, name: str) -> str:
    """Return the name of the span of a run."""
    return f"{_INVOKE[kind]} {name}"


def hashed(run_id: str, what: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{run_id}/{what}".encode("utf-8", "surrogatepass")).digest()[:8], "big") or 1


def link_caller(run_id: str, given: Mapping[str, str], found: Mapping[str, str] | None) -> None:
    """Link the span that is current to the run that its start has *found*, by the headers that are stored with it.

    It has one where another span started that run: what a run exports is fixed by its journal, and names one caller.
    """
    if found is None or found.get("traceparent") == given.get("traceparent"):
        return
    where = _root_of(run_id, caller_context(found), lambda: found.get(SAMPLED) != "0", is_remote=True)
    trace.get_current_span().add_link(where, {names.RUN_ID: run_id})


def _root_of(run_id: str, caller: Context, is_sampled: Callable[[], bool], *, is_remote: bool = False) -> SpanContext:
    """Return where the span of a run is: in the trace of its caller's span, else in a trace of its own."""
    span_id, above = hashed(run_id, "run"), trace.get_current_span(caller).get_span_context()
    if above.is_valid:
        return SpanContext(above.trace_id, span_id, is_remote, above.trace_flags, above.trace_state)
    return SpanContext(run_trace_id(run_id), span_id, is_remote, TraceFlags(is_sampled()))


def _is_sampled(run: Run, name: str) -> bool:
    flag = run.headers.get(SAMPLED)
    if flag is not None:
        return flag == "1"
    # Who started it had no sampler to ask. Those that go by the trace id say the same in each life.
    return would_sample(names.SCOPE_WORKFLOWS, run_trace_id(run.id), name, {names.RUN_ID: run.id}) is not False
