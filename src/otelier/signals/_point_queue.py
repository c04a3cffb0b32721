"""The queue of metric points: what a call measured waits and is recorded at collection.

Three histogram records cost a caller 20 to 40 us, an append 0.3. The points wait until a reader collects: the SDK
then runs the callbacks of observable instruments before it reads its storages, and the callback of ours records
what waits. Counts and exemplars stay exact with any number of readers; only an exemplar's time is that of
collection. A kill loses what waits, as it loses a batch of spans.

Nothing here takes a lock while points go in and out: appending to and popping from a deque are single steps, so
each point is recorded once, whoever drains, and a finaliser that runs in the middle of anything may `put`: inside the
SDK, whose locks are not re-entrant, its point waits.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterable

from opentelemetry.metrics import CallbackOptions, Observation

from otelier.signals._collecting import Collects, inside_sdk
from otelier.signals._guard import report_fault
from otelier.signals._points import Point, context_of
from otelier.signals._stream_room import StreamRoom, budget

MAX_POINTS = 4_096
"""Points that wait at most; about 2 MB. It lasts for 68 calls per second at the default interval of 60 s."""
BREATH = 20
"""Points after which the callback yields the interpreter: a loop in another thread was late by 1.6 ms, not 10.9."""
CALLBACK_SHARE = 0.8
"""Share of a collection's time that draining may take; what is left waits for the next one. Beyond the whole of it
the SDK would throw the collection away."""
PID_CHECK = 64
"""Puts between two looks at the process id, which cost 0.2 us each; the fork hook does the work in most hosts."""


class PointQueue:
    """The points of one MeterProvider that wait for collection.

    Where nobody will collect (no reader, a provider that is shut down, disabled or not the SDK's), nothing waits:
    `put` records at once. Instances come from `point_queue`.

    Example:
        >>> from opentelemetry.metrics import NoOpMeterProvider
        >>> from otelier.signals import point_queue
        >>> queue = point_queue(NoOpMeterProvider())
        >>> queue.room_for_stream() is None  # no reader, so a stream records as it goes
        True
    """

    def __init__(self, collects: Collects) -> None:
        self._collects = collects
        self._waiting: deque[Point] = deque()
        self._recording: set[int] = set()
        self._budget = budget()
        self._pid = os.getpid()

    def put(self, point: Point) -> None:
        """Let *point* wait for collection, or record it now where nobody will collect; never raises.

        Args:
            point: All that one call measured. Its `record` runs once, in whatever thread collects.
        """
        waiting = self._waiting
        waiting.append(point)
        collects = self._collects()
        if not collects:
            # Two, so that what still waits from better times goes too, without making one caller record it all.
            if collects is False or not inside_sdk():
                self._record_oldest(2)
            return
        size = len(waiting)
        if size % PID_CHECK == 1 or size > MAX_POINTS:
            self._look_around(point)

    def record_now(self, point: Point) -> None:
        """Record *point* in this thread, before what waits, unless the SDK is interrupted here; never raises."""
        self._waiting.appendleft(point)
        if not inside_sdk():
            self._record_oldest(1)

    def room_for_stream(self) -> StreamRoom | None:
        """Reserve room for a stream's chunk times; `None` where there is none: record each chunk as it comes."""
        if not self._collects():
            return None
        try:
            self._budget.pop()
        except IndexError:
            return None
        return StreamRoom(self._budget, self.put, self.record_now)

    def record_inline(self) -> None:
        """Let nothing wait from now on."""
        self._collects = lambda: None

    def drain(self, timeout_s: float = 10.0) -> bool:
        """Record what waits now, in this thread; return whether there was time for all of it."""
        return self._drain(time.monotonic() + timeout_s, breathe=False)

    def forget(self) -> None:
        """Drop what waits and begin anew, as a forked child does: its parent's points are its parent's."""
        self._waiting.clear()
        self._recording.clear()
        self._budget = budget()  # a new one: the parent's streams give back to the old
        self._pid = os.getpid()

    def observe(self, options: CallbackOptions) -> Iterable[Observation]:
        """Record what waits; the SDK calls this at the start of each collection.

        It observes nothing: the instrument is there for its callback, and must not show among the user's metrics.
        """
        self._drain(time.monotonic() + CALLBACK_SHARE * options.timeout_millis / 1e3, breathe=True)
        return ()

    def _look_around(self, newest: Point) -> None:
        if self._pid != os.getpid():  # forked by a host that runs none of Python's hooks, as uWSGI may
            self.forget()
            self._waiting.append(newest)
        elif len(self._waiting) > MAX_POINTS and not inside_sdk():
            # One as a rule, or two while finalisers inside the SDK have left more than one too many.
            self._record_oldest(min(2, len(self._waiting) - MAX_POINTS))

    def _drain(self, until: float, *, breathe: bool) -> bool:
        if self._pid != os.getpid():
            self.forget()
        # No more than waited at the start: threads that append faster than this records must not hold it for ever.
        left = len(self._waiting)
        while left > 0:
            self._record_oldest(min(BREATH, left))
            left -= BREATH
            if left > 0:
                if time.monotonic() > until:
                    return False
                if breathe:
                    time.sleep(0)
        return True

    def _record_oldest(self, count: int) -> None:
        # A finaliser may put a point while this very thread records one and holds the SDK's locks, which are not
        # re-entrant. Its point waits then.
        me = threading.get_ident()
        if me in self._recording:
            return
        self._recording.add(me)
        try:
            for _ in range(count):
                try:
                    point = self._waiting.popleft()
                except IndexError:
                    return  # another thread was faster
                try:
                    point.record(context_of(point))
                except Exception as exc:
                    report_fault("signals.record_point", exc)
        finally:
            self._recording.discard(me)
