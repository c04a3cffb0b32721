"""Pieces of a streamed tool call: which of them are one call, whatever their provider numbers."""

from __future__ import annotations

import re
from typing import Any, Final

_MARKS: Final = re.compile(r'\\.?|["{}\[\]]', re.DOTALL)
_DEPTH: Final = {"{": 1, "[": 1, "}": -1, "]": -1}


class CallPieces:
    """What came of one call, as far as it tells whether the next piece is of the same call.

    Some providers give all calls of an answer the same index, or none, and no ids.

    Example:
        >>> pieces = CallPieces()
        >>> pieces.add(None, "search", '{"q": ')
        >>> pieces.end_before(None, "search"), pieces.end_before(None, "look_up")
        (False, True)
        >>> pieces.add(None, "search", '"a"}')
        >>> pieces.end_before(None, "search")
        True
    """

    __slots__ = ("_depth", "_escape", "_in_text", "_looked_at", "_opening", "call_id", "name", "written")

    def __init__(self) -> None:
        self.call_id: Any = None
        """The first id that came; nothing while there is none."""
        self.name = ""
        """The first name that came."""
        self.written: list[str] = []
        """The pieces of the arguments."""
        self._looked_at = 0
        self._opening = ""
        self._depth = 0
        self._in_text = False
        self._escape = ""

    def add(self, call_id: Any, name: str, written: str) -> None:
        """Add what one piece says."""
        self.call_id = self.call_id or call_id
        self.name = self.name or name
        self.written.append(written)

    def end_before(self, call_id: Any, name: str) -> bool:
        """Tell whether a piece with that id and name begins another call.

        It does with another id. Without ids it does with another name, or with the same one once more when the
        arguments are whole; some providers repeat the name in every piece.
        """
        if call_id and self.call_id:
            return call_id != self.call_id
        return bool(name and self.name) and (name != self.name or self._are_whole())

    def _are_whole(self) -> bool:
        """Tell whether the arguments are an object that is closed.

        Each piece is looked at once: to parse all of them whenever one comes would take the square of their number.
        """
        unread = "".join(self.written[self._looked_at :])
        self._looked_at = len(self.written)
        self._opening = self._opening or unread.lstrip()[:1]
        marks = _MARKS.findall(self._escape + unread)
        self._escape = "\\" if marks and marks[-1] == "\\" else ""
        for mark in marks:
            if mark == '"':
                self._in_text = not self._in_text
            elif not self._in_text:
                self._depth += _DEPTH.get(mark, 0)
        return self._opening == "{" and self._depth == 0
