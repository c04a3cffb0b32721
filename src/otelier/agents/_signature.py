"""What a tool takes: the schema for the model, the check of what the model sends, and where the context goes."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Union, cast

import pydantic
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from otelier.agents._annotations import Unresolved, resolved, spaces_of, unbound
from otelier.agents._context import RunContext
from otelier.agents._docstring import read_docstring
from otelier.errors import ToolError

CONTEXT_NAME: Final = "ctx"
_UNIONS: Final = (Union, types.UnionType)
_KIND = inspect.Parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The parameter that is given the run's context."""

    name: str
    kind: type[RunContext]
    """The class it must be of."""
    optional: bool
    """Whether the function does without one."""


class Signature:
    """One function's parameters, read when they are first asked for."""

    __slots__ = ("_by_place", "_defaults", "_model", "_names", "description", "function", "schema", "wanted")

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.function = function
        self.description, said = read_docstring(unbound(function))
        spaces = spaces_of(function)
        self.wanted: Wanted | None = None
        self._by_place: list[str] = []
        self._names: dict[str, str] = {}
        fields: dict[str, Any] = {}
        extra: typing.Literal["allow", "forbid"] = "forbid"
        for parameter in _parameters(function, name):
            annotation = Any if parameter.annotation is _KIND.empty else resolved(parameter.annotation, spaces)
            wanted = _wanted(parameter, annotation)
            if wanted is not None:
                if self.wanted is not None:
                    raise ToolError(
                        f"Cannot offer {name!r} as a tool: both {self.wanted.name!r} and {wanted.name!r} would be "
                        f"given the run's context. Keep one of them."
                    )
                self.wanted = wanted
            elif parameter.kind is _KIND.VAR_KEYWORD:
                extra = "allow"
            elif parameter.kind is _KIND.VAR_POSITIONAL:
                raise ToolError(
                    f"Cannot offer {name!r} as a tool: a model gives arguments by name, and *{parameter.name} has "
                    f"none. Use a parameter that takes a list."
                )
            else:
                place = f"p{len(fields)}"
                fields[place] = _field(parameter, annotation, said.get(parameter.name), name)
                self._names[place] = parameter.name
            if parameter.kind is _KIND.POSITIONAL_ONLY:
                self._by_place.append(parameter.name)
        try:
            # The fields have names of our own: a parameter may be called `copy` or `_id`, a pydantic field may not.
            self._model = pydantic.create_model(  # pyright: ignore[reportCallIssue, reportUnknownMemberType]
                "Arguments", __config__=pydantic.ConfigDict(extra=extra), **fields
            )
            schema = self._model.model_json_schema(schema_generator=_Schema)
        except PydanticUserError as exc:
            raise ToolError(
                f"Cannot offer {name!r} as a tool: there is no JSON schema for its parameters ({_first_line(exc)}). "
                f"Annotate them with types that JSON can hold."
            ) from exc
        self.schema: dict[str, Any] = {"type": "object", "properties": {}, **_untitled(schema)}
        self.schema.pop("description", None)

    def bind(self, arguments: Mapping[str, Any], context: object) -> tuple[list[Any], dict[str, Any]]:
        """Return *arguments*, checked and converted, as the function takes them, with *context* among them.

        Raises:
            ValueError: if they do not fit; its message is for the model.
        """
        try:
            checked = self._model.model_validate(dict(arguments))
        except pydantic.ValidationError as exc:
            raise ValueError(_readable(exc)) from exc
        given = {
            name: getattr(checked, place) for place, name in self._names.items() if place in checked.model_fields_set
        }
        given.update(checked.model_extra or {})
        if self.wanted is not None:
            given[self.wanted.name] = context
        return [given.pop(name) for name in self._by_place if name in given], given


class _Schema(GenerateJsonSchema):
    """A schema that says nothing of defaults which JSON cannot hold: the function knows them."""

    ignored_warning_kinds = {*GenerateJsonSchema.ignored_warning_kinds, "non-serializable-default"}  # noqa: RUF012


def _parameters(function: Callable[..., Any], name: str) -> list[inspect.Parameter]:
    try:
        if sys.version_info >= (3, 14):
            # Annotations are evaluated now; what they name may still be unknown.
            import annotationlib

            found = inspect.signature(function, annotation_format=annotationlib.Format.FORWARDREF)
        else:
            found = inspect.signature(function)
    except ValueError as exc:  # some of C have none
        raise ToolError(
            f"Cannot offer {name!r} as a tool: Python does not know its parameters. Call it from a function of yours."
        ) from exc
    return list(found.parameters.values())


def _wanted(parameter: inspect.Parameter, annotation: Any) -> Wanted | None:
    kind, optional = _context_type(annotation)
    if kind is None and parameter.name == CONTEXT_NAME:
        kind = RunContext
    if kind is None:
        return None
    return Wanted(name=parameter.name, kind=kind, optional=optional or parameter.default is not _KIND.empty)


def _context_type(annotation: Any) -> tuple[type[RunContext] | None, bool]:
    """Return the kind of context that *annotation* asks for, `None` when it asks for none, and whether it may lack."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _context_type(annotation.__origin__)
    if origin in _UNIONS:
        members = typing.get_args(annotation)
        kinds = [one for one in (_context_type(member)[0] for member in members) if one is not None]
        # Of several kinds the function looks itself which one it got.
        return (kinds[0] if len(kinds) == 1 else RunContext if kinds else None), type(None) in members
    kind = annotation if origin is None else origin
    is_context = isinstance(kind, type) and issubclass(kind, RunContext)
    return (cast("type[RunContext]", kind) if is_context else None), False


def _field(parameter: inspect.Parameter, annotation: Any, description: str | None, tool: str) -> tuple[Any, Any]:
    if isinstance(annotation, Unresolved):
        raise ToolError(
            f"Cannot offer {tool!r} as a tool: the annotation {annotation.text!r} of its parameter "
            f"{parameter.name!r} names nothing that its module knows. Define it there, not inside a function."
        )
    default: Any = ... if parameter.default is _KIND.empty else parameter.default
    if isinstance(default, FieldInfo):
        default.alias, default.validation_alias = parameter.name, parameter.name
        return annotation, default
    info: Any = pydantic.Field(default, alias=parameter.name, description=description)
    return annotation, info


def _untitled(schema: Any, *, names: bool = False) -> Any:
    """Return *schema* without the titles that pydantic makes up; *names* tells that the keys are names of fields."""
    if isinstance(schema, dict):
        items = cast("dict[str, Any]", schema).items()
        return {
            key: _untitled(value, names=key in ("properties", "$defs") and not names)
            for key, value in items
            if names or key != "title"
        }
    return [_untitled(one) for one in cast("list[Any]", schema)] if isinstance(schema, list) else schema


def _readable(exc: pydantic.ValidationError) -> str:
    found = [
        f"{'.'.join(map(str, error['loc'])) or 'arguments'}: {error['msg']}" for error in exc.errors(include_url=False)
    ]
    return "The arguments do not fit: " + "; ".join(found) + "."


def _first_line(exc: Exception) -> str:
    return str(exc).partition("\n")[0].rstrip(".")
