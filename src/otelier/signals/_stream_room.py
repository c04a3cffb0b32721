"""Room for streams: the values that streams may keep waiting in a queue are bounded, whatever their number."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext

    from otelier.signals._points import Point

MAX_STREAM_VALUES = 65_536
"""Values of streams that may wait in one queue; at 8 bytes each, half a megabyte."""
SHARE = 64
"""Values that one token of the budget stands for: a stream takes one at its start and the others at its end."""


def budget() -> deque[None]:
    """Return a full budget: one token per share. Taking and giving back are single steps, so it needs no lock."""
    return deque([None] * (MAX_STREAM_VALUES // SHARE))


class StreamRoom:
    """A stream's reservation: its chunk times may wait as one point instead of being recorded chunk by chunk.

    Get it from `PointQueue.room_for_stream` when the stream starts and hand it the stream's point with `put` when it
    ends. What it holds goes back to the budget once the point is recorded, or when the stream is dropped.

    Example:
        >>> from otelier.signals import point_queue
        >>> class Times(list):
        ...     span_context = None
        ...     def record(self, context):
        ...         print(len(self), "times")
        >>> room = point_queue().room_for_stream()
        >>> times = Times([0.02, 0.03])
        >>> if room is None:
        ...     pass  # record each chunk as it comes
        ... else:
        ...     room.put(times, len(times))
        >>> from otelier.signals import drain_all
        >>> _ = drain_all()
        2 times
    """

    __slots__ = ("_budget", "_held", "_point", "_put", "_record_now", "span_context")

    span_context: SpanContext | None
    _point: Point

    def __init__(self, tokens: deque[None], put: Callable[[Point], None], record_now: Callable[[Point], None]) -> None:
        self._budget = tokens
        self._held = 1
        self._put = put
        self._record_now = record_now

    def put(self, point: Point, values: int) -> None:
        """Queue *point*, which holds *values* chunk times; where they find no room it is recorded at once."""
        self._point = point
        self.span_context = point.span_context
        try:
            while self._held * SHARE < values:
                self._budget.pop()
                self._held += 1
        except IndexError:
            self._record_now(self)
        else:
            self._put(self)

    def record(self, context: Context) -> None:
        """Record the point and give the room back; called by the queue."""
        try:
            self._point.record(context)
        finally:
            self._give_back()

    def _give_back(self) -> None:
        held, self._held = self._held, 0
        self._budget.extend([None] * held)

    def __del__(self) -> None:
        self._give_back()
