"""Signals of one instrumentor and the input of its completion hook, as plain data without times and ids."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

KINDS = ("spans", "points", "events", "contents")
TIMES = frozenset(("gen_ai.response.time_to_first_chunk",))
Signals = dict[str, list[Any]]


class Hook:
    """A completion hook that keeps what it is given, and marks span and event."""

    def __init__(self) -> None:
        self._given: list[Any] = []

    def on_completion(self, *, span: Any, log_record: Any = None, **content: Any) -> None:
        told = {name: [plain(one) for one in given or ()] for name, given in content.items()}
        self._given.append({**told, "event": log_record is not None})
        span.set_attribute("compared.hook", "called")
        if log_record is not None:
            log_record.attributes = {**log_record.attributes, "compared.hook": "called"}

    def take(self) -> list[Any]:
        """Return what it was given since the last time."""
        given, self._given = self._given, []
        return given


def plain(thing: Any) -> Any:
    """Return a message or part as data, with the name of its class."""
    return [type(thing).__name__, json.loads(json.dumps(dataclasses.asdict(thing), default=str))]


class Recording:
    """The signals that one instrumentor sends, case by case."""

    def __init__(self, instrumentor: Any, *, hooked: bool) -> None:
        self.hook = Hook() if hooked else None
        self.spans, self.logs = InMemorySpanExporter(), InMemoryLogRecordExporter()
        self.reader = InMemoryMetricReader({Histogram: AggregationTemporality.DELTA})
        self.instrumentor = instrumentor
        self.tracers, self.loggers = TracerProvider(), LoggerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.loggers.add_log_record_processor(SimpleLogRecordProcessor(self.logs))
        self.meters = MeterProvider([self.reader])

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Instrument while the block runs."""
        self.instrumentor.instrument(
            tracer_provider=self.tracers,
            meter_provider=self.meters,
            logger_provider=self.loggers,
            completion_hook=self.hook,
            skip_dep_check=True,
        )
        try:
            yield
        finally:
            self.instrumentor.uninstrument()

    def take(self) -> Signals:
        """Return what came since the last time, as plain data without times and ids."""
        spans = [
            {
                "name": span.name,
                "kind": span.kind.name,
                "status": span.status.status_code.name,
                "description": span.status.description,
                "schema": span.instrumentation_scope.schema_url,
                "events": [event.name for event in span.events],
                "attributes": typed(span.attributes or {}),
            }
            for span in self.spans.get_finished_spans()
        ]
        events = [
            {"name": log.log_record.event_name, "attributes": typed(log.log_record.attributes or {})}
            for log in self.logs.get_finished_logs()
        ]
        self.spans.clear()
        self.logs.clear()
        contents = self.hook.take() if self.hook is not None else []
        return {
            "spans": spans,
            "events": events,
            "points": sorted(self._points(), key=json.dumps),
            "contents": contents,
        }

    def _points(self) -> Iterator[Any]:
        data = self.reader.get_metrics_data()
        for scope in (
            scope for resource in (data.resource_metrics if data else ()) for scope in resource.scope_metrics
        ):
            for metric in scope.metrics:
                if not metric.name.startswith("gen_ai."):
                    continue
                for point in metric.data.data_points:
                    tokens = point.sum if metric.name.endswith("token.usage") else None
                    exemplars = len(point.exemplars) > 0
                    bounds, attributes = list(point.explicit_bounds), typed(point.attributes)
                    yield [metric.name, metric.unit, bounds, point.count, tokens, exemplars, attributes]


def typed(attributes: Any) -> dict[str, Any]:
    """Return attributes with the types of their values, which JSON alone would not tell apart."""
    return {
        key: [type(value).__name__, "a time" if key in TIMES else json.loads(json.dumps(value, default=str))]
        for key, value in sorted(attributes.items())
    }
