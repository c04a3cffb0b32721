"""Spans of a run: of its steps, waits and calls, and of what users and instrumentors start in its body.

Ids are made of the workflow id and the number of an op, so they are the same in each life: see `_trace`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from time import perf_counter
from typing import Final

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind
from opentelemetry.util.types import AttributeValue
from typing_extensions import Self

from otelier import names
from otelier.errors import RunCancelled, RunParked
from otelier.telemetry import OperationSpan, repeat_spans, replayed
from otelier.workflows._headers import CHAIN, ROOT, USERS, entity_in, fields_header, traced
from otelier.workflows._points import StepPoint, WaitPoint, body_entered, body_left
from otelier.workflows._trace import RunTrace, hashed
from otelier.workflows.engines.protocol import Json, Kind, Op, Run, Target

_NUMBER: Final = re.compile(r"#\d+$")
"""What tells steps of one name apart: on metrics all are one."""


class RunSpans(RunTrace):
    """All spans of one life of a run. In its block the run's context is current."""

    def __init__(self, run: Run, kind: Kind, name: str, payload: Json = None) -> None:
        super().__init__(run, kind, name, payload)
        self._names: Counter[str] = Counter()
        self._named_at = -1

    def __enter__(self) -> Self:
        context_api.attach(replayed(trace.set_span_in_context(self._here, self._fields), self._run.replaying))
        repeat_spans(self)
        body_entered(self._name)
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._stop_timer()
        body_left(self._name)
        if error is not None and isinstance(self._run.stopped, RunCancelled):
            self._close_cancelled(self._run.stopped)
        elif error is not None:
            self._close_blocked()

    # --- spans of the body's own -----------------------------------------------------------------------------------
    def next_span_id(self, name: str) -> int:
        """Return the id of a span that the body starts now outside of steps."""
        self._pass_blocks()
        self._is_late = self._run.stopped is not None
        made = self._run.made()
        if made != self._named_at:
            self._named_at = made
            self._names.clear()
        self._names[name] += 1
        return hashed(self._run.id, f"span/{made}/{self._names[name]}/{name}")

    def start_ns(self) -> int | None:
        """Return when it starts: as recorded in a replay, else now."""
        return self.now_ns if self._run.replaying() else None

    def is_withheld(self) -> bool:
        """Return whether a span that ends now was exported by an earlier life, or will be by a later one."""
        return not self._is_closed and (self._run.replaying() or isinstance(self._run.stopped, RunParked))

    # --- spans of ops ----------------------------------------------------------------------------------------------
    def step(self, step_id: str, op: Op, attributes: Mapping[str, AttributeValue] | None) -> OperationSpan:
        """Return the span of a step that is executed here, to be entered."""
        repeat_spans(None)  # in the step's own task: what it starts, starts once
        operation = self._start(
            f"{names.RUN_STEP} {step_id}",
            self._base(op.began_ns),
            self._where(op),
            SpanKind.INTERNAL,
            attributes,
            start_ns=op.began_ns,
            point=StepPoint(self._name, _NUMBER.sub("", step_id), self._tenant),
        )
        operation.started = perf_counter()  # of this execution, which may not be the first
        if op.executions > 1:
            operation.attributes[names.STEP_EXECUTIONS] = op.executions
        return operation

    def waited(
        self,
        op: Op,
        name: str,
        *,
        link: Link | None = None,
        payload: Json = None,
        is_late: bool = False,
    ) -> None:
        """Export the span of a wait that is over."""
        if self._run.replaying() or op.began_ns is None:
            return
        kind = name.partition(" ")[0]
        operation = self._start(
            f"wait_{name}",
            self._base(op.began_ns),
            self._where(op),
            SpanKind.INTERNAL if kind == "timer" else SpanKind.CONSUMER,
            links=() if link is None else (link,),
            start_ns=op.began_ns,
        )
        if payload is not None:
            operation.show({names.SIGNAL_PAYLOAD: payload})
        for at in self._run.recovered_ns:
            if self._gaps.get(op.number, at) < at < (op.ended_ns or at):  # when no other span of the run was open
                operation.span.add_event(names.WORKFLOW_RECOVERED, timestamp=at)
        operation.end_time_ns = op.ended_ns
        operation.end()
        outcome = "timed_out" if is_late else "elapsed" if kind == "timer" else "received"
        point = WaitPoint(self._name, kind, outcome, self._tenant)
        point.seconds = ((op.ended_ns or op.began_ns) - op.began_ns) / 1e9
        where = operation.span.get_span_context()
        point.span_context = where if where.trace_flags.sampled else None
        point.put()

    def called(self, op: Op, target: Target) -> None:
        """Begin a call, and export its span, the parent of its child's: in any case before the child can begin."""
        self._sent(op, f"{names.CALL} {target.service}/{target.handler}")

    def emitted(self, op: Op, name: str, payload: Json = None) -> None:
        """Send a signal, and export its span."""
        self._sent(op, f"{names.EMIT_SIGNAL} {name}", payload)

    def _sent(self, op: Op, name: str, payload: Json = None) -> None:
        op.start()
        if self._run.replaying():
            return
        at = op.began_ns or self.now_ns  # when the child was started, too, as recorded
        operation = self._start(name, self._base(), self._where(op), SpanKind.PRODUCER, start_ns=at)
        if payload is not None:
            operation.show({names.SIGNAL_PAYLOAD: payload})
        operation.end_time_ns = at
        operation.end()

    def context_of(self, number: int) -> Context:
        """Return the context of the span that the op of a number has or will have."""
        where = self._span_context(hashed(self._run.id, str(number)))
        return trace.set_span_in_context(NonRecordingSpan(where), Context())

    def next_span(self, name: str) -> SpanContext:
        """Return the ids of a span of *name* that the body opens here: the same in each life."""
        return self._span_context(self.next_span_id(name))

    def headers_for(self, number: int, target: Target | None) -> dict[str, str]:
        """Return the headers of a child that the op of *number* calls; *target* is `None` for one that is spawned."""
        mine = self._run.headers
        headers = {USERS: mine[USERS]} if USERS in mine else {}
        headers |= fields_header() | traced(self.context_of(number))
        headers[ROOT] = self.root_run_id
        if target is not None and (chain := self.writes_above()):
            headers[CHAIN] = "\n".join(chain)
        return headers

    def writes_above(self) -> list[str]:
        """Return the entities whose writes wait for what this run does, its own last if it is a write."""
        chain = self._run.headers.get(CHAIN)
        found = [] if chain is None else chain.split("\n")
        return [*found, entity_in(self._run.target)] if self._kind == "write" else found

    def _where(self, op: Op) -> SpanContext:
        return self._span_context(hashed(self._run.id, str(op.number)))
