"""Redaction: secrets leave no process, whatever carries them: content, exception messages, logged arguments."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeAlias, cast

from opentelemetry.util.types import AnyValue

from otelier.errors import SettingError
from otelier.signals._guard import on_reset, report_fault, warn_once
from otelier.signals._neighbours import holds_secrets, personal_kind, plain_keys, secret_keys, secret_places
from otelier.signals._personal import PERSONAL, is_card
from otelier.signals._rows import apply_rows, redacted
from otelier.signals._secrets import SECRETS, SHORTEST_KEY
from otelier.signals._telling import is_harmless, is_telling
from otelier.signals._words import KEYS, is_form

MAX_CHARS = 1_000_000
"""Characters of one text that are looked at; what is beyond is cut off, since it was not looked at."""
MAX_DEPTH = 64
"""Levels of nested data that are looked at; what is deeper is replaced."""
MAX_ITEMS = 100_000
"""Items of nested data that are looked at, 256 characters of text counting as one more; what follows is replaced.
Depth alone is no bound: data that holds itself twice doubles with each level."""
_LARGE = 10**12
"""Numbers from here on may be those of cards."""
FAILED = redacted("error")
"""What stands for a value whose redaction failed."""
LIMIT = redacted("limit")
"""What stands for nested data beyond the limits."""

Redactor: TypeAlias = "str | re.Pattern[str] | Callable[[str], str]"
"""What a user may add: a pattern, as text or compiled, or a function from text to redacted text."""

_extra: tuple[Callable[[str], object], ...] = ()  # what a user's function returns is not ours to promise


def set_redactions(extra: Iterable[Redactor]) -> None:
    """Add the user's own redactors to the table of secrets, in place of those set before.

    They run after the table, in the order given. What a pattern finds becomes `[REDACTED:custom]`.

    Args:
        extra: Patterns, as text or compiled, and functions from text to text. A function that raises or returns
            anything but text turns that value into `[REDACTED:error]` and is reported once.

    Raises:
        SettingError: if a text is no regular expression.
        TypeError: if *extra* is not a collection of these.

    Example:
        >>> set_redactions([r"ACME-[0-9]+"])
        >>> redact("order ACME-1234")
        'order [REDACTED:custom]'
        >>> set_redactions([])
    """
    global _extra
    if isinstance(extra, (str, bytes, re.Pattern)) or callable(extra) or not hasattr(extra, "__iter__"):
        raise TypeError(f"`redact` is {type(extra).__name__}: it must be a list of patterns and callables. Use `[…]`.")
    _extra = tuple(_as_function(redactor) for redactor in extra)


def redact(text: str, *, personal: bool = False) -> str:
    """Return *text* with each secret in it replaced by `[REDACTED:kind]`, and *personal* data if asked; never raises.

    Provider keys, bearer tokens, JWTs, private keys, passwords in URLs and what stands behind telling names such as
    `password=` are found by their form; then come the user's own redactors. Beyond 1,000,000 characters the text is
    cut, with a note of how much.

    Example:
        >>> redact("Incorrect API key provided: sk-proj-abcdef0123456789.")
        'Incorrect API key provided: [REDACTED:api-key].'
        >>> redact("postgres://app:s3cret@db/orders")
        'postgres://app:[REDACTED:password]@db/orders'
    """
    try:
        return _redact(text, personal=personal)
    except Exception as exc:
        report_fault("signals.redact", exc)
        return FAILED


def redact_value(value: object, *, personal: bool = False, max_chars: int = MAX_CHARS) -> AnyValue:
    """Return nested data with the secrets in it replaced; never raises.

    Mappings become dicts and other collections lists. Texts are redacted one by one, and what stands under a telling
    key is replaced whole. Numbers, flags, `None`, bytes and the words that the conventions' messages are built of,
    such as `"role": "user"`, pass; any other object becomes its redacted `str`.

    Args:
        value: What is going to leave.
        personal: Whether e-mail addresses, payment cards and phone numbers are replaced as well.
        max_chars: Longest text that is kept; the rest is cut off once it is redacted, with a note of how much.

    Example:
        >>> redact_value({"user": "bob", "Password": "hunter2", "retries": 3})
        {'user': 'bob', 'Password': '[REDACTED:secret]', 'retries': 3}
        >>> redact_value(["write to bob@example.com"], personal=True)
        ['write to [REDACTED:email]']
    """
    try:
        return _Walk(personal=personal, max_chars=max_chars).value(value, MAX_DEPTH)
    except Exception as exc:
        report_fault("signals.redact", exc)
        return FAILED


def _redact(text: str, *, personal: bool = False) -> str:
    if len(text) > MAX_CHARS:
        # Cut at a space, so that no secret is cut in two and missed.
        end = max(text.rfind(" ", MAX_CHARS - 2_000, MAX_CHARS), MAX_CHARS - 2_000)
        return f"{_redact(text[:end], personal=personal)} [cut: {len(text) - end} characters]"
    if len(text) >= SHORTEST_KEY or ":" in text or "=" in text or not text.isascii():
        text = apply_rows(text, SECRETS)
    if personal:
        text = apply_rows(text, PERSONAL)
    for function in _extra:
        text = _call(function, text)
    return text


class _Walk:
    """One way through nested data, with what may still be looked at."""

    __slots__ = ("_left", "_max_chars", "_personal")

    def __init__(self, *, personal: bool, max_chars: int) -> None:
        self._left = MAX_ITEMS
        self._personal = personal
        self._max_chars = max_chars

    def value(self, value: object, depth: int) -> AnyValue:
        self._left -= 1
        if value is None or isinstance(value, (bool, int, float, bytes)):
            is_number = self._personal and isinstance(value, int) and value > _LARGE
            return redacted("card") if is_number and is_card(str(value)) else value
        if self._left < 0 or depth == 0:
            return LIMIT
        if isinstance(value, str):
            self._left -= len(value) // 256
            return self._text(value)
        if isinstance(value, Mapping):
            mapping = cast("Mapping[object, object]", value)
            secret, plain = secret_keys(mapping), plain_keys(mapping)
            return {
                self._key(key): redacted("secret")
                if key in secret
                else self.value(item, depth - 1)
                if key in plain
                else self._item(key, item, depth - 1)
                for key, item in mapping.items()
            }
        if isinstance(value, (list, tuple, set, frozenset)):
            places = secret_places(value) if isinstance(value, (list, tuple)) else ()
            return [
                redacted("secret") if place in places else self.value(item, depth - 1)
                for place, item in enumerate(cast("Collection[object]", value))
            ]
        return self._text(str(value))

    def _text(self, text: str) -> str:
        text = redact(text, personal=self._personal)
        cut = len(text) - self._max_chars
        return f"{text[: self._max_chars]} [cut: {cut} characters]" if cut > 0 else text

    def _key(self, key: object) -> str:
        text = str(key)
        if text in KEYS:
            return text
        return redact(text, personal=self._personal) if self._personal or len(text) >= SHORTEST_KEY else text

    def _item(self, key: object, item: object, depth: int) -> AnyValue:
        if is_form(key, item):
            return cast("str", item)
        if isinstance(key, str) and self._personal and (of := personal_kind(key, item)) is not None:
            return redacted(of)
        if isinstance(key, str) and is_telling(key):
            kind = type(item)
            if issubclass(kind, Mapping) and depth > 0 and holds_secrets(key, cast("Mapping[object, object]", item)):
                mapping = cast("Mapping[object, object]", item)
                return {
                    self._key(name): redacted("secret")
                    if isinstance(each, str) and not is_harmless(key, each)
                    else self._item(name, each, depth - 1)
                    for name, each in mapping.items()
                }
            if depth > 0 and issubclass(kind, (list, tuple)):
                return [self._item(key, each, depth - 1) for each in cast("Collection[object]", item)]
            if not issubclass(kind, Mapping) and not is_harmless(key, item):
                return redacted("secret")
        return self.value(item, depth)


def _as_function(redactor: object) -> Callable[[str], object]:
    if isinstance(redactor, str):
        try:
            redactor = re.compile(redactor)
        except re.error as exc:
            raise SettingError(
                f"Cannot use {redactor!r} in `redact`: it is no regular expression ({exc}). "
                "Escape it with `re.escape` to find it as it stands.",
                setting="redact",
            ) from exc
    if isinstance(redactor, re.Pattern):
        pattern = cast("re.Pattern[str]", redactor)
        return lambda text: pattern.sub(redacted("custom"), text)
    if callable(redactor):
        return redactor
    raise TypeError(f"`redact` holds {type(redactor).__name__}: give a pattern, as text or compiled, or a callable.")


def _call(function: Callable[[str], object], text: str) -> str:
    try:
        result = function(text)
    except Exception as exc:
        # The user's code, so it is told as such and not as a fault of ours; its message may hold the text.
        warn_once("redactor", "A redactor of `init(redact=…)` raised %s: such values are replaced.", type(exc).__name__)
        return FAILED
    if isinstance(result, str):
        return result
    warn_once(
        "redactor",
        "A redactor of `init(redact=…)` gave no text but %s: such values are replaced.",
        type(result).__name__,
    )
    return FAILED


@on_reset
def _forget() -> None:
    global _extra
    _extra = ()
