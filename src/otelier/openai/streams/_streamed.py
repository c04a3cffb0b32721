"""A call whose answer streams: it goes on after the client has returned, and ends once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from otelier import names
from otelier.faults import report_fault
from otelier.openai._call import Call, clock
from otelier.openai.operations._chunks import Chunks
from otelier.openai.reading._answer import add_served_model
from otelier.openai.streams._hooks import is_raised_by
from otelier.telemetry import Failure, is_leaving

_LAST: Final = (names.FINISH_REASONS, names.OUTPUT_TOKENS)
"""What the last chunks of a stream bring."""
_LEFT: Final = GeneratorExit()
"""How a stream ends that was not read to its end: as a generator does that is closed."""


class StreamedCall:
    """What the followers of one stream tell; whoever comes first ends the call.

    Only the stream that the caller has holds it, so it goes when that goes.
    """

    __slots__ = (
        "__weakref__",
        "_attributes",
        "_call",
        "_chunks",
        "_ending",
        "_room",
        "_sent",
        "_times",
        "_undo",
        "hides_usage",
        "inner",
        "response",
        "served_by",
        "stamp",
    )

    def __init__(self, call: Call, chunks: Chunks) -> None:
        self._call = call
        self._chunks = chunks
        self._attributes = call.request()
        self._sent = call.sent()
        call.arguments = {}  # the caller's prompts: nothing needs them any more
        self._undo: list[Callable[[], object]] = []
        self._times = [clock()]
        self._room = call.telemetry.queue.reserve_for_stream()
        self.stamp: Callable[[float], object] = self._times.append if self._room is not None else self._record_now
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

    def looker(self) -> Callable[[Any], bool]:
        """Return what looks at a chunk and tells whether it ends the call."""
        return self._chunks.looker()

    def awaits_usage(self) -> bool:
        """Tell whether the model has said what it had to say, and what it took is still to come."""
        return not self._ending.locked() and self._chunks.awaits_usage()

    @staticmethod
    def look_away(exc: Exception) -> Callable[[Any], bool]:
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
        # A response that was never made a stream may have been read to its end, in pieces that say nothing.
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
            failure = self._chunks.tell(attributes, point) or failure
            if is_leaving(failure) and not attributes.keys().isdisjoint(_LAST):
                failure = None  # all that the model had to say was read
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
            if self._room is None:
                call.telemetry.queue.put(point)
            else:
                self._room.put(point.chunk_times(call.started, times), len(times))

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
