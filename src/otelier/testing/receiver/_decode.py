"""OTLP protobuf, decoded into the records of `otelier.testing`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from otelier.testing._records import Exemplar, LogEntry, MetricPoint, SpanEvent, SpanLink, SpanRecord


def spans(body: bytes) -> Iterator[SpanRecord]:
    """Yield the spans of an export request."""
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = _attributes(group.resource.attributes)
        for scoped in group.scope_spans:
            for span in scoped.spans:
                yield SpanRecord(
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex() or None,
                    kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    start_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    attributes=_attributes(span.attributes),
                    status=Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
                    status_message=span.status.message or None,
                    events=tuple(
                        SpanEvent(
                            name=event.name,
                            time_ns=event.time_unix_nano,
                            attributes=_attributes(event.attributes),
                        )
                        for event in span.events
                    ),
                    links=tuple(
                        SpanLink(
                            trace_id=link.trace_id.hex(),
                            span_id=link.span_id.hex(),
                            attributes=_attributes(link.attributes),
                        )
                        for link in span.links
                    ),
                    resource=resource,
                    scope=scoped.scope.name,
                )


def metrics(body: bytes) -> Iterator[MetricPoint]:
    """Yield the data points of an export request."""
    for group in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        resource = _attributes(group.resource.attributes)
        for scoped in group.scope_metrics:
            for metric in scoped.metrics:
                kind = metric.WhichOneof("data")
                if kind is None:
                    continue
                for point in getattr(metric, kind).data_points:
                    yield MetricPoint(
                        name=metric.name,
                        kind=kind,
                        unit=metric.unit,
                        attributes=_attributes(point.attributes),
                        time_ns=point.time_unix_nano,
                        resource=resource,
                        scope=scoped.scope.name,
                        **_values(point),
                    )


def logs(body: bytes) -> Iterator[LogEntry]:
    """Yield the log records of an export request."""
    for group in ExportLogsServiceRequest.FromString(body).resource_logs:
        resource = _attributes(group.resource.attributes)
        for scoped in group.scope_logs:
            for record in scoped.log_records:
                yield LogEntry(
                    body=_value(record.body),
                    event_name=record.event_name or None,
                    severity=record.severity_text or None,
                    attributes=_attributes(record.attributes),
                    trace_id=record.trace_id.hex() or None,
                    span_id=record.span_id.hex() or None,
                    time_ns=record.time_unix_nano or record.observed_time_unix_nano,
                    resource=resource,
                    scope=scoped.scope.name,
                )


def _values(point: Any) -> dict[str, Any]:
    """Return what a point of its kind carries."""
    if isinstance(point, metrics_pb2.NumberDataPoint):
        return {"value": _number(point), "exemplars": _exemplars(point.exemplars)}
    values: dict[str, Any] = {"count": point.count, "sum": point.sum}
    if isinstance(point, metrics_pb2.SummaryDataPoint):
        return values
    values |= {"min": point.min, "max": point.max, "exemplars": _exemplars(point.exemplars)}
    if isinstance(point, metrics_pb2.HistogramDataPoint):
        values |= {"bounds": tuple(point.explicit_bounds), "bucket_counts": tuple(point.bucket_counts)}
    return values


def _exemplars(found: Iterable[metrics_pb2.Exemplar]) -> tuple[Exemplar, ...]:
    return tuple(
        Exemplar(value=_number(one), trace_id=one.trace_id.hex() or None, span_id=one.span_id.hex() or None)
        for one in found
    )


def _number(point: metrics_pb2.NumberDataPoint | metrics_pb2.Exemplar) -> int | float:
    return point.as_int if point.WhichOneof("value") == "as_int" else point.as_double


def _attributes(found: Iterable[KeyValue]) -> dict[str, Any]:
    return {one.key: _value(one.value) for one in found}


def _value(value: AnyValue) -> Any:
    kind = cast("str | None", value.WhichOneof("value"))
    if kind is None:
        return None
    if kind == "array_value":
        return tuple(map(_value, value.array_value.values))
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, kind)
