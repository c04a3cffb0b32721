"""The side of otelier on a Restate server, with telemetry switched on if the first argument is `traced`."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from durable.on_server import ServerCommands, ServerSide, hold, work
from durable.ours import trace_all
from durable.serving import BEGUN, SEEN, TIMES, serve
from otelier import Client, Worker, entity, workflow
from otelier.workflows import Context
from otelier.workflows.engines.restate import Options, RestateEngine

counter = entity("Counter")


@counter.write
async def add(ctx: Context, by: int) -> int:
    total = await ctx.get("total", 0) + by
    ctx.set("total", total)
    return total


@counter.read
async def total(ctx: Context) -> int:
    return await ctx.get("total", 0)


@workflow
async def stepping(ctx: Context, count: int) -> None:
    for _ in range(count):
        began = time.perf_counter()
        await ctx.step("work", work)
        TIMES.append(time.perf_counter() - began)


@workflow
async def writing(ctx: Context, count: int) -> None:
    one = ctx.entity("Counter", ctx.run_id)
    for _ in range(count):
        began = time.perf_counter()
        await one.add(1)
        TIMES.append(time.perf_counter() - began)


@workflow
async def reading(ctx: Context, count: int) -> None:
    one = ctx.entity("Counter", ctx.run_id)
    for _ in range(count):
        began = time.perf_counter()
        await one.total()
        TIMES.append(time.perf_counter() - began)


@workflow
async def waiting(ctx: Context) -> None:
    await ctx.signal("go")
    SEEN[ctx.run_id] = time.time()


@workflow
async def holding(ctx: Context) -> None:
    await ctx.step("hold", hold)


HANDLERS = {each.name: each for each in (stepping, writing, reading, waiting, holding)}


class Otelier(ServerSide):
    """A worker of ours."""

    async def open(self, path: str, *, port: int = 0, inactivity_s: float = 60.0) -> None:
        options = Options(inactivity_s=inactivity_s, is_port_shared=bool(port))
        engine = RestateEngine(path, bind=f"127.0.0.1:{port}", options=options)
        self._worker = Worker("ours", modules=[*HANDLERS.values(), add, total], engine=engine)
        self._client = Client(engine)
        await self._worker.__aenter__()

    async def start(self, handler: str, run_id: str, count: int = 0) -> Callable[[], Awaitable[Any]]:
        args = () if handler in {"waiting", "holding"} else (count,)
        return (await self._worker.start(HANDLERS[handler], *args, workflow_id=run_id)).result

    async def signal(self, run_id: str) -> None:
        await self._client.signal(run_id, "go")


if __name__ == "__main__":
    if "traced" in sys.argv:
        trace_all()
    BEGUN.clear()
    serve(ServerCommands(Otelier()))
