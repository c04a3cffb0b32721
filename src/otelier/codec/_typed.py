"""Values of named types as plain data and back, by pydantic."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableSequence
from enum import Enum
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final, cast

from otelier.codec._strict import place_of, refusal, type_name, write
from otelier.errors import CodecError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_FIELDS: Final = ("model-field", "dataclass-field", "typed-dict-field")
"""Kinds of schema, as pydantic's core has them, in which a field may have aliases."""
_SCALARS: Final = frozenset((str, int, float, bool, type(None)))
_ABSENT: Final = object()


class Form:
    """The form in JSON of one type."""

    __slots__ = ("_adapter", "_by_name")

    def __init__(self, as_type: Any) -> None:
        from pydantic import ConfigDict, TypeAdapter

        config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")
        # Inside a tuple, since pydantic takes no settings beside a dataclass, a `TypedDict` or a model.
        inside: Any = tuple
        self._adapter: TypeAdapter[Any] = TypeAdapter(inside[as_type], config=config)
        if not self._adapter.pydantic_complete:  # a name in it is not known yet
            self._adapter.rebuild(raise_errors=True)
        self._by_name = any(not _reads_back(field) for field in _fields(self._adapter.core_schema))
        """Whether fields go by their own names, since one of them is written by another alias than it is read by."""

    def dump(self, value: object) -> Any:
        """Return *value* as pydantic writes it; raises whatever pydantic, and what it calls, does."""
        return self._adapter.dump_python(
            (value,), mode="json", by_alias=not self._by_name, round_trip=True, warnings="error"
        )[0]

    def load(self, text: str) -> Any:
        """Return what JSON *text* is as this type.

        Raises:
            pydantic.ValidationError: if it does not fit.
        """
        # As JSON, not as Python values: only then a text is a date, and a list a tuple. A release of pydantic before
        # 2.11 knows no `by_name`, and reads such a type by the aliases alone.
        how: dict[str, Any] = {"by_alias": True, "by_name": True} if self._by_name else {}
        return self._adapter.validate_json(f"[{text}]", **how)[0]


def dumped(value: object, as_type: Any, what: str, path: tuple[Any, ...]) -> Any:
    """Return *value* as what *as_type* says, in dicts, lists, texts and numbers.

    Raises:
        CodecError: if it cannot be.
    """
    form = form_of(as_type, what)
    why = ""
    try:
        return form.dump(value)
    except RecursionError:
        why = ": it is nested too deeply"
    except ValueError as exc:  # also what pydantic raises, whose words quote the value
        why = ": it holds itself" if str(exc).startswith("Circular") else ""
    except Exception:  # of a serializer of the user's own
        pass
    # Raised out here, or the value would be in tracebacks that are exported.
    raise refusal(what, path, f"a {type(value).__name__} cannot be written as {type_name(as_type)}{why}")


def check_return(
    value: object, plain: Any, as_type: Any, what: str, path: tuple[Any, ...], plain_of: Callable[[Any], Any]
) -> None:
    """Check that *plain*, which *value* was written as, is read as the same value again.

    Pydantic drops what a subclass adds to the type that is named, writes members of an enum that it does not find
    again, and reads some unions otherwise than they were written. Where the type says `Any`, values come back as plain
    data, which is what they are there.

    Raises:
        CodecError: if it is not.
    """
    form, found = form_of(as_type, what), None
    try:
        again = form.load(write(plain))
    except Exception as exc:  # pydantic's, whose words quote the value, or one of a validator of the user's own
        place, problem = _reason(exc)
        found = place, f"{type_name(as_type)} would not read it again ({problem})"
    else:
        if not (_is_same(value, plain) and _is_same(value, again)):  # not plain data, all the way down
            found = _difference(value, again, (), plain_of)
    # Raised out here, or the value would be in tracebacks that are exported.
    if found is not None:
        place, problem = found
        raise refusal(what, (*path, *place), problem)


def loaded(plain: Any, as_type: Any, what: str) -> Any:
    """Return *plain* data as an *as_type*.

    Raises:
        CodecError: if it does not fit, or is none.
    """
    form = form_of(as_type, what)
    try:
        text = write(plain)
    except (TypeError, ValueError, RecursionError):
        text = None
    if text is None:
        raise CodecError(
            f"Cannot read {what} as {type_name(as_type)}: it is no plain data, as JSON holds it.", problem="not plain"
        )
    try:
        return form.load(text)
    except Exception as exc:  # as above
        steps, problem = _reason(exc)
    place = place_of(steps)
    raise CodecError(
        f"Cannot read {what} as {type_name(as_type)}: {place or 'it'} does not fit ({problem}). "
        f"Name the type it was stored with.",
        place=place,
        problem=problem,
    )


def _reason(exc: Exception) -> tuple[tuple[Any, ...], str]:
    """Return where, and by a word why, reading failed."""
    from pydantic import ValidationError

    if not isinstance(exc, ValidationError):
        return (), type(exc).__name__
    error = exc.errors(include_url=False, include_input=False, include_context=False)[0]
    return error["loc"][1:], error["type"]


