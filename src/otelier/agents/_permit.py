"""Places of a run's limiter: so many functions are called at once, and those that wait for another run do not count."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any, Final


class Permit:
    """One of the places of a run's limiter, given back while its holder waits for another run.

    Used on the run's loop only. A holder may wait for several runs at once, in threads of its own.
    """

    __slots__ = ("_held", "_limiter", "_waits", "is_over", "runs")

    def __init__(self, limiter: asyncio.Semaphore) -> None:
        self._limiter = limiter
        self._held = False
        self._waits = 0
        self.is_over = False
        """Whether the call is over, though a thread of it may go on."""
        self.runs: set[asyncio.Future[Any]] = set()
        """Runs that the call waits for in threads."""

    async def take(self) -> None:
        """Wait for a place, unless the call is over or waits for another run again."""
        if self.is_over:
            return
        await self._limiter.acquire()
        if self._held or self._waits or self.is_over:
            self._limiter.release()
        else:
            self._held = True

    def start_waiting(self) -> None:
        """Leave the place to another."""
        self._waits += 1
        self._leave()

    async def stop_waiting(self) -> None:
        """Take a place again, if nothing else is waited for."""
        self._waits -= 1
        if not self._waits:
            await self.take()

    def end(self) -> None:
        """Give the place back for good: the call is over, and nobody waits for the runs that it delegated."""
        self.is_over = True
        self._leave()
        for run in self.runs:
            run.cancel()

    def _leave(self) -> None:
        if self._held:
            self._held = False
            self._limiter.release()


PERMIT: Final[ContextVar[Permit | None]] = ContextVar("otelier-agents-permit", default=None)
"""The place that the call of a tool holds which is under way."""
