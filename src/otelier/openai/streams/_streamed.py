"""Calls whose answer streams: they go on after the client has returned, and end once, also when a response closes."""

from __future__ import annotations

import inspect
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from typing import Any, Final, Protocol

from otelier import names
from otelier.faults import report_fault
from otelier.openai._call import Call, clock
from otelier.openai.operations._operation import Chunks
from otelier.openai.reading._answer import add_served_model
from otelier.openai.reading._fields import facts_of
from otelier.telemetry import Failure, is_leaving

FOLLOWER_ATTRIBUTE: Final = "_otelier"
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

    The client closes it itself when its own iterator ends: whoever reads that ends the call, with its exception.
    """
    name = "aclose" if asynchronous else "close"
    # Weak: the response outlives a stream that is dropped, and must not keep its call open.
    reference = weakref.ref(streamed)

    def on_close(error: BaseException | None = None) -> None:
        here = reference()
        if here is None or _is_ending_itself(here.inner):
            return
        if error is None:
            here.leave()
        else:
            here.end(error)

    try:
        close = getattr(response, name)
        hooked = (_noting_close_async if asynchronous else _noting_close)(close, on_close)
        setattr(response, name, hooked)
    except (AttributeError, TypeError):  # not an HTTP client's response: the call then ends with the stream
        return
    streamed.at_end(lambda: _unhook(response, name, hooked))


def follower_of(thing: Any) -> Follower | None:
    """Return what ends the call whose answer *thing* gives, or holds."""
    facts = facts_of(thing)
    if FOLLOWER_ATTRIBUTE in facts:
        return facts[FOLLOWER_ATTRIBUTE]
    # A streaming response's block holds that under a private name; so does that of `.stream()` a helper, and that the
    # stream.
    held = facts_of(next((held for name, held in facts.items() if name.endswith(_HELD)), None))
    return held.get(FOLLOWER_ATTRIBUTE) or facts_of(held.get("_raw_stream", facts.get("_raw_stream"))).get(
        FOLLOWER_ATTRIBUTE
    )


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


def _noting_close(close: Callable[..., Any], on_close: Callable[..., None]) -> Callable[..., Any]:
    def hooked(*args: Any, **kwargs: Any) -> Any:
        try:
            result = close(*args, **kwargs)
        except BaseException as exc:
            on_close(exc)
            raise
        on_close()
        return result

    return hooked


def _noting_close_async(aclose: Callable[..., Any], on_close: Callable[..., None]) -> Callable[..., Any]:
    async def hooked(*args: Any, **kwargs: Any) -> Any:
        try:
            result = await aclose(*args, **kwargs)
        except BaseException as exc:
            on_close(exc)
            raise
        on_close()
        return result

    return hooked


def _unhook(response: Any, name: str, hooked: object) -> None:
    if facts_of(response).get(name) is hooked:
        delattr(response, name)


def _is_ending_itself(inner: Any) -> bool:
    """Tell whether the client's iterator runs, or has just run out: its end is noted where it is read."""
    if inner is None:
        return False
    if getattr(inner, "gi_running", False) or getattr(inner, "ag_running", False):
        return True
    return getattr(inner, "gi_frame", inner) is None or getattr(inner, "ag_frame", inner) is None


_LAST: Final = (names.FINISH_REASONS, names.OUTPUT_TOKENS)
"""What the last chunks of a stream bring."""
_LEFT: Final = GeneratorExit()
"""How a stream ends that was not read to its end: as a generator does that is closed."""


