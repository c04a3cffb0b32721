"""Hooks on single objects of the client: what tells that a response was closed, or that a raw one gave its stream."""

from __future__ import annotations

import inspect
import traceback
import weakref
from collections.abc import Callable
from typing import Any, Final, Protocol

from otelier.openai.reading._fields import facts_of

FOLLOWER: Final = "_otelier"
"""Attribute of what the caller reads that holds what ends its call."""

_CLIENT: Final = "openai"
_HELD: Final = ("__response", "__stream")


class Follower(Protocol):
    """What ends a call when its answer was read."""

    @property
    def inner(self) -> Any:
        """The client's own iterator, if one is followed."""
        ...

    def end(self, failure: BaseException | None = None) -> None:
        """End the call; only the first of many ends it."""
        ...

    def leave(self, error: BaseException | None = None) -> None:
        """End the call, because the caller reads no further: *error* is what ended the caller's block, if one did."""
        ...

    def at_end(self, undo: Callable[[], object]) -> None:
        """Let *undo* run when the call ends."""
        ...


def hook_close(response: Any, streamed: Follower, *, asynchronous: bool) -> None:
    """Let *streamed* end when the HTTP *response* is closed, which every way of closing a stream comes down to.

    The client closes it itself when its own iterator ends: that is told there, and with its exception.
    """
    name = "aclose" if asynchronous else "close"
    # Weak: the response outlives a stream that is dropped, and must not keep its call open.
    reference = weakref.ref(streamed)

    def tell(error: BaseException | None = None) -> None:
        here = reference()
        if here is None or _is_ending_itself(here.inner):
            return
        if error is None:
            here.leave()
        else:
            here.end(error)

    try:
        close = getattr(response, name)
        hooked = (_told_async if asynchronous else _told)(close, tell)
        setattr(response, name, hooked)
    except (AttributeError, TypeError):  # not an HTTP client's response: the call then ends with the stream
        return
    streamed.at_end(lambda: _unhook(response, name, hooked))


def follower_of(thing: Any) -> Follower | None:
    """Return what ends the call whose answer *thing* gives, or holds."""
    facts = facts_of(thing)
    if FOLLOWER in facts:
        return facts[FOLLOWER]
    # A streaming response's block holds that under a private name; so does that of `.stream()` a helper, and that the
    # stream.
    held = facts_of(next((held for name, held in facts.items() if name.endswith(_HELD)), None))
    return held.get(FOLLOWER) or facts_of(held.get("_raw_stream", facts.get("_raw_stream"))).get(FOLLOWER)


def is_raised_by(follower: Follower, error: BaseException, *, below: str = _CLIENT) -> bool:
    """Tell whether *error* came out of what the client made of that answer, by a module *below* that one.

    Else it is the own one of whoever read the answer, or that of another call that they made meanwhile.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module = f"{frame.f_globals.get('__name__', '')}."
        if module.startswith(f"{below}.") and follower_of(frame.f_locals.get("self")) is follower:
            return True
    return False


def hook_parse(raw: Any, follow: Callable[[Any], Any]) -> None:
    """Let the stream that *raw* is parsed into be followed, the same one each time it is asked for."""
    parse = raw.parse
    known: list[tuple[Any, Any]] = []

    def followed(stream: Any) -> Any:
        if not known or known[0][0] is not stream:
            known[:] = [(stream, follow(stream))]
        return known[0][1]

    async def followed_async(stream: Any) -> Any:
        return followed(await stream)

    def hooked(*args: Any, **kwargs: Any) -> Any:
        stream = parse(*args, **kwargs)
        return followed_async(stream) if inspect.isawaitable(stream) else followed(stream)

    raw.parse = hooked


def _told(close: Callable[..., Any], tell: Callable[..., None]) -> Callable[..., Any]:
    def hooked(*args: Any, **kwargs: Any) -> Any:
        try:
            result = close(*args, **kwargs)
        except BaseException as exc:
            tell(exc)
            raise
        tell()
        return result

    return hooked


def _told_async(aclose: Callable[..., Any], tell: Callable[..., None]) -> Callable[..., Any]:
    async def hooked(*args: Any, **kwargs: Any) -> Any:
        try:
            result = await aclose(*args, **kwargs)
        except BaseException as exc:
            tell(exc)
            raise
        tell()
        return result

    return hooked


def _unhook(response: Any, name: str, hooked: object) -> None:
    if facts_of(response).get(name) is hooked:
        delattr(response, name)


def _is_ending_itself(inner: Any) -> bool:
    """Tell whether the client's iterator runs, or has just run out: what it ends with is told where it is read."""
    if inner is None:
        return False
    if getattr(inner, "gi_running", False) or getattr(inner, "ag_running", False):
        return True
    return getattr(inner, "gi_frame", inner) is None or getattr(inner, "ag_frame", inner) is None
