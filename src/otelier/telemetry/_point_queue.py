"""Queues of metric points: the measurements of a call wait, and are recorded at collection.

Three histogram records cost a caller 20 to 40 us, an append 0.3. So points wait until a reader collects: the SDK then
runs the callbacks of observable instruments before it reads its storages, and our callback records the points. Counts
and exemplars stay exact with any number of readers; only an exemplar's time is that of collection. A kill loses the
points that wait, as it loses a batch of spans.

Nothing here takes a lock while points go in and out: appending to and popping from a deque are single steps, so each
point is recorded once, whoever drains. A finaliser may `put` in the middle of anything; inside the SDK, whose locks are
not re-entrant, its point waits.

Each provider has one queue, with one observable instrument, for as long as it lives. A second observable of one name
would be dropped by the SDK together with its callback, and the points of its queue would stay for ever. So a queue
outlives `uninstrument`, and instrumenting again finds it.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, MeterProvider, NoOpMeter, Observation
from opentelemetry.trace import NonRecordingSpan, SpanContext

from otelier import names
from otelier.faults import on_fork, on_reset, report_fault
from otelier.telemetry._by_identity import ByIdentity
from otelier.telemetry._sdk import (
    HasReader,
    collector_of,
    is_collecting,
    is_enabled,
    reader_check,
    sdk_is_on_the_stack,
)
from otelier.telemetry._suppression import is_replaying

MAX_POINTS: Final = 4_096
"""Points that wait at most; about 2 MB. It lasts for 68 calls per second at the default interval of 60 s."""
YIELD_EVERY: Final = 20
"""Points after which the callback yields the interpreter: a loop in another thread was late by 1.6 ms, not 10.9."""
CALLBACK_SHARE: Final = 0.8
"""Share of a collection's time that draining may take; the other points wait for the next one. Beyond the whole of it
the SDK would throw the collection away."""
PID_CHECK: Final = 64
"""Puts between two checks of the process id, which cost 0.2 us each; the fork hook does the work in most hosts."""
MAX_STREAM_VALUES: Final = 65_536
"""Values of streams that may wait in one queue; at 8 bytes each, half a megabyte."""
VALUES_PER_TOKEN: Final = 64
"""Values that one token of the budget stands for: a stream takes one at its start and the others at its end."""

# An empty context is falsy and the SDK then takes the current one, so that a collection inside somebody's span
# would give that span as exemplar. This one is not empty and holds no span.
NOWHERE: Final = Context({"otelier-no-span": True})


class Point(Protocol):
    """The measurements of one whole call.

    It holds values and a bare span context. A span or a whole context would keep everything in it alive until the
    next collection: 512 calls with content held 12 MB, against 0.4.
    """

    @property
    def span_context(self) -> SpanContext | None:
        """Bare context of the sampled span that exemplars point to; `None` when the span is not sampled."""
        ...

    def record(self, context: Context) -> None:
        """Record every measurement of the call on its instruments, each with *context*."""
        ...


def _context_of(point: Point) -> Context:
    """Return the context to record *point* with: one that holds its span's context and nothing else."""
    where = point.span_context
    return NOWHERE if where is None else trace.set_span_in_context(NonRecordingSpan(where), NOWHERE)


class PointQueue:
    """The points of one MeterProvider that wait for collection.

    Where nobody will collect (no reader, a provider that is shut down, disabled or not the SDK's), nothing waits:
    `put` records at once. Instances come from `point_queue`.

    Example:
        >>> from opentelemetry.metrics import NoOpMeterProvider
        >>> from otelier.telemetry import point_queue
        >>> queue = point_queue(NoOpMeterProvider())
        >>> queue.reserve_for_stream() is None  # no reader, so a stream records as it goes
        True
    """

    def __init__(self, has_reader: HasReader) -> None:
        self._has_reader = has_reader
        self._waiting: deque[Point] = deque()
        self._recording: set[int] = set()
        self._budget = _full_budget()
        self._pid = os.getpid()

    def put(self, point: Point) -> None:
        """Let *point* wait for collection, or record it now where nobody will collect; never raises.

        In a replay nothing is recorded.

        Args:
            point: All that one call measured. Its `record` runs once, in whatever thread collects.
        """
        if is_replaying():
            return
        waiting = self._waiting
        waiting.append(point)
        has_reader = self._has_reader()
        if not has_reader:
            # Two, so that what still waits from better times goes too, without making one caller record it all.
            if has_reader is False or not sdk_is_on_the_stack():
                self._record_oldest(2)
            return
        size = len(waiting)
        if size % PID_CHECK == 1 or size > MAX_POINTS:
            self._check_fork_and_limit(point)

    def record_now(self, point: Point) -> None:
        """Record *point* in this thread, before what waits, unless the SDK is interrupted here; never raises."""
        self._waiting.appendleft(point)
        if not sdk_is_on_the_stack():
            self._record_oldest(1)

    def reserve_for_stream(self) -> StreamReservation | None:
        """Reserve room for a stream's chunk times; `None` where there is none: record each chunk as it comes."""
        if not self._has_reader():
            return None
        try:
            self._budget.pop()
        except IndexError:
            return None
        return StreamReservation(self._budget, self.put, self.record_now)

    def record_inline(self) -> None:
        """Let nothing wait from now on."""
        self._has_reader = lambda: None

    def drain(self, timeout_s: float = 10.0) -> bool:
        """Record what waits now, in this thread; return whether there was time for all of it."""
        return self._drain(time.monotonic() + timeout_s, yields=False)

    def forget(self) -> None:
        """Drop what waits and begin anew, as a forked child does: its parent's points are its parent's."""
        self._waiting.clear()
        self._recording.clear()
        self._budget = _full_budget()  # a new one: the parent's streams give back to the old
        self._pid = os.getpid()

    def observe(self, options: CallbackOptions) -> Iterable[Observation]:
        """Record what waits; the SDK calls this at the start of each collection.

        It observes nothing: the instrument is there for its callback, and must not show among the user's metrics.
        """
        self._drain(time.monotonic() + CALLBACK_SHARE * options.timeout_millis / 1e3, yields=True)
        return ()

    def _check_fork_and_limit(self, newest: Point) -> None:
        if self._pid != os.getpid():  # forked by a host that runs none of Python's hooks, as uWSGI may
            self.forget()
            self._waiting.append(newest)
        elif len(self._waiting) > MAX_POINTS and not sdk_is_on_the_stack():
            # One as a rule, or two while finalisers inside the SDK have left more than one too many.
            self._record_oldest(min(2, len(self._waiting) - MAX_POINTS))

    def _drain(self, until: float, *, yields: bool) -> bool:
        if self._pid != os.getpid():
            self.forget()
        # No more than waited at the start: threads that append faster than this records must not hold it for ever.
        left = len(self._waiting)
        while left > 0:
            self._record_oldest(min(YIELD_EVERY, left))
            left -= YIELD_EVERY
            if left > 0:
                if time.monotonic() > until:
                    return False
                if yields:
                    time.sleep(0)
        return True

    def _record_oldest(self, count: int) -> None:
        # A finaliser may put a point while this very thread records one and holds the SDK's locks, which are not
        # re-entrant. Its point waits then: https://github.com/open-telemetry/opentelemetry-python/issues/5313
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
                    point.record(_context_of(point))
                except Exception as exc:
                    report_fault("telemetry.record_point", exc)
        finally:
            self._recording.discard(me)


