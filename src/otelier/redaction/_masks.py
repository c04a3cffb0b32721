"""Masks: values that the program itself read as secrets, which no form tells from other text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar, cast
from urllib.parse import quote

from otelier.faults import on_reset, warn_once
from otelier.redaction._rules import redacted

T = TypeVar("T")

SHORTEST_MASKED: Final = 4
"""Characters of a value that is masked: a shorter one stands in too many words."""
_MAX_VALUES: Final = 256
_STAND_IN: Final = redacted("secret")
_masks: tuple[str, ...] = ()
"""All forms of the values, the longest first: one may be a part of another."""
_values: dict[str, None] = {}


def mask_value(value: str) -> None:
    """Let *value* leave no more: wherever text is redacted, `[REDACTED:secret]` stands in its place.

    So do its forms in JSON and in a URL. A value of less than 4 characters is not masked, with a warning; beyond 256
    values the oldest ones are forgotten.

    Example:
        >>> from otelier.redaction import redact
        >>> mask_value("correct horse")
        >>> redact("I know correct horse, and ?q=correct%20horse")
        'I know [REDACTED:secret], and ?q=[REDACTED:secret]'
    """
    global _masks
    if value in _values:
        return
    if len(value) < SHORTEST_MASKED:
        warn_once(
            "redaction.short_secret",
            "A secret of less than %d characters is not masked in signals: it would stand in other words too. Use a "
            "longer one.",
            SHORTEST_MASKED,
        )
        return
    while len(_values) >= _MAX_VALUES:
        del _values[next(iter(_values))]
    _values[value] = None
    forms = {form for one in _values for form in _forms_of(one)}
    _masks = tuple(sorted(forms, key=len, reverse=True))


def masked(text: str) -> str:
    """Return *text* with what `mask_value` was given masked.

    Example:
        >>> masked("nothing of it")
        'nothing of it'
    """
    for mask in _masks:
        if mask in text:
            text = text.replace(mask, _STAND_IN)
    return text


def masked_value(value: T) -> T:
    """Return *value*, and all texts in it, with what `mask_value` was given masked; itself where nothing is.

    Example:
        >>> masked_value({"retries": 3})
        {'retries': 3}
    """
    found: Any = value
    if isinstance(found, str):
        return cast("T", masked(found))
    if isinstance(found, Mapping):
        members = cast("Mapping[Any, Any]", found)
        shown: Any = {masked_value(key): masked_value(item) for key, item in members.items()}
    elif isinstance(found, (list, tuple)):
        items = cast("Sequence[Any]", found)
        shown = type(items)(map(masked_value, items))  # pyright: ignore[reportCallIssue] -- a list or a tuple
    else:
        return value
    return value if shown == found else shown


def has_masks() -> bool:
    """Return whether there is anything to mask: most programs never read a secret here.

    Example:
        >>> mask_value("a secret")
        >>> has_masks()
        True
    """
    return bool(_masks)


def _forms_of(value: str) -> set[str]:
    stripped = value.strip()
    of_text = {value, stripped if len(stripped) >= SHORTEST_MASKED else value}
    written = {json.dumps(one, ensure_ascii=plain)[1:-1] for one in of_text for plain in (True, False)}
    return of_text | written | {quote(one, safe=safe) for one in of_text for safe in ("", "/")}


@on_reset
def _forget() -> None:
    global _masks
    _masks = ()
    _values.clear()
