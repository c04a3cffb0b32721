"""Values that are secrets by the data around them: a name beside one in a pair, a flag before one in arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from otelier.redaction._key_names import VALUE_NAMES, is_harmless, is_secret_name

_NAMES: Final = ("name", "key", "Name", "Key", "NAME", "field", "variable", "header", "k")
_NAME_SET: Final = frozenset(_NAMES)
_VALUES: Final = frozenset(form for name in VALUE_NAMES for form in (name, name.capitalize(), name.upper()))
_OF_USERS: Final = ("-u", "--user", "--proxy-user")
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_CLIENTS: Final = {
    "-p": ("sshpass", "mongo", "login", "mysql", "mariadb", "smbclient"),
    "-a": ("redis-cli", "valkey-cli", "http"),
}
"""Programs that take a password behind a flag of one letter, which means something else to others."""
_LONGEST_PROGRAM: Final = 128
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z_]*\Z")
_SCHEMA: Final = frozenset(
    ("$ref", "properties", "anyOf", "oneOf", "allOf", "enum", "minLength", "maxLength", "pattern")
)
_SAYS: Final = frozenset(
    (
        *("$comment", "$defs", "$id", "$ref", "$schema", "definitions", "dependentRequired", "enum", "in", "pattern"),
        *("placeholder", "properties", "required", "type"),
    )
)
"""Words of schemas whose values are no secrets under a telling name."""
_TYPES: Final = frozenset(("string", "object", "array", "number", "integer", "boolean", "null"))
_DESCRIBES: Final = frozenset(
    (
        *("type", "kind", "name", "secretname", "namespace", "description", "label", "title", "message", "format"),
        *("user", "username", "user_name", "login", "email", "role", "provider", "region", "host", "hostname", "url"),
        *("uri", "path", "status", "version", "created_at", "updated_at", "expires", "expires_at", "expiry"),
        *("scope", "scopes", "logprob"),
    )
)
"""Names, in lower case, of what is said of a secret and is none."""
_OF_TEXT: Final = frozenset(("text", "symbol"))
"""The same, of a token that is a piece of text or a coin."""
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
    if _VALUES.isdisjoint(mapping) or _NAME_SET.isdisjoint(mapping):
        return ()
    for key in _NAMES:
        name = mapping.get(key)
        if isinstance(name, str) and is_secret_name(name):
            return tuple(value for value in _VALUES if value in mapping and not is_harmless(name, mapping[value]))
    return ()


def plain_keys(mapping: Mapping[object, object]) -> tuple[str, ...]:
    """Return the keys of *mapping* whose values are no secrets although their names are telling.

    So far it is `token` beside `logprob`: a piece of the model's text, with its probability.

    Example:
        >>> plain_keys({"token": "Hello", "logprob": -0.3})
        ('token',)
    """
    return ("token",) if "logprob" in mapping else ()


def names_next(before: str, item: object, size: int) -> bool:
    """Return whether *item* is a secret by what stands *before* it in a list of *size*: a flag, or the name in a pair.

    Example:
        >>> names_next("--password", "hunter2", 3), names_next("x-api-key", "abc", 2)
        (True, True)
        >>> names_next("password", "email", 2)
        False
    """
    if not isinstance(item, str):
        return False
    if before[:1] == "-":
        of_user = before in _OF_USERS and ":" in item and _URL.match(item) is None
        is_secret = item[:1] != "-" and (is_secret_name(before) or of_user)
    else:
        # Names of headers have hyphens; any other may stand in a list of names.
        is_secret = size == 2 and is_secret_name(before) and ("-" in before or _WORD.match(item) is None)
    return is_secret and not is_harmless(before, item)


def password_start(before: object, item: str, earlier: Sequence[object]) -> int:
    """Return where in *item* of a list of arguments a password begins, `-1` if there is none.

    Args:
        before: What stands before it.
        item: The argument.
        earlier: All that stands before it, the program among it.

    Example:
        >>> password_start("-p", "hunter2", ["mysql", "-p"]), password_start("mysql", "-phunter2", ["mysql"])
        (0, 2)
        >>> password_start("-p", "8080", ["serve", "-p"])
        -1
    """
    flag, start = (before, 0) if isinstance(before, str) and before in _CLIENTS else (item[:2], 2)
    if flag not in _CLIENTS or len(item) == start or (start == 0 and item[0] == "-"):
        return -1
    programs = [one for one in earlier if isinstance(one, str) and len(one) <= _LONGEST_PROGRAM]
    known = any(client in program for program in programs for client in _CLIENTS[flag])
    return start if known and not is_harmless("password", item[start:]) else -1


def is_schema(value: Mapping[object, object]) -> bool:
    """Return whether *value*, under a telling name, says what a secret has to look like.

    It may hold one all the same, as a default or an example.

    Example:
        >>> is_schema({"type": "string"}), is_schema({"type": "basic", "p": "hunter2"})
        (True, False)
    """
    kind = value.get("type")
    return (kind in _TYPES if isinstance(kind, str) else isinstance(kind, list)) or not _SCHEMA.isdisjoint(value)


def says_of_schema(name: object) -> bool:
    """Return whether what is called *name* in a schema under a telling name says what is allowed, and is no value.

    Example:
        >>> says_of_schema("enum"), says_of_schema("default")
        (True, False)
    """
    return name in _SAYS


def names_owners(name: str) -> bool:
    """Return whether the keys of a mapping called *name*, in the plural, say whose its secrets are.

    Example:
        >>> names_owners("api_keys"), names_owners("credentials"), names_owners("password")
        (True, False, False)
    """
    return name.lower().endswith(("s", "_values")) and "credential" not in name.lower()


def describes(name: object, secret: str) -> bool:
    """Return whether *name*, in a mapping under the telling name *secret*, describes the secret and holds none itself.

    Example:
        >>> describes("username", "credentials"), describes("p", "credentials")
        (True, False)
    """
    lowered = str(name).lower()
    return lowered in _DESCRIBES or (lowered in _OF_TEXT and secret.lower() == "token")


def names_value(name: object) -> bool:
    """Return whether *name* is the one that values have in pairs: under a telling name a number is a secret, too.

    Example:
        >>> names_value("value"), names_value("port")
        (True, False)
    """
    return name in _VALUES


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
