"""A worker whose runs do a bit of everything, and whose spans, points and executions are appended to files.

Run: PATH DIRECTORY RATIO.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.metrics import NoOpHistogram, NoOpMeter, NoOpMeterProvider

from otelier.workflows import Context, Worker, entity, function, workflow

STEPS = {"first", "second", "part", "part#2", "part#3", "part#4", "left", "right", "last"}
LONG_S = 0.1
"""A wait of so long closes the span of a run here."""
directory = Path()
tracer = trace.get_tracer("shop")
stock = entity("Stock")


def append(name: str, line: str) -> None:
    """Append a line to a file, at once."""
    file = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, f"{line}\n".encode())
    os.close(file)


def effect(ctx: Context, value: Any, *, is_async: bool = True) -> Any:
    """Return a function with an effect that its key guards, as a payment does."""

    def guarded() -> Any:
        try:
            os.close(os.open(directory / "effects" / str(ctx.idempotency_key), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            pass
        append("executions", f"{ctx.run_id} {ctx.step_id}")
        return value

    async def work() -> Any:
        with tracer.start_as_current_span("work"):
            await asyncio.sleep(0.005)
        return guarded()

    return work if is_async else guarded


@function
async def child(ctx: Context, n: int) -> int:
    """Give the double of *n*."""
    await ctx.sleep(0.01)
    return await ctx.step("double", effect(ctx, 2 * n))


@stock.write
async def take(ctx: Context, n: int) -> int:
    """Add *n* to the total."""
    await ctx.step("look", effect(ctx, n))
    ctx.set("total", await ctx.get("total", 0) + n)
    return n


@workflow
async def order(ctx: Context, n: int) -> Any:
    """Do a bit of everything."""
    with tracer.start_as_current_span("prepare"):
        found: list[Any] = [await ctx.step("first", effect(ctx, 1)), await ctx.step("second", effect(ctx, 2))]
    await ctx.timer(delay_ms=10)
    parts = [ctx.step("part", effect(ctx, i, is_async=i % 2 == 0)) for i in range(4)]
    found += await ctx.parallel(*parts, ctx.task("shop", "child", n), max_concurrency=2)
    with tracer.start_as_current_span("idle"):
        pass
    spawned = ctx.spawn(child, n)
    await ctx.signal.emit("told", n, target_workflow_id=f"order-{n ^ 1}")
    found += [await ctx.entity("Stock", f"k{n % 3}").take(n), await ctx.signal("told"), await ctx.signal("paid")]
    with tracer.start_as_current_span("finish"):
        both = ctx.parallel(ctx.step("left", effect(ctx, 3)), ctx.sleep(0.01), ctx.step("right", effect(ctx, 4)))
        found += await both
    return [*found, await ctx.step("last", effect(ctx, 5)), await spawned.result()]


def expected(n: int) -> list[Any]:
    """What `order` of *n* gives, whatever happens."""
    return [1, 2, 0, 1, 2, 3, 2 * n, n, n ^ 1, f"paid {n}", 3, None, 4, 5, 2 * n]


class Points(NoOpMeterProvider):
    """Meters whose histograms append each value to a file."""

    def get_meter(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return _Meter(name)


class _Meter(NoOpMeter):
    def create_histogram(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return _Histogram(name)


class _Histogram(NoOpHistogram):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._named = name

    def record(self, amount: float, attributes: Any = None, context: Any = None) -> None:
        append("points", json.dumps([self._named, attributes]))


def switch_on(ratio: float) -> None:
    """Let spans and points go to files."""
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    import otelier
    from otelier.testing import SpanRecord
    from otelier.workflows import _spans

    class Appending(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            for span in spans:
                assert isinstance(span, ReadableSpan)
                append("spans", json.dumps(asdict(SpanRecord.of(span))))
            return SpanExportResult.SUCCESS

    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(ratio)))
    provider.add_span_processor(SimpleSpanProcessor(Appending()))
    trace.set_tracer_provider(provider)
    otelier.init(meter_provider=Points())
    _spans.LONG_WAIT_NS = int(LONG_S * 1e9)  # type: ignore[misc]


async def main(path: str) -> None:
    async with Worker("shop", engine=f"file:{path}"):
        print("began", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    directory = Path(sys.argv[2])
    switch_on(float(sys.argv[3]))
    asyncio.run(main(sys.argv[1]))
