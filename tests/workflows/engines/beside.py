"""A worker of the service `mail` that never comes to the end of noting an end, to be killed. Run: ADDRESS."""

from __future__ import annotations

import asyncio
from typing import Any

from otelier.workflows.engines.restate import Options, RestateEngine, _registry, _service
from tests.workflows.engines.serving import Handlers
from tests.workflows.nursery import at_work


async def _mail(run: Any, payload: Any) -> Any:
    return payload


async def _never(ctx: Any, given: bytes) -> bytes:
    """Do what the end of a run is noted with first, let the server know of it, and go no further."""
    await ctx.get(_registry.END, _registry._SERDE)
    await ctx.take_and_send_output()
    await asyncio.sleep(3600)
    return given


def _held(*args: Any) -> Any:
    runs = _registry.runs_object(*args)
    runs.handlers["end"].fn = _never
    return runs


def run(address: str) -> None:
    """Serve until killed."""
    handlers = Handlers("mail")
    handlers.add(_mail)
    _service.runs_object = _held
    engine = RestateEngine(address, bind="127.0.0.1:0", options=Options(silent_s=1.0))
    asyncio.run(engine.serve(handlers.registry, handlers.invoke, at_work))
