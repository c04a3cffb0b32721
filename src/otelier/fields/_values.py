"""The values of the seven fields: their names, what changes them, and what cannot be carried.

Telemetry never breaks a request: what cannot be carried clears its field, so that no signal names the wrong one.
Tests want to see it: `be_strict` lets it raise.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, cast
from uuid import UUID

from otelier import names
from otelier.errors import ContextValueError
from otelier.faults import count_fault, on_reset, read_setting, warn_once
from otelier.settings import STRICT

Values: TypeAlias = "tuple[str | None, str | None, str | None, str | None, str | None, str | None, str | None]"
"""One value for each of `FIELD_NAMES`, in that order; `None` when unset."""
Changes: TypeAlias = Values
"""Changes, in the same order: `None` keeps a field, `""` clears it."""

FIELD_NAMES: Final = ("user_id", "user_role", "agent", "agent_id", "session_id", "workflow_id", "tenant_id")
BAGGAGE_KEYS: Final = (
    names.USER_ID,
    names.USER_ROLES,
    names.AGENT_NAME,
    names.AGENT_ID,
    names.SESSION_ID,
    names.WORKFLOW_ID,
    names.TENANT_ID,
)
FIELD_BY_KEY: Final[Mapping[str, str]] = dict(zip(BAGGAGE_KEYS, FIELD_NAMES))
"""Name of the field that each baggage key stands for."""
UNCHANGED: Final[Changes] = (None, None, None, None, None, None, None)
MAX_CHARS: Final = 1024
"""Longest value of a field; what a baggage header can carry beside the application's own entries."""

USER, ROLE, AGENT, AGENT_ID, SESSION, WORKFLOW, TENANT = range(7)
"""Places of the fields in `Values`."""

# Lone surrogates are refused with the control characters: they cannot be encoded, and would cost the exporter a batch.
_UNCARRIABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


_SEVERAL: Final = (list, tuple, set, frozenset)
"""Types of a value that is several roles."""
_MAX_BITS: Final = 4096
"""Longest number that is written out at all: one of more than 1024 digits is refused, and very long ones take long."""


class _Strictness:
    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.on = False
        self.given: bool | None = None


_strictness = _Strictness()
on_reset(_strictness.forget)


def be_strict(given: bool | None = None) -> None:
    """Choose whether a value that cannot be carried raises, instead of clearing its field.

    Args:
        given: What holds from now on. `None` is what was given before, else what `OTELIER_STRICT` says.

    Raises:
        TypeError: if *given* is neither a `bool` nor `None`.

    Example:
        >>> be_strict(True)
        >>> is_strict()
        True
    """
    if given is not None and type(given) is not bool:
        raise TypeError(f"init(strict=) must be a `bool` or `None`, not a {type(given).__name__}.")
    given = _strictness.given if given is None else given
    _strictness.on = read_setting(STRICT, given)
    _strictness.given = given


def is_strict() -> bool:
    """Return whether a value that cannot be carried raises."""
    return _strictness.on


def accept_values(changes: tuple[object, ...]) -> Changes:
    """Return the given values as text; one that cannot be carried is reported, and empty, which clears its field.

    Raises:
        TypeError: where `be_strict` says so, if a value is neither text nor an `int` nor a `UUID`.
        ContextValueError: where `be_strict` says so, if a value cannot be carried.
    """
    return cast("Changes", tuple(_accept(field, value) for field, value in zip(FIELD_NAMES, changes)))


def accept_value(field: str, value: object) -> str | None:
    """Return what the user gave for one *field* as `accept_values` does."""
    return _accept(field, value)


def _accept(field: str, value: object) -> str | None:
    if value is None:
        return None
    try:
        text = _roles(value) if field == "user_role" else _as_text(value)
        check_field(field, text)
    except Exception as exc:
        if not _strictness.on:
            _warn_of(field, exc, value)
            return ""
        if isinstance(exc, (ContextValueError, TypeError)):
            raise
        raise _wrong_type(field, value) from exc  # an object whose class cannot be asked for
    return cast("str", text)


