"""Checks of what bodies and clients are given: names, times and counts."""

from __future__ import annotations

import math
from typing import Any, Final

from otelier.workflows.engines.protocol import APPROVAL, APPROVALS

_MAX_NAME_CHARS: Final = 256
_MAX_RUN_ID_CHARS: Final = 65_536
"""The id of a child begins with that of its parent, so it grows with the depth of calls."""


def checked_name(name: Any, what: str) -> str:
    """Return a name that can be stored and shown.

    Raises:
        TypeError: if it is no text.
        ValueError: if it is empty, too long, or not printable.
    """
    if not isinstance(name, str):
        raise TypeError(f"Cannot use a {type(name).__name__} as {what}: give text.")
    if not name or len(name) > _MAX_NAME_CHARS or not name.isprintable():
        raise ValueError(f"Cannot use {name[:40]!r} as {what}: it must be 1 to {_MAX_NAME_CHARS} printable characters.")
    return name


def checked_run_id(run_id: Any) -> str:
    """Return the id of a run that exists, which may be a child's and longer than a name.

    Raises:
        TypeError: if it is no text.
        ValueError: if it is empty, too long, or not printable.
    """
    if isinstance(run_id, str) and _MAX_NAME_CHARS < len(run_id) <= _MAX_RUN_ID_CHARS and run_id.isprintable():
        return run_id
    return checked_name(run_id, "a workflow id")


def checked_signal(name: Any) -> str:
    """Return the name of a signal.

    Raises:
        TypeError: if it is no text.
        ValueError: if it is empty, too long, not printable, or one that brings a decision.
    """
    if checked_name(name, "a signal's name").startswith(APPROVAL):
        raise ValueError(
            f"Cannot use {name!r} as a signal's name: it brings the decision of an approval, which `Client.approve` "
            f"checks. Use another name."
        )
    return name


def checked_service(name: Any) -> str:
    """Return the name of a service.

    Raises:
        TypeError: if it is no text.
        ValueError: if it is empty, too long, not printable, or that of the service every worker has.
    """
    if checked_name(name, "a service's name") == APPROVALS:
        raise ValueError(f"Cannot use {name!r} as a service's name: otelier keeps approvals there. Use another name.")
    return name


def checked_engine(engine: Any) -> Any:
    """Return an engine, its address, or `None`.

    Raises:
        TypeError: if it is none of these.
    """
    if engine is None or isinstance(engine, str) or callable(getattr(engine, "serve", None)):
        return engine
    raise TypeError(f"Cannot use a {type(engine).__name__} as `engine`: give an address, such as `file:PATH`.")


def checked_seconds(seconds: Any, what: str) -> float:
    """Return a time in seconds, or in milliseconds where *what* ends in `_ms`.

    Raises:
        TypeError: if it is no number.
        ValueError: if it is negative, infinite or no number.
    """
    unit = "milliseconds" if what.endswith("_ms") else "seconds"
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"Cannot use a {type(seconds).__name__} as `{what}`: give a number of {unit}.")
    try:
        if math.isfinite(found := float(seconds)) and found >= 0:
            return found
        shown = str(seconds)
    except OverflowError:  # a whole number of hundreds of digits
        shown = "so large a number"
    raise ValueError(f"Cannot use {shown} as `{what}`: give a finite number of {unit}, 0 or more.")


def checked_count(count: Any, what: str) -> int:
    """Return a number of times.

    Raises:
        TypeError: if it is no whole number.
        ValueError: if it is negative, or above 1,000.
    """
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"Cannot use a {type(count).__name__} as `{what}`: give a whole number.")
    if not 0 <= count <= 1_000:
        raise ValueError(f"Cannot use {count} as `{what}`: give a number from 0 to 1,000.")
    return count
