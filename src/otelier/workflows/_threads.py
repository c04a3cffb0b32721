"""Threads of a worker, for functions that block.

They are no `ThreadPoolExecutor`: the interpreter waits at its end for each thread of one, and a function that never
returns would keep a process alive that is to end, and that has given its steps their time.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeAlias

_Work: TypeAlias = "tuple[asyncio.AbstractEventLoop, asyncio.Future[Any], Callable[[], Any]]"


class Threads:
    """Calls functions in threads, at most *most* at once; others wait for their turn.

    Args:
        most: How many threads there are, at most; one is started when no other is free.
        name: How they are named.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most, self._name = most, name
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._free = self._count = 0

    def call(self, function: Callable[[], Any]) -> asyncio.Future[Any]:
        """Call *function* in a thread, and return a future of its result; one that is cancelled in time calls nothing.

        Must be called on an event loop, where the future is done.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        with self._lock:
            self._queue.put((loop, future, function))
            if self._free:
                self._free -= 1
            elif self._count < self._most:
                self._count += 1
                threading.Thread(target=self._work, name=f"{self._name}_{self._count}", daemon=True).start()
        return future

    def close(self) -> None:
        """Let the threads end after what they do, and wait for none."""
        self._queue.put(None)

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            loop, future, function = work
            del work
            result, error = None, None
            if not future.cancelled():
                try:
                    result = function()
                # No future takes the one, and the other would close who waits.
                except (StopIteration, GeneratorExit) as exc:
                    error = RuntimeError(f"The function raised {exc!r}.")
                    error.__cause__ = exc
                except BaseException as exc:
                    error = exc
            try:
                loop.call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:  # the loop was closed: nobody waits there
                pass
            del loop, future, function, result, error
            with self._lock:
                if self._queue.empty():
                    self._free += 1
        self._queue.put(None)  # for the next one


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
