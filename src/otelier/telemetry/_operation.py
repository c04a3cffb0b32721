"""Operation spans: one operation of ours from its start to its end, as a span and as one metric point.

Runs of agents and calls of tools are operations; so are the steps and waits of a workflow, and the turns of a session.
A call of a model is written out in `otelier.openai`, where each function costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter, time_ns
from typing import Any, Generic, TypeVar

from opentelemetry import trace
from opentelemetry.context import Context, attach, get_current
from opentelemetry.trace import INVALID_SPAN, Link, NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags
from opentelemetry.util.types import AttributeValue
from typing_extensions import Self

from otelier import names
from otelier.faults import report_fault
from otelier.redaction import MOST_ON_A_LOOP, ContentGate, TooLongError, copied
from otelier.telemetry._aside import do_aside
from otelier.telemetry._bounds import within_cardinality
from otelier.telemetry._failures import Failure, failure_of, is_leaving
from otelier.telemetry._metering import Metering
from otelier.telemetry._providers import tracer_for
from otelier.telemetry._sdk_spans import forced_span_context, withhold_span
from otelier.telemetry._spans import end_span
from otelier.telemetry._suppression import is_replaying

Instruments = TypeVar("Instruments")


class OperationPoint(Generic[Instruments]):
    """Measurements of one operation: `record_on` is called at collection, with the instruments of that time.

    Example:
        >>> from otelier.telemetry import Metering
        >>> metering = Metering("otelier.docs", lambda meter: meter.create_histogram("docs.duration", unit="s"))
        >>> class Point(OperationPoint):
        ...     __slots__ = ()
        ...     def record_on(self, instruments, context):
        ...         instruments.record(self.seconds, self.error_attributes(), context)
        >>> with start_operation("work", get_current(), Point(metering), scope="otelier.docs"):
        ...     pass
    """

    __slots__ = ("_instruments", "_metering", "error", "seconds", "span_context")

    def __init__(self, metering: Metering[Instruments]) -> None:
        self._metering = metering
        self._instruments: Instruments | None = None
        self.seconds = 0.0
        """Duration."""
        self.error: str | None = None
        """Value of `error.type`; `None` where nothing failed."""
        self.span_context: SpanContext | None = None
        """Span that exemplars point to; `None` when it is not sampled."""

    def put(self) -> None:
        """Let it wait for collection; never raises."""
        try:
            self._instruments, queue = self._metering.now()
            queue.put(self)
        except Exception as exc:
            report_fault("telemetry.operation", exc)

    def record(self, context: Context) -> None:
        """Record all of it with *context*; the queue calls this."""
        if self._instruments is not None:
            self.record_on(self._instruments, context)

    def record_on(self, instruments: Instruments, context: Context) -> None:
        """Record all of it on *instruments* with *context*."""
        raise NotImplementedError

    def error_attributes(self) -> dict[str, AttributeValue]:
        """Return `error.type` as metrics may carry it; nothing where nothing failed."""
        if self.error is None:
            return {}
        return {names.ERROR_TYPE: self.error if within_cardinality(names.ERROR_TYPE, self.error) else names.OTHER}


@dataclass(slots=True)
class OperationSpan:
    """The span of an open operation, and what is written when it ends.

    In a `with` statement the span is current in *base* while the block runs, and ends with it, however that ends.
    """

    span: Span
    base: Context = field(repr=False)
    """Parent and fields."""
    point: OperationPoint[Any] | None
    """Its measurements; `None` for none."""
    gate: ContentGate | None = None
    """Gate for its content and error messages; `None` lets none through."""
    is_failure: Callable[[BaseException], bool] = field(default=lambda _: True, repr=False)
    """Whether an exception that ends the block is a failure."""
    attributes: dict[str, AttributeValue] = field(default_factory=dict[str, AttributeValue], repr=False)
    """Attributes learned since the start; written at the end, all at once."""
    failure: BaseException | Failure | None = field(default=None, repr=False)
    """A failure that does not end the block."""
    end_time_ns: int | None = None
    """Time of its end, in nanoseconds since the epoch; `None` is the end of the block."""
    withheld: bool = False
    """Whether neither span nor point goes out, because the operation will be made again: its span ends without its
    sampled flag. So does one with ids of its own that ends in a replay."""
    started: float = field(default_factory=perf_counter)
    _is_repeated: bool = False
    """Whether its ids were given, so that it may be made again."""
    _late: dict[str, object] = field(default_factory=dict[str, object], repr=False)
    """Content, as it was when shown, whose redaction would hold up the event loop."""
    _former: Context | None = field(default=None, repr=False)
    """Context that is current again after the block."""
    _ended: bool = field(default=False, repr=False)

    def __enter__(self) -> Self:
        self._former = get_current()
        attach(trace.set_span_in_context(self.span, self.base))
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.end(error)
        if isinstance(error, GeneratorExit) and trace.get_current_span() is not self.span:
            return  # a coroutine that is closed in some other context than it ran in: that one stays as it is
        if self._former is not None:
            # Whatever was attached inside and left there; a token would be refused then, and logged.
            attach(self._former)

    def show(self, content: Mapping[str, object]) -> None:
        """Put *content*, by attribute, onto the span where spans carry content; never raises."""
        gate = self.gate
        if gate is None or not gate.mode.on_span or not self.span.is_recording():
            return
        try:
            self.attributes.update(_written(gate, content, MOST_ON_A_LOOP))
        except TooLongError:
            self._late.update((name, copied(value, gate.max_chars)) for name, value in content.items())
        except Exception as exc:
            report_fault("telemetry.content", exc)

    def end(self, error: BaseException | None = None) -> None:
        """End the span and queue its point, once; *error* is what ended its block. Never raises."""
        if self._ended:
            return
        self._ended = True
        withheld = self.withheld or (self._is_repeated and is_replaying())
        point = None if withheld else self.point
        try:
            if withheld and self.span.is_recording():
                withhold_span(self.span)
            failure = self.failure if error is None or not self.is_failure(error) else error
            if failure is not None and not is_leaving(failure):
                failure = failure_of(failure)  # once, for the point and the span
            if point is not None:
                self._measure(point, failure)
            end_time_ns = self.end_time_ns
            if not self._late or not self._end_aside(failure, time_ns() if end_time_ns is None else end_time_ns):
                self._end(failure, end_time_ns)
        except Exception as exc:
            report_fault("telemetry.operation", exc)
            self._end(error, self.end_time_ns)
        if point is not None:
            point.put()

    def _measure(self, point: OperationPoint[Any], failure: BaseException | Failure | None) -> None:
        ended = perf_counter()
        if self.end_time_ns is not None:
            ended -= (time_ns() - self.end_time_ns) / 1e9
        point.seconds = max(ended - self.started, 0.0)
        where = self.span.get_span_context()
        if where.trace_flags & TraceFlags.SAMPLED:
            point.span_context = where
        if isinstance(failure, Failure):
            point.error = failure.type

    def _end_aside(self, failure: BaseException | Failure | None, end_time_ns: int) -> bool:
        def end() -> None:
            try:
                if self.gate is not None:
                    self.attributes.update(_written(self.gate, self._late, None))
            except Exception as exc:
                report_fault("telemetry.content", exc)
            finally:
                self._end(failure, end_time_ns)

        return do_aside(end)

    def _end(self, failure: BaseException | Failure | None, end_time_ns: int | None) -> None:
        end_span(self.span, self.attributes, failure=failure, gate=self.gate, end_time_ns=end_time_ns)


def start_operation(
    name: str,
    base: Context,
    point: OperationPoint[Any] | None = None,
    *,
    scope: str,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Mapping[str, AttributeValue] | None = None,
    links: Sequence[Link] = (),
    start_time_ns: int | None = None,
    span_context: SpanContext | None = None,
    gate: ContentGate | None = None,
    is_failure: Callable[[BaseException], bool] | None = None,
) -> OperationSpan:
    """Start an operation: it ends with a `with` block, or whoever starts it calls its `end`. Never raises.

    Where *base* is replayed the span records nothing and stands for its parent, and nothing is measured.

    Args:
        name: The span's name.
        base: Parent and fields.
        point: Its measurements.
        scope: Name of the instrumentation scope, from `otelier.names`.
        kind: The span's kind.
        attributes: Attributes at its start, which samplers see.
        links: Spans that it belongs to besides its parent.
        start_time_ns: Time of its start, in nanoseconds since the epoch; `None` is now.
        span_context: Ids, sampled flag and trace state that it is to have, such as those that are the same each time a
            workflow is resumed; no sampler is asked then. Where *base* has a span, the trace id is that span's. `None`
            leaves all of them to the provider, and so does any provider but OpenTelemetry's SDK.
        gate: Gate for its content and error messages; `None` lets none through.
        is_failure: Tells whether an exception that ends it is a failure; `None` takes each for one.

    Example:
        >>> with start_operation("work", get_current(), scope="otelier.docs") as operation:
        ...     operation.attributes["docs.size"] = 3
        >>> operation = start_operation("wait", get_current(), scope="otelier.docs")
        >>> operation.end()
    """
    opened = OperationSpan(INVALID_SPAN, base, point, gate)
    if is_failure is not None:
        opened.is_failure = is_failure
    opened._is_repeated = span_context is not None  # pyright: ignore[reportPrivateUsage] -- of this module's own class
    if start_time_ns is not None:
        opened.started -= (time_ns() - start_time_ns) / 1e9
    try:
        if is_replaying(base):
            opened.span = NonRecordingSpan(trace.get_current_span(base).get_span_context())
            opened.point = None
        else:
            tracer = tracer_for(scope)
            with forced_span_context(tracer, span_context):
                opened.span = tracer.start_span(name, base, kind, attributes, links, start_time=start_time_ns)
    except Exception as exc:
        report_fault("telemetry.operation", exc)
    return opened


def _written(gate: ContentGate, content: Mapping[str, object], most: int | None) -> dict[str, str]:
    return {name: gate.written(value) for name, value in gate.values(content, most=most).items()}
