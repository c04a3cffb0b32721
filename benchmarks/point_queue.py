"""Cost of a call's metrics for its caller: three inline records, three histograms' point in the queue, `put` alone.

Run: uv run python benchmarks/point_queue.py

Rounds are interleaved and ratios taken within each round, so that a busy machine changes figures but not the verdict.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from statistics import median

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanContext

from otelier import names
from otelier.telemetry import genai_histogram, point_queue

ROUNDS, CALLS = 30, 2_000
ATTRIBUTES = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4.1",
    "gen_ai.response.model": "gpt-4.1-2025-04-14",
    "server.address": "api.openai.com",
}

reader = InMemoryMetricReader()
provider = MeterProvider([reader])
meter = provider.get_meter("benchmark")
duration, tokens = genai_histogram(meter, names.OPERATION_DURATION), genai_histogram(meter, names.TOKEN_USAGE)
queue = point_queue(provider)


class Point:
    """One chat call's measurements."""

    __slots__ = ("input", "output", "seconds", "span_context")

    def __init__(self, seconds: float, input_tokens: int, output_tokens: int, span_context: SpanContext | None) -> None:
        self.seconds = seconds
        self.input = input_tokens
        self.output = output_tokens
        self.span_context = span_context

    def record(self, where: Context) -> None:
        duration.record(self.seconds, ATTRIBUTES, where)
        tokens.record(self.input, {**ATTRIBUTES, "gen_ai.token.type": "input"}, where)
        tokens.record(self.output, {**ATTRIBUTES, "gen_ai.token.type": "output"}, where)


def per_call(body: Callable[[], object]) -> float:
    """Microseconds of one call of *body*."""
    started = time.perf_counter()
    for _ in range(CALLS):
        body()
    return (time.perf_counter() - started) / CALLS * 1e6


def lateness(collecting: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds by which a loop in another thread was late at most while *collecting* ran on a full queue."""
    for _ in range(4_096):
        queue.put(Point(0.25, 12, 34, where))
    worst, done = 0.0, threading.Event()

    def beat() -> None:
        nonlocal worst
        last = time.perf_counter()
        while not done.is_set():
            time.sleep(0.001)
            now = time.perf_counter()
            worst, last = max(worst, now - last - 0.001), now

    thread = threading.Thread(target=beat)
    thread.start()
    started = time.perf_counter()
    collecting()
    took = time.perf_counter() - started
    done.set()
    thread.join()
    return worst * 1e3, took * 1e3


with trace.use_span(TracerProvider().get_tracer("benchmark").start_span("call")) as span:
    here, where, ready = context.get_current(), span.get_span_context(), Point(0.25, 12, 34, None)
    rows = []
    for _ in range(ROUNDS):
        inline = per_call(lambda: Point(0.25, 12, 34, where).record(here))
        queued = per_call(lambda: queue.put(Point(0.25, 12, 34, where)))
        waiting = time.perf_counter()
        queue.drain()
        drained = (time.perf_counter() - waiting) / CALLS * 1e6
        put = per_call(lambda: queue.put(ready)) - per_call(lambda: ready)
        queue.forget()
        rows.append((inline, queued, put, drained))

for label, column in zip(("three records inline", "point built and put", "put alone", "drained, per call"), zip(*rows)):
    share = median(value / row[0] for value, row in zip(column, rows))
    print(f"{label:22}{median(column):8.2f} us   {share:.3f} of inline")
for label, how in (("collect", reader.collect), ("drain", queue.drain)):
    worst, took = zip(*(lateness(how) for _ in range(5)))
    print(f"{label:8} of 4,096 points: {median(took):6.1f} ms, another thread late by {median(worst):5.1f} ms at most")
