"""Runs whose next life is to begin: in their order, and only so many bodies replay at once."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple


class Beginning(NamedTuple):
    """A run whose next life is to begin."""

    run_id: str
    counts: bool
    """Whether the life before may have been ended by what the body does."""
    recovers: bool
    """Whether the life before was cut."""


class Beginnings:
    """A queue of such runs, and those of them that replay; at most *most* do at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._queue: OrderedDict[str, Beginning] = OrderedDict()
        self._replaying: set[str] = set()

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._replaying or run_id in self._queue

    def add(self, beginning: Beginning) -> None:
        """Put a run behind the others."""
        self._queue[beginning.run_id] = beginning

    def next(self) -> Beginning | None:
        """Return the next run that replays from now on; `None` where there is none, or enough do."""
        if not self._queue or len(self._replaying) >= self._most:
            return None
        _, found = self._queue.popitem(last=False)
        self._replaying.add(found.run_id)
        return found

    def is_replaying(self, run_id: str) -> bool:
        """Return whether a run replays."""
        return run_id in self._replaying

    def done(self, run_id: str) -> bool:
        """Take note that a run replays no more, and return whether it did: another one may."""
        if run_id not in self._replaying:
            return False
        self._replaying.remove(run_id)
        return True

    def clear(self) -> None:
        """Forget all."""
        self._queue.clear()
        self._replaying.clear()
