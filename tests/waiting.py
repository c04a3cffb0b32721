"""Waiting in tests: for what another thread does, and no longer than a minute."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(condition: Callable[[], bool], *, every_s: float = 0.001) -> None:
    """Wait until *condition* holds; one that costs something is asked less often."""
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(every_s)
