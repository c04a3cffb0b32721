"""Points, readers and what the readers saw: shared by the tests of the queue."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import dataclass
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

NAMES = ("duration", "input", "output")


def span_context(number: int) -> SpanContext:
    """A sampled span's bare context; *number* tells it from others."""
    return SpanContext(
        0xABC000 + number, 0xDEF000 + number, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)
    )


def span(number: int) -> NonRecordingSpan:
    """A span that can be made current."""
    return NonRecordingSpan(span_context(number))


@dataclass
class Call:
    """A point as an instrumentor makes it: one call, several records."""

    histograms: list[Any]
    value: float = 0.5
    span_context: SpanContext | None = None

    def record(self, context: Any) -> None:
        for histogram in self.histograms:
            histogram.record(self.value, {"kind": "call"}, context)


class Metering:
    """A provider of its own with readers, and three histograms whose points may wait."""

    def __init__(self, *readers: Any, **arguments: Any) -> None:
        self.readers = readers
        self.provider = MeterProvider(metric_readers=readers, shutdown_on_exit=False, **arguments)
        meter = self.provider.get_meter("test")
        self.histograms = [meter.create_histogram(name, unit="s") for name in NAMES]

    def call(self, value: float = 0.5, *, span: int | None = None) -> Call:
        return Call(self.histograms, value, None if span is None else span_context(span))


def collect(reader: InMemoryMetricReader) -> dict[str, Any]:
    """What one collection gave: the first data point of each metric, by name."""
    data = reader.get_metrics_data()
    return {
        metric.name: next(iter(metric.data.data_points))
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def counts(reader: InMemoryMetricReader) -> list[int]:
    """How many values each of the three histograms showed in one collection."""
    seen = collect(reader)
    return [seen[name].count if name in seen else 0 for name in NAMES]


def run(program: str) -> str:
    """Run *program* in a fresh interpreter, which must end well and silently; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()
