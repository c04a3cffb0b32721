"""Plain functions called from an event loop: a thread for each call, so that none waits for a place in a pool."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def in_thread(function: Callable[[], T], name: str) -> T:
    """Call *function* in a new thread, in a copy of the current context, and return what it returns.

    When the caller is cancelled the thread goes on, and what it returns is dropped. It does not keep the process
    alive. A pool would do for one call after the other; but calls that wait for each other would fill it and never
    end.

    Args:
        function: What to call.
        name: Name of the thread.

    Example:
        >>> import asyncio
        >>> asyncio.run(in_thread(lambda: 6 * 7, "docs"))
        42
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if done.done():
            if isinstance(result, Coroutine):
                result.close()  # or Python warns that it was never awaited
            return
        if error is None:
            done.set_result(result)
        else:
            # A future takes no StopIteration.
            done.set_exception(RuntimeError(f"{error!r}") if isinstance(error, StopIteration) else error)

    def work() -> None:
        result, error = None, None
        try:
            result = context.run(function)
        except BaseException as exc:
            error = exc
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more

    threading.Thread(target=work, name=name, daemon=True).start()
    return await done
