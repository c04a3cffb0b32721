"""Metric points as a test wants them: what was recorded since the recorder was made or cleared."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from opentelemetry.sdk.metrics import Counter, Histogram, ObservableCounter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricReader,
    MetricsData,
)

from otelier.testing._records import Exemplar, MetricPoint, plain

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
