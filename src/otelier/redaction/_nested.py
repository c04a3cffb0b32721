"""Redaction of nested data: one walk over mappings and lists, and all that stands under telling keys."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final, cast

from opentelemetry.util.types import AnyValue

from otelier.faults import report_fault
from otelier.redaction._bytes import (
    FEWEST_NUMBERS,
    KNOWN_KEYS,
    describe_bytes,
)
from otelier.redaction._input import LIMIT, MAX_DEPTH, Later, TooLongError
from otelier.redaction._key_names import KEYS, is_harmless, is_message_word, is_secret_name
from otelier.redaction._leaves import Leaves, left_out, numbered
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
from otelier.redaction._redact import FAILED, MAX_CHARS
from otelier.redaction._rules import redacted

_CUT: Final = "[cut]"
"""Key whose value is how many others are missing."""
_TEXTS: Final = (str, bytes, bytearray, memoryview)


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
        report_fault("redaction.value", exc)
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
            report_fault("redaction.value", exc)
            shown[name] = FAILED
        left -= room - walk.room
    return shown


class _Walk(Leaves):
    """One way through nested data."""

    __slots__ = ()

    def value(self, value: object, depth: int) -> AnyValue:
        if isinstance(value, str):
            return self.text(value)
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
            return self.number(value)
        return self._other(value, depth)

    def _other(self, value: object, depth: int) -> AnyValue:
        if isinstance(value, Later):
            return self._made(value, depth)
        if isinstance(value, (bytes, bytearray, memoryview)):
            content = bytes(cast("bytes", value))
            self.look_at(len(content))
            return self.take_room(describe_bytes(content))
        if depth == 0:
            return self.take_room(LIMIT)
        if isinstance(value, Mapping):
            return self._mapping(cast("Mapping[object, object]", value), depth - 1)
        if isinstance(value, (list, tuple, set, frozenset)):
            return self._items(cast("Collection[object]", value), depth - 1)
        if callable(dump := getattr(value, "model_dump", None)) and not isinstance(value, type):
            return self.value(dump(), depth - 1)
        return self.text(str(value))

    def _mapping(self, mapping: Mapping[object, object], depth: int) -> AnyValue:
        found: dict[str, AnyValue] = {}
        if len(mapping) > FEWEST_NUMBERS and "0" in mapping:  # as JavaScript writes down an array of bytes
            description = self.bytes_in([*mapping.values()])
            if description is not None:
                return description
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
                name = self.key(key)
            if name in found:
                name = numbered(name, found)
            if key in secret:
                found[name] = self.take_room(redacted("secret"))
            elif are_bytes and key == "data" and (description := self.bytes_in(item, known=True)) is not None:
                found[name] = description
            else:
                found[name] = self.value(item, depth) if key in plain else self._item(key, item, depth)
        return found

    def _items(self, items: Collection[object], depth: int) -> AnyValue:
        found: list[AnyValue] = []
        if len(items) > FEWEST_NUMBERS and (description := self.bytes_in(items)) is not None:
            return description
        before: object = None
        for item in items:
            if self.room <= 0:
                found.append(left_out(items, len(found)))
                break
            if type(before) is str and names_next(before, item, len(items)):
                found.append(self.take_room(redacted("secret")))
            else:
                found.append(self._argument(before, item, found, depth))
            before = item
        return found

    def _each(self, items: Collection[object], of: Callable[[object], AnyValue]) -> list[AnyValue]:
        found: list[AnyValue] = []
        for item in items:
            if self.room <= 0:
                found.append(left_out(items, len(found)))
                break
            found.append(of(item))
        return found

    def _argument(self, before: object, item: object, earlier: list[AnyValue], depth: int) -> AnyValue:
        # Told by the first characters: most items of most lists are no arguments.
        if type(item) is str and (before in ("-p", "-a") or item[:2] in ("-p", "-a")):
            start = password_start(before, item, earlier)
            if start >= 0:
                return self.take_room(item[:start] + redacted("password"))
        return self.value(item, depth)

    def _made(self, later: Later, depth: int) -> AnyValue:
        left, size = self.left, len(later.text)
        if left is not None and size > left:
            raise TooLongError  # before it is made
        found = self.value(later.make(later.text), depth)
        if left is not None:
            self.left = min(self.left or 0, left - size)
        return found

    def _item(self, key: object, item: object, depth: int) -> AnyValue:
        if is_message_word(key, item):
            return cast("str", item)
        if isinstance(key, str) and self.personal and (kind := personal_kind(key, item)) is not None:
            return self.take_room(redacted(kind))
        if isinstance(key, str) and is_secret_name(key):
            if isinstance(item, Mapping):
                return self._under_telling_key(key, cast("Mapping[object, object]", item), depth)
            if depth > 0 and isinstance(item, (list, tuple)):
                return self._each(cast("Collection[object]", item), lambda each: self._item(key, each, depth - 1))
            if not is_harmless(key, item):
                return self.take_room(redacted("secret"))
        if key in KNOWN_KEYS and (description := self.known_bytes(key, item)) is not None:
            return description
        return self.text(item) if isinstance(item, str) else self.value(item, depth)

    def _under_telling_key(
        self, secret: str, mapping: Mapping[object, object], depth: int, *, below: bool = False
    ) -> AnyValue:
        """Return the mapping under the telling key *secret*, which makes secrets of all texts in it, however deep."""
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
            name = self.key(key)
            if name in found:
                name = numbered(name, found)
            if key in plain or (schema and says_of_schema(key)):
                found[name] = self.value(item, depth - 1)
            else:
                found[name] = self._below_telling_key(secret, key, item, depth - 1, is_owner=owners)
        return found

    def _below_telling_key(self, key: str, name: object, item: object, depth: int, *, is_owner: bool) -> AnyValue:
        if depth > 0 and isinstance(item, Mapping):
            return self._under_telling_key(key, cast("Mapping[object, object]", item), depth, below=True)
        if depth > 0 and isinstance(item, (list, tuple)):
            return self._each(
                cast("Collection[object]", item),
                lambda each: self._below_telling_key(key, name, each, depth - 1, is_owner=is_owner),
            )
        is_text = type(item) in _TEXTS or names_value(name)
        if is_text and (is_owner or not describes(name, key)):
            return self.take_room(redacted("secret")) if not is_harmless(key, item) else self.value(item, depth)
        return self._item(name, item, depth)
