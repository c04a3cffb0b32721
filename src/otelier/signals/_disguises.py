"""Characters that look like others or like nothing: full-width forms, spaces that do not break, zero-width marks.

People copy them from pages and documents, so a card's number has no-break spaces and a key a soft hyphen in it.
"""

from __future__ import annotations

import re
from typing import Final

_ZERO_WIDTH: Final = "\u00ad\u034f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff"
_LOOKALIKES: Final = "\u00a0\u2000-\u200a\u2010-\u2013\u202f\u205f\u2212\u3000\uff01-\uff5e\u0660-\u0669\u06f0-\u06f9"
_ANY: Final = re.compile(f"[{_LOOKALIKES}]+")
_NONE: Final = re.compile(f"[{_ZERO_WIDTH}]+")
_EITHER: Final = re.compile(f"[{_ZERO_WIDTH}{_LOOKALIKES}]")
_PLAIN: Final = {
    **dict.fromkeys((0xA0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000), " "),
    **dict.fromkeys((*range(0x2010, 0x2014), 0x2212), "-"),
    **{code: chr(code - 0xFF01 + ord("!")) for code in range(0xFF01, 0xFF5F)},
    **{zero + digit: str(digit) for zero in (0x0660, 0x06F0) for digit in range(10)},
}


def undisguised(text: str) -> tuple[str, list[int] | None]:
    """Return *text* with plain characters for disguised ones and without zero-width ones, and where each character was.

    The places are `None` where all are as before.

    Example:
        >>> undisguised("\uff14\u00a0a")
        ('4 a', None)
        >>> undisguised("s\u200bk")
        ('sk', [0, 2])
    """
    if text.isascii() or _EITHER.search(text) is None:
        return text, None
    places: list[int] | None = None
    if _NONE.search(text) is not None:
        places, done = [], 0
        for match in _NONE.finditer(text):
            places.extend(range(done, match.start()))
            done = match.end()
        places.extend(range(done, len(text)))
        text = _NONE.sub("", text)
    return _ANY.sub(lambda match: match[0].translate(_PLAIN), text), places
