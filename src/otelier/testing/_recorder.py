"""The span recorder: providers of a test's own, with the spans, log records and metric points they got."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricReader,
    MetricsData,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from otelier.fields.processors import AgentSpanProcessor, ContextLogProcessor
from otelier.telemetry import finish_aside
from otelier.testing._clock import Clock, ClockedTracerProvider, CountedIds, CountingClock, set_clock
from otelier.testing._records import Exemplar, LogEntry, MetricPoint, SpanRecord, plain, trace_tree


class SpanRecorder:
    """Records spans, metrics and logs in memory, with ids and times that are the same in each run.

    Trace ids and span ids count from 1. The clock returns 1 s at its first reading, and one second more at each further
    one: for a span's start, end and events, unless an explicit time is given. The clock belongs to the recorder;
    nothing in the SDK is patched. Spans and log records carry the fields, as in a program that called `otelier.init`.
    Nothing is global: pass the recorder's providers to the code under test, or use the fixture `otelier_spans`.

    Args:
        resource: Attributes of the resource; `None` is an empty resource.
        sampler: Sampler of the tracer provider; `None` samples everything.
        clock: Function that returns the time in nanoseconds, such as `time.time_ns`; `None` counts seconds.

    Example:
        >>> import otelier
        >>> from otelier.testing import SpanRecorder
        >>> recorder = SpanRecorder()
        >>> tracer = recorder.tracer_provider.get_tracer("docs")
        >>> with otelier.context(user_id="alice"), tracer.start_as_current_span("request"):
        ...     tracer.start_span("work").end()
        >>> print(recorder.tree("user.id"))
        request INTERNAL user.id='alice'
          work INTERNAL user.id='alice'
        >>> recorder.find("work").start_time, recorder.find("work").end_time
        (2000000000, 3000000000)
    """

    tracer_provider: ClockedTracerProvider
    """Provider of the spans recorded here."""
    meter_provider: MeterProvider
    """Provider of the metrics recorded here."""
    logger_provider: LoggerProvider
    """Provider of the log records recorded here."""

    def __init__(
        self,
        *,
        resource: Mapping[str, Any] | None = None,
        sampler: Sampler | None = None,
        clock: Clock | None = None,
    ) -> None:
        shared = Resource(dict(resource or {}))
        self._clock = CountingClock()
        self._ids = CountedIds()
        self._points = PointStore()
        self._collector = _Collector(clock or self._clock)
        self.meter_provider = MeterProvider([self._points.reader], resource=shared, shutdown_on_exit=False)
        self.tracer_provider = ClockedTracerProvider(
            clock=clock or self._clock,
            sampler=sampler or ALWAYS_ON,
            resource=shared,
            shutdown_on_exit=False,
            id_generator=self._ids,
        )
        self.tracer_provider.add_span_processor(self._collector)
        self.tracer_provider.add_span_processor(AgentSpanProcessor())
        self.logger_provider = LoggerProvider(resource=shared, shutdown_on_exit=False)
        self.logger_provider.add_log_record_processor(ContextLogProcessor())
        self.logger_provider.add_log_record_processor(_LogCollector(self._collector))

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """Finished spans in the order they ended, as the SDK has them."""
        finish_aside()
        return tuple(self._collector.ended)

    @property
    def records(self) -> tuple[SpanRecord, ...]:
        """Finished spans in the order they ended, as plain data."""
        return tuple(map(SpanRecord.of, self.spans))

    @property
    def open_spans(self) -> tuple[ReadableSpan, ...]:
        """Spans that were started and have not ended, oldest first."""
        finish_aside()
        with self._collector.lock:
            return tuple(self._collector.open.values())

    @property
    def logs(self) -> tuple[LogEntry, ...]:
        """Log records in the order they were emitted, as plain data; records of `logging` only with the fixture."""
        finish_aside()
        return tuple(self._collector.logs)

    @property
    def metric_points(self) -> tuple[MetricPoint, ...]:
        """Every metric's data points, sorted by name and attributes, as plain data."""
        return self._points.points()

    def metrics(self) -> dict[str, list[dict[str, Any]]]:
        """Return the points of each metric as dicts that a test can compare.

        A point has its `attributes`, and `value`, or `count`, `sum`, `min` and `max` for a histogram. `metric_points`
        has buckets and exemplars too.

        Example:
            >>> from otelier.testing import SpanRecorder
            >>> recorder = SpanRecorder()
            >>> counter = recorder.meter_provider.get_meter("docs").create_counter("calls")
            >>> counter.add(2, {"agent": "triage"})
            >>> recorder.metrics()
            {'calls': [{'attributes': {'agent': 'triage'}, 'value': 2}]}
        """
        found: dict[str, list[dict[str, Any]]] = {}
        for point in self.metric_points:
            values = {name: getattr(point, name) for name in ("value", "count", "sum", "min", "max")}
            given = {name: value for name, value in values.items() if value is not None}
            found.setdefault(point.name, []).append({"attributes": dict(point.attributes), **given})
        return found

    def find(self, name: str) -> ReadableSpan:
        """Return the one finished span of that name.

        Raises:
            LookupError: if there is none, or more than one; the message lists the existing names.
        """
        found = [span for span in self.spans if span.name == name]
        if len(found) != 1:
            names = ", ".join(repr(span.name) for span in self.spans) or "none"
            raise LookupError(
                f"Found {len(found)} spans named {name!r}: exactly one is wanted. Finished spans: {names}."
            )
        return found[0]

    def tree(self, *attributes: str) -> str:
        """Return the finished spans as the text of a tree, with those *attributes*; see `trace_tree`."""
        return trace_tree(self.records, *attributes)

    def clear(self) -> None:
        """Delete what was recorded. Ids and times start again, unless a span is still open."""
        with self._collector.lock:
            self._collector.ended.clear()
            self._collector.logs.clear()
            if not self._collector.open:
                self._ids.restart()
                self._clock.restart()
        self._points.clear()


