"""Signals of one run that its body has not taken, oldest first by name."""

from __future__ import annotations

from bisect import insort


class Mail:
    """What a life knows of its run's signals, by their numbers in the journal."""

    __slots__ = ("_by_name", "_seen")

    def __init__(self) -> None:
        self._by_name: dict[str, list[tuple[int, str]]] = {}
        # Those of other processes are told more than once, and not in their order among ours.
        self._seen: set[int] = set()

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
