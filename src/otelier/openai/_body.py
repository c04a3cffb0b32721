"""Answers whose body the client leaves to its caller, as `with_streaming_response` does: read only as the caller does.

The call goes on until the body was read or parsed, or the response is closed. What is read in pieces says nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from otelier.openai._call import RAW_RESPONSE, Call
from otelier.openai._hooks import FOLLOWER, hook_close
from otelier.openai._reading import facts_of
from otelier.signals import report_fault

_READERS = ("parse", "read")  # all else that reads the whole body comes down to these


class Body:
    """The body of one answer; whoever comes first ends its call."""

    __slots__ = ("__weakref__", "_call", "_ending", "_headers", "_undo", "busy", "inner")

    def __init__(self, call: Call, headers: Any) -> None:
        self._call = call
        self._headers = headers
        self._undo: list[Callable[[], object]] = []
        self._ending = threading.Lock()  # taken by what ends the call, and never given back
        self.inner: Any = None
        """No iterator of the client's is followed."""
        self.busy = False
        """Whether it is being read: the client then closes the response, and what it holds is about to be known."""

    def at_end(self, undo: Callable[[], object]) -> None:
        """Let *undo* run when the call ends."""
        self._undo.append(undo)

    def end(self, failure: BaseException | None = None, *, answer: Any = None) -> None:
        """End the call, with what the body was parsed into if it was; only the first of many ends it."""
        if self.busy or not self._ending.acquire(blocking=False):
            return
        try:
            for undo in self._undo:
                undo()
            if failure is None:
                self._call.finish(answer, self._headers)
            else:
                self._call.break_off(failure)
        except Exception as exc:
            report_fault("openai.body", exc)

    def __del__(self) -> None:
        self.end()


def follow_body(call: Call, raw: Any, *, asynchronous: bool) -> None:
    """Let *call* end when the body of *raw* was read, or is not going to be."""
    response = facts_of(raw).get(RAW_RESPONSE)
    body = Body(call, getattr(response, "headers", None))
    try:
        hook_close(response, body, asynchronous=asynchronous)
        reading = _reading_async if asynchronous else _reading
        parse = raw.parse
        for name in _READERS:
            setattr(raw, name, reading(getattr(raw, name), parse, body))
            body.at_end(lambda name=name: raw.__dict__.pop(name, None))
        setattr(raw, FOLLOWER, body)
        body.at_end(lambda: raw.__dict__.pop(FOLLOWER, None))
    except Exception as exc:
        report_fault("openai.body", exc)
        body.end()


def _reading(read: Callable[..., Any], parse: Callable[..., Any], body: Body) -> Callable[..., Any]:
    def hooked(*args: Any, **kwargs: Any) -> Any:
        if body.busy:  # parsing reads too
            return read(*args, **kwargs)
        body.busy = True
        try:
            found = read(*args, **kwargs)
            answer = found if read == parse else _or_nothing(parse)
        except BaseException as exc:
            body.busy = False
            body.end(exc)
            raise
        body.busy = False
        body.end(answer=answer)
        return found

    return hooked


def _reading_async(read: Callable[..., Any], parse: Callable[..., Any], body: Body) -> Callable[..., Any]:
    async def hooked(*args: Any, **kwargs: Any) -> Any:
        if body.busy:
            return await read(*args, **kwargs)
        body.busy = True
        try:
            found = await read(*args, **kwargs)
            answer = found if read == parse else await _or_nothing_async(parse)
        except BaseException as exc:
            body.busy = False
            body.end(exc)
            raise
        body.busy = False
        body.end(answer=answer)
        return found

    return hooked


def _or_nothing(parse: Callable[[], Any]) -> Any:
    """Return what a body that was read holds; it is kept by the response for the caller. Nothing, say, for HTML."""
    try:
        return parse()
    except Exception:
        return None


async def _or_nothing_async(parse: Callable[[], Any]) -> Any:
    try:
        return await parse()
    except Exception:
        return None