def form_of(as_type: Any, what: str) -> Form:
    """Return the form of *as_type*.

    Raises:
        CodecError: if pydantic makes nothing of that type.
    """
    try:
        # Types are equal, too, whose parts stand in another order: `int | str` is `str | int`, and not read alike.
        return _form(as_type, "" if isinstance(as_type, type) else repr(as_type))
    except _no_type() as exc:
        problem = str(exc).partition("\n")[0]
    except TypeError:  # what is annotated cannot be hashed
        try:
            return Form(as_type)
        except (*_no_type(), TypeError) as exc:
            problem = str(exc).partition("\n")[0]
    raise CodecError(
        f"Cannot use {type_name(as_type)} as the type of {what}: {problem} "
        f"Name a type that pydantic reads, by itself and not as text.",
        problem="no such type",
    )


def _no_type() -> tuple[type[Exception], ...]:
    """Return what pydantic raises where it makes nothing of a type."""
    from pydantic import PydanticUndefinedAnnotation, PydanticUserError

    return PydanticUserError, PydanticUndefinedAnnotation


@functools.lru_cache(maxsize=512)
def _form(as_type: Any, _order: str) -> Form:
    return Form(as_type)


def _fields(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield the schemas of all fields in a core *schema*, each with its `name`."""
    waiting: list[Any] = [schema]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            for key, below in cast("dict[str, Any]", one).items():
                if isinstance(below, dict) and cast("dict[str, Any]", below).get("type") in _FIELDS:
                    yield {"name": key, **below}
                waiting.append(below)
        elif isinstance(one, (list, tuple)):
            for below in cast("list[Any]", one):
                if isinstance(below, dict) and cast("dict[str, Any]", below).get("type") in _FIELDS:
                    yield cast("dict[str, Any]", below)
                waiting.append(below)


def _reads_back(field: dict[str, Any]) -> bool:
    """Return whether a field is read by the name that it is written by."""
    written = field.get("serialization_alias", field["name"])
    read = field.get("validation_alias")
    if read is None or isinstance(read, str):
        return written == (field["name"] if read is None else read)
    return [written] in read  # one of several ways to it, each of several steps


def _difference(
    value: Any, again: Any, path: tuple[Any, ...], plain_of: Callable[[Any], Any]
) -> tuple[tuple[Any, ...], str] | None:
    """Return where *again* is another value than *value*, and what is wrong there; `None` where nothing is."""
    shape = _shape(cast("Any", type(value)))
    # Containers by their parts: `==` of a class may look at an id alone.
    if shape is not None and shape == _shape(cast("Any", type(again))):
        for step, part, found in _parts(value, again, shape):
            if type(part) in _SCALARS and part == found:
                continue
            below = _difference(part, found, (*path, step), plain_of)
            if below is not None:
                return None if _is_plain_form(value, again, plain_of) else below
        return None
    if (shape is None and _is_same(value, again)) or _is_plain_form(value, again, plain_of):
        return None
    if hasattr(value, "get_secret_value"):
        return path, "it holds a secret, of which JSON would have the mask only"
    if again is _ABSENT:
        return path, "it would be lost: the type that is named has no place for it"
    if value is _ABSENT:
        return path, "there would be more than there is"
    name, other = type(value).__name__, type(again).__name__
    return path, f"a {name} would come back as {'another' if name == other else f'a {other}'}"


def _parts(value: Any, again: Any, shape: Any) -> Iterable[tuple[Any, Any, Any]]:
    """Return the parts of two containers of one *shape* side by side, each with its step in a path."""
    if shape is Mapping:
        return [(key, value.get(key, _ABSENT), again.get(key, _ABSENT)) for key in {**value, **again}]
    if shape is tuple or shape is list:
        return ((step, *both) for step, both in enumerate(zip_longest(value, again, fillvalue=_ABSENT)))
    fields = [*shape[1:], *(getattr(value, "__pydantic_extra__", None) or ())]
    return [(name, getattr(value, name, None), getattr(again, name, None)) for name in fields]


@functools.lru_cache(maxsize=512)
def _shape(kind: Any) -> Any:
    """Return which container a class is: `Mapping`, `tuple`, `list`, or the class with its fields; `None` for none."""
    if issubclass(kind, Mapping):
        return Mapping
    if issubclass(kind, tuple):
        return tuple
    if issubclass(kind, MutableSequence) and kind is not bytearray:
        return list
    if dataclasses.is_dataclass(kind) and not issubclass(kind, Enum):
        return (kind, *(field.name for field in dataclasses.fields(kind)))
    fields = getattr(kind, "__pydantic_fields__", None)
    return None if fields is None else (kind, *fields)


def _is_same(value: Any, again: Any) -> bool:
    try:
        if value == again:
            return True
    except Exception:  # of a class of the user's
        return False
    return type(value) is type(again) and type(value).__eq__ is object.__eq__  # it cannot be told


def _is_plain_form(value: Any, again: Any, plain_of: Callable[[Any], Any]) -> bool:
    """Return whether *again* is what *value* is where no type is named, such as below `Any`."""
    if not isinstance(again, (dict, list, str)):
        return False
    try:
        return _is_same(plain_of(value), again)
    except CodecError:
        return False
