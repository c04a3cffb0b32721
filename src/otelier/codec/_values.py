"""Values as strict JSON text or plain data, and back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final, TypeVar, cast, overload
from uuid import UUID

from otelier.codec._strict import HALVES, place_of, read_json, refusal, write
from otelier.codec._typed import check_return, dumped, loaded
from otelier.errors import CodecError

T = TypeVar("T")

MAX_BYTES: Final = 1_000_000
"""Bytes of JSON that one value may have where nothing else is said."""
_MAX_LEVELS: Final = 199
"""Levels of nesting below the first. Python's reader and writer give up at about a thousand, pydantic's at 200."""
_MAX_BITS: Final = 14_000
"""Longest number: Python reads none of more than 4,300 digits."""
_AS_TEXT: Final = (date, time, timedelta, Decimal, UUID)  # a datetime is a date


def to_json(value: object, as_type: Any = None, *, what: str = "value", max_bytes: int | None = MAX_BYTES) -> str:
    """Return *value* as strict JSON text.

    Pydantic models, dataclasses, enums, tuples, dates and times, `Decimal` and `UUID` have a form in JSON and need no
    *as_type*. Others, such as sets and bytes, have one where *as_type* says what they are.

    Args:
        value: What is to be written; it is not changed.
        as_type: Its type, as `from_json` will be given it: what this would not read as the same value again, such as
            an instance of a subclass with fields of its own, is refused. `None` takes the value as it is.
        what: What an error calls it, such as "the result of step 'load'".
        max_bytes: Most bytes that the text may have in UTF-8; `None` for no limit.

    Raises:
        CodecError: if something in it has no form in JSON, or the text is too long. The error names the place and the
            type, and quotes no value.

    Example:
        >>> from datetime import date
        >>> to_json({"day": date(2026, 11, 16), "sizes": (1, 2)})
        '{"day":"2026-11-16","sizes":[1,2]}'
        >>> to_json({3, 1, 2}, set[int])
        '[1,2,3]'
    """
    plain = to_plain(value, as_type, what=what)
    text = write(plain)
    if max_bytes is not None and len(text) * 4 > max_bytes:
        check_size(plain, what=what, max_bytes=max_bytes)
    return text


def check_size(plain: Any, *, what: str = "value", max_bytes: int = MAX_BYTES) -> None:
    """Check that the JSON of plain data has no more than *max_bytes* in UTF-8.

    Raises:
        CodecError: if it has more; the error names the place of most of them.

    Example:
        >>> check_size({"a": "b"}, max_bytes=50)
    """
    text = write(plain)
    if len(text) * 4 > max_bytes and (size := len(text.encode())) > max_bytes:
        place = place_of(_largest(plain, size))
        raise CodecError(
            f"Cannot store {what}: its JSON has {size:,} bytes, and {max_bytes:,} are the limit. "
            f"{f'Most of them are at {place}. ' if place else ''}Store large data elsewhere, and its address here.",
            place=place,
            problem="too large",
        )


def to_plain(value: object, as_type: Any = None, *, what: str = "value") -> Any:
    """Return *value* as the dicts, lists, texts, numbers and flags that `to_json` writes.

    Raises:
        CodecError: as `to_json` does.

    Example:
        >>> import dataclasses
        >>> @dataclasses.dataclass
        ... class Order:
        ...     id: str
        ...     items: tuple[str, ...] = ()
        >>> to_plain(Order("o-1", ("shoes",)))
        {'id': 'o-1', 'items': ['shoes']}
    """
    try:
        return _plain(value, what, (), 0) if as_type is None else _typed(value, as_type, what, (), 0)
    except RecursionError:
        pass
    raise refusal(what, (), "it is nested too deeply for what is called here already")


@overload
def from_json(text: str | bytes, as_type: type[T], *, what: str = "value") -> T: ...
@overload
def from_json(text: str | bytes, as_type: Any = None, *, what: str = "value") -> Any: ...
def from_json(text: str | bytes, as_type: Any = None, *, what: str = "value") -> Any:
    """Return what JSON *text* says, as an *as_type* where one is given.

    Args:
        text: What `to_json` wrote, or JSON of anybody else.
        as_type: Any type that pydantic knows how to validate; `None` gives plain data.
        what: What an error calls it.

    Raises:
        NotJsonError: if it is no strict JSON.
        CodecError: if it does not fit *as_type*; the error names the place, and quotes no value.

    Example:
        >>> from decimal import Decimal
        >>> from_json('["9.90"]', list[Decimal])
        [Decimal('9.90')]
    """
    plain = read_json(text)
    return plain if as_type is None else from_plain(plain, as_type, what=what)


def from_plain(plain: Any, as_type: Any, *, what: str = "value") -> Any:
    """Return plain data, as JSON holds it, as an *as_type*.

    Raises:
        CodecError: if it does not fit.

    Example:
        >>> from_plain([1, 2], tuple[int, ...])
        (1, 2)
    """
    return loaded(plain, as_type, what)


def _plain(value: Any, what: str, path: tuple[Any, ...], depth: int) -> Any:
    if value is None or value is True or value is False:
        return value
    if depth > _MAX_LEVELS:
        raise refusal(what, path, f"it is nested more than {_MAX_LEVELS} levels deep")
    kind = cast("type[Any]", type(value))
    # Most values are of just these classes: asked first, a dict of seven values takes 6 us instead of 12.
    if kind is str and value.isascii():
        return value
    if kind is dict:
        return _members(value, what, path, depth)
    if kind is float and math.isfinite(value):
        return value
    return _any_plain(value, what, path, depth)


def _any_plain(value: Any, what: str, path: tuple[Any, ...], depth: int) -> Any:
    if isinstance(value, Enum):
        return _plain(_member_value(value, what, path), what, path, depth)
    if isinstance(value, str):
        text = str.__str__(value)
        if text.isascii() or HALVES.search(text) is None:
            return text
        raise refusal(what, path, "it holds half of a UTF-16 pair, which no text can hold")
    if isinstance(value, int):
        if value.bit_length() > _MAX_BITS:
            raise refusal(what, path, "it is a number of more digits than Python reads")
        return int(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        raise refusal(what, path, f"JSON has no {value}")
    if isinstance(value, Mapping):
        return _members(cast("Mapping[Any, Any]", value), what, path, depth)
    if isinstance(value, (list, tuple)):
        items = cast("list[Any]", value)
        return [_plain(item, what, (*path, number), depth + 1) for number, item in enumerate(items)]
    return _converted(value, what, path, depth)


def _typed(value: Any, as_type: Any, what: str, path: tuple[Any, ...], depth: int) -> Any:
    plain = _plain(dumped(value, as_type, what, path), what, path, depth)
    check_return(value, plain, as_type, what, path, lambda part: _plain(part, what, path, depth))
    return plain


def _converted(value: Any, what: str, path: tuple[Any, ...], depth: int) -> Any:
    kind = cast("type[Any]", type(value))
    if isinstance(value, Decimal) and not value.is_finite():
        raise refusal(what, path, f"JSON has no {value}")
    if isinstance(value, _AS_TEXT):
        from pydantic_core import to_jsonable_python

        return to_jsonable_python(value)
    if hasattr(kind, "__pydantic_serializer__"):
        return _typed(value, kind, what, path, depth)
    if dataclasses.is_dataclass(kind):
        fields = [one.name for one in dataclasses.fields(kind)]
        missing = [name for name in fields if not hasattr(value, name)]
        if missing:
            raise refusal(what, path, f"its field {missing[0]} has no value")
        return _members({name: getattr(value, name) for name in fields}, what, path, depth)
    raise refusal(what, path, f"a {kind.__name__} has no form in JSON")


def _member_value(member: Enum, what: str, path: tuple[Any, ...]) -> str | float | None:
    value = member.value
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise refusal(what, path, f"a {type(member).__name__} whose value is a {type(value).__name__} is not found again")


def _members(mapping: Mapping[Any, Any], what: str, path: tuple[Any, ...], depth: int) -> dict[str, Any]:
    found = {_key(key, what, path): _plain(item, what, (*path, key), depth + 1) for key, item in mapping.items()}
    if len(found) < len(mapping):
        raise refusal(what, path, "two of its keys are the same text")
    return found


def _key(key: Any, what: str, path: tuple[Any, ...]) -> str:
    if type(key) is str and key.isascii():
        return key
    if isinstance(key, Enum):
        key = _member_value(key, what, path)
    if not isinstance(key, str):
        raise refusal(what, path, f"it has a key of type {type(key).__name__}, and JSON has text for keys")
    return _plain(key, f"a key of {what}", path, 0)


def _largest(plain: Any, size: int) -> tuple[Any, ...]:
    """Return the way to the innermost part of *plain*, whose JSON has *size* bytes, that has more than half of them."""
    path: list[Any] = []
    while isinstance(plain, (dict, list)):
        parts = (
            cast("dict[str, Any]", plain).items() if isinstance(plain, dict) else enumerate(cast("list[Any]", plain))
        )
        for step, part in parts:
            if len(write(part).encode()) * 2 > size:
                path.append(step)
                plain = part
                break
        else:
            break
    return tuple(path)
