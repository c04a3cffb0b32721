"""What both sides do with a Restate server, and can be asked for besides what sides with a file can."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from durable.serving import BEGUN, RESULT, SEEN, Commands, Side, processor_s, resident_kb

AT_ONCE = 50
"""Requests of a client at once: each has a connection of its own."""
_held: list[asyncio.Event] = []


async def work() -> dict[str, Any]:
    """Be the body of a step."""
    return dict(RESULT)


async def hold() -> None:
    """Be the body of a step that goes on until `release`."""
    BEGUN.append(time.time())
    _held.append(asyncio.Event())
    await _held[-1].wait()


class ServerSide(Side):
    """A worker of a Restate server, and a client beside it."""

    async def open(self, path: str, *, port: int = 0, inactivity_s: float = 60.0) -> None:
        """Register a worker with the server at *path*; several workers share a *port* that is given."""
        raise NotImplementedError


class ServerCommands(Commands):
    """What a side can be asked for."""

    side: ServerSide

    async def wait(self, count: int) -> dict[str, Any]:
        began = time.perf_counter()
        names = [self._id() for _ in range(count)]
        for first in range(0, count, AT_ONCE):
            await asyncio.gather(*(self.side.start("waiting", name) for name in names[first : first + AT_ONCE]))
        return {"names": names, "wall": time.perf_counter() - began}

    async def wake(self, name: str) -> float:
        began = time.time()
        await self.side.signal(name)
        while name not in SEEN:  # noqa: ASYNC110 -- a benchmark looks from outside
            await asyncio.sleep(0.001)
        return SEEN[name] - began

    async def resident(self) -> int:
        return resident_kb()

    async def spent(self) -> float:
        return processor_s()

    async def hold(self) -> str:
        """Start a run that is in the middle of a step until `release`, in this worker or in another one."""
        name = self._id()
        await self.side.start("holding", name)
        return name

    async def holds(self) -> list[float]:
        """Return when steps that go on here were begun."""
        return list(BEGUN)

    async def release(self) -> None:
        """Let the steps end that go on here."""
        BEGUN.clear()
        while _held:
            _held.pop().set()
