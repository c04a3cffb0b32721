"""Signatures of tools: the schema for the model, and the check of the model's arguments."""

from __future__ import annotations

import copy
import functools
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, cast

import pydantic
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticSerializationError

from otelier.errors import ToolError
from otelier.llm._answers import arguments_error
from otelier.llm._introspection import Unresolved, namespace_of, read_docstring, resolve_annotation, unwrap_partial
from otelier.llm._json import holds_non_finite, sendable_schema
from otelier.llm._schemas import Problem, pydantic_problems

_KIND: Final = inspect.Parameter
Hides = Callable[[inspect.Parameter, Any], bool]
"""Takes a parameter and its annotation, and returns whether to keep it from the model."""


class Signature:
    """One function's parameters as a model sees them.

    Args:
        function: The function.
        name: Name of the tool that it is.
        hides: Whether a parameter is kept from the model; the caller of the function gives it. `None` hides none.
        around: Names that annotations may use beside those of the function's module. `None` adds none.

    Raises:
        ToolError: if the function takes what no model can give.
    """

    __slots__ = ("_in_field", "_model", "_names", "by_place", "description", "name", "schema")

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        hides: Hides | None = None,
        around: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.description, descriptions = read_docstring(unwrap_partial(function))
        """Description of the function, from its docstring."""
        namespace = namespace_of(function, around)
        self.by_place: list[str] = []
        """Names of the parameters that have to be given by their place."""
        self._names: dict[str, str] = {}
        self._in_field: set[str] = set()
        """Those whose default stands in a `Field`, so that the function itself has none."""
        fields: dict[str, Any] = {}
        extra: typing.Literal["allow", "forbid"] = "forbid"
        for parameter in _parameters(function, name):
            if isinstance(function, functools.partial) and parameter.name in function.keywords:
                continue  # given already, and not to be replaced by a model
            annotation = (
                Any if parameter.annotation is _KIND.empty else resolve_annotation(parameter.annotation, namespace)
            )
            if hides is not None and hides(parameter, annotation):
                pass
            elif parameter.kind is _KIND.VAR_KEYWORD:
                extra = "allow"
            elif parameter.kind is _KIND.VAR_POSITIONAL:
                raise ToolError(
                    f"Cannot offer {name!r} as a tool: a model gives arguments by name, and *{parameter.name} has "
                    f"none. Use a parameter that takes a list."
                )
            else:
                place = f"p{len(fields)}"
                fields[place] = _field_of(parameter, annotation, descriptions.get(parameter.name), name)
                self._names[place] = parameter.name
                if isinstance(parameter.default, FieldInfo):
                    self._in_field.add(place)
            if parameter.kind is _KIND.POSITIONAL_ONLY:
                self.by_place.append(parameter.name)
        try:
            # The fields have names of our own: a parameter may be called `copy` or `_id`, a pydantic field may not.
            self._model = pydantic.create_model(  # pyright: ignore[reportCallIssue, reportUnknownMemberType]
                "Arguments", __config__=pydantic.ConfigDict(extra=extra), **fields
            )
            schema = self._model.model_json_schema(schema_generator=_Schema)
        except PydanticUserError as exc:
            raise ToolError(
                f"Cannot offer {name!r} as a tool: there is no JSON schema for its parameters ({_reason_of(exc)}). "
                f"Annotate them with types that JSON can hold."
            ) from exc
        self.schema: dict[str, Any] = {"type": "object", "properties": {}, **_untitled(sendable_schema(schema))}
        """JSON schema of the parameters."""
        self.schema.pop("description", None)

    def bind(
        self, arguments: Mapping[str, Any], hidden: Mapping[str, Any] | None = None
    ) -> tuple[list[Any], dict[str, Any]]:  # fmt: skip
        """Return *arguments*, checked and converted, as the function takes them, with those that are *hidden*.

        Raises:
            ToolArgumentsError: if they do not fit.
        """
        problems: list[Problem] = []
        try:
            checked = self._model.model_validate(dict(arguments))
        except pydantic.ValidationError as exc:
            problems = pydantic_problems(exc)
        else:
            given = {
                name: getattr(checked, place)
                for place, name in self._names.items()
                if place in checked.model_fields_set or place in self._in_field
            }
            given = {**given, **(checked.model_extra or {}), **(hidden or {})}
            return [given.pop(name) for name in self.by_place if name in given], given
        raise arguments_error(self.name, problems)  # out here, because pydantic's error quotes the arguments


class _Schema(GenerateJsonSchema):
    """A schema without the defaults that JSON cannot hold: the function has them."""

    ignored_warning_kinds = {*GenerateJsonSchema.ignored_warning_kinds, "non-serializable-default"}  # noqa: RUF012

    def encode_default(self, dft: Any) -> Any:
        if holds_non_finite(dft):  # inside a list pydantic would write `null` for it, and that is another default
            raise PydanticSerializationError("JSON has no such number")
        return super().encode_default(dft)


def _parameters(function: Callable[..., Any], name: str) -> list[inspect.Parameter]:
    try:
        if sys.version_info >= (3, 14):  # pragma: no cover -- newer Pythons than the measured one
            # Annotations are evaluated now; what they name may still be unknown.
            import annotationlib

            found = inspect.signature(function, annotation_format=annotationlib.Format.FORWARDREF)
        else:  # pragma: no cover -- older Pythons than the measured one
            found = inspect.signature(function)
    except ValueError as exc:  # some of C have none
        raise ToolError(
            f"Cannot offer {name!r} as a tool: Python does not know its parameters. Call it from a function of yours."
        ) from exc
    return list(found.parameters.values())


def _field_of(parameter: inspect.Parameter, annotation: Any, description: str | None, tool: str) -> tuple[Any, Any]:
    if isinstance(annotation, Unresolved):
        raise ToolError(
            f"Cannot offer {tool!r} as a tool: the annotation {annotation.text!r} of its parameter "
            f"{parameter.name!r} names nothing that is known where it stands. Define it first, and import it outside "
            f"of `if TYPE_CHECKING:`; a run's context is also known by the name `ctx`."
        )
    default: Any = ... if parameter.default is _KIND.empty else parameter.default
    given: dict[str, Any] = {"alias": parameter.name}
    # The description in a `Field` is nearer to the parameter than the docstring.
    written = (*getattr(annotation, "__metadata__", ()), default)
    if description and not any(isinstance(one, FieldInfo) and one.description for one in written):
        given["description"] = description
    if isinstance(default, FieldInfo):  # of a copy: pydantic writes into it, and two parameters may share one
        return Annotated[annotation, copy.copy(default)], pydantic.Field(**given)
    info: Any = pydantic.Field(default, **given)
    return annotation, info


def _untitled(schema: Any, *, names: bool = False) -> Any:
    """Return *schema* without the titles that pydantic makes up; *names* means that the keys are names of fields."""
    if isinstance(schema, dict):
        items = cast("dict[str, Any]", schema).items()
        return {
            key: _untitled(value, names=key in ("properties", "$defs") and not names)
            for key, value in items
            if names or key != "title"
        }
    return [_untitled(one) for one in cast("list[Any]", schema)] if isinstance(schema, list) else schema


def _reason_of(exc: Exception) -> str:
    return str(exc).partition("\n")[0].rstrip(".")
