"""Readers of models, mappings and sequences of the client and its callers, whatever they turn out to be."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypeAlias, TypeGuard

from opentelemetry.util.types import AttributeValue

from otelier.telemetry import fit_text

Attributes: TypeAlias = dict[str, AttributeValue]
"""Attributes of a span."""
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


def has_compaction(items: Any) -> bool:
    """Tell whether a conversation's *items* hold one that the provider compacted."""
    return any(field_of(item, "type") == "compaction" for item in items_of(items))


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


MAX_NUMBER: Final = 2**53 - 1
"""Largest number that signals carry. An exporter drops a whole batch for one of more than 64 bits, and above this one a
float does not hold every whole number, so a sum would lose calls."""
MAX_TEXTS: Final = 128
"""Texts in one list: no provider gives an answer more choices."""


def fit_texts(values: Iterable[object], *, lines: bool = False) -> tuple[str, ...]:
    """Return those of *values* that are texts as `fit_text` does, at most 128 of them."""
    return tuple([text for value in islice(values, MAX_TEXTS) if (text := fit_text(value, lines=lines)) is not None])


def fit_count(value: object) -> int | None:
    """Return *value* when it is a number of things, `None` for anything else: a flag, one below zero, a giant."""
    return value if type(value) is int and 0 <= value <= MAX_NUMBER else None


RAW_RESPONSE: Final = "http_response"
"""Field that raw responses have and answers have not."""
_RAW_HEADER: Final = "x-stainless-raw-response"


def is_left_to_caller(arguments: Arguments) -> bool:
    """Tell whether the caller reads the body of the answer, as `with_streaming_response` lets them."""
    headers = arguments.get("extra_headers")
    named = headers.items() if is_mapping(headers) else ()
    return any(str(name).lower() == _RAW_HEADER and value == "stream" for name, value in named)


def answer_in(raw: Any) -> Any:
    """Return the answer in a raw response; as plain data where the caller's own model of it does not fit."""
    try:
        return raw.parse()  # parsed once, and kept by the response for the caller
    except Exception:  # the caller will see
        return data_in(facts_of(raw).get(RAW_RESPONSE))


def data_in(response: Any) -> Any:
    """Return the JSON of an HTTP response whose body was read; `None` for anything else, such as a proxy's HTML."""
    try:
        return json.loads(response.content)
    except Exception:
        return None


_CLIENT: Final = "openai"
_RESPONSE: Final = "response"
_SELF: Final = "self"


def answer_behind(error: BaseException) -> tuple[Any, Any]:
    """Return the answer that *error* is raised over, and the headers it came with; each `None` where there is none."""
    response = next(_responses(error), None)
    answer = facts_of(error).get("completion")
    return data_in(response) if answer is None else answer, getattr(response, "headers", None)


def _responses(error: BaseException) -> Iterator[Any]:
    """Yield what *error* and its frames hold of HTTP responses that are no errors themselves."""
    held = [facts_of(error).get(_RESPONSE)]
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_globals.get("__name__", "").partition(".")[0] == _CLIENT:
            found = frame.f_locals
            held += found.get(_RESPONSE), facts_of(found.get(_SELF)).get(RAW_RESPONSE)
    for response in reversed(held):  # the innermost has the answer to the last try
        if getattr(response, "is_success", False) is True:
            yield response
