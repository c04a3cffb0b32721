"""Finished telemetry as plain data: one span, one metric point, one log record; and spans as the text of a tree.

The same records come out of the span recorder, the OTLP receiver and its file, so a test or a table reads all alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import ReadableLogRecord, ReadWriteLogRecord
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanEvent:
    """One event on a span.

    Example:
        >>> from otelier.testing import SpanRecorder
        >>> recorder = SpanRecorder()
        >>> tracer = recorder.tracer_provider.get_tracer("docs")
        >>> with tracer.start_as_current_span("work") as span:
        ...     span.add_event("found", {"count": 2})
        >>> (event,) = recorder.records[0].events
        >>> event.name, event.attributes
        ('found', {'count': 2})
    """

    name: str
    """Name of the event."""
    time_ns: int
    """When it happened, nanoseconds since 1970."""
    attributes: Mapping[str, Any]
    """Attributes as Python values; arrays are tuples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanLink:
    """One link from a span to another.

    Example:
        >>> from otelier.testing import SpanRecorder
        >>> recorder = SpanRecorder()
        >>> tracer = recorder.tracer_provider.get_tracer("docs")
        >>> from opentelemetry.trace import Link
        >>> with tracer.start_as_current_span("first") as first:
        ...     pass
        >>> with tracer.start_as_current_span("then", links=[Link(first.get_span_context())]):
        ...     pass
        >>> first, then = recorder.records
        >>> then.links[0].span_id == first.span_id
        True
    """

    trace_id: str
    """Trace of the other span, 32 hexadecimal digits."""
    span_id: str
    """The other span, 16 hexadecimal digits."""
    attributes: Mapping[str, Any]
    """Attributes as Python values; arrays are tuples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanRecord:
    """One finished span as plain data.

    Example:
        >>> from otelier.testing import SpanRecorder
        >>> recorder = SpanRecorder()
        >>> tracer = recorder.tracer_provider.get_tracer("docs")
        >>> with tracer.start_as_current_span("outer"), tracer.start_as_current_span("inner"):
        ...     pass
        >>> inner, outer = recorder.records
        >>> inner.name, inner.kind, inner.parent_id == outer.span_id
        ('inner', 'INTERNAL', True)
    """

    name: str
    """Name of the span."""
    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""
    parent_id: str | None
    """Span id of the parent, here or in another process; `None` for a root."""
    kind: str
    """`INTERNAL`, `SERVER`, `CLIENT`, `PRODUCER` or `CONSUMER`."""
    start_ns: int
    """Nanoseconds since 1970."""
    end_ns: int
    """Nanoseconds since 1970."""
    attributes: Mapping[str, Any]
    """Attributes as Python values; arrays are tuples."""
    status: str
    """`UNSET`, `OK` or `ERROR`."""
    status_message: str | None
    """What the status says besides."""
    events: tuple[SpanEvent, ...]
    """Events in their order."""
    links: tuple[SpanLink, ...]
    """Links in their order."""
    resource: Mapping[str, Any]
    """Attributes of the resource that made the span."""
    scope: str
    """Name of the instrumentation scope."""

    @property
    def duration_s(self) -> float:
        """Seconds from start to end."""
        return (self.end_ns - self.start_ns) / 1e9

    @classmethod
    def of(cls, span: ReadableSpan) -> SpanRecord:
        """Return the record of a finished SDK span."""
        return cls(
            name=span.name,
            parent_id=f"{span.parent.span_id:016x}" if span.parent else None,
            kind=span.kind.name,
            start_ns=span.start_time or 0,
            end_ns=span.end_time or 0,
            attributes=plain(span.attributes),
            status=span.status.status_code.name,
            status_message=span.status.description,
            events=tuple(
                SpanEvent(name=event.name, time_ns=event.timestamp, attributes=plain(event.attributes))
                for event in span.events
            ),
            links=tuple(SpanLink(**_ids(link.context), attributes=plain(link.attributes)) for link in span.links),
            resource=plain(span.resource.attributes),
            scope=span.instrumentation_scope.name if span.instrumentation_scope else "",
            **_ids(span.context),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exemplar:
    """A measured value that a metric point keeps as an example.

    Example:
        >>> from otelier.testing import SpanRecorder
        >>> recorder = SpanRecorder()
        >>> histogram = recorder.meter_provider.get_meter("docs").create_histogram("latency")
        >>> with recorder.tracer_provider.get_tracer("docs").start_as_current_span("work"):
        ...     histogram.record(0.5)
        >>> (exemplar,) = recorder.metric_points[0].exemplars
        >>> exemplar.value, exemplar.span_id == recorder.records[0].span_id
        (0.5, True)
    """

    value: float
    """The value."""
    trace_id: str | None
    """Trace it was measured in; `None` outside a sampled span."""
    span_id: str | None
    """Span it was measured in; `None` outside a sampled span."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricPoint:
    """One data point of a metric as plain data.

    Example:
        >>> from otelier.testing import SpanRecorder
        >>> recorder = SpanRecorder()
        >>> recorder.meter_provider.get_meter("docs").create_counter("calls").add(2, {"agent": "triage"})
        >>> (point,) = recorder.metric_points
        >>> point.name, point.kind, point.value, point.attributes
        ('calls', 'sum', 2, {'agent': 'triage'})
    """

    name: str
    """Name of the metric."""
    kind: str
    """`sum`, `gauge`, `histogram`, `exponential_histogram` or `summary`."""
    unit: str
    """Unit of the values."""
    attributes: Mapping[str, Any]
    """Attributes as Python values; arrays are tuples."""
    time_ns: int
    """End of the collection, nanoseconds since 1970."""
    value: float | None = None
    """Value of a sum or gauge; `None` for the others."""
    count: int | None = None
    """Values in a histogram; `None` for a sum or gauge."""
    sum: float | None = None
    """Sum of a histogram's values."""
    min: float | None = None
    """Smallest value of a histogram."""
    max: float | None = None
    """Largest value of a histogram."""
    bounds: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets."""
    bucket_counts: tuple[int, ...] = ()
    """Values per bucket, one more than bounds."""
    exemplars: tuple[Exemplar, ...] = ()
    """Single values with the spans they were measured in."""
    resource: Mapping[str, Any]
    """Attributes of the resource that made the point."""
    scope: str
    """Name of the instrumentation scope."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One log record as plain data.

    Example:
        >>> from opentelemetry._logs import LogRecord
        >>> from otelier.testing import SpanRecorder
        >>> recorder = SpanRecorder()
        >>> recorder.logger_provider.get_logger("docs").emit(LogRecord(event_name="shop.paid", body="Paid."))
        >>> (entry,) = recorder.logs
        >>> entry.event_name, entry.body
        ('shop.paid', 'Paid.')
    """

    body: Any
    """What was logged; `None` for an event without a body."""
    event_name: str | None
    """Name of an event; `None` for a plain log record."""
    severity: str | None
    """Severity's text, such as `INFO`."""
    attributes: Mapping[str, Any]
    """Attributes as Python values; arrays are tuples."""
    trace_id: str | None
    """Trace it was logged in; `None` outside a span."""
    span_id: str | None
    """Span it was logged in; `None` outside a span."""
    time_ns: int
    """When it was logged, else when it was seen, nanoseconds since 1970."""
    resource: Mapping[str, Any]
    """Attributes of the resource that made the record."""
    scope: str
    """Name of the instrumentation scope."""

    @classmethod
    def of(cls, record: ReadableLogRecord | ReadWriteLogRecord) -> LogEntry:
        """Return the entry of an SDK log record."""
        log = record.log_record
        return cls(
            body=plain_value(log.body),
            event_name=log.event_name or None,
            severity=log.severity_text,
            attributes=plain(log.attributes),
            trace_id=f"{log.trace_id:032x}" if log.trace_id else None,
            span_id=f"{log.span_id:016x}" if log.span_id else None,
            time_ns=log.timestamp or log.observed_timestamp or 0,
            resource=plain(record.resource.attributes if record.resource else None),
            scope=record.instrumentation_scope.name if record.instrumentation_scope else "",
        )


