"""Where a stop hides."""

from __future__ import annotations

from typing import Any

from otelier.interceptors import StopExecution


def stop_in(error: BaseException) -> StopExecution | None:
    """Return the stop that *error* is, or holds: a task group raises those of its tasks in a group.

    Python 3.10 knows no such groups, and those of packages there have no common class: they are known by their members.
    """
    if isinstance(error, StopExecution):
        return error
    members: Any = getattr(error, "exceptions", None)
    if not isinstance(members, tuple):
        return None
    found = (stop_in(one) for one in members if isinstance(one, BaseException))  # pyright: ignore[reportUnknownVariableType]
    return next((stop for stop in found if stop is not None), None)
