"""Functions of every kind run inside a block: plain, async, generator and async generator functions."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, TypeVar

from otelier.fields._blocks import Frame

F = TypeVar("F", bound=Callable[..., Any])


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
