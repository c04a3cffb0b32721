"""Queues of metric points by their MeterProvider: one each, with one observable instrument, while both live.

A second observable of one name would be dropped by the SDK together with its callback, and the points of its queue
would stay for ever. So a queue outlives `uninstrument`, and instrumenting again finds it.
"""

from __future__ import annotations

import atexit
import threading
import time

from opentelemetry import metrics
from opentelemetry.metrics import MeterProvider, NoOpMeter

from otelier import names
from otelier.faults import on_fork, on_reset
from otelier.telemetry._by_identity import ByIdentity
from otelier.telemetry._point_queue import Point, PointQueue, StreamReservation
from otelier.telemetry._sdk import collector_of, is_collecting, is_enabled, reader_check

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
