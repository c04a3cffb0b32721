"""What the real API refuses of a schema that it shall keep to strictly.

See: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast

from otelier.testing.server._requests import Json

_KNOWN: Final = frozenset(
    (
        *("type", "title", "description", "properties", "required", "additionalProperties", "items", "anyOf", "enum"),
        *("const", "$ref", "$defs", "definitions", "pattern", "format", "multipleOf", "maximum", "exclusiveMaximum"),
        *("minimum", "exclusiveMinimum", "minItems", "maxItems"),
    )
)
_FORMATS: Final = frozenset(["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"])


def problem_of(schema: Json) -> str | None:
    """Return what is wrong with *schema*; `None` when it is strict."""
    if schema.get("type") != "object":
        return "schema must have type 'object' at the top level."
    return next(_problems(schema, "()"), None)


def _problems(schema: Any, place: str) -> Iterator[str]:
    if not isinstance(schema, dict):
        yield f"In context={place}, schema must be an object."
        return
    given = cast("Json", schema)
    if "$ref" in given:
        if beside := given.keys() - {"$ref", "$defs"}:
            yield f"In context={place}, $ref cannot have keywords {sorted(beside)}."
        return
    for name in given.keys() - _KNOWN:
        yield f"In context={place}, {name!r} is not permitted."
    if not given.keys() & {"type", "anyOf"}:
        yield f"In context={place}, schema must have a 'type' key."
    if "(?" in str(given.get("pattern", "")):
        yield f"In context={place}, 'pattern' may not look around."
    if given.get("format", "date") not in _FORMATS:
        yield f"In context={place}, 'format' {given['format']!r} is not a valid format."
    if given.get("type") == "array" and "items" not in given:
        yield f"In context={place}, array schema missing items."
    yield from _of_object(given, place)
    for name, one in _below(given):
        yield from _problems(one, f"{place[:-1]}{name})")


def _of_object(given: Json, place: str) -> Iterator[str]:
    if given.get("type") != "object" and "properties" not in given:
        return
    if given.get("additionalProperties") is not False:
        yield f"In context={place}, 'additionalProperties' is required to be supplied and to be false."
    if sorted(given.get("required", ())) != sorted(given.get("properties", ())):
        yield f"In context={place}, 'required' is required to be supplied and to be an array including every key."


def _below(given: Json) -> Iterator[tuple[str, Any]]:
    for keyword in ("properties", "$defs", "definitions"):
        yield from ((f"{keyword!r}, {name!r}", one) for name, one in given.get(keyword, {}).items())
    yield from ((f"'anyOf', '{number}'", one) for number, one in enumerate(given.get("anyOf", ())))
    if "items" in given:
        yield "'items'", given["items"]
