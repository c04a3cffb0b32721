"""How models, mappings and sequences of the client and its callers are read, whatever they turn out to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeGuard

from opentelemetry.util.types import AttributeValue

Attributes: TypeAlias = dict[str, AttributeValue]
"""What a span gets."""
Arguments: TypeAlias = Mapping[str, Any]
"""The keyword arguments of a call; the client takes no others."""
Facts: TypeAlias = Mapping[str, Any]
"""The fields of an answer, or of a part of it."""

_NO_FACTS: Facts = {}


def facts_of(thing: Any) -> Facts:
    """Return the fields of a model or mapping; nothing for anything else.

    A model's attributes go through pydantic's `__getattr__`, at twice the price for each, and what a server left out
    is simply not there.
    """
    try:
        return thing.__dict__
    except AttributeError:
        return thing if is_mapping(thing) else _NO_FACTS


def answer_of(answer: Any) -> Facts:
    """Return the fields of a whole answer, with those that an old client keeps as extras: it does not know them."""
    facts = facts_of(answer)
    extras: Any = getattr(answer, "__pydantic_extra__", None)
    return {**extras, **facts} if extras else facts


def field_of(thing: Any, name: str) -> Any:
    """Return a field of a mapping or model, `None` when it has no such field."""
    return thing.get(name) if is_mapping(thing) else getattr(thing, name, None)


def fields_set(thing: Any) -> Facts:
    """Return the fields of a mapping, or those of a model that are something, with what its client does not know."""
    if is_mapping(thing):
        return thing
    extras: Facts = getattr(thing, "__pydantic_extra__", None) or {}
    return {key: value for key, value in {**facts_of(thing), **extras}.items() if value is not None}


def items_of(value: Any) -> Sequence[Any]:
    """Return *value* when it is a sequence of things, else none; an iterator is not drained, it is the caller's."""
    return value if is_sequence(value) else ()


def text_of(value: Any) -> str:
    """Return *value* when it is text, else nothing."""
    return value if isinstance(value, str) else ""


def is_mapping(thing: Any) -> TypeGuard[Mapping[Any, Any]]:
    """Tell whether *thing* is a mapping, of whatever."""
    return type(thing) is dict or isinstance(thing, Mapping)  # pyright: ignore[reportUnknownArgumentType]


def is_sequence(thing: Any) -> TypeGuard[Sequence[Any]]:
    """Tell whether *thing* is a sequence of things, not text or bytes."""
    # A class of the standard library's own takes 0.3 us to ask, and most sequences are lists.
    return type(thing) is list or (isinstance(thing, Sequence) and not isinstance(thing, (str, bytes, bytearray)))
