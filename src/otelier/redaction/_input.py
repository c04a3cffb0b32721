"""Input of redaction: pieces still to be made of a text, copies for later, and the limits on both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from itertools import islice
from typing import Final, cast

from otelier.redaction._rules import redacted

MAX_DEPTH: Final = 64
"""Levels of nested data that are looked at; what is deeper is replaced."""
LIMIT: Final = redacted("limit")
"""Text in place of nested data beyond the limits."""


class TooLongError(Exception):
    """There is more to redact than was to be looked at here."""


class Later:
    """A piece of content that is still to be made of a text, when it is looked at.

    To parse, decode or hash a long text takes too long for an event loop. It can be put off, because nobody can change
    a text, where what holds it is the caller's.

    Example:
        >>> from otelier.redaction import redact_value
        >>> redact_value({"arguments": Later(str.split, "find parcels")})
        {'arguments': ['find', 'parcels']}
    """

    __slots__ = ("make", "text")

    def __init__(self, make: Callable[[str], object], text: str) -> None:
        self.make = make
        """Makes it of the text; any thread may call this."""
        self.text = text
        """The text that it is made of."""


def copied(value: object, max_items: int) -> object:
    """Return nested *value* as it is now, for redaction later: its texts are shared, what holds them is not.

    Example:
        >>> given = {"a": ["b"]}
        >>> kept = copied(given, 100)
        >>> given["a"].append("c")
        >>> kept
        {'a': ['b']}
    """
    left = max_items

    def of(value: object, depth: int) -> object:
        nonlocal left
        left -= 1
        if left < 0 or depth == 0:
            return LIMIT
        if isinstance(value, Mapping):
            entries = cast("Mapping[object, object]", value).items()
            return {key: of(item, depth - 1) for key, item in islice(entries, left + 1)}
        if isinstance(value, (list, tuple)):
            return [of(item, depth - 1) for item in islice(cast("Collection[object]", value), left + 1)]
        return value

    return of(value, MAX_DEPTH)