def plain(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a copy in plain Python values: arrays become tuples, mappings dicts."""
    return {key: plain_value(value) for key, value in (attributes or {}).items()}


def plain_value(value: Any) -> Any:
    """Return one value in plain Python values."""
    if isinstance(value, Mapping):
        return plain(value)  # pyright: ignore[reportUnknownArgumentType] - an attribute's keys are texts
    if isinstance(value, (list, tuple)):
        return tuple(map(plain_value, value))  # pyright: ignore[reportUnknownArgumentType]
    return value


def _ids(context: SpanContext | None) -> dict[str, str]:
    if context is None:
        return {"trace_id": "0" * 32, "span_id": "0" * 16}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def trace_tree(spans: Iterable[SpanRecord], *attributes: str) -> str:
    """Return *spans* as lines of text: children below their parents, in the order of their start.

    A line has the span's name, its kind, `ERROR` if it failed, and those of *attributes* that it has. A span whose
    parent is not among *spans* is not indented, and its line says so.

    Example:
        >>> from otelier.testing import SpanRecorder, trace_tree
        >>> recorder = SpanRecorder()
        >>> tracer = recorder.tracer_provider.get_tracer("docs")
        >>> with tracer.start_as_current_span("request"):
        ...     tracer.start_span("work", attributes={"user.id": "alice"}).end()
        >>> print(trace_tree(recorder.records, "user.id"))
        request INTERNAL
          work INTERNAL user.id='alice'
    """
    ordered = sorted(spans, key=lambda span: span.start_ns)  # what began at once, in the order of the ends
    known = {(span.trace_id, span.span_id) for span in ordered}
    children: dict[tuple[str, str | None], list[SpanRecord]] = {}
    tops: list[SpanRecord] = []
    for span in ordered:
        if (span.trace_id, span.parent_id) in known:
            children.setdefault((span.trace_id, span.parent_id), []).append(span)
        else:
            tops.append(span)
    lines: list[str] = []
    waiting = [(span, 0) for span in reversed(tops)]
    while waiting:
        span, depth = waiting.pop()
        lines.append("  " * depth + _line(span, attributes, elsewhere=depth == 0 and span.parent_id is not None))
        below = children.get((span.trace_id, span.span_id), [])
        waiting += [(child, depth + 1) for child in reversed(below)]
    return "\n".join(lines)


def _line(span: SpanRecord, attributes: tuple[str, ...], *, elsewhere: bool) -> str:
    words = [span.name, span.kind]
    if elsewhere:
        words.append("(parent elsewhere)")
    if span.status == "ERROR":
        words.append("ERROR")
    words += [f"{name}={span.attributes[name]!r}" for name in attributes if name in span.attributes]
    return " ".join(words)
