"""The trace of a run, and the span of the run itself: of one tree with it in each life, whatever crashed.

Ids are made of the workflow id, times are those of the journal. So what a killed process had exported, and what the
next one exports, fit into one tree, and what is exported twice is the same.

A span that waits is exported too late to be seen: after a wait of 10 s the span of the run is closed where that wait
began, and what follows it hangs under `resume_workflow`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
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
from otelier.workflows._headers import CLIENT, ROOT, SAMPLED, caller_context, fields_in, run_trace_id, stored_headers
from otelier.workflows._points import StepPoint
from otelier.workflows.engines.protocol import Json, Kind, Op, Outcome, Run

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
        above = trace.get_current_span(caller).get_span_context()
        self._state = above.trace_state
        if above.is_valid:
            self._trace_id, self._flags = above.trace_id, above.trace_flags
        else:
            self._trace_id = run_trace_id(run.id)
            self._flags = TraceFlags(_is_sampled(run, self._trace_id, span_name(kind, name)))
        stored = fields_in(headers)
        self._tenant = stored.get("tenant_id")
        self._fields = with_fields(
            caller, notes={names.RUN_ID: run.id}, workflow_id=None if "workflow_id" in stored else self.root_run_id
        )
        first = SpanKind.CONSUMER if CLIENT in headers else SpanKind.INTERNAL
        self._root = self._span_context(hashed(run.id, "run"))
        self._stretch = _Stretch(span_name(kind, name), first, self._root, self._fields, run.began_ns, is_first=True)
        self._past: list[_Stretch] = []
        """Those that long waits have ended."""
        self._here = _Here(self._root)
        self._gate = content_gate()
        self._input = payload if self._gate.mode.on_span else None
        self._waiting: tuple[Op, ...] = ()
        """Ops that the body waits for, or has waited for last."""
        self.now_ns = run.began_ns
        """Time of what the body has seen last, as recorded: the same in each life."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    # --- where the body is -----------------------------------------------------------------------------------------
    def waiting(self, ops: tuple[Op, ...]) -> None:
        """Take notice that the body waits for *ops*: its span is closed where it has waited for 10 s."""
        self._waiting = ops
        if self._timer is None and not self._stretch.is_out:
            self._set_timer(self.now_ns + LONG_WAIT_NS - time_ns())

    def advanced(self, op: Op) -> None:
        """Take notice that the body goes on with *op*."""
        self._stop_timer()
        ended = op.ended_ns
        if ended is not None:
            since = self._idle_since(ended)
            if since is not None and ended - since >= LONG_WAIT_NS:
                self._resume(op, since, ended)
            self.now_ns = max(self.now_ns, ended)

    def _idle_since(self, until: int) -> int | None:
        """Return when the body began to do nothing but wait, before *until*; `None` while a step goes on."""
        since = self.now_ns
        for op in self._waiting:
            began = op.began_ns
            if began is not None and began < until:
                if op.kind == "step":
                    return None
                since = max(since, began)
        return since

    def _set_timer(self, after_ns: int) -> None:
        self._timer = asyncio.get_running_loop().call_later(max(after_ns, 0) / 1e9, self._look)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Close the span if the body has waited long enough; look again later if not."""
        self._timer = None
        if self._run.stopped is not None:
            return
        now = time_ns()
        since = self._idle_since(now)
        if since is None or self._run.replaying() or any(op.ended_ns is not None for op in self._waiting):
            self._set_timer(LONG_WAIT_NS)  # a step goes on, or what ended the wait is being recorded
        elif now - since < LONG_WAIT_NS:
            self._set_timer(LONG_WAIT_NS - (now - since))
        else:
            self._close_stretch(since, "waiting")

    def _resume(self, op: Op, since: int, began_ns: int) -> None:
        if not self._run.replaying():
            self._close_stretch(since, "waiting")
        name = f"{_RESUME.get(self._kind, names.RESUME_FUNCTION)} {self._name}"
        where = self._span_context(hashed(self._run.id, f"resume/{op.number}"))
        parent = trace.set_span_in_context(NonRecordingSpan(self._root), self._fields)
        self._past.append(self._stretch)
        self._stretch = _Stretch(name, SpanKind.INTERNAL, where, parent, began_ns)
        self._here.where = where

    def close(self, ended_ns: int | None, outcome: Outcome, failure: BaseException | None) -> None:
        """Export the span of the run, or of what followed its last long wait."""
        self._close_stretch(ended_ns, "completed" if outcome[0] else "failed", outcome, failure)
        self._is_closed = True

    def _close_cancelled(self, error: RunCancelled) -> None:
        if self._stretch.is_out and self._waiting:  # in the midst of a long wait
            now = time_ns()
            self._resume(self._waiting[0], now, now)
        self._close_stretch(None, "cancelled", failure=error)
        self._is_closed = True

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
        operation.end()

    # --- spans of the run ------------------------------------------------------------------------------------------
    def _base(self, began_ns: int | None = None) -> Context:
        """Return the context of an op's span: below the body's open span, else below that of the run at that time."""
        current = context_api.get_current()
        where = trace.get_current_span(current).get_span_context()
        stretches = (self._stretch, *reversed(self._past))
        is_ours = where.trace_id == self._trace_id and all(where.span_id != one.where.span_id for one in stretches)
        if not is_ours or where.trace_flags.sampled < self._flags.sampled:
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
        return SpanContext(self._trace_id, span_id, False, self._flags, self._state)


def span_name(kind: Kind, name: str) -> str:
    """Return the name of the span of a run."""
    return f"{_INVOKE[kind]} {name}"


def hashed(run_id: str, what: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{run_id}/{what}".encode()).digest()[:8], "big") or 1


def _is_sampled(run: Run, trace_id: int, name: str) -> bool:
    flag = run.headers.get(SAMPLED)
    if flag is not None:
        return flag == "1"
    # Who started it had no sampler to ask. Those that go by the trace id say the same in each life.
    return would_sample(names.SCOPE_WORKFLOWS, trace_id, name, {names.RUN_ID: run.id}) is not False
