"""A mapping from other people's objects, by their identity."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class ByIdentity(Generic[V]):
    """A value for each of some objects, for as long as they live.

    A provider of somebody else's may have no hash, equal another one, or take no weak reference: one of the last kind
    stays for good, since nothing shows when it goes.

    Example:
        >>> numbers = ByIdentity()
        >>> first, second = [], []
        >>> numbers.setdefault(first, 1), numbers.get(second), numbers.owners()
        (1, None, [[]])
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[Callable[[], object], V]] = {}

    def get(self, owner: object) -> V | None:
        """Return the value of *owner*; `None` where it has none."""
        known = self._known.get(id(owner))
        return None if known is None else known[1]

    def setdefault(self, owner: object, value: V) -> V:
        """Return the value of *owner*, which is *value* from now on where it had none."""
        # An entry goes before its object's place in memory, and so its number, may be another's.
        return self._known.setdefault(id(owner), (self._reference(owner), value))[1]

    def __contains__(self, owner: object) -> bool:
        return id(owner) in self._known

    def values(self) -> list[V]:
        """Return the values of all objects that are alive."""
        return [value for _, value in list(self._known.values())]

    def owners(self) -> list[object]:
        """Return the objects that are alive."""
        found = (reference() for reference, _ in list(self._known.values()))
        return [owner for owner in found if owner is not None]

    def _reference(self, owner: object) -> Callable[[], object]:
        number, known = id(owner), self._known
        try:
            return weakref.ref(owner, lambda _: known.pop(number, None))
        except TypeError:
            return lambda: owner
