"""A worker of the service `mail` that never comes to the end of noting an end, to be killed. Run: ADDRESS."""

from __future__ import annotations

import asyncio
from typing import Any

from otelier.workflows.engines.restate import Options, RestateEngine, _registry
from tests.workflows.engines.serving import Handlers
from tests.workflows.nursery import at_work


async def _mail(run: Any, payload: Any) -> Any:
    return payload


async def _never() -> int:
    await asyncio.sleep(3600)
    return 0


def run(address: str) -> None:
    """Serve until killed."""
    handlers = Handlers("mail")
    handlers.add(_mail)
    _registry._now = _never  # type: ignore[assignment]
    engine = RestateEngine(address, bind="127.0.0.1:0", options=Options(silent_s=1.0))
    asyncio.run(engine.serve(handlers.registry, handlers.invoke, at_work))
