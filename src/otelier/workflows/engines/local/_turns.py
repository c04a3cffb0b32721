"""Turns of writes: those of one entity and key run one after the other, in the order in which they came."""

from __future__ import annotations

from collections import deque

from otelier.workflows.engines.local._journal import type_of
from otelier.workflows.engines.protocol import Target


class Turns:
    """The writes that have not ended, by service, type and key; the first of each has its turn."""

    def __init__(self) -> None:
        self._queues: dict[tuple[str, str, str], deque[str]] = {}
        self._key_of: dict[str, tuple[str, str, str]] = {}

    def take(self, run_id: str, target: Target) -> bool:
        """Put a write behind the others of its key, and return whether it has its turn."""
        key = self._key_of[run_id] = (target.service, type_of(target.handler), target.key or "")
        queue = self._queues.setdefault(key, deque())
        queue.append(run_id)
        return len(queue) == 1

    def has_place(self, run_id: str) -> bool:
        """Return whether a run is a write that has not ended."""
        return run_id in self._key_of

    def is_first(self, run_id: str) -> bool:
        """Return whether a write has its turn."""
        return self._queues[self._key_of[run_id]][0] == run_id

    def leave(self, run_id: str) -> str | None:
        """Take out a run that has ended, and return the one whose turn begins by that."""
        key = self._key_of.pop(run_id, None)
        if key is None:
            return None
        queue = self._queues[key]
        was_first = queue[0] == run_id
        queue.remove(run_id)
        if not queue:
            del self._queues[key]
            return None
        return queue[0] if was_first else None

    def clear(self) -> None:
        """Forget all."""
        self._queues.clear()
        self._key_of.clear()
