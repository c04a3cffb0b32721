"""Values of named types as plain data and back, by pydantic."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, cast

from otelier.codec._strict import place_of, refusal, type_name, write
from otelier.errors import CodecError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_FIELDS: Final = ("model-field", "dataclass-field", "typed-dict-field")
"""Kinds of schema, as pydantic's core has them, in which a field may have aliases."""
_MASK: Final = "**********"
"""What pydantic writes for a secret."""


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

    def holds_secrets(self, value: object) -> bool:
        """Return whether *value* holds one of pydantic's secrets, of which JSON would have a mask only."""
        from pydantic import SecretBytes, SecretStr

        leaves = _leaves(self._adapter.dump_python((value,), round_trip=True))
        return any(isinstance(leaf, (SecretStr, SecretBytes)) for leaf in leaves)


def dumped(value: object, as_type: Any, what: str, path: tuple[Any, ...]) -> Any:
    """Return *value* as what *as_type* says, in dicts, lists, texts and numbers.

    Raises:
        CodecError: if it cannot be.
    """
    form = form_of(as_type, what)
    problem = f"a {type(value).__name__} cannot be written as {type_name(as_type)}"
    if _has_more_fields(value, as_type):
        raise refusal(what, path, f"{problem}, which has fewer fields")
    try:
        plain = form.dump(value)
        masks = _MASK in _leaves(plain) and form.holds_secrets(value)
    except RecursionError:
        masks, plain, problem = False, form, f"{problem}: it is nested too deeply"
    except ValueError as exc:  # also what pydantic raises, whose words quote the value
        masks, plain = False, form
        problem += ": it holds itself" if str(exc).startswith("Circular") else ""
    except Exception:  # of a serializer of the user's own
        masks, plain = False, form
    # Raised out here, or the value would be in tracebacks that are exported.
    if masks:
        raise refusal(what, path, "it holds a secret, of which JSON would have the mask only")
    if plain is form:
        raise refusal(what, path, problem)
    return plain


def loaded(plain: Any, as_type: Any, what: str) -> Any:
    """Return *plain* data as an *as_type*.

    Raises:
        CodecError: if it does not fit, or is none.
    """
    from pydantic import ValidationError

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
    except ValidationError as exc:
        error = exc.errors(include_url=False, include_input=False, include_context=False)[0]
    place = place_of(error["loc"][1:])
    raise CodecError(
        f"Cannot read {what} as {type_name(as_type)}: {place or 'it'} does not fit ({error['type']}). "
        f"Name the type it was stored with.",
        place=place,
        problem=error["type"],
    )


def form_of(as_type: Any, what: str) -> Form:
    """Return the form of *as_type*.

    Raises:
        CodecError: if pydantic makes nothing of that type.
    """
    from pydantic import PydanticUndefinedAnnotation, PydanticUserError

    try:
        # Types are equal, too, whose parts stand in another order: `int | str` is `str | int`, and not read alike.
        return _form(as_type, "" if isinstance(as_type, type) else repr(as_type))
    except (PydanticUserError, PydanticUndefinedAnnotation) as exc:
        problem = str(exc).partition("\n")[0]
    except TypeError:  # what is annotated cannot be hashed
        try:
            return Form(as_type)
        except (PydanticUserError, PydanticUndefinedAnnotation, TypeError) as exc:
            problem = str(exc).partition("\n")[0]
    raise CodecError(
        f"Cannot use {type_name(as_type)} as the type of {what}: {problem} "
        f"Name a type that pydantic reads, by itself and not as text.",
        problem="no such type",
    )


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


def _leaves(value: Any) -> Iterator[Any]:
    waiting: list[Any] = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting.extend(cast("dict[Any, Any]", one).values())
        elif isinstance(one, (list, tuple, set, frozenset)):
            waiting.extend(cast("list[Any]", one))
        else:
            yield one


def _has_more_fields(value: object, as_type: Any) -> bool:
    """Return whether *value* is of a subclass of *as_type* with fields that would be lost."""
    for fields in ("__pydantic_fields__", "__dataclass_fields__"):
        known, own = getattr(as_type, fields, None), getattr(type(value), fields, None)
        if known is not None and own is not None and isinstance(as_type, type) and isinstance(value, as_type):
            return bool(own.keys() - known.keys())
    return False