class StreamedCall:
    """A call and the chunks of its stream; the first of many events ends it.

    Only the stream that the caller has holds it, so it goes when that goes.
    """

    __slots__ = (
        "__weakref__",
        "_attributes",
        "_call",
        "_chunks",
        "_ending",
        "_reservation",
        "_sent",
        "_times",
        "_undo",
        "hides_usage",
        "inner",
        "on_chunk_time",
        "response",
        "served_by",
    )

    def __init__(self, call: Call, chunks: Chunks) -> None:
        self._call = call
        self._chunks = chunks
        self._attributes = call.request()
        self._sent = call.sent()
        call.arguments = {}  # the caller's prompts: nothing needs them any more
        self._undo: list[Callable[[], object]] = []
        self._times = [clock()]
        self._reservation = call.telemetry.queue.reserve_for_stream()
        self.on_chunk_time: Callable[[float], object] = (
            self._times.append if self._reservation is not None else self._record_now
        )
        """Takes the time at which a chunk came, after it was seen."""
        self.served_by: Any = None
        """Headers of the answer, where they may name the model that served it."""
        self.hides_usage = call.hides_usage
        """Whether the chunk that brings usage is kept from the consumer, who did not ask for it."""
        self.inner: Any = None
        """The client's own iterator, once it is followed."""
        self.response: Any = None
        """The HTTP response that it reads, if known."""
        self._ending = threading.Lock()  # taken by what ends the call, and never given back

    def observer(self) -> Callable[[Any], bool]:
        """Return a function that takes a chunk and returns whether it ends the call."""
        return self._chunks.observer()

    def awaits_usage(self) -> bool:
        """Tell whether the answer is complete and only its usage is still to come."""
        return not self._ending.locked() and self._chunks.awaits_usage()

    @staticmethod
    def stop_observing(exc: Exception) -> Callable[[Any], bool]:
        """Report that looking at a chunk failed; return what to look with from then on: nothing."""
        report_fault("openai.chunk", exc)
        return lambda _: False

    def at_end(self, undo: Callable[[], object]) -> None:
        """Let *undo* run when the call ends."""
        self._undo.append(undo)

    def end(
        self, failure: BaseException | Failure | None = None, *, left: bool = False, at: float | None = None
    ) -> None:
        """End the call; only the first of many ends it.

        Args:
            failure: What ended it, `None` when it was read or left.
            left: Whether nobody reads on, though there may be more.
            at: When, on `clock`; `None` is now.
        """
        if not self._ending.acquire(blocking=False):
            return
        try:
            self._end(_LEFT if left else failure, at)
        except Exception as exc:
            report_fault("openai.stream", exc)

    def leave(self, error: BaseException | None = None) -> None:
        """End the call, because its consumer closed the stream or left its block, by *error* if that is what it was."""
        # A response that was never made a stream may have been read to its end, in pieces that nobody parsed.
        self.end(error, left=self.inner is not None if error is None else not is_raised_by(self, error))

    def abandon(self) -> None:
        """End the call as of its last chunk: nobody will read on, since when is unknown."""
        self.end(left=True, at=self._times[-1])

    def __del__(self) -> None:
        if getattr(self, "_ending", None) is not None and not self._ending.locked():
            self.abandon()

    def _end(self, failure: BaseException | Failure | None, at: float | None) -> None:
        now = clock()
        for undo in self._undo:
            undo()
        call, attributes, times = self._call, self._attributes, self._times[1:]
        point = call.point
        point.seconds = (now if at is None else at) - call.started
        if call.operation.inference:
            attributes[names.REQUEST_STREAM] = True
        try:
            failure = self._chunks.write_to(attributes, point) or failure
            if is_leaving(failure) and not attributes.keys().isdisjoint(_LAST):
                failure = None  # the whole answer was read
            received = self._chunks.content() if call.telemetry.content else None
        except Exception as exc:
            report_fault("openai.chunks", exc)
            received = None
        if self.served_by is not None:
            add_served_model(self.served_by, attributes, point)
        if times and call.operation.inference:
            attributes[names.FIRST_CHUNK_AFTER] = max(times[0] - call.started, 0.0)
        try:
            end_time_ns = None if at is None else time.time_ns() - int((now - at) * 1e9)
            call.end(attributes, failure=failure, sent=self._sent, received=received, end_time_ns=end_time_ns)
        finally:
            if self._reservation is None:
                call.telemetry.queue.put(point)
            else:
                self._reservation.put(point.chunk_times(call.started, times), len(times))

    def _record_now(self, at: float) -> None:
        """Record a chunk's time as it comes: the queue has no room for one more stream's, or no reader."""
        try:
            call, times = self._call, self._times
            call.point.model = self._chunks.model
            instruments, attributes = call.telemetry.instruments, call.point.attributes()
            if len(times) == 1:
                instruments.first_chunk.record(max(at - call.started, 0.0), attributes, call.inside)
                times.append(at)
            else:
                instruments.chunk.record(max(at - times[-1], 0.0), attributes, call.inside)
            times[2:] = [at]
        except Exception as exc:
            report_fault("openai.chunk", exc)
