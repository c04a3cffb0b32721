"""Where a stop hides."""

from __future__ import annotations

from otelier.interceptors import StopExecution
from otelier.signals import errors_in


def stop_in(error: BaseException) -> StopExecution | None:
    """Return the stop that *error* is, or holds: a task group raises those of its tasks in a group."""
    return next((one for one in errors_in(error) if isinstance(one, StopExecution)), None)
