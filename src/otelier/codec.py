"""The JSON border: what otelier stores or sends as JSON passes here, and comes back with its types.

`to_json` writes strict JSON, which any reader takes: no `NaN`, no keys but text, no half of a UTF-16 pair. What has no
form in JSON is refused with its place, and nothing is lost in silence. `from_json` reads it, and gives a value its
type back where one is named. Exceptions travel as data, see `error_to_json`; no class is imported on the way.

This module loads pydantic with the first value that needs it.
"""

from __future__ import annotations

import builtins
import dataclasses
import functools
import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, cast, overload
from uuid import UUID

from otelier.errors import CodecError, NotJsonError

if TYPE_CHECKING:
    from types import ModuleType

    from pydantic import TypeAdapter

T = TypeVar("T")

MAX_BYTES: Final = 1_000_000
"""Bytes of JSON that one value may have where nothing else is said."""
_MAX_LEVELS: Final = 200
"""Levels of nesting. Python's own reader and writer give up at about a thousand, readers of others earlier."""
_SHOWN_CHARS: Final = 64
_SHOWN_STEPS: Final = 8
_HALVES: Final = re.compile("[\ud800-\udfff]")
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_]\w*\Z")
_AS_TEXT: Final = (date, time, timedelta, Decimal, UUID)  # a datetime is a date
_write = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def to_json(value: object, as_type: Any = None, *, what: str = "value", max_bytes: int | None = MAX_BYTES) -> str:
    """Return *value* as strict JSON text.

    Pydantic models, dataclasses, enums, tuples, dates and times, `Decimal` and `UUID` have a form in JSON and need no
    *as_type*. Others, such as sets and bytes, have one where *as_type* says what they are.

    Args:
        value: What is to be written; it is not changed.
        as_type: Its type, as `from_json` will be given it; `None` takes the value as it is.
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
    text = _write(to_plain(value, as_type, what=what))
    if max_bytes is not None and len(text) * 4 > max_bytes:
        size = len(text.encode())
        if size > max_bytes:
            raise CodecError(
                f"Cannot store {what}: its JSON has {size:,} bytes, and {max_bytes:,} are the limit. "
                f"Store large data elsewhere, and its address here.",
                place="",
                problem="too large",
            )
    return text


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
    if as_type is not None:
        value = _dumped(value, as_type, what)
    return _plain(value, what, (), 0)


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
    from pydantic import ValidationError

    try:
        # As JSON, not as Python values: only then a text is a date, and a list a tuple.
        return _adapter(as_type).validate_json(_write(plain))
    except ValidationError as exc:
        error = exc.errors(include_url=False, include_input=False, include_context=False)[0]
    place = _place(error["loc"])
    raise CodecError(
        f"Cannot read {what} as {_name(as_type)}: {place or 'it'} does not fit ({error['type']}). "
        f"Name the type it was stored with.",
        place=place,
        problem=error["type"],
    )


def read_json(text: str | bytes) -> Any:
    """Return what strict JSON *text* says.

    Raises:
        NotJsonError: if it is none, with the place and without quoting it. `NaN`, `Infinity` and `1e999` are none,
            though Python's own reader takes them.

    Example:
        >>> read_json('{"a": [1, 2.5, null]}')
        {'a': [1, 2.5, None]}
    """
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except json.JSONDecodeError as exc:
        problem = f"{exc.msg} at line {exc.lineno}, column {exc.colno}"
    except RecursionError:
        problem = "it is nested too deeply"
    except UnicodeDecodeError:
        problem = "it is no UTF-8"
    except ValueError:  # of `_refuse`, or a number of more digits than Python reads
        problem = "it holds a number that cannot be read"
    # Raised out here: as the cause of this error, the text would be in tracebacks that are exported.
    raise NotJsonError(problem)


def error_to_json(error: BaseException) -> dict[str, Any]:
    """Return an exception as plain data: its type, its message, and its `args` where JSON can hold them.

    Example:
        >>> error_to_json(ValueError("no stock", 3))
        {'type': 'ValueError', 'module': 'builtins', 'message': "('no stock', 3)", 'args': ['no stock', 3]}
    """
    try:
        message = whole_text(str(error))
    except Exception:
        message = ""
    try:
        args = to_plain(list(error.args))
    except CodecError:
        args = None
    kind = type(error)
    return {"type": kind.__qualname__, "module": kind.__module__, "message": message, "args": args}


def error_from_json(stored: Mapping[str, Any], modules: Iterable[ModuleType] = ()) -> BaseException | None:
    """Return the exception that `error_to_json` made *stored* of, or `None` where it cannot be made again.

    Only exceptions of Python itself and those that stand in *modules* are made, and only of `args` that are known:
    nothing is imported because a stored row names it.

    Args:
        stored: What `error_to_json` gave.
        modules: Modules whose exceptions may be made, such as that of the function that raised it.

    Example:
        >>> error_from_json(error_to_json(KeyError("sku-1")))
        KeyError('sku-1')
    """
    args = stored.get("args")
    kind = _class_of(str(stored.get("module")), str(stored.get("type")), modules)
    if kind is None or not isinstance(args, list):
        return None
    try:
        error = kind(*cast("list[Any]", args))
    except Exception:  # it takes other arguments than it keeps
        return None
    # Some change what they are given: such a one would say something else each time it is stored.
    return error if list(error.args) == args else None


def whole_text(text: str) -> str:
    """Return *text* with U+FFFD for each half of a UTF-16 pair, which UTF-8 cannot hold.

    Example:
        >>> whole_text("what \\ud83d was said")
        'what \ufffd was said'
    """
    return text if text.isascii() else _HALVES.sub("\ufffd", text)


def _plain(value: Any, what: str, path: tuple[Any, ...], depth: int) -> Any:
    if value is None or value is True or value is False:
        return value
    if depth > _MAX_LEVELS:
        raise _refusal(what, path, f"it is nested more than {_MAX_LEVELS} levels deep")
    if isinstance(value, Enum):
        return _plain(value.value, what, path, depth + 1)
    if isinstance(value, str):
        text = str.__str__(value)
        if text.isascii() or _HALVES.search(text) is None:
            return text
        raise _refusal(what, path, "it holds half of a UTF-16 pair, which no text can hold")
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        raise _refusal(what, path, f"JSON has no {value}")
    if isinstance(value, Mapping):
        return _members(cast("Mapping[Any, Any]", value), what, path, depth)
    if isinstance(value, (list, tuple)):
        items = cast("list[Any]", value)
        return [_plain(item, what, (*path, number), depth + 1) for number, item in enumerate(items)]
    return _converted(value, what, path, depth)


def _converted(value: Any, what: str, path: tuple[Any, ...], depth: int) -> Any:
    if isinstance(value, _AS_TEXT):
        from pydantic_core import to_jsonable_python

        return to_jsonable_python(value)
    kind = cast("type[Any]", type(value))
    if dataclasses.is_dataclass(kind):
        return _members({one.name: getattr(value, one.name) for one in dataclasses.fields(kind)}, what, path, depth)
    if hasattr(kind, "__pydantic_serializer__"):
        return _plain(_dumped(value, kind, what), what, path, depth)
    raise _refusal(what, path, f"a {kind.__name__} has no form in JSON")


def _members(mapping: Mapping[Any, Any], what: str, path: tuple[Any, ...], depth: int) -> dict[str, Any]:
    found = {_key(key, what, path): _plain(item, what, (*path, key), depth + 1) for key, item in mapping.items()}
    if len(found) < len(mapping):
        raise _refusal(what, path, "two of its keys are the same text")
    return found


def _key(key: Any, what: str, path: tuple[Any, ...]) -> str:
    if isinstance(key, Enum):
        key = key.value
    if not isinstance(key, str):
        raise _refusal(what, path, f"it has a key of type {type(key).__name__}, and JSON has text for keys")
    return _plain(key, f"a key of {what}", path, 0)


def _dumped(value: object, as_type: Any, what: str) -> Any:
    from pydantic_core import PydanticSerializationError

    try:
        return _adapter(as_type).dump_python(value, mode="json", by_alias=True, round_trip=True, warnings="error")
    except PydanticSerializationError:
        pass
    # Raised out here, since pydantic's words quote the value.
    raise _refusal(what, (), f"a {type(value).__name__} cannot be written as {_name(as_type)}")


@functools.lru_cache(maxsize=512)
def _adapter(as_type: Any) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter

    as_text = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")
    try:
        return TypeAdapter(as_type, config=as_text)
    except PydanticUserError:  # models and dataclasses have their own
        return TypeAdapter(as_type)


def _refusal(what: str, path: tuple[Any, ...], problem: str) -> CodecError:
    place = _place(path)
    return CodecError(
        f"Cannot store {what}{f' at {place}' if place else ''}: {problem}. "
        f"Use text, numbers, lists and dicts, a dataclass or a pydantic model, or annotate its type.",
        place=place,
        problem=problem,
    )


def _place(path: Iterable[Any]) -> str:
    """Return where something stands, such as `orders[2].id`: the innermost steps, where there are many."""
    steps = tuple(path)
    text = ""
    for step in steps[-_SHOWN_STEPS:]:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = str(step)
            text += f".{name}" if _PLAIN_NAME.match(name) else f"[{name[:_SHOWN_CHARS]!r}]"
    text = text.removeprefix(".")
    return f"...{text}" if len(steps) > _SHOWN_STEPS else text


def _name(as_type: Any) -> str:
    return as_type.__name__ if isinstance(as_type, type) else str(as_type)


def _class_of(module: str, name: str, modules: Iterable[ModuleType]) -> type[Exception] | None:
    found: Any = None
    if module == builtins.__name__:
        found = vars(builtins).get(name)
    else:
        home = next((one for one in modules if one.__name__ == module), None)
        for part in name.split("."):
            home = found = None if home is None else vars(home).get(part)
    # An exception that is no `Exception`, such as `SystemExit`, would end more than what failed.
    return found if isinstance(found, type) and issubclass(found, Exception) else None


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse(digits)  # such as 1e999


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
