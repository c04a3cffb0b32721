"""Bounds on what metrics carry: each new value of an attribute is a time series more."""

from __future__ import annotations

from typing import Final

from otelier.signals._guard import on_reset, warn_once

MAX_VALUES: Final = 200
"""Values that metrics of one process carry of each attribute that is not of a known few."""
_MAX_CHARS: Final = 256

_told: dict[tuple[str, str], set[object]] = {}


def may_tell(attribute: str, value: object, kind: str = "") -> bool:
    """Tell whether metrics may carry *value* as *attribute*: one of the first 200 values, and no very long one.

    Others warn once for each attribute. Spans carry them all the same.

    Args:
        attribute: Name of the attribute.
        value: What it would say.
        kind: Which of the attribute's values it is one of: those of one kind take no place of another's.

    Example:
        >>> may_tell("gen_ai.agent.name", "triage")
        True
    """
    told = _told.setdefault((attribute, kind), set())
    if value in told:
        return True
    if len(told) >= MAX_VALUES or len(str(value)) > _MAX_CHARS:
        warn_once(
            f"signals.told.{attribute}.{kind}",
            "There were more than %d values of %s, or a very long one: metrics do not carry further ones, spans do.",
            MAX_VALUES,
            attribute,
        )
        return False
    told.add(value)
    return True


on_reset(_told.clear)
