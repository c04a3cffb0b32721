"""Signals of one run: those that its body has not taken, oldest first by name, and the waits for them."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable

from otelier.workflows.engines.answers import waits_twice
from otelier.workflows.engines.local._op import BEGUN, GIVEN_UP
from otelier.workflows.engines.local._ops import Signal


class Mailbox:
    """What a life knows of its run's signals, by their numbers in the journal, and who waits for them."""

    __slots__ = ("_by_name", "_seen", "_waits")

    def __init__(self) -> None:
        self._by_name: dict[str, list[tuple[int, str]]] = {}
        # Those of other processes are told more than once, and not in their order among ours.
        self._seen: set[int] = set()
        self._waits: dict[str, Signal] = {}

    def expect(self, name: str, make: Callable[[], Signal]) -> Signal:
        """Return the op that waits for a signal of that name, which *make* makes.

        Raises:
            WorkflowUseError: if the body still waits for one of that name.
        """
        before = self._waits.get(name)
        if before is not None and not before.is_seen and before.state != GIVEN_UP:
            raise waits_twice(name)
        op = self._waits[name] = make()
        return op

    def waiting(self, name: str) -> Signal | None:
        """Return the op that waits for a signal of that name."""
        op = self._waits.get(name)
        return op if op is not None and op.state == BEGUN else None

    def add(self, number: int, name: str, payload: str) -> bool:
        """Put a signal into its place, and return whether it is new."""
        if number in self._seen:
            return False
        self._seen.add(number)
        self.give_back(number, name, payload)
        return True

    def take(self, name: str) -> tuple[int, str] | None:
        """Take the oldest signal of a name, its number and its payload."""
        waiting = self._by_name.get(name)
        return waiting.pop(0) if waiting else None

    def give_back(self, number: int, name: str, payload: str) -> None:
        """Put a signal back that was taken for nobody."""
        insort(self._by_name.setdefault(name, []), (number, payload))
