"""OpenTelemetry's limits on attributes: what of ours is left under them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any


def length_limit(attributes: object) -> int | None:
    """Return how long texts may be in *attributes* of a span or log record; `None` for any length."""
    return getattr(attributes, "max_value_len", None)


def cut(value: Any, limit: int | None) -> Any:
    """Return *value*, a text, several, or none, as it stands under *limit*."""
    if limit is None or value is None:
        return value
    return value[:limit] if isinstance(value, str) else tuple(text[:limit] for text in value)


def fitting(added: Mapping[str, Any], there: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what of *added* goes into the attributes *there* without pushing any out, or being cut by them."""
    limit, count = length_limit(there), getattr(there, "maxlen", None)
    if count is not None and len(there) + len(added) > count:
        added = dict(islice(added.items(), max(count - len(there), 0)))
    return added if limit is None else {key: cut(value, limit) for key, value in added.items()}
