"""Characters that look like others or like nothing: full-width forms, spaces that do not break, zero-width marks.

People copy them from pages and documents, so a card's number has no-break spaces and a key a soft hyphen in it.
"""

from __future__ import annotations

import re

_ZERO_WIDTH = "\u00ad\u034f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff"
_LOOKALIKES = "\u00a0\u2000-\u200a\u2010-\u2013\u202f\u205f\u2212\u3000\uff01-\uff5e\u0660-\u0669\u06f0-\u06f9"
_ANY = re.compile(f"[{_ZERO_WIDTH}{_LOOKALIKES}]")
_NONE = re.compile(f"[{_ZERO_WIDTH}]+")
_FULL_WIDTH = 0xFF01 - 0x21
_DIGITS = (0x0660, 0x06F0)
_DASHES = "\u2010\u2011\u2012\u2013\u2212"


def undisguised(text: str) -> tuple[str, list[int] | None]:
    """Return *text* with plain characters for disguised ones and without zero-width ones, and where each character was.

    The places are `None` where all are as before.

    Example:
        >>> undisguised("４\u00a0a")
        ('4 a', None)
        >>> undisguised("s\u200bk")
        ('sk', [0, 2])
    """
    if text.isascii() or _ANY.search(text) is None:
        return text, None
    places: list[int] | None = None
    if _NONE.search(text) is not None:
        places, done = [], 0
        for match in _NONE.finditer(text):
            places.extend(range(done, match.start()))
            done = match.end()
        places.extend(range(done, len(text)))
        text = _NONE.sub("", text)
    return _ANY.sub(_plain, text), places


def _plain(match: re.Match[str]) -> str:
    char = match[0]
    if char >= "\uff01":
        return chr(ord(char) - _FULL_WIDTH)
    if char in _DASHES:
        return "-"
    code = ord(char)
    for zero in _DIGITS:
        if zero <= code <= zero + 9:
            return chr(code - zero + ord("0"))
    return " "
