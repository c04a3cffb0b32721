"""Waits for answers of a server, some of which take days, for as long as that answers at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from otelier.errors import EngineError
from otelier.workflows.engines.restate._address import Address
from otelier.workflows.engines.restate._http import Response, request


class Patience:
    """Waits at one port of a server."""

    def __init__(self, address: Address, port: int, health: str, silent_s: float) -> None:
        self._address, self._port, self._health, self._silent_s = address, port, health, silent_s
        self._heard = 0.0
        """When somebody was answered there."""

    async def wait(self, asking: Coroutine[Any, Any, Response]) -> Response:
        """Wait for an answer.

        Raises:
            EngineError: if whoever listens there takes requests, and does not even say that it is well.
        """
        task = asyncio.ensure_future(asking)
        try:
            while not (await asyncio.wait((task,), timeout=self._silent_s))[0]:
                if time.monotonic() - self._heard >= self._silent_s:
                    await self._ask_whether_it_is_well()
            found = task.result()
            self._heard = time.monotonic()
            return found
        finally:
            if task.cancel():
                await asyncio.wait((task,))

    async def _ask_whether_it_is_well(self) -> None:
        try:
            await asyncio.wait_for(request(self._address.host, self._port, "GET", self._health), self._silent_s)
        except asyncio.TimeoutError:  # before `OSError`, which it is in later versions of Python
            raise EngineError(
                f"Restate's server at {self._address} does not answer at port {self._port}: it takes requests, and "
                f"says nothing, not even for {self._silent_s:g} s whether it is well. It hangs, or something else "
                "listens there. What runs there goes on when it is back."
            ) from None
        except OSError:  # what waits hears of that by itself
            return
        self._heard = time.monotonic()
