"""Blocks: stretches of code that run in an OpenTelemetry Context of their own and give the former one back.

A block never detaches a token: tokens of another task or thread are logged as errors by OpenTelemetry, and a
generator that is broken off is finished in whatever context the collector runs. A block asks instead whether it
is open in the context it is closed in, and leaves any other context alone.

Functions of every kind run inside a block: plain, async, generator and async generator functions.

See: https://github.com/open-telemetry/opentelemetry-python/issues/2606
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from types import TracebackType
from typing import Any, Final, TypeVar

from opentelemetry.context import Context, attach, get_current

from otelier.fields._contexts import BLOCK, SPAN

F = TypeVar("F", bound=Callable[..., Any])
_NOWHERE: Final = Context()


# A block is a `context()` or a `Frame`, which have no base in common: `help(otelier.context)` would show it, and how a
# block works inside. Both have these slots:
#   _outer_context: the context that this block's own was made from; `None` when the block is over.
#   _outer_block: the open block around this one when it ended, for tasks that outlive it; `None` without one.
#   _span_outside: the span, or the request without one, that a `context()` block was opened in; `None` for the others.


def is_open_in(block: Any, current: Context) -> bool:
    """Return whether code running in *current* runs inside *block*."""
    innermost: Any = current.get(BLOCK)
    while innermost is not None and innermost is not block:
        innermost = around(innermost)
    return innermost is block


def end(block: Any) -> None:
    """Forget the context around *block*, and blocks around it that are over.

    Without this a callback that schedules itself again from inside its block would keep every earlier block alive.
    """
    if block._outer_context is not None:
        outer: Any = block._outer_context.get(BLOCK)
        while outer is not None and outer._outer_context is None:
            outer = outer._outer_block
        block._outer_context, block._outer_block = None, outer


def around(block: Any) -> Any:
    """Return the block around *block*; `None` without one."""
    return block._outer_block if block._outer_context is None else block._outer_context.get(BLOCK)


def outside(block: Any) -> Context | None:
    """Return the context around *block*; `None` when the block is over."""
    return block._outer_context


def is_block_open(block: Any) -> bool:
    """Return whether *block* is open, or at least the span that it was opened in."""
    under: Any = block._span_outside
    return block._outer_context is not None or (under is not None and under.is_recording())


def inside_block(block: Any, span: object) -> bool:
    """Return whether *block*, or one around it, was opened by `context()` below *span*."""
    while block is not None:
        if block._span_outside is span:
            return True
        block = around(block)
    return False


def restore(current: Context, mine: Context, former: Context) -> Context:
    """Return what holds after a block: *former*, but with the span that was made current inside and is still open."""
    if current.get(SPAN) is mine.get(SPAN):
        return former
    return Context({**former, SPAN: current.get(SPAN)})


class Frame:
    """Runs code in *inside*, once or step by step; between the steps its context is kept, not left in place.

    This is how generators and coroutines carry a context: entered for each step, left at each `yield`.
    """

    __slots__ = ("_former", "_outer_block", "_outer_context", "_resume", "_span_outside")

    def __init__(self, inside: Context, *, around: Context | None = None, span_outside: object = None) -> None:
        self._outer_context: Context | None = inside if around is None else around
        self._outer_block: Any = None
        self._span_outside = span_outside
        self._resume = Context({**inside, BLOCK: self})
        self._former = _NOWHERE

    def __enter__(self) -> None:
        self._former = get_current()
        attach(self._resume)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        current = get_current()
        if current is self._resume or is_open_in(self, current):
            self._resume = current
            attach(self._former)
        self._former = _NOWHERE

    def end(self) -> None:
        """Forget every context; the frame is not entered again."""
        end(self)
        self._resume = _NOWHERE


def run_in(function: F, open_frame: Callable[[], Frame]) -> F:
    """Return *function* with each call running in the frame that *open_frame* gives for it.

    The result is of the same kind as *function*, so frameworks that look at the kind treat it alike.
    """
    if inspect.isclass(function) or not callable(function):
        raise TypeError(
            f"Cannot carry a context into {function!r}: it is not a function. Decorate its methods, or the function "
            f"that calls it."
        )
    return functools.wraps(function)(_driver(function)(function, open_frame))


def _driver(function: Callable[..., Any]) -> Callable[..., Any]:
    called = function if inspect.isroutine(function) else type(function).__call__
    for is_kind, driver in (
        (inspect.isasyncgenfunction, _drive_async_generator),
        (inspect.iscoroutinefunction, _drive_coroutine),
        (inspect.isgeneratorfunction, _drive_generator),
    ):
        if is_kind(function) or is_kind(called):
            return driver
    return _drive_call


def _drive_call(function: Callable[..., Any], open_frame: Callable[[], Frame]) -> Callable[..., Any]:
    def driven(*args: Any, **kwargs: Any) -> Any:
        frame = open_frame()
        try:
            with frame:
                return function(*args, **kwargs)
        finally:
            frame.end()

    return driven


def _drive_coroutine(function: Callable[..., Any], open_frame: Callable[[], Frame]) -> Callable[..., Any]:
    async def driven(*args: Any, **kwargs: Any) -> Any:
        frame = open_frame()
        try:
            with frame:
                return await function(*args, **kwargs)
        finally:
            frame.end()

    return driven


def _drive_generator(function: Callable[..., Any], open_frame: Callable[[], Frame]) -> Callable[..., Any]:
    def driven(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        frame = open_frame()
        generator: Generator[Any, Any, Any] = function(*args, **kwargs)
        try:
            with frame:
                item = next(generator)
            while True:
                try:
                    received = yield item
                except GeneratorExit:
                    with frame:
                        generator.close()
                    raise
                except BaseException as error:
                    with frame:
                        item = generator.throw(error)
                else:
                    with frame:
                        item = generator.send(received)
        except StopIteration as end:
            return end.value
        finally:
            frame.end()

    return driven


def _drive_async_generator(function: Callable[..., Any], open_frame: Callable[[], Frame]) -> Callable[..., Any]:
    async def driven(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        frame = open_frame()
        generator: AsyncGenerator[Any, Any] = function(*args, **kwargs)
        try:
            with frame:
                item = await _first_step(generator)
            while True:
                try:
                    received = yield item
                except GeneratorExit:
                    with frame:
                        await generator.aclose()
                    raise
                except BaseException as error:
                    with frame:
                        item = await generator.athrow(error)
                else:
                    with frame:
                        item = await generator.asend(received)
        except StopAsyncIteration:
            return
        finally:
            frame.end()

    return driven


def _first_step(generator: AsyncGenerator[Any, Any]) -> Awaitable[Any]:
    """Start *generator* unseen by the event loop, which closes at its end what it saw start.

    It would close the inner generator beside the one that drives it: outside the frame, and both at once.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return generator.__anext__()
    finally:
        sys.set_asyncgen_hooks(*hooks)
