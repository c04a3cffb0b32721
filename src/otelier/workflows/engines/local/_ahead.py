"""Recorded ops that this life of a body has not reached: while there are any, the body replays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from otelier.workflows.engines.local._journal import OpRow
from otelier.workflows.engines.local._op import LocalOp


class Ahead:
    """Ops that were recorded, less those that were started or waited for in this life."""

    __slots__ = ("_rows",)

    def __init__(self, recorded: Mapping[int, OpRow]) -> None:
        self._rows = dict(recorded)

    def __bool__(self) -> bool:
        return bool(self._rows)

    def reach(self, op: LocalOp) -> None:
        """Take note that an op was started or waited for."""
        self._rows.pop(op.number, None)

    def reach_begun(self, ops: Iterable[LocalOp], done: LocalOp) -> None:
        """Take note that *done* was seen by a body that waits for all of *ops*.

        An earlier life waited for those that had begun by then, and may have been cut before it saw that one.
        """
        for op in ops:
            if op.found and op.began_ns is not None and op.began_ns <= (done.ended_ns or 0):
                op.is_found = True
                self.reach(op)

    def clear(self) -> None:
        """Take note that the body is where no life was: whatever the clock said, the replay is over."""
        self._rows.clear()

    def longest_ns(self, until_ns: int) -> int:
        """Return how long the longest of them took, or has taken until then."""
        return max(((row.ended or until_ns) - row.began for row in self._rows.values()), default=0)
