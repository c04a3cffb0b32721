"""Calls of a tool's functions: each has a slot of its run, a thread or a task of its own, and a time limit."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from itertools import islice
from typing import Any, Final, TypeVar, cast

from otelier.agents._results import AgentResult
from otelier.agents._tool import OnError, Tool, is_awaited
from otelier.telemetry import in_thread

R = TypeVar("R")

_CLEAN_UP_S = 1.0
"""Seconds that an async tool which is late has for its own clean-up."""


class Slot:
    """A slot of a run's limiter, given back while its holder waits for another run.

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
        """Wait for a slot, unless the call is over or waits for another run again."""
        if self.is_over:
            return
        await self._limiter.acquire()
        if self._held or self._waits or self.is_over:
            self._limiter.release()
        else:
            self._held = True

    def start_waiting(self) -> None:
        """Give the slot back for as long as another run is waited for."""
        self._waits += 1
        self._leave()

    async def stop_waiting(self) -> None:
        """Take a slot again, if nothing else is waited for."""
        self._waits -= 1
        if not self._waits:
            await self.take()

    def end(self) -> None:
        """Give the slot back for good: the call is over, and nobody waits for the runs that it delegated."""
        self.is_over = True
        self._leave()
        for run in self.runs:
            run.cancel()

    def _leave(self) -> None:
        if self._held:
            self._held = False
            self._limiter.release()


SLOT: Final[ContextVar[Slot | None]] = ContextVar("otelier-agents-slot", default=None)
"""The slot of the call of a tool that is under way."""


@asynccontextmanager
async def slot_of(limiter: asyncio.Semaphore) -> AsyncGenerator[None]:
    """Hold a slot of *limiter*, as soon as there is one, until the block ends."""
    slot = Slot(limiter)
    SLOT.set(slot)  # the call has a task, and so a context, of its own
    await slot.take()
    try:
        yield
    finally:
        slot.end()


class ExitError(Exception):
    """Brings a `SystemExit` out of a task, which would end its loop, to whoever waits for the task."""

    def __init__(self, exit: SystemExit) -> None:
        super().__init__()
        self.exit = exit


async def in_a_task(work: Coroutine[Any, Any, R]) -> R:
    """Return what *work* gives, in a task that `result_of` is asked for.

    Raises:
        ExitError: if it raises `SystemExit`.
        BaseException: what else it raises, unchanged.
    """
    try:
        return await work
    except SystemExit as exc:
        raise ExitError(exc) from None


def result_of(task: asyncio.Future[R]) -> R:
    """Return the result of a task that is done, or raise what ended it."""
    try:
        return task.result()
    except ExitError as exc:
        raise exc.exit from None


async def call_function(tool: Tool[..., Any], bound: Callable[[], Any]) -> object:
    """Call the function that *bound* is, and wait for what it returns in place of a result.

    That is an awaitable, or the items of a generator.

    Raises:
        TimeoutError: if it takes longer than it may.
        BaseException: what it raises, unchanged.
    """
    return await _call(tool, bound, is_async=tool.is_async, timeout_s=tool.timeout_s)


async def call_on_error(tool: Tool[..., Any], on_error: OnError, error: BaseException) -> object:
    """Call the `on_error` of *tool* with *error*, as its function is called.

    Raises:
        BaseException: what it raises, unchanged.
    """
    return await _call(tool, partial(on_error, error), is_async=is_awaited(on_error), timeout_s=None)


async def _call(
    tool: Tool[..., Any], bound: Callable[[], Any], *, is_async: bool, timeout_s: float | None
) -> object:  # fmt: skip
    called = _called(tool, bound, is_async)
    in_this_task = timeout_s is None and not is_async  # a thread cannot cancel it
    return await (called if in_this_task else _alone(called, timeout_s))


async def _settled(result: Any) -> Any:
    """Return what *result* comes to: itself, or what its awaitable gives."""
    while inspect.isawaitable(result):  # a plain function may hand on what an async one returned, and both a run
        result = await result
    return result


async def _called(tool: Tool[..., Any], bound: Callable[[], Any], is_async: bool) -> object:
    most = tool.max_result_chars  # an item takes a character at least

    def in_its_thread() -> Any:
        result = bound()
        return list(islice(cast("Iterator[Any]", result), most)) if isinstance(result, Iterator) else result

    result: Any = bound() if is_async else await in_thread(in_its_thread, f"otelier-tool-{tool.name}")
    if inspect.isawaitable(result):
        result = await (_settled(result) if is_async else _alone(_settled(result), None))
    if isinstance(result, Iterator):
        return list(islice(cast("Iterator[Any]", result), most))
    # The rest of it is the delegated run's own affair, with a whole context in it.
    return cast("AgentResult[Any]", result).output if isinstance(result, AgentResult) else result


async def _alone(work: Coroutine[Any, Any, Any], timeout_s: float | None) -> Any:
    """Wait for *work* in a task of its own: one that cancels its own task then cancels nothing else."""
    task = asyncio.ensure_future(_kept(work))
    try:
        await asyncio.wait([task], timeout=timeout_s)
        if not task.done():
            raise TimeoutError(f"It took more than {timeout_s:g} s.")
        result, error = task.result()
        if error is not None:
            raise error
        return result
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=None if timeout_s is None else _CLEAN_UP_S)


async def _kept(work: Coroutine[Any, Any, Any]) -> tuple[Any, BaseException | None]:
    """Return what *work* gives, or raises, so that its task never fails.

    asyncio logs the message of an error that nobody waits for any more, and ends its loop over a `SystemExit`.
    """
    try:
        return await work, None
    except (asyncio.CancelledError, GeneratorExit):
        raise
    except BaseException as exc:
        return None, exc