def _full_budget() -> deque[None]:
    """Return a full budget. Taking and giving back are single steps, so it needs no lock."""
    return deque([None] * (MAX_STREAM_VALUES // VALUES_PER_TOKEN))


class StreamReservation:
    """A stream's reservation: its chunk times may wait as one point instead of being recorded chunk by chunk.

    Get it from `PointQueue.reserve_for_stream` when the stream starts and hand it the stream's point with `put` when it
    ends. What it holds goes back to the budget once the point is recorded, or when the stream is dropped.
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
            while self._held * VALUES_PER_TOKEN < values:
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


_queues: ByIdentity[PointQueue] = ByIdentity()
"""By what collects: of one provider, and of what stands for it."""
_lock = threading.RLock()  # a finaliser or signal handler may come here again, in the middle


def point_queue(meter_provider: MeterProvider | None = None) -> PointQueue:
    """Return the queue of *meter_provider*, always the same one.

    Args:
        meter_provider: `None` for the global one, also when it is set only later; until then nothing waits.

    Example:
        >>> queue = point_queue()
        >>> queue.drain()
        True
    """
    if meter_provider is None:
        meter_provider = metrics.get_meter_provider()
        if reader_check(meter_provider) is None:
            return _global_queue
    has_reader = reader_check(meter_provider)
    if has_reader is None:
        return PointQueue(_unknown)
    collector = collector_of(meter_provider)
    known = _queues.get(collector)
    if known is not None:
        return known
    queue = PointQueue(has_reader)
    with _lock:
        known = _queues.setdefault(collector, queue)
    if known is queue:
        # Not under our lock: the SDK takes its own here, and holds it while it runs callbacks that may come to us.
        _watch_collections(meter_provider, queue)
    return known


def drain_all(timeout_s: float = 10.0) -> bool:
    """Record what waits in every queue, in this thread; return whether there was time for all of it.

    Example:
        >>> drain_all()
        True
    """
    until = time.monotonic() + timeout_s
    with _lock:
        queues = _queues.values()
    in_time = [queue.drain(max(0.0, until - time.monotonic())) for queue in queues]  # each gets its try
    return all(in_time)


class _GlobalQueue(PointQueue):
    """Stands for the queue of a global provider that is not set yet."""

    def __init__(self) -> None:
        super().__init__(_nobody)
        self._target: PointQueue | None = None

    def put(self, point: Point) -> None:
        target = self._target or self._find()
        if target is None:
            super().put(point)
        else:
            target.put(point)

    def reserve_for_stream(self) -> StreamReservation | None:
        target = self._target or self._find()
        return None if target is None else target.reserve_for_stream()

    def drain(self, timeout_s: float = 10.0) -> bool:
        target = self._target or self._find()
        return target is None or target.drain(timeout_s)

    def forget(self) -> None:
        super().forget()
        self._target = None

    def _find(self) -> PointQueue | None:
        provider = metrics.get_meter_provider()
        if reader_check(provider) is not None and not is_collecting(provider):
            self._target = point_queue(provider)
        return self._target


def _nobody() -> bool:
    return False


def _unknown() -> None:
    """Whether that provider, whatever it is, hands on to an SDK that has readers."""


def _watch_collections(provider: MeterProvider, queue: PointQueue) -> None:
    meter = provider.get_meter(names.SCOPE)
    gauge = meter.create_observable_gauge(
        names.POINT_QUEUE,
        callbacks=[queue.observe],
        unit="{point}",
        description="Never has a value: its callback records the points that waited.",
    )
    if isinstance(meter, NoOpMeter) or not is_enabled(gauge):
        queue.record_inline()
    # Exit handlers run youngest first, so this one comes before the provider's own shutdown, whose last collection
    # may have too little time left for a full queue.
    atexit.unregister(drain_all)
    atexit.register(drain_all)


@on_fork
def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()  # a thread of the parent may have held it
    _forget_points()


@on_reset
def _forget_points() -> None:
    _global_queue.forget()
    for queue in _queues.values():
        queue.forget()


_global_queue = _GlobalQueue()
