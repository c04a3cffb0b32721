"""Times as a person reads them."""

from __future__ import annotations

from datetime import datetime, timezone


def iso(at_ns: int | None) -> str | None:
    """Return a recorded time as text."""
    return None if at_ns is None else datetime.fromtimestamp(at_ns / 1e9, timezone.utc).isoformat()


def clock(at_ns: int, form: str) -> str:
    """Return a recorded time in the time zone of this machine."""
    return datetime.fromtimestamp(at_ns / 1e9, timezone.utc).astimezone().strftime(form)


def lasted(seconds: float) -> str:
    """Return a time span as a person reads it.

    Example:
        >>> lasted(0.0124), lasted(3.2), lasted(125), lasted(7500), lasted(90000)
        ('12 ms', '3.2 s', '2 min 5 s', '2 h 5 min', '1 d 1 h')
    """
    if seconds < 0.9995:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, below, lower in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // below} {lower}"
    return f"{whole} s"
