"""Leaves of nested data: its texts, numbers and bytes, redacted within the room that there is for all of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from math import isfinite
from typing import Final, cast

from opentelemetry.util.types import AnyValue

from otelier.codec import whole_text
from otelier.redaction._bytes import (
    SHORTEST_KNOWN,
    describe_base64,
    describe_numbers,
    may_hold_bytes,
    pieces_of,
)
from otelier.redaction._input import TooLongError
from otelier.redaction._personal import is_card
from otelier.redaction._redact import NOTE, PRIVATE, redact, start_of, without_note
from otelier.redaction._rules import redacted
from otelier.redaction._secrets import SHORTEST_KEY

_ITEMS: Final = re.compile(r"\[cut: (\d+) items\]")
_LARGEST: Final = 2**63
_HUGE: Final = 10**100
_LARGE: Final = 10**12
"""Numbers from here on may be those of cards."""
_SHORT: Final = 64
"""Characters of a text that no note of its length would be shorter than."""


class Leaves:
    """Redacts what nested data ends in, and counts the room left for it and the input that may still be looked at."""

    __slots__ = ("left", "personal", "room")

    def __init__(self, *, personal: bool, max_chars: int, most: int | None) -> None:
        self.personal = personal
        self.room = max_chars
        """Characters that are left for what is shown."""
        self.left: int | None = most
        """Characters of input that may still be looked at; `None` for any number."""

    def take_room(self, text: str) -> str:
        """Return *text*, which takes its room; what has to be escaped takes more, which is seen when it is written."""
        self.room -= len(text) + 3
        return text

    def look_at(self, size: int) -> None:
        """Count *size* characters of input.

        Raises:
            TooLongError: if they are more than may be looked at.
        """
        if self.left is not None:
            self.left -= size + 4
            if self.left < 0:
                raise TooLongError

    def number(self, number: float) -> AnyValue:
        """Return *number* as JSON and OTLP can hold it."""
        if isinstance(number, float):
            return number if isfinite(number) else self.take_room(str(number))
        if self.personal and number > _LARGE and number < _HUGE and is_card(str(number)):
            return self.take_room(redacted("card"))
        if -_LARGEST < number < _LARGEST:
            return number
        # Neither OTLP nor most readers of JSON take it, and Python writes down none that is endless.
        return self.take_room(str(number) if -_HUGE < number < _HUGE else f"[number of {number.bit_length()} bits]")

    def text(self, text: str) -> str:
        """Return *text* redacted, and no longer than there is room, or than a note of what was cut."""
        if self.left is not None:
            self.look_at(len(text))
        if not text.isascii():
            text = whole_text(text)
        if may_hold_bytes(text):
            text = self._without_bytes(text)
        elif len(text) <= self.room:
            text = redact(text, personal=self.personal)
        else:
            text = self._start(text)
        self.room -= len(text) + 3
        return text

    def _without_bytes(self, text: str) -> str:
        if PRIVATE in text:  # its base64 is no file, and what is left of it would be no secret's form
            text = start_of(*without_note(text), max(self.room, 0), personal=self.personal)
        shown: list[str] = []
        room = self.room
        for piece, is_bytes in pieces_of(text):
            if is_bytes:
                shown.append(piece)
            elif piece:
                shown.append(self._start(piece, room))
            room -= len(shown[-1]) if shown else 0
        return "".join(shown)

    def _start(self, text: str, room: int | None = None) -> str:
        room = self.room if room is None else room
        if len(text) <= max(room, _SHORT):
            return redact(text, personal=self.personal)
        return start_of(*without_note(text), max(room - NOTE, 0), personal=self.personal)

    def key(self, key: object) -> str:
        """Return the name of a member as redacted text."""
        text = str(key)
        if len(text) >= SHORTEST_KEY or self.personal or not text.isascii():
            return self.text(text)
        self.room -= len(text) + 4
        return text

    def bytes_in(self, items: object, *, known: bool = False) -> str | None:
        """Return what stands for *items* if they are a list of numbers that is bytes; `None` otherwise."""
        if not isinstance(items, (list, tuple)):
            return None
        numbers = cast("Sequence[object]", items)
        description = describe_numbers(numbers, known=known)
        if description is None:
            return None
        self.look_at(len(numbers))
        return self.take_room(description)

    def known_bytes(self, key: object, item: object) -> str | None:
        """Return what stands for the bytes that *key*, such as `file_data`, names; `None` where there are none."""
        if not isinstance(item, str):
            # `data` is also what charts and tables call theirs.
            return None if key == "data" else self.bytes_in(item, known=True)
        if len(item) < SHORTEST_KNOWN:
            return None
        if self.left is not None and len(item) > self.left:
            raise TooLongError  # before it is decoded
        description = describe_base64(item)
        if description is None:
            return None
        self.look_at(len(item))
        return self.take_room(description)


def numbered(name: str, found: Collection[str]) -> str:
    """Return *name* with the first number that makes it another than those *found*: redacted, two may be the same."""
    number = len(found) + 1
    while (unique := f"{name} ({number})") in found:
        number += 1
    return unique


def left_out(items: Collection[object], shown: int) -> str:
    """Return the item that stands for those of *items* that are not among the first that are *shown*."""
    last = items[-1] if isinstance(items, (list, tuple)) else None
    before = _ITEMS.fullmatch(last) if isinstance(last, str) else None  # of an earlier cut
    return f"[cut: {len(items) - shown + (int(before[1]) - 1 if before is not None else 0)} items]"
