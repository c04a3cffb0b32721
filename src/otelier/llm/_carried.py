"""Schemas as a request can carry them."""

from __future__ import annotations

import math
from typing import Any, Final, cast

from otelier.codec import whole_text

_OF_DATA: Final = ("default", "const", "enum", "examples")
"""Keywords that hold values, where the others hold schemas or limits."""


def carried(schema: dict[str, Any]) -> dict[str, Any]:
    """Return *schema* without numbers that JSON does not have, such as a default of `inf`, and halves of UTF-16 pairs.

    The function or the class knows them all the same.

    Example:
        >>> carried({"type": "number", "default": float("inf"), "maximum": float("inf"), "minimum": 0})
        {'type': 'number', 'minimum': 0}
    """
    return _schema(schema, names=False)


def _schema(schema: Any, *, names: bool) -> Any:
    if isinstance(schema, dict):
        items = cast("dict[str, Any]", schema).items()
        return {
            whole_text(key): _schema(value, names=key in ("properties", "$defs") and not names)
            for key, value in items
            if names or not (is_endless(value) if key in _OF_DATA else isinstance(value, float) and is_endless(value))
        }
    if isinstance(schema, list):
        return [_schema(one, names=False) for one in cast("list[Any]", schema)]
    return whole_text(schema) if isinstance(schema, str) else schema


def is_endless(value: Any) -> bool:
    """Tell whether *value* holds a number that JSON does not have."""
    if isinstance(value, dict):
        return any(map(is_endless, cast("dict[Any, Any]", value).values()))
    if isinstance(value, list):
        return any(map(is_endless, cast("list[Any]", value)))
    return isinstance(value, float) and not math.isfinite(value)
