"""Timers of waits: one heap and one timer of the loop for all of them, against the wall clock."""

from __future__ import annotations

import asyncio
import time
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final

from otelier.workflows.engines.local._op import BEGUN, LocalOp

LONGEST_S: Final = 1.0
"""A wall clock that jumps is noticed after this time."""
_FEW: Final = 1000


class Timers:
    """Calls `elapsed` of each op that was added and not dropped, when it is due."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[int, int, LocalOp]] = []
        self._ties = count()
        self._dropped = 0
        self._handle: asyncio.TimerHandle | None = None

    def add(self, op: LocalOp) -> None:
        """Call *op* when it is due."""
        assert op.due is not None
        heappush(self._heap, (op.due, next(self._ties), op))
        self._arm()

    def drop(self, op: LocalOp) -> None:
        """Forget an op, which is no more begun; it leaves the heap when its time comes or when many have."""
        self._dropped += 1
        if self._dropped > _FEW and self._dropped * 2 > len(self._heap):
            self._dropped = 0
            self._heap = [entry for entry in self._heap if _waits(entry[2])]
            heapify(self._heap)

    def clear(self) -> None:
        """Forget all."""
        self._heap.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        if not self._heap:
            return
        delay = min(max((self._heap[0][0] - time.time_ns()) / 1e9, 0.0), LONGEST_S)
        at = self._loop.time() + delay
        if self._handle is not None:
            if self._handle.when() <= at:
                return
            self._handle.cancel()
        self._handle = self._loop.call_at(at, self._tick)

    def _tick(self) -> None:
        self._handle = None
        heap, now = self._heap, time.time_ns()
        while heap and heap[0][0] <= now:
            op = heappop(heap)[2]
            if _waits(op):
                op.elapsed()
            heap = self._heap  # it may have been made anew
        self._arm()


def _waits(op: LocalOp) -> bool:
    return op.state == BEGUN and op.life.stopped is None
