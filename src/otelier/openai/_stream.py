"""Streams: the caller gets the client's own stream, and the call ends when that does, however it does."""

from __future__ import annotations

import copy
from typing import Any, Final

from otelier.openai._call import RAW_RESPONSE, Call
from otelier.openai._hooks import hook_close, hook_parse
from otelier.openai._proxies import AsyncStreamProxy, StreamProxy
from otelier.openai._reading import facts_of
from otelier.openai._steps import AsyncSteps, steps
from otelier.openai._streamed import StreamedCall
from otelier.signals import report_fault

FOLLOWER: Final = "_otelier"
"""Attribute of a followed stream that holds its call."""


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
        hook_close(facts_of(stream).get(RAW_RESPONSE if is_raw else "response"), streamed, asynchronous=asynchronous)
    except Exception as exc:  # closed early, it then ends when it is dropped
        report_fault("openai.hook", exc)
    if not is_raw:
        return _followed(stream, streamed, asynchronous=asynchronous)
    try:
        hook_parse(stream, lambda parsed: _followed(parsed, streamed, asynchronous=asynchronous))
    except Exception as exc:
        report_fault("openai.follow", exc)
        streamed.end()
    return stream


def leaving(wrapped: Any, stream: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run `__exit__` or `__aexit__` of a stream or its helper; an exception in the block ends the call first."""
    try:
        error = args[1] if len(args) > 1 else None
        streamed = None if error is None else _follower_of(stream)
        if streamed is not None:
            streamed.end(error)
    except Exception as exc:
        report_fault("openai.leave", exc)
    return wrapped(*args, **kwargs)


def _follower_of(thing: Any) -> StreamedCall | None:
    facts = facts_of(thing)
    if FOLLOWER in facts:
        return facts[FOLLOWER]
    # What `.stream()` returns holds a helper under a private name, and that the stream.
    helper = next((held for name, held in facts.items() if name.endswith("__stream")), None)
    return facts_of(facts_of(helper).get("_raw_stream")).get(FOLLOWER)


def _followed(stream: Any, streamed: StreamedCall, *, asynchronous: bool) -> Any:
    try:
        inner = facts_of(stream).get("_iterator")
        if inner is None:
            return _proxied(stream, streamed, asynchronous=asynchronous)
        # A copy, because the client's own iterator holds the original: swapping it there would close a circle, and a
        # stream that is broken off and dropped would end at the next cyclic collection, which may never come.
        like = copy.copy(stream)
        like._iterator = AsyncSteps(inner, streamed) if asynchronous else steps(inner, streamed)
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
