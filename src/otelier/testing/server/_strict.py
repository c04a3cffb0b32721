"""Which JSON schemas the API takes: those of strict mode, and what it asks of every function.

See: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast

from otelier.testing.server._requests import Json

_FORBIDDEN: Final = (
    "oneOf", "allOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "default",
    "patternProperties", "propertyNames", "minProperties", "maxProperties", "unevaluatedProperties",
    "unevaluatedItems", "contains", "minContains", "maxContains", "uniqueItems", "prefixItems",
    "minLength", "maxLength",
)  # fmt: skip
_FORMATS: Final = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")
_AT_TOP: Final = ("oneOf", "anyOf", "allOf", "enum", "not")
_DEFINITIONS: Final = ("$defs", "definitions")


def root_fault(schema: Json, *, strict: bool) -> str | None:
    """Return what is wrong with *schema* as the whole of a function's parameters or an answer, in the API's words."""
    kind = schema.get("type")
    if not schema or (kind == "object" and not any(key in schema for key in _AT_TOP)):
        return strict_fault(schema) if strict else None
    if kind == "object":
        return "schema must have type 'object' and not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level."
    return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{kind}\"'."


def strict_fault(schema: Json) -> str | None:
    """Return the first thing in *schema* that strict mode refuses, in the API's words."""
    return next(_faults(schema, ()), None)


def _faults(schema: Any, context: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(schema, dict):
        return
    found = cast("Json", schema)
    where = f"In context={context!r}, "
    yield from (f"{where}'{key}' is not permitted." for key in _FORBIDDEN if key in found)
    if "$ref" in found:
        beside = sorted(key for key in found if key != "$ref" and key not in _DEFINITIONS)
        if beside:
            yield f"context={context!r}, $ref cannot have keywords {set(beside)!r}."
    elif not any(key in found for key in ("type", "anyOf", "enum", "const")):
        yield f"{where}schema must have a 'type' key."
    kinds: Any = found.get("type")
    if kinds == "object" or "properties" in found or (isinstance(kinds, list) and "object" in kinds):
        yield from _object_faults(found, where)
    yield from _value_faults(found, where)
    for key in ("properties", *_DEFINITIONS):
        inner: Any = found.get(key)
        if isinstance(inner, dict):
            for name, each in cast("Json", inner).items():
                yield from _faults(each, (*context, key, name))
    if "items" in found:
        yield from _faults(found["items"], (*context, "items"))
    branches: Any = found.get("anyOf")
    for number, each in enumerate(cast("list[Any]", branches) if isinstance(branches, list) else ()):
        yield from _faults(each, (*context, "anyOf", str(number)))


def _value_faults(schema: Json, where: str) -> Iterator[str]:
    if "(?" in str(schema.get("pattern", "")):
        yield f"{where}'pattern' cannot look around."
    if schema.get("format", _FORMATS[0]) not in _FORMATS:
        yield f"{where}'format' {schema['format']!r} is not a valid format."
    if schema.get("type") == "array" and "items" not in schema:
        yield f"{where}array schema missing items."


def _object_faults(schema: Json, where: str) -> Iterator[str]:
    if schema.get("additionalProperties") is not False:
        yield f"{where}'additionalProperties' is required to be supplied and to be false."
    names, required = list(schema.get("properties") or ()), list(schema.get("required") or ())
    wanted = "'required' is required to be supplied and to be an array including every key in properties."
    yield from (f"{where}{wanted} Missing '{name}'." for name in names if name not in required)
    yield from (f"{where}{wanted} Extra required key '{name}' supplied." for name in required if name not in names)
