"""Answers whose body the client leaves to its caller, as `with_streaming_response` does: read only as the caller does.

The call goes on until the body was read or parsed, or the response is closed. Pieces that are read are not parsed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from otelier.faults import report_fault
from otelier.openai._call import Call
from otelier.openai.reading._fields import RAW_RESPONSE, data_in, facts_of
from otelier.openai.streams._streamed import FOLLOWER_ATTRIBUTE, hook_close, is_raised_by

_READERS = ("parse", "read")  # all else that reads the whole body comes down to these


class UnreadResponse:
    """An answer whose body the caller has yet to read; the first of several events ends its call."""

    __slots__ = ("__weakref__", "_call", "_ending", "_headers", "_undo", "answer", "busy", "inner")

    def __init__(self, call: Call, headers: Any) -> None:
        self._call = call
        self._headers = headers
        self._undo: list[Callable[[], object]] = []
        self._ending = threading.Lock()  # taken by what ends the call, and never given back
        self.inner: Any = None
        """No iterator of the client's is followed."""
        self.busy = False
        """Whether it is being read: the client then closes the response, and what it holds is about to be known."""
        self.answer: Any = None
        """What the body was parsed into, if it was."""

    def at_end(self, undo: Callable[[], object]) -> None:
        """Let *undo* run when the call ends."""
        self._undo.append(undo)

    def __enter__(self) -> None:
        """Let the block read the body, and the call end with that: as failed by what the block raises, if it does."""
        self.busy = True

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.busy = False
        self.end(error)

    def end(self, failure: BaseException | None = None) -> None:
        """End the call, with the answer if there is one; only the first of many ends it."""
        if self.busy or not self._ending.acquire(blocking=False):
            return
        try:
            for undo in self._undo:
                undo()
            if failure is None:
                self._call.finish(self.answer, self._headers)
            else:
                self._call.break_off(failure)
        except Exception as exc:
            report_fault("openai.body", exc)

    def leave(self, error: BaseException | None = None) -> None:
        """End the call, because the response was closed: after the body was read in pieces, or without any of it."""
        self.end(error if error is None or is_raised_by(self, error) else GeneratorExit())

    def __del__(self) -> None:
        self.end()


def follow_unread(call: Call, raw: Any, *, asynchronous: bool) -> None:
    """Let *call* end when the body of *raw* was read, or is not going to be."""
    response = facts_of(raw).get(RAW_RESPONSE)
    body = UnreadResponse(call, getattr(response, "headers", None))
    try:
        hook_close(response, body, asynchronous=asynchronous)
        reading = _reading_async if asynchronous else _reading
        parse = raw.parse
        for name in _READERS:
            setattr(raw, name, reading(getattr(raw, name), parse, response, body))
            body.at_end(lambda name=name: raw.__dict__.pop(name, None))
        setattr(raw, FOLLOWER_ATTRIBUTE, body)
        body.at_end(lambda: raw.__dict__.pop(FOLLOWER_ATTRIBUTE, None))
    except Exception as exc:
        report_fault("openai.body", exc)
        body.end()


def _reading(
    read: Callable[..., Any], parse: Callable[..., Any], response: Any, body: UnreadResponse
) -> Callable[..., Any]:
    def hooked(*args: Any, **kwargs: Any) -> Any:
        if body.busy:  # parsing reads too
            return read(*args, **kwargs)
        with body:
            found = read(*args, **kwargs)
            if read == parse:
                body.answer = found
            else:
                try:
                    body.answer = parse()  # parsed once, and kept by the response for the caller
                except Exception:  # who will see, should they parse it
                    body.answer = data_in(response)
        return found

    return hooked


def _reading_async(
    read: Callable[..., Any], parse: Callable[..., Any], response: Any, body: UnreadResponse
) -> Callable[..., Any]:
    async def hooked(*args: Any, **kwargs: Any) -> Any:
        if body.busy:
            return await read(*args, **kwargs)
        with body:
            found = await read(*args, **kwargs)
            if read == parse:
                body.answer = found
            else:
                try:
                    body.answer = await parse()
                except Exception:
                    body.answer = data_in(response)
        return found

    return hooked
