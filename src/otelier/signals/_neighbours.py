"""What the data around a value tells of it: the name beside it in a pair, the flag before it in a list of arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from otelier.signals._telling import is_harmless, is_telling

_NAMES: Final = ("name", "key", "Name", "Key", "NAME", "field", "variable", "header", "k")
_VALUES: Final = frozenset(("value", "Value", "VALUE", "val", "v", "stringValue"))
_OF_USERS: Final = ("-u", "--user", "--proxy-user")
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z_]*\Z")
_SCHEMA: Final = frozenset(("type", "$ref", "description", "format", "properties", "anyOf", "oneOf", "allOf", "enum"))
_PERSONAL: Final = {
    "phone": re.compile(r"(?:phone|mobile|tel|telephone|fax|cell|phone_?number)\Z"),
    "ssn": re.compile(r"(?:ssn|social_?security_?number)\Z"),
}
_DIGITS: Final = {"phone": range(7, 16), "ssn": range(9, 10)}
_NUMBER: Final = re.compile(r"[+0-9][0-9 ()./-]*\Z")


def secret_keys(mapping: Mapping[object, object]) -> tuple[str, ...]:
    """Return the keys of *mapping* that hold what another of its values names: `value`, of a pair of name and value.

    Example:
        >>> secret_keys({"name": "DB_PASSWORD", "value": "hunter2"}), secret_keys({"name": "PORT", "value": "80"})
        (('value',), ())
    """
    if _VALUES.isdisjoint(mapping):
        return ()
    for key in _NAMES:
        name = mapping.get(key)
        if isinstance(name, str) and is_telling(name):
            return tuple(value for value in _VALUES if value in mapping and not is_harmless(name, mapping[value]))
    return ()


def plain_keys(mapping: Mapping[object, object]) -> tuple[str, ...]:
    """Return the keys of *mapping* that tell otherwise, and do not here: a token of a text, with its probability.

    Example:
        >>> plain_keys({"token": "Hello", "logprob": -0.3})
        ('token',)
    """
    return ("token",) if "logprob" in mapping else ()


def names_next(before: str, item: object, size: int) -> bool:
    """Tell whether *item* is a secret by what stands *before* it in a list of *size*: a flag, or the name in a pair.

    Example:
        >>> names_next("--password", "hunter2", 3), names_next("x-api-key", "abc", 2)
        (True, True)
        >>> names_next("password", "email", 2)
        False
    """
    if not isinstance(item, str):
        return False
    if before[:1] == "-":
        is_secret = item[:1] != "-" and (is_telling(before) or (before in _OF_USERS and ":" in item))
    else:
        # Names of headers have hyphens; any other may stand in a list of names.
        is_secret = size == 2 and is_telling(before) and ("-" in before or _WORD.match(item) is None)
    return is_secret and not is_harmless(before, item)


def holds_secrets(name: str, value: Mapping[object, object]) -> bool:
    """Tell whether the texts in *value* are secrets because of its *name* in the plural; a schema has none.

    Example:
        >>> holds_secrets("api_keys", {"prod": "abc"}), holds_secrets("secrets", {"type": "object"})
        (True, False)
    """
    return name.lower().endswith(("s", "_values")) and "credential" not in name.lower() and not _SCHEMA & value.keys()


def personal_kind(name: str, value: object) -> str | None:
    """Return of what kind *value* is by its *name*, for numbers that have no form of their own.

    Example:
        >>> personal_kind("phone", "2025550143"), personal_kind("phone", "none"), personal_kind("n", "2025550143")
        ('phone', None, None)
    """
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        return None
    text = str(value)
    if not 7 <= len(text) <= 32 or _NUMBER.match(text) is None:
        return None
    lowered = name[-32:].lower()
    for kind, pattern in _PERSONAL.items():
        if pattern.search(lowered):
            return kind if sum(map(str.isdigit, text)) in _DIGITS[kind] else None
    return None
