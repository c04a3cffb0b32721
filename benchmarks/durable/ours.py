"""The side of otelier: a worker on a file, with telemetry switched on if the first argument is `traced`."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any, Literal

from durable.serving import BEGUN, RESULT, SEEN, TIMES, Commands, Side, serve
from otelier import Client, Worker, workflow
from otelier.workflows import Context
from otelier.workflows.engines.local import LocalEngine


async def work() -> dict[str, Any]:
    return dict(RESULT)


def plain_work() -> dict[str, Any]:
    return dict(RESULT)


async def do_steps(ctx: Context, count: int, function: Callable[[], Any]) -> None:
    BEGUN.append(time.time())
    for _ in range(count):
        began = time.perf_counter()
        await ctx.step("work", function)
        TIMES.append(time.perf_counter() - began)


@workflow
async def stepping(ctx: Context, count: int) -> None:
    await do_steps(ctx, count, work)


@workflow
async def stepping_plain(ctx: Context, count: int) -> None:
    await do_steps(ctx, count, plain_work)


@workflow
async def waiting(ctx: Context) -> None:
    BEGUN.append(time.time())
    await ctx.signal("go")
    SEEN[ctx.run_id] = time.time()


HANDLERS = {"stepping": stepping, "stepping_plain": stepping_plain, "waiting": waiting}


class Otelier(Side):
    """A worker on a file."""

    def __init__(self) -> None:
        self.engine: LocalEngine
        self.worker: Worker
        self.client: Client

    async def open(self, path: str, synchronous: Literal["FULL", "NORMAL"] = "FULL") -> None:
        self.engine = LocalEngine(path, synchronous=synchronous)
        self.worker = Worker("bench", modules=list(HANDLERS.values()), engine=self.engine)
        self.client = Client(self.engine)
        await self.worker.__aenter__()

    async def close(self) -> None:
        await self.worker.__aexit__()
        await self.engine.close()

    async def start(self, handler: str, run_id: str, count: int = 0) -> Callable[[], Awaitable[Any]]:
        args = () if handler == "waiting" else (count,)
        return (await self.worker.start(HANDLERS[handler], *args, workflow_id=run_id)).result

    async def signal(self, run_id: str) -> None:
        await self.client.signal(run_id, "go")

    def waiting(self) -> int:
        lives = [life for driver in self.engine._drivers for life in driver.lives.values()]
        return sum(bool(life.open) for life in lives)

    async def connect(self, path: str) -> None:
        self.client = Client(f"file:{path}")

    async def send(self, run_id: str) -> None:
        await self.client.signal(run_id, "go")


class OtelierCommands(Commands):
    """What the side of otelier can be asked for besides."""

    side: Otelier

    async def looks(self) -> dict[str, float]:
        """Return how long a client's looks take, in seconds."""
        client, took = self.side.client, dict[str, float]()
        run_id = (await client.runs(limit=1))[0].workflow_id
        looks: dict[str, Callable[[], Awaitable[Any]]] = {
            "runs": client.runs,
            "runs, waiting": lambda: client.runs(status="waiting"),
            "runs, failed": lambda: client.runs(status="failed"),
            "runs, service": lambda: client.runs(service="bench"),
            "runs, other service": lambda: client.runs(service="none"),
            "run": lambda: client.run(run_id),
        }
        for name, look in looks.items():
            times: list[float] = []
            for _ in range(5):
                began = time.perf_counter()
                await look()
                times.append(time.perf_counter() - began)
            took[name] = median(times)
        return took


def trace_all() -> None:
    """Switch all on, with exporters that drop what they get."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    import otelier

    class Dropping(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    traces = TracerProvider(shutdown_on_exit=False)
    traces.add_span_processor(BatchSpanProcessor(Dropping()))
    metrics = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    otelier.init(app="benchmark", tracer_provider=traces, meter_provider=metrics)


if __name__ == "__main__":
    if "traced" in sys.argv:
        trace_all()
    serve(OtelierCommands(Otelier()))
