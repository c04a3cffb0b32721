"""A worker whose body has spans of its own and of an instrumentation, around and between what is recorded.

It is started as `PLACE DIRECTORY` by a nursery. Spans and points are appended to files; see `traced`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

from otelier.workflows import Context, Worker, _trace, workflow
from tests.workflows.nursery import at_work
from tests.workflows.programs import traced

tracer = trace.get_tracer("shop")


@workflow
async def shop(ctx: Context, url: str) -> str:
    """Ask a server something before, between, inside and after two steps and a wait."""
    async with httpx.AsyncClient(base_url=url, timeout=600) as client:

        async def charge() -> str:
            return (await client.get("/charge")).text

        with tracer.start_as_current_span("around"):
            await client.get("/before")
            charged = await ctx.step("charge", charge)
            await asyncio.gather(client.get("/left"), client.get("/right"))
            await ctx.signal("go")
            await client.get("/after")
            await ctx.step("ship", lambda: httpx.get(f"{url}/ship", timeout=600).text)
        await client.get("/last")
    return charged


async def serve(place: str) -> None:
    """Drive the file, or work for the server."""
    async with Worker("shop", modules=[shop], engine=traced.engine_at(place)):
        at_work()
        await asyncio.Event().wait()


def run(place: str, folder: str) -> None:
    """Be one worker."""
    traced.directory = Path(folder)
    traced.switch_on(1.0)
    _trace.LONG_WAIT_NS = 600_000_000_000  # type: ignore[misc]
    instrumentor: Any = HTTPXClientInstrumentor()
    instrumentor.instrument()
    asyncio.run(serve(place))
