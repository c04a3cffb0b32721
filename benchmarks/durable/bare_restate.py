"""The side of bare restate-sdk: the same work by its own calls, served by the same HTTP server with equal settings."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import restate
from hypercorn.asyncio import serve as serve_http
from hypercorn.config import Config
from restate import Context, InvocationRetryPolicy, ObjectContext, ObjectSharedContext, Service, VirtualObject

from durable.on_server import ServerCommands, ServerSide, hold, work
from durable.serving import SEEN, TIMES, serve
from otelier.workflows.engines.restate._address import parse_address
from otelier.workflows.engines.restate._http import request

DAY = timedelta(days=1)
RETRIES = InvocationRetryPolicy(
    initial_interval=timedelta(milliseconds=50), exponentiation_factor=2.0, max_interval=timedelta(seconds=10),
    max_attempts=2**31,
)  # fmt: skip
"""As otelier has it: how soon another worker is tried."""
counter = VirtualObject("BareCounter", invocation_retry_policy=RETRIES)


@counter.handler()
async def add(ctx: ObjectContext, by: int) -> int:
    found = (await ctx.get("total", type_hint=int) or 0) + by
    ctx.set("total", found)
    return found


@counter.handler(kind="shared")
async def total(ctx: ObjectSharedContext) -> int:
    return await ctx.get("total", type_hint=int) or 0


async def stepping(ctx: Context, count: int) -> None:
    for _ in range(count):
        began = time.perf_counter()
        await ctx.run_typed("work", work)
        TIMES.append(time.perf_counter() - began)


async def writing(ctx: Context, count: int) -> None:
    for _ in range(count):
        began = time.perf_counter()
        await ctx.object_call(add, ctx.request().id, 1)
        TIMES.append(time.perf_counter() - began)


async def reading(ctx: Context, count: int) -> None:
    for _ in range(count):
        began = time.perf_counter()
        await ctx.object_call(total, ctx.request().id, None)
        TIMES.append(time.perf_counter() - began)


async def waiting(ctx: Context, name: str) -> None:
    await ctx.signal("go", type_hint=str)
    SEEN[name] = time.time()


async def holding(ctx: Context) -> None:
    await ctx.run_typed("hold", hold)


async def tell(ctx: Context, invocation: str) -> None:
    ctx.resolve_signal(invocation, "go", "now")


class Bare(ServerSide):
    """A worker of the SDK."""

    def __init__(self) -> None:
        self._invocations: dict[str, str] = {}

    async def open(self, path: str, *, port: int = 0, inactivity_s: float = 60.0) -> None:
        self._address = parse_address(path)
        service = Service("Bare", invocation_retry_policy=RETRIES)
        for handler in (stepping, writing, reading, waiting, holding, tell):
            given: Any = service.handler(inactivity_timeout=timedelta(seconds=inactivity_s), abort_timeout=DAY)
            given(handler)
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(512)
        config = Config()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        config.bind = [f"fd://{listening.detach()}"]
        config.errorlog = config.accesslog = None
        config.h2_max_concurrent_streams = 2**31 - 1
        config.keep_alive_timeout = 3600
        config.keep_alive_max_requests = 2**31 - 1
        app: Any = restate.app([service, counter])
        self._serving = asyncio.ensure_future(
            serve_http(app, config, mode="asgi", shutdown_trigger=asyncio.Event().wait)
        )
        await self._ask(self._address.admin, "POST", "/deployments", {"uri": url, "force": True})

    async def _ask(self, port: int, method: str, path: str, given: Any = None) -> Any:
        body = None if given is None else json.dumps(given).encode()
        answer = await request(self._address.host, port, method, path, body)
        if answer.status not in {200, 201, 202}:
            raise RuntimeError(f"{path}: {answer.status} {answer.words()}")
        return answer.json()

    async def start(self, handler: str, run_id: str, count: int = 0) -> Callable[[], Awaitable[Any]]:
        given = {"holding": None, "waiting": run_id}.get(handler, count)
        sent = await self._ask(self._address.ingress, "POST", f"/Bare/{handler}/send", given)
        invocation = self._invocations[run_id] = sent["invocationId"]
        return lambda: self._ask(self._address.ingress, "GET", f"/restate/invocation/{invocation}/attach")

    async def signal(self, run_id: str) -> None:
        await self._ask(self._address.ingress, "POST", "/Bare/tell", self._invocations[run_id])


if __name__ == "__main__":
    serve(ServerCommands(Bare()))
