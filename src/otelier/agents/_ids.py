"""Ids and times for contexts of one's own."""

from __future__ import annotations

import uuid
from datetime import datetime, timezone


def generate_id() -> str:
    """Return a new id: 32 hexadecimal digits at random.

    Example:
        >>> import otelier
        >>> len(otelier.generate_id())
        32
    """
    return uuid.uuid4().hex


def now_utc() -> datetime:
    """Return the time it is, with UTC as its time zone.

    Example:
        >>> import otelier
        >>> otelier.now_utc().utcoffset().total_seconds()
        0.0
    """
    return datetime.now(timezone.utc)
