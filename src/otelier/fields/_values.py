"""The values of the six fields: their names, what changes them, and what cannot be carried."""

from __future__ import annotations

import re
from typing import Final, TypeAlias, cast

from otelier import names
from otelier.errors import ContextValueError

Values: TypeAlias = "tuple[str | None, str | None, str | None, str | None, str | None, str | None]"
"""One value for each of `FIELD_NAMES`, in that order; `None` when unset."""
Changes: TypeAlias = Values
"""What to change, in the same order: `None` keeps a field, `""` clears it."""

FIELD_NAMES: Final = ("user_id", "user_role", "agent", "agent_id", "session_id", "workflow_id")
BAGGAGE_KEYS: Final = (
    names.USER_ID,
    names.USER_ROLES,
    names.AGENT_NAME,
    names.AGENT_ID,
    names.SESSION_ID,
    names.WORKFLOW_ID,
)
UNCHANGED: Final[Changes] = (None, None, None, None, None, None)
MAX_CHARS: Final = 1024
"""Longest value of a field; what a baggage header can carry beside the application's own entries."""

USER, ROLE, AGENT, AGENT_ID, SESSION, WORKFLOW = range(6)
"""Places of the fields in `Values`."""

# Lone surrogates are refused with the control characters: they cannot be encoded, and would cost the exporter a batch.
_UNCARRIABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def checked(changes: Changes) -> Changes:
    """Return *changes* as plain text.

    Raises:
        TypeError: if a value is not text.
        ContextValueError: if a value cannot be carried.
    """
    for field, value in zip(FIELD_NAMES, changes):
        if value is not None:
            _check(field, value)
    # Subclasses, such as members of a str Enum, are taken down to their text.
    return cast("Changes", tuple(None if value is None else str.__str__(value) for value in changes))


def applied(values: Values, changes: Changes) -> Values:
    """Return *values* with *changes* made."""
    return cast("Values", tuple(old if new is None else new or None for old, new in zip(values, changes)))


def _check(field: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(
            f"Cannot set {field} to a {type(value).__name__}: fields are sent as text with every signal. "
            f"Pass a `str`, `None` to leave the field alone, or an empty text to clear it."
        )
    if len(value) > MAX_CHARS:
        raise ContextValueError(
            f"Cannot set {field} to a text of {len(value)} characters ({value[:32]!r}…): every span and log record "
            f"would carry it. Pass at most {MAX_CHARS} characters, such as an id.",
            field=field,
        )
    if _UNCARRIABLE.search(value):
        raise ContextValueError(
            f"Cannot set {field} to {value[:64]!r}: control characters and lone surrogates cannot be sent. "
            f"Remove them, or encode the value.",
            field=field,
        )
