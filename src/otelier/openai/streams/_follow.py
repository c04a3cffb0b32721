"""Streams: the caller gets the client's own stream, and the call ends when that does, however it does."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

from otelier.faults import report_fault
from otelier.openai._call import Call, clock
from otelier.openai.reading._fields import RAW_RESPONSE, facts_of
from otelier.openai.streams._hooks import FOLLOWER, follower_of, hook_close, hook_parse, is_raised_by
from otelier.openai.streams._steps import AsyncStreamProxy, StreamProxy, shown_steps, shown_steps_async
from otelier.openai.streams._streamed import StreamedCall

_SECONDS: Final = 0.5
_MOST_CHUNKS: Final = 16
_SHORTEST: Final = 0.001
"""Of waits, in seconds: none at all would be another mode of the socket."""
_HELPERS: Final = "openai.lib.streaming"


def is_raised_by_helper(streamed: StreamedCall, error: BaseException) -> bool:
    """Tell whether the client's helper for that stream raised *error*."""
    return is_raised_by(streamed, error, below=_HELPERS)


def read_on(streamed: StreamedCall) -> None:
    """Read what is still to come, up to what brings usage."""
    with _for_a_moment(streamed.response) as ends:
        look = streamed.looker()
        for _ in range(_MOST_CHUNKS):
            if clock() >= ends or not streamed.awaits_usage() or look(next(streamed.inner)):
                return


async def read_on_async(streamed: StreamedCall) -> None:
    """Do the same for an asynchronous stream."""
    with _for_a_moment(streamed.response) as ends:
        look = streamed.looker()
        for _ in range(_MOST_CHUNKS):
            if clock() >= ends or not streamed.awaits_usage() or look(await anext(streamed.inner)):
                return


@contextmanager
def _for_a_moment(response: Any) -> Generator[float]:
    """Let no read of *response* wait beyond a moment from now; gives its end, which is past where that cannot be done.

    A connection of HTTP/2 is shared with other calls, whose reads must not end with ours; other transports have none.
    """
    network = response.extensions.get("network_stream")
    if network is None or response.http_version != "HTTP/1.1":
        yield 0.0
        return
    read, ends = network.read, clock() + _SECONDS

    def read_briefly(max_bytes: int, timeout: float | None = None) -> Any:
        left = max(ends - clock(), _SHORTEST)
        return read(max_bytes, left if timeout is None else min(left, timeout))

    network.read = read_briefly
    try:
        yield ends
    finally:
        del network.read


def follow(call: Call, stream: Any, *, asynchronous: bool) -> Any:
    """Return what the caller gets for *stream*: its like, with *call* ending when it ends."""
    chunks = call.operation.chunks
    if chunks is None:
        call.finish(stream)
        return stream
    try:
        streamed = StreamedCall(call, chunks(content=call.telemetry.content))
    except Exception as exc:
        report_fault("openai.follow", exc)
        call.finish(stream)
        return stream
    is_raw = RAW_RESPONSE in facts_of(stream)
    try:
        response = facts_of(stream).get(RAW_RESPONSE if is_raw else "response")
        if is_raw or call.operation.names_served_model:
            streamed.served_by = getattr(response, "headers", None)
        streamed.response = response
        hook_close(response, streamed, asynchronous=asynchronous)
    except Exception as exc:  # closed early, it then ends when it is dropped
        report_fault("openai.hook", exc)
    if not is_raw:
        return _followed(stream, streamed, asynchronous=asynchronous)
    try:
        hook_parse(stream, lambda parsed: _followed(parsed, streamed, asynchronous=asynchronous))
        setattr(stream, FOLLOWER, streamed)
    except Exception as exc:
        report_fault("openai.follow", exc)
        streamed.end()
    return stream


def leaving(wrapped: Any, stream: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run `__exit__` or `__aexit__` of what is read; what ends the block by an exception ends the call first."""
    try:
        error = args[1] if len(args) > 1 else None
        streamed = None if error is None else follower_of(stream)
        if streamed is not None and error is not None:
            if isinstance(streamed, StreamedCall) and streamed.awaits_usage() and is_raised_by_helper(streamed, error):
                if inspect.iscoroutinefunction(wrapped):
                    return _leaving_late(wrapped, streamed, error, args, kwargs)
                _read_on(streamed)
            streamed.leave(error)
    except Exception as exc:
        report_fault("openai.leave", exc)
    return wrapped(*args, **kwargs)


def _read_on(streamed: StreamedCall) -> None:
    try:
        read_on(streamed)
    except Exception:  # it is the end, or too slow, or broken: nothing that is still to come can be told
        return


async def _leaving_late(
    wrapped: Any, streamed: StreamedCall, error: BaseException, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    try:
        await read_on_async(streamed)
    except Exception:  # as above
        pass
    finally:  # if it is cancelled, too
        streamed.leave(error)
        result = await wrapped(*args, **kwargs)
    return result


def _followed(stream: Any, streamed: StreamedCall, *, asynchronous: bool) -> Any:
    try:
        inner = facts_of(stream).get("_iterator")
        if inner is None:
            return _proxied(stream, streamed, asynchronous=asynchronous)
        # A copy, because the client's own iterator holds the original: swapping it there would close a circle, and a
        # stream that is broken off and dropped would end at the next cyclic collection, which may never come.
        like = copy.copy(stream)
        like._iterator = shown_steps_async(inner, streamed) if asynchronous else shown_steps(inner, streamed)
        setattr(like, FOLLOWER, streamed)
        streamed.inner = inner
    except Exception as exc:
        report_fault("openai.follow", exc)
        streamed.end()
        return stream
    return like


def _proxied(stream: Any, streamed: StreamedCall, *, asynchronous: bool) -> Any:
    if asynchronous and hasattr(stream, "__aiter__"):
        return AsyncStreamProxy(stream, streamed)
    if not asynchronous and hasattr(stream, "__iter__"):
        return StreamProxy(stream, streamed)
    streamed.end()  # no stream at all: it says nothing that could be followed
    return stream
