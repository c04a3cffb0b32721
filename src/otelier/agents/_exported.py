"""Exported fields of a run's context: those named like the fields of a call, and those marked with `exported`."""

from __future__ import annotations

import builtins
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import sys
import types
import typing
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, cast

from opentelemetry.util.types import AttributeValue

from otelier import names
from otelier.agents._context import RunContext
from otelier.faults import warn_once
from otelier.fields import BAGGAGE_KEYS, IDENTITY_ATTRIBUTES, accept_value
from otelier.llm.functions import Unresolved, resolve_annotation
from otelier.redaction import redact_value

MAX_CHARS: Final = 1024
"""Longest text of an exported field; the rest is cut off."""
MAX_ITEMS: Final = 64
"""Most items of an exported list; the rest is left out."""
OF_USER: Final = ("user_id", "user_role", "session_id", "workflow_id", "tenant_id")
_TAKEN: Final = IDENTITY_ATTRIBUTES | frozenset(BAGGAGE_KEYS) | {names.OPERATION}
_AS_TEXT = (uuid.UUID, dt.date, dt.time, dt.timedelta, decimal.Decimal)


@dataclass(frozen=True, slots=True)
class exported:  # noqa: N801 -- reads as a word in an annotation
    """Mark a field of a `RunContext` so that every span and log record of the run carries it.

    Text, numbers, booleans, enum members, dates, UUIDs and collections of these are exported, with secrets redacted and
    text cut at 1,024 characters. Values of other types are not, and neither is a `SecretStr`; the first one warns.

    Args:
        name: Name of the attribute; `None` is `otelier.context.<field>`.

    Raises:
        ValueError: if *name* is empty, or is the attribute of a field such as `user.id`.

    Example:
        >>> from dataclasses import dataclass
        >>> from typing import Annotated
        >>> import otelier
        >>> @dataclass
        ... class Order(otelier.RunContext):
        ...     order_id: Annotated[str, otelier.exported("shop.order.id")]
    """

    name: str | None = None

    def __post_init__(self) -> None:
        if self.name is None:
            return
        if not isinstance(self.name, str) or not self.name.strip() or self.name in _TAKEN:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(
                f"Cannot export a field as {self.name!r}: it must be an attribute's name, and not one of those that "
                f"say who a call is for or which agent makes it. Leave it out to get `otelier.context.<field>`."
            )


def fields_of(context: RunContext) -> dict[str, str]:
    """Return those of the fields that *context* has a value for; one that cannot be carried is empty."""
    found: dict[str, str] = {}
    there = {one.name for one in dataclasses.fields(context)}
    for name in OF_USER:
        value = getattr(context, name, None) if name in there else None
        taken = accept_value(name, value)
        if taken is not None:
            found[name] = taken
    return found


def exported_attributes(context: RunContext) -> dict[str, AttributeValue]:
    """Return the attributes that *context* exports beside the fields."""
    found: dict[str, AttributeValue] = {}
    for field, attribute in exports_of(type(context)):
        value = getattr(context, field, None)
        if value is None:
            continue
        sent = _sendable(value)
        if sent is None:
            warn_once(
                f"agents.exported.{type(context).__qualname__}.{field}",
                "Cannot export the field `%s` of %s: a %s is no attribute. Export text, a number or a flag.",
                field,
                type(context).__name__,
                type(value).__name__,
            )
            continue
        # With the field's name, so that a password that was marked by mistake is seen as one.
        clean = cast("dict[str, Any]", redact_value({field: sent}, max_chars=MAX_CHARS))[field]
        found[attribute] = tuple(cast("list[Any]", clean)) if isinstance(clean, list) else clean
    return found


@functools.lru_cache(maxsize=256)
def exports_of(kind: type[RunContext]) -> tuple[tuple[str, str], ...]:
    """Return the exported fields of a class, each with its attribute."""
    found: list[tuple[str, str]] = []
    for field in dataclasses.fields(kind):
        mark = _mark_in(_annotation_of(kind, field.name, field.type))
        if mark is not None:
            found.append((field.name, mark.name or names.CONTEXT_PREFIX + field.name))
    return tuple(found)


def _annotation_of(kind: type, name: str, annotation: Any) -> Any:
    """Return the annotation of a field of a class, resolved in the module of the class that declares it."""
    declaring = next((one for one in kind.__mro__ if name in vars(one).get("__annotations__", ())), kind)
    module = sys.modules.get(declaring.__module__)
    known = {**vars(typing), **(vars(module) if module else {}), declaring.__name__: declaring}
    found = resolve_annotation(annotation, known)
    # The mark counts, and not the type beside it: that may be known to type checkers only, or inside a function.
    return resolve_annotation(annotation, _Forgiving(known)) if isinstance(found, Unresolved) else found


class _Forgiving(dict[str, Any]):
    """Names of which those that are not there mean anything."""

    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, Any)


def _mark_in(annotation: Any) -> exported | None:
    for one in getattr(annotation, "__metadata__", ()):
        if one is exported:
            return exported()
        if isinstance(one, exported):
            return one
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):  # `Annotated[str, exported] | None`
        return next(filter(None, map(_mark_in, typing.get_args(annotation))), None)
    return None


def _sendable(value: object) -> AttributeValue:
    """Return *value* as an attribute's; `None` when it is none."""
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, _AS_TEXT):
        return str(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [_sendable(one) for one in list(cast("Collection[object]", value))[:MAX_ITEMS]]
        if any(one is None or isinstance(one, tuple) for one in items):
            return None
        # An attribute's list holds one type.
        same = len({type(one) for one in items}) <= 1
        return tuple(items if same else map(str, items))
    return None
