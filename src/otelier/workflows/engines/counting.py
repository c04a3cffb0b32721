"""How many runs are open in an engine, and what they ask people for: what metrics tell of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable


@runtime_checkable
class CountingEngine(Protocol):
    """An engine that counts its open runs where it drives them; called in the thread that collects metrics."""

    def is_driving(self) -> bool:
        """Return whether this process runs bodies: one process tells of an engine, else n would tell n times of it."""
        ...

    def count_open(self) -> Mapping[tuple[str, str], int]:
        """Return how many open runs there are by service and health; also 0, of the services that are driven here."""
        ...

    def count_asked(self) -> Mapping[tuple[str, str], tuple[int, int]]:
        """Return how many decisions are waited for by service and approval, and when the first was asked."""
        ...