class _Collector(SpanProcessor):
    """Every span that started or ended, and every log record."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.lock = threading.Lock()
        self.open: dict[int, Span] = {}
        self.ended: list[ReadableSpan] = []
        self.logs: list[LogEntry] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        set_clock(span, self.clock)
        with self.lock:
            self.open[span.get_span_context().span_id] = span

    def on_end(self, span: ReadableSpan) -> None:
        with self.lock:
            if span.context is not None:
                self.open.pop(span.context.span_id, None)
            if span.context is None or span.context.trace_flags.sampled:  # as exporters do
                self.ended.append(span)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


class _LogCollector(LogRecordProcessor):
    def __init__(self, collector: _Collector) -> None:
        self._collector = collector

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        # When it was seen is the recorder's to say; when it happened is the caller's.
        log_record.log_record.observed_timestamp = self._collector.clock()
        entry = LogEntry.of(log_record)
        with self._collector.lock:
            self._collector.logs.append(entry)

    def shutdown(self) -> None:
        """Nothing to do."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


_DELTA = AggregationTemporality.DELTA


class _Reader(MetricReader):
    """Hands on whatever is collected, by whomever: a flush collects too, and what it takes is not there again."""

    def __init__(self, take: Callable[[MetricsData], None]) -> None:
        super().__init__(preferred_temporality={Counter: _DELTA, ObservableCounter: _DELTA, Histogram: _DELTA})
        self._take = take

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        self._take(metrics_data)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Do nothing: what was collected stays."""


class PointStore:
    """Adds up what a reader collects, so that looking at the metrics changes nothing and clearing is possible."""

    def __init__(self) -> None:
        self.reader = _Reader(self._add)
        self._points: dict[tuple[str, str, str], MetricPoint] = {}
        self._lock = threading.Lock()

    def points(self) -> tuple[MetricPoint, ...]:
        """Collect, and return every point by name and attributes."""
        self.reader.collect()
        with self._lock:
            return tuple(self._points[key] for key in sorted(self._points))

    def clear(self) -> None:
        """Forget what was recorded. A sum that goes up and down keeps its level, a gauge its value."""
        self.reader.collect()
        with self._lock:
            self._points.clear()

    def _add(self, data: MetricsData) -> None:
        with self._lock:
            for key, point, is_delta in _points_of(data):
                known = self._points.get(key)
                self._points[key] = _added(known, point) if known is not None and is_delta else point


def _points_of(data: MetricsData) -> Iterator[tuple[tuple[str, str, str], MetricPoint, bool]]:
    """Yield each point with its key, and whether it is a difference to the one before."""
    for group in data.resource_metrics:
        resource = plain(group.resource.attributes)
        for scoped in group.scope_metrics:
            for metric in scoped.metrics:
                kind = _KINDS[type(metric.data).__name__]
                is_delta = getattr(metric.data, "aggregation_temporality", None) == _DELTA
                for found in metric.data.data_points:
                    point = MetricPoint(
                        name=metric.name,
                        kind=kind,
                        unit=metric.unit or "",
                        attributes=plain(found.attributes),
                        time_ns=found.time_unix_nano,
                        resource=resource,
                        scope=scoped.scope.name,
                        **_values(found),
                    )
                    attributes = sorted(point.attributes.items())
                    yield (metric.name, scoped.scope.name, repr(attributes)), point, is_delta


_KINDS = {
    "Sum": "sum",
    "Gauge": "gauge",
    "Histogram": "histogram",
    "ExponentialHistogram": "exponential_histogram",
}


def _values(found: Any) -> dict[str, Any]:
    exemplars = tuple(
        Exemplar(
            value=one.value,
            trace_id=f"{one.trace_id:032x}" if one.trace_id else None,
            span_id=f"{one.span_id:016x}" if one.span_id else None,
        )
        for one in found.exemplars
    )
    if not hasattr(found, "count"):
        return {"value": found.value, "exemplars": exemplars}
    return {
        "count": found.count,
        "sum": found.sum,
        "min": found.min,
        "max": found.max,
        "bounds": tuple(getattr(found, "explicit_bounds", ())),
        "bucket_counts": tuple(getattr(found, "bucket_counts", ())),
        "exemplars": exemplars,
    }


def _added(known: MetricPoint, new: MetricPoint) -> MetricPoint:
    """Return both points as one."""
    exemplars = known.exemplars + new.exemplars
    if new.value is not None and known.value is not None:
        return replace(new, value=known.value + new.value, exemplars=exemplars)
    pairs = zip(known.bucket_counts, new.bucket_counts)
    return replace(
        new,
        count=(known.count or 0) + (new.count or 0),
        sum=(known.sum or 0) + (new.sum or 0),
        min=min(_known(known.min, new.min), default=None),
        max=max(_known(known.max, new.max), default=None),
        bucket_counts=tuple(first + second for first, second in pairs),
        exemplars=exemplars,
    )


def _known(*values: float | None) -> list[float]:
    return [value for value in values if value is not None]
