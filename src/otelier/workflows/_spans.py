"""Spans of a run: one trace, whatever crashed; the same ids and times in each life.

Ids are made of the workflow id and the number of an op, times are those of the journal. So what a killed process had
exported, and what the next one exports, fit into one tree, and what is exported twice is the same.

A span that waits is exported too late to be seen: after a wait of 10 s the span of the run is closed where that wait
began, and what follows it hangs under `resume_workflow`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import time_ns
from typing import Any, Final

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags
from opentelemetry.util.types import AttributeValue
from typing_extensions import Self

from otelier import names
from otelier.fields import with_fields
from otelier.redaction import content_gate
from otelier.telemetry import OperationSpan, is_replaying, live, replayed, start_operation
from otelier.workflows._headers import (
    CHAIN,
    CLIENT,
    FIELDS,
    ROOT,
    SAMPLED,
    USERS,
    caller_context,
    run_trace_id,
    stored_headers,
    traced,
)
from otelier.workflows.engines.protocol import Kind, Op, Run, Target

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
    """What is current in a body: stands for the span of the run, which is made when it is closed."""


@dataclass(slots=True)
class _Stretch:
    """A part of a run that is one span: from its start or the end of a long wait, to its end or the next one."""

    name: str
    kind: SpanKind
    span_id: int
    parent: Context = field(repr=False)
    began_ns: int
    is_out: bool = False
    """Whether this life has exported it."""


class RunSpans:
    """All spans of one life of a run. In its block the run's context is current."""

    def __init__(self, run: Run, kind: Kind, name: str) -> None:
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
        if above.is_valid:
            self._trace_id, flags = above.trace_id, above.trace_flags
        else:
            self._trace_id, flags = run_trace_id(run.id), TraceFlags(headers.get(SAMPLED) != "0")
        self._flags = flags
        self._fields = _with_run(caller, run, self.root_run_id)
        started_by_client = SpanKind.CONSUMER if CLIENT in headers else SpanKind.INTERNAL
        self._stretch = _Stretch(
            span_name(kind, name), started_by_client, _hashed(run.id, "run"), self._fields, run.began_ns
        )
        self._root = self._span_context(self._stretch.span_id)
        self._here = _Here(self._root)
        self._open: set[Op] = set()
        """Ops that were begun, and whose result the body has not taken."""
        self.now_ns = run.began_ns
        """Time of what the body has seen last, as recorded: the same in each life."""
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        context_api.attach(self._marked(trace.set_span_in_context(self._here, self._fields)))
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_timer()

    # --- where the body is ---------------------------------------------------------------------------------------
    def catch_up(self) -> None:
        """Let the run's span of now be current, and the mark of a replay be true; a span of the user's stays."""
        current = context_api.get_current()
        span = trace.get_current_span(current)
        if type(span) is _Here and span is not self._here:
            current = trace.set_span_in_context(self._here, current)
        elif is_replaying(current) == self._run.replaying():
            return
        context_api.attach(self._marked(current))

    def waiting(self, ops: tuple[Op, ...]) -> None:
        """Take notice that the body waits for *ops*: one that has begun its last one 10 s ago is closed there."""
        self._open.update(ops)
        if self._timer is None and not self._stretch.is_out and not self._run.replaying():
            self._set_timer(LONG_WAIT_NS)

    def advanced(self, op: Op) -> None:
        """Take notice that the body goes on with *op*."""
        self._stop_timer()
        self._open.discard(op)
        ended = op.ended_ns
        if ended is not None:
            since = self._idle_since(ended)
            if since is not None and ended - since >= LONG_WAIT_NS:
                self._resume(op, since, ended)
            self.now_ns = max(self.now_ns, ended)
        self.catch_up()

    def gave_up(self, op: Op) -> None:
        """Take notice that nobody waits for *op* any more."""
        self._open.discard(op)

    def _idle_since(self, until: int) -> int | None:
        """Return when the body began to do nothing but wait, before *until*; `None` while a step goes on."""
        since = self.now_ns
        for op in self._open:
            began = op.began_ns
            if began is not None and began < until:
                if op.kind == "step":
                    return None
                since = max(since, began)
        return since

    def _set_timer(self, after_ns: int) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(after_ns, 0) / 1e9, self._look)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Close the span if the body has waited long enough; look again later if not."""
        self._timer = None
        now = time_ns()
        since = self._idle_since(now)
        if since is None:
            self._set_timer(LONG_WAIT_NS)
        elif now - since < LONG_WAIT_NS:
            self._set_timer(LONG_WAIT_NS - (now - since))
        else:
            self._close_stretch(since, is_waiting=True)

    def _resume(self, op: Op, since: int, ended: int) -> None:
        if not self._run.replaying():
            self._close_stretch(since, is_waiting=True)
        name = f"{_RESUME.get(self._kind, names.RESUME_FUNCTION)} {self._name}"
        parent = trace.set_span_in_context(NonRecordingSpan(self._root), self._fields)
        span_id = _hashed(self._run.id, f"resume/{op.number}")
        self._stretch = _Stretch(name, SpanKind.INTERNAL, span_id, parent, ended)
        self._here = _Here(self._span_context(span_id))

    def close(self, ended_ns: int | None, failure: BaseException | None) -> None:
        """Export the span of the run, or of what followed its last long wait."""
        self._close_stretch(ended_ns, failure=failure)

    def _close_stretch(
        self, ended_ns: int | None, *, is_waiting: bool = False, failure: BaseException | None = None
    ) -> None:
        stretch = self._stretch
        if stretch.is_out:
            return
        stretch.is_out = True
        operation = self._start(stretch.name, stretch.parent, stretch.span_id, stretch.kind, start_ns=stretch.began_ns)
        if is_waiting:
            operation.attributes[names.RUN_STATE] = "waiting"
        for at in self._run.recovered_ns:
            if stretch.began_ns <= at <= (ended_ns or at):
                operation.span.add_event(names.WORKFLOW_RECOVERED, timestamp=at)
        operation.failure = failure
        operation.end_time_ns = ended_ns
        operation.end()

    # --- spans of ops --------------------------------------------------------------------------------------------
    def step(self, step_id: str, op: Op, attributes: Mapping[str, AttributeValue] | None) -> OperationSpan:
        """Return the span of a step that is executed here, to be entered."""
        base = live(context_api.get_current())
        operation = self._start(
            f"{names.RUN_STEP} {step_id}",
            base,
            self._id_of(op.number),
            SpanKind.INTERNAL,
            attributes,
            start_ns=op.began_ns,
        )
        if op.executions > 1:
            operation.attributes[names.STEP_EXECUTIONS] = op.executions
        return operation

    def waited(self, op: Op, name: str, *, link: Link | None = None, is_late: bool = False) -> None:
        """Export the span of a wait that is over."""
        if self._run.replaying() or op.began_ns is None:
            return
        kind = SpanKind.CONSUMER if name.startswith("signal ") else SpanKind.INTERNAL
        operation = self._start(
            f"wait_{name}",
            context_api.get_current(),
            self._id_of(op.number),
            kind,
            links=() if link is None else (link,),
            start_ns=op.began_ns,
        )
        operation.end_time_ns = op.ended_ns
        operation.end()

    def called(self, op: Op, target: Target) -> None:
        """Export the span of a call that is about to be stored: before that, so that the child has a parent."""
        if not self._run.replaying():
            name = f"{names.CALL} {target.service}/{target.handler}"
            self._start(name, context_api.get_current(), self._id_of(op.number), SpanKind.PRODUCER).end()

    def emitted(self, op: Op, name: str) -> None:
        """Export the span of a signal that is about to be sent."""
        if not self._run.replaying():
            name = f"{names.EMIT_SIGNAL} {name}"
            self._start(name, context_api.get_current(), self._id_of(op.number), SpanKind.PRODUCER).end()

    def context_of(self, number: int) -> Context:
        """Return the context of the span that the op of a number has or will have."""
        return trace.set_span_in_context(NonRecordingSpan(self._span_context(self._id_of(number))), Context())

    def agent(self) -> SpanContext:
        """Return the ids of the span of an agent that begins here."""
        return self._span_context(_hashed(self._run.id, f"agent/{self._run.made()}"))

    def headers_for(self, number: int, target: Target | None) -> dict[str, str]:
        """Return the headers of a child that the op of *number* calls; *target* is `None` for one that is spawned."""
        mine = self._run.headers
        headers = {name: mine[name] for name in (FIELDS, USERS) if name in mine}
        headers |= traced(self.context_of(number))
        headers[ROOT] = self.root_run_id
        if target is not None:
            chain = [mine[CHAIN]] if CHAIN in mine else []
            if self._kind == "write":
                own = self._run.target
                chain.append(f"{own.handler.partition('.')[0]}({own.key!r})")
            if chain:
                headers[CHAIN] = "\n".join(chain)
        return headers

    def _start(
        self,
        name: str,
        base: Context,
        span_id: int,
        kind: SpanKind,
        attributes: Mapping[str, AttributeValue] | None = None,
        *,
        links: tuple[Link, ...] = (),
        start_ns: int | None = None,
    ) -> OperationSpan:
        return start_operation(
            name,
            live(base),
            scope=names.SCOPE_WORKFLOWS,
            kind=kind,
            attributes=attributes,
            links=links,
            start_time_ns=start_ns,
            span_context=self._span_context(span_id),
            gate=content_gate(),
        )

    def _marked(self, context: Context) -> Context:
        return replayed(context) if self._run.replaying() else live(context)

    def _id_of(self, number: int) -> int:
        return _hashed(self._run.id, str(number))

    def _span_context(self, span_id: int) -> SpanContext:
        return SpanContext(self._trace_id, span_id, is_remote=False, trace_flags=self._flags)


def span_name(kind: Kind, name: str) -> str:
    """Return the name of the span of a run."""
    return f"{_INVOKE[kind]} {name}"


def _hashed(run_id: str, what: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{run_id}/{what}".encode()).digest()[:8], "big") or 1


def _with_run(caller: Context, run: Run, root: str) -> Context:
    marked = with_fields(caller, notes={names.RUN_ID: run.id})
    held: Any = run.headers.get(FIELDS)
    return marked if held and '"workflow_id"' in held else with_fields(marked, workflow_id=root)
