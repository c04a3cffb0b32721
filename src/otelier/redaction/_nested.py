"""Redaction of nested data: one walk over all that content holds, within the room that there is for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from math import isfinite
from typing import Final, cast

from opentelemetry.util.types import AnyValue

from otelier.codec import whole_text
from otelier.faults import report_fault
from otelier.redaction._bytes import (
    FEWEST_NUMBERS,
    KNOWN_KEYS,
    SHORTEST_KNOWN,
    bytes_told,
    may_hold_bytes,
    pieces_of,
    told_of_base64,
    told_of_numbers,
)
from otelier.redaction._key_names import KEYS, is_form, is_harmless, is_telling
from otelier.redaction._pairs import (
    describes,
    is_schema,
    names_next,
    names_owners,
    names_value,
    password_start,
    personal_kind,
    plain_keys,
    says_of_schema,
    secret_keys,
)
from otelier.redaction._personal import is_card
from otelier.redaction._redact import FAILED, MAX_CHARS, NOTE, PRIVATE, redact, start_of, without_note
from otelier.redaction._rules import redacted
from otelier.redaction._secrets import SHORTEST_KEY

MAX_DEPTH = 64
"""Levels of nested data that are looked at; what is deeper is replaced."""
_CUT = "[cut]"
"""Key that says how many others are missing."""
_ITEMS = re.compile(r"\[cut: (\d+) items\]")
_TEXTS: Final = (str, bytes, bytearray, memoryview)
_LARGEST = 2**63
_HUGE = 10**100
_LARGE = 10**12
"""Numbers from here on may be those of cards."""
LIMIT = redacted("limit")
"""What stands for nested data beyond the limits."""
_SHORT = 64
"""Characters of a text that no note of its length would be shorter than."""


class TooLongError(Exception):
    """There is more to redact than was to be looked at here."""


class Later:
    """A piece of content that is still to be made of a text, when it is looked at.

    To parse, decode or hash a long text takes too long for an event loop. It can be put off, because nobody can change
    a text, where what holds it is the caller's.

    Example:
        >>> redact_value({"arguments": Later(str.split, "find parcels")})
        {'arguments': ['find', 'parcels']}
    """

    __slots__ = ("make", "text")

    def __init__(self, make: Callable[[str], object], text: str) -> None:
        self.make = make
        """Makes it of the text; any thread may call this."""
        self.text = text
        """What it is made of."""


def redact_value(
    value: object, *, personal: bool = False, max_chars: int = MAX_CHARS, most: int | None = None
) -> AnyValue:
    """Return nested data with the secrets in it replaced, as strict JSON can hold it; never raises but what is asked.

    Mappings become dicts, models what they dump, and other collections lists. Texts are redacted one by one, and what
    stands under a telling key is replaced whole. Bytes, however they are written, become their type, size and hash.
    Numbers, flags, `None` and the words that the conventions' messages are built of, such as `"role": "user"`, pass;
    any other object becomes its redacted `str`. What is no number in JSON becomes text, halves of UTF-16 pairs U+FFFD.

    Args:
        value: What is going to leave.
        personal: Whether e-mail addresses, payment cards and phone numbers are replaced as well.
        max_chars: Characters that all of it has as JSON, about: what is beyond is cut off once it is redacted, with
            notes of how much.
        most: Characters of input that are looked at; `None` takes all.

    Raises:
        TooLongError: if there are more than *most*.

    Example:
        >>> redact_value({"user": "bob", "Password": "hunter2", "retries": 3})
        {'user': 'bob', 'Password': '[REDACTED:secret]', 'retries': 3}
        >>> redact_value(["write to bob@example.com"], personal=True)
        ['write to [REDACTED:email]']
        >>> redact_value(["a long story"] * 3, max_chars=15)
        ['a long story', '[cut: 2 items]']
    """
    try:
        return _Walk(personal=personal, max_chars=max_chars, most=most).value(value, MAX_DEPTH)
    except TooLongError:
        raise
    except Exception as exc:
        report_fault("signals.redact", exc)
        return FAILED


def redact_values(
    content: Mapping[str, object], *, personal: bool, max_chars: int, most: int | None = None
) -> dict[str, AnyValue]:
    """Return each value of *content* as `redact_value` does it, all of them within one budget.

    Args:
        content: Values by attribute; the first ones come first.
        personal: Whether personal data is replaced as well.
        max_chars: Characters that one of them has as JSON, about, and half of what all have together.
        most: Characters of input that are looked at, of all together; `None` takes all.

    Raises:
        TooLongError: if there are more than *most*.

    Example:
        >>> redact_values({"a": "password=hunter2", "b": []}, personal=False, max_chars=100)
        {'a': 'password=[REDACTED:secret]', 'b': []}
    """
    shown: dict[str, AnyValue] = {}
    walk = _Walk(personal=personal, max_chars=0, most=most)
    left = 2 * max_chars
    for name, value in content.items():
        walk.room = room = min(max_chars, max(left, 0))
        try:
            shown[name] = walk.value(value, MAX_DEPTH)
        except TooLongError:
            raise
        except Exception as exc:
            report_fault("signals.redact", exc)
            shown[name] = FAILED
        left -= room - walk.room
    return shown


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


class _Walk:
    """One way through nested data, with what there still is room for, and what may still be looked at."""

    __slots__ = ("_left", "_personal", "room")

    def __init__(self, *, personal: bool, max_chars: int, most: int | None) -> None:
        self._personal = personal
        self.room = max_chars
        self._left = most

    def value(self, value: object, depth: int) -> AnyValue:
        if isinstance(value, str):
            return self._text(value)
        self.room -= 4  # a number, or what is around it
        if depth > 0:
            # What there is most of comes first: to ask whether something is a `Mapping` takes as long as all the rest.
            kind = type(value)
            if kind is dict:
                return self._mapping(cast("dict[object, object]", value), depth - 1)
            if kind is list:
                return self._items(cast("list[object]", value), depth - 1)
        if value is None or value is True or value is False:
            return value
        if isinstance(value, (int, float)):
            return self._number(value)
        return self._other(value, depth)

    def _other(self, value: object, depth: int) -> AnyValue:
        if isinstance(value, Later):
            return self._made(value, depth)
        if isinstance(value, (bytes, bytearray, memoryview)):
            content = bytes(cast("bytes", value))
            self._look_at(len(content))
            return self._told(bytes_told(content))
        if depth == 0:
            return self._told(LIMIT)
        if isinstance(value, Mapping):
            return self._mapping(cast("Mapping[object, object]", value), depth - 1)
        if isinstance(value, (list, tuple, set, frozenset)):
            return self._items(cast("Collection[object]", value), depth - 1)
        if callable(dump := getattr(value, "model_dump", None)) and not isinstance(value, type):
            return self.value(dump(), depth - 1)
        return self._text(str(value))

    def _mapping(self, mapping: Mapping[object, object], depth: int) -> AnyValue:
        found: dict[str, AnyValue] = {}
        if len(mapping) > FEWEST_NUMBERS and "0" in mapping:  # as JavaScript writes down an array of bytes
            told = self._bytes_in([*mapping.values()])
            if told is not None:
                return told
        secret, plain = secret_keys(mapping), plain_keys(mapping)
        are_bytes = mapping.get("type") == "Buffer"  # of Node
        for key, item in mapping.items():
            # What a message is built of is there in any case, or nothing could read it: its texts are short then.
            if self.room <= 0 and key not in KEYS:
                found[_CUT] = f"{len(mapping) - len(found)} items"
                break
            if key in KEYS:
                name = cast("str", key)
                self.room -= len(name) + 4
            else:
                name = self._key(key)
            if name in found:
                name = _numbered(name, found)
            if key in secret:
                found[name] = self._told(redacted("secret"))
            elif are_bytes and key == "data" and (told := self._bytes_in(item, known=True)) is not None:
                found[name] = told
            else:
                found[name] = self.value(item, depth) if key in plain else self._item(key, item, depth)
        return found

    def _items(self, items: Collection[object], depth: int) -> AnyValue:
        found: list[AnyValue] = []
        if len(items) > FEWEST_NUMBERS and (told := self._bytes_in(items)) is not None:
            return told
        before: object = None
        for item in items:
            if self.room <= 0:
                found.append(_left_out(items, len(found)))
                break
            is_secret = type(before) is str and names_next(before, item, len(items))
            found.append(self._told(redacted("secret")) if is_secret else self._argument(before, item, found, depth))
            before = item
        return found

    def _bytes_in(self, items: object, *, known: bool = False) -> str | None:
        """Return what stands for *items* if they are a list of numbers that is bytes; `None` otherwise."""
        if not isinstance(items, (list, tuple)):
            return None
        numbers = cast("Sequence[object]", items)
        told = told_of_numbers(numbers, known=known)
        if told is None:
            return None
        self._look_at(len(numbers))
        return self._told(told)

    def _each(self, items: Collection[object], of: Callable[[object], AnyValue]) -> list[AnyValue]:
        found: list[AnyValue] = []
        for item in items:
            if self.room <= 0:
                found.append(_left_out(items, len(found)))
                break
            found.append(of(item))
        return found

    def _argument(self, before: object, item: object, earlier: list[AnyValue], depth: int) -> AnyValue:
        # Told by the first characters: most items of most lists are no arguments.
        if type(item) is str and (before in ("-p", "-a") or item[:2] in ("-p", "-a")):
            start = password_start(before, item, earlier)
            if start >= 0:
                return self._told(item[:start] + redacted("password"))
        return self.value(item, depth)

    def _made(self, later: Later, depth: int) -> AnyValue:
        left, size = self._left, len(later.text)
        if left is not None and size > left:
            raise TooLongError  # before it is made
        found = self.value(later.make(later.text), depth)
        if left is not None:
            self._left = min(self._left or 0, left - size)
        return found

    def _number(self, number: float) -> AnyValue:
        if isinstance(number, float):
            return number if isfinite(number) else self._told(str(number))
        if self._personal and number > _LARGE and number < _HUGE and is_card(str(number)):
            return self._told(redacted("card"))
        if -_LARGEST < number < _LARGEST:
            return number
        # Neither OTLP nor most readers of JSON take it, and Python writes down none that is endless.
        return self._told(str(number) if -_HUGE < number < _HUGE else f"[number of {number.bit_length()} bits]")

    def _text(self, text: str) -> str:
        if self._left is not None:
            self._look_at(len(text))
        if not text.isascii():
            text = whole_text(text)
        if may_hold_bytes(text):
            text = self._without_bytes(text)
        elif len(text) <= self.room:
            text = redact(text, personal=self._personal)
        else:
            text = self._start(text)
        self.room -= len(text) + 3
        return text

    def _without_bytes(self, text: str) -> str:
        if PRIVATE in text:  # its base64 is no file, and what is left of it would be no secret's form
            text = start_of(*without_note(text), max(self.room, 0), personal=self._personal)
        told: list[str] = []
        room = self.room
        for piece, is_bytes in pieces_of(text):
            if is_bytes:
                told.append(piece)
            elif piece:
                told.append(self._start(piece, room))
            room -= len(told[-1]) if told else 0
        return "".join(told)

    def _start(self, text: str, room: int | None = None) -> str:
        room = self.room if room is None else room
        if len(text) <= max(room, _SHORT):
            return redact(text, personal=self._personal)
        return start_of(*without_note(text), max(room - NOTE, 0), personal=self._personal)

    def _told(self, text: str) -> str:
        """Return *text*, which takes its room; what has to be escaped takes more, which is seen when it is written."""
        self.room -= len(text) + 3
        return text

    def _look_at(self, size: int) -> None:
        if self._left is not None:
            self._left -= size + 4
            if self._left < 0:
                raise TooLongError

    def _key(self, key: object) -> str:
        text = str(key)
        if len(text) >= SHORTEST_KEY or self._personal or not text.isascii():
            return self._text(text)
        self.room -= len(text) + 4
        return text

    def _item(self, key: object, item: object, depth: int) -> AnyValue:
        if is_form(key, item):
            return cast("str", item)
        if isinstance(key, str) and self._personal and (kind := personal_kind(key, item)) is not None:
            return self._told(redacted(kind))
        if isinstance(key, str) and is_telling(key):
            if isinstance(item, Mapping):
                return self._told_by(key, cast("Mapping[object, object]", item), depth)
            if depth > 0 and isinstance(item, (list, tuple)):
                return self._each(cast("Collection[object]", item), lambda each: self._item(key, each, depth - 1))
            if not is_harmless(key, item):
                return self._told(redacted("secret"))
        if key in KNOWN_KEYS and (told := self._known_bytes(key, item)) is not None:
            return told
        return self._text(item) if isinstance(item, str) else self.value(item, depth)

    def _known_bytes(self, key: object, item: object) -> str | None:
        """Return what is told of the bytes that *key*, such as `file_data`, names; `None` where there are none."""
        if not isinstance(item, str):
            # `data` is also what charts and tables call theirs.
            return None if key == "data" else self._bytes_in(item, known=True)
        if len(item) < SHORTEST_KNOWN:
            return None
        if self._left is not None and len(item) > self._left:
            raise TooLongError  # before it is decoded
        told = told_of_base64(item)
        if told is None:
            return None
        self._look_at(len(item))
        return self._told(told)

    def _told_by(self, secret: str, mapping: Mapping[object, object], depth: int, *, below: bool = False) -> AnyValue:
        """Return what stands under the telling key *secret*, which tells of all the texts in it, however deep."""
        if depth == 0:
            return self.value(mapping, depth)
        schema = is_schema(mapping)
        owners = not below and not schema and names_owners(secret)
        plain = plain_keys(mapping)
        found: dict[str, AnyValue] = {}
        for key, item in mapping.items():
            if self.room <= 0:
                found[_CUT] = f"{len(mapping) - len(found)} items"
                break
            name = self._key(key)
            if name in found:
                name = _numbered(name, found)
            if key in plain or (schema and says_of_schema(key)):
                found[name] = self.value(item, depth - 1)
            else:
                found[name] = self._told_below(secret, key, item, depth - 1, is_owner=owners)
        return found

    def _told_below(self, key: str, name: object, item: object, depth: int, *, is_owner: bool) -> AnyValue:
        if depth > 0 and isinstance(item, Mapping):
            return self._told_by(key, cast("Mapping[object, object]", item), depth, below=True)
        if depth > 0 and isinstance(item, (list, tuple)):
            return self._each(
                cast("Collection[object]", item),
                lambda each: self._told_below(key, name, each, depth - 1, is_owner=is_owner),
            )
        is_text = type(item) in _TEXTS or names_value(name)
        if is_text and (is_owner or not describes(name, key)):
            return self._told(redacted("secret")) if not is_harmless(key, item) else self.value(item, depth)
        return self._item(name, item, depth)


def _numbered(name: str, found: Collection[str]) -> str:
    """Return *name* with the first number that makes it another than those *found*: redacted, two may be the same."""
    number = len(found) + 1
    while (numbered := f"{name} ({number})") in found:
        number += 1
    return numbered


def _left_out(items: Collection[object], shown: int) -> str:
    last = items[-1] if isinstance(items, (list, tuple)) else None
    before = _ITEMS.fullmatch(last) if isinstance(last, str) else None  # of an earlier cut
    return f"[cut: {len(items) - shown + (int(before[1]) - 1 if before is not None else 0)} items]"