def _warn_of(field: str, exc: Exception, value: object) -> None:
    """Warn once for each *field* and reason that a value was not taken, without quoting it; count it each time."""
    if isinstance(exc, ContextValueError):
        reason = given = exc.reason
    else:
        among = " with a value that is no text" if type(value) in _SEVERAL and field == "user_role" else ""
        reason, given = "type", f"a {type(value).__name__}{among}"
    warn_once(
        f"fields.{field}.{reason}",
        "The field %s was given %s, which cannot be carried: it is cleared, so that no signal names the wrong one. "
        "Pass a `str` of at most %d characters without control characters, an `int` or a `UUID`; with "
        "`init(strict=True)` it raises where it is given.",
        field,
        given,
        MAX_CHARS,
    )
    count_fault("fields.value")


def _as_text(value: object) -> object:
    """Return *value* as its text where it is an `int` or a `UUID`, also of a subclass."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__repr__(value) if value.bit_length() < _MAX_BITS else "0" * (MAX_CHARS + 1)
    return UUID.__str__(value) if isinstance(value, UUID) else value


def _roles(value: object) -> object:
    """Return one role, or several with a comma between them, as one text; a comma in a text parts roles as well."""
    if not isinstance(value, _SEVERAL):
        return _as_text(value)
    roles = [_as_text(role) for role in cast("Collection[object]", value)]
    for role in roles:
        check_field("user_role", role)
    texts = cast("list[str]", roles)
    for text in texts:
        if "," in text:
            raise ContextValueError(
                f"Cannot set user_role to several roles with {text[:64]!r} among them: a comma parts two roles, so it "
                f"would be more than one. Pass each role as an element of its own.",
                field="user_role",
                reason="several roles with a comma inside one, which would be two",
            )
    return ",".join(texts if isinstance(value, (list, tuple)) else sorted(texts))


def roles_in(text: str) -> tuple[str, ...]:
    """Return the roles that the field `user_role` names; a comma stands between two."""
    return tuple(role for part in text.split(",") if (role := part.strip()))


def check_field(field: str, value: object) -> None:
    """Check that *value* is text that the field of that name can carry.

    Raises:
        TypeError: if it is not text.
        ContextValueError: if it cannot be carried.
    """
    if not isinstance(value, str):
        raise _wrong_type(field, value)
    if len(value) > MAX_CHARS:
        raise ContextValueError(
            f"Cannot set {field} to a text of {len(value)} characters ({value[:32]!r}…): every span and log record "
            f"would carry it. Pass at most {MAX_CHARS} characters, such as an id.",
            field=field,
            reason=f"a text of more than {MAX_CHARS} characters",
        )
    if _UNCARRIABLE.search(value):
        raise ContextValueError(
            f"Cannot set {field} to {value[:64]!r}: control characters and lone surrogates cannot be sent. "
            f"Remove them, or encode the value.",
            field=field,
            reason="a text with control characters or lone surrogates",
        )


def apply_changes(values: Values, changes: Changes) -> Values:
    """Return *values* with *changes* made."""
    return cast("Values", tuple(old if new is None else new or None for old, new in zip(values, changes)))


def _wrong_type(field: str, value: object) -> TypeError:
    return TypeError(
        f"Cannot set {field} to a {type(value).__name__}: fields are sent as text with every signal. "
        f"Pass a `str`, an `int` or a `UUID`, `None` to leave the field alone, or an empty text to clear it."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CallContext:
    """The fields of the calls made here; a field that is not set is `None`.

    Example:
        >>> import otelier
        >>> with otelier.context(user_id="u-1"):
        ...     otelier.get_context().user_id
        'u-1'
    """

    user_id: str | None = None
    """End user the calls are made for."""
    user_role: str | None = None
    """Role of that user; several with a comma between them."""
    agent: str | None = None
    """Name of the agent that makes the calls."""
    agent_id: str | None = None
    """Id of that agent, for callers that have one."""
    session_id: str | None = None
    """Session of the end user."""
    workflow_id: str | None = None
    """Workflow or job that the calls belong to."""
    tenant_id: str | None = None
    """Customer whose data the calls work on."""
