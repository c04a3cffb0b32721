"""Iterators that read a stream for its consumer and watch what passes.

They attach no context: between two chunks the consumer runs in its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from otelier.openai._call import clock
from otelier.openai.streams._streamed import StreamedCall
from otelier.openai.streams._usage import AsyncWithoutUsage, without_usage


def steps(inner: Iterator[Any], streamed: StreamedCall) -> Iterator[Any]:
    """Yield what *inner* yields. A generator: the cheapest of all ways, 0.17 us a chunk."""
    now, look, stamp = clock, streamed.looker(), streamed.stamp
    try:
        for chunk in inner:
            at = now()
            last = False
            try:
                last = look(chunk)
            except Exception as exc:
                look = streamed.look_away(exc)
            stamp(at)
            if last:
                streamed.end()
            yield chunk
    except GeneratorExit:  # the stream was dropped, this with it
        streamed.abandon()
        raise
    except BaseException as exc:
        streamed.end(exc)
        raise
    streamed.end()


def shown_steps(inner: Iterator[Any], streamed: StreamedCall) -> Iterator[Any]:
    """Yield what the consumer of *inner* is to see; what we asked for is not among it."""
    watched = steps(inner, streamed)
    return without_usage(watched) if streamed.hides_usage else watched


def shown_steps_async(inner: AsyncIterator[Any], streamed: StreamedCall) -> AsyncIterator[Any]:
    """Return the same for an asynchronous stream."""
    watched = AsyncSteps(inner, streamed)
    return AsyncWithoutUsage(watched) if streamed.hides_usage else watched


class AsyncSteps:
    """Iterates asynchronously over what *inner* does.

    No generator: one that is broken off is finished by the event loop, in a later tick or never; this just goes.
    """

    __slots__ = ("_look", "_next", "_stamp", "_streamed")

    def __init__(self, inner: AsyncIterator[Any], streamed: StreamedCall) -> None:
        self._next = inner.__anext__
        self._look = streamed.looker()
        self._stamp = streamed.stamp
        self._streamed = streamed

    def __aiter__(self) -> AsyncSteps:
        return self

    async def __anext__(self) -> Any:
        try:
            chunk = await self._next()
        except StopAsyncIteration:
            self._streamed.end()
            raise
        except BaseException as exc:
            self._streamed.end(exc)
            raise
        at = clock()
        last = False
        try:
            last = self._look(chunk)
        except Exception as exc:
            self._look = self._streamed.look_away(exc)
        self._stamp(at)
        if last:
            self._streamed.end()
        return chunk
