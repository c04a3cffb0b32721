"""The span recorder: providers of a test's own, and everything that went through them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from otelier.fields.processors import AgentSpanProcessor, ContextLogProcessor
from otelier.telemetry import finish_aside
from otelier.testing._metrics import PointStore
from otelier.testing._records import LogEntry, MetricPoint, SpanRecord
from otelier.testing._ticks import Clock, CountedIds, TickingProvider, Ticks, let_tick
from otelier.testing._tree import trace_tree


class SpanRecorder:
    """Fresh providers in memory, with ids and times that are the same in each run.

    Trace ids and span ids count from 1. The clock says 1 s when it is first asked and one second more each time:
    for a span's start, end and events, unless a time is given. It is the recorder's alone; nothing in the SDK is
    patched. The fields of the context are stamped as in a program that called `otelier.init`. Nothing is global: give
    the providers to the code under test, or use the fixture `otelier_spans`.

    Args:
        resource: Attributes of the resource. `None` is an empty one.
        sampler: Sampler of the tracer provider. `None` samples everything.
        clock: Returns the time in nanoseconds, such as `time.time_ns`. `None` counts seconds.

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

    tracer_provider: TickingProvider
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
        self._ticks = Ticks()
        self._ids = CountedIds()
        self._points = PointStore()
        self._seen = _Seen(clock or self._ticks)
        self.meter_provider = MeterProvider([self._points.reader], resource=shared, shutdown_on_exit=False)
        self.tracer_provider = TickingProvider(
            clock=clock or self._ticks,
            sampler=sampler or ALWAYS_ON,
            resource=shared,
            shutdown_on_exit=False,
            id_generator=self._ids,
        )
        self.tracer_provider.add_span_processor(self._seen)
        self.tracer_provider.add_span_processor(AgentSpanProcessor())
        self.logger_provider = LoggerProvider(resource=shared, shutdown_on_exit=False)
        self.logger_provider.add_log_record_processor(ContextLogProcessor())
        self.logger_provider.add_log_record_processor(_SeenLogs(self._seen))

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """Finished spans in the order they ended, as the SDK has them."""
        finish_aside()
        return tuple(self._seen.ended)

    @property
    def records(self) -> tuple[SpanRecord, ...]:
        """Finished spans in the order they ended, as plain data."""
        return tuple(map(SpanRecord.of, self.spans))

    @property
    def open_spans(self) -> tuple[ReadableSpan, ...]:
        """Spans that were started and have not ended, oldest first."""
        finish_aside()
        with self._seen.lock:
            return tuple(self._seen.open.values())

    @property
    def logs(self) -> tuple[LogEntry, ...]:
        """Log records in the order they were emitted, as plain data; those of `logging` with the fixture only."""
        finish_aside()
        return tuple(self._seen.logs)

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
            LookupError: if there is none, or more than one; it says what there is.
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
        """Forget what was recorded. Ids and times start anew, unless a span is still open."""
        with self._seen.lock:
            self._seen.ended.clear()
            self._seen.logs.clear()
            if not self._seen.open:
                self._ids.restart()
                self._ticks.restart()
        self._points.clear()


class _Seen(SpanProcessor):
    """Every span that started or ended, and every log record."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.lock = threading.Lock()
        self.open: dict[int, Span] = {}
        self.ended: list[ReadableSpan] = []
        self.logs: list[LogEntry] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        let_tick(span, self.clock)
        with self.lock:
            self.open[span.get_span_context().span_id] = span

    def on_end(self, span: ReadableSpan) -> None:
        with self.lock:
            if span.context is not None:
                self.open.pop(span.context.span_id, None)
            self.ended.append(span)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


class _SeenLogs(LogRecordProcessor):
    def __init__(self, seen: _Seen) -> None:
        self._seen = seen

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        # When it was seen is the recorder's to say; when it happened is the caller's.
        log_record.log_record.observed_timestamp = self._seen.clock()
        entry = LogEntry.of(log_record)
        with self._seen.lock:
            self._seen.logs.append(entry)

    def shutdown(self) -> None:
        """Nothing to do."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True
