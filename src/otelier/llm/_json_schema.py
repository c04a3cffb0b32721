"""A value against a JSON schema: what does not fit, in words that a model can mend it by.

It knows the keywords that schemas for models are made of, as draft 2020-12 has them. What it does not know (`format`,
`if`, `dependentSchemas`, references to other documents, …) it lets pass: a provider may check more, never less.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any, cast
from urllib.parse import unquote

MAX_DEPTH = 200
"""Values and references nested more deeply are refused: a schema may refer to itself without end."""
SHOWN = 5
"""So many problems stand in the message of an error; all are in its `problems`."""

_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "integer": lambda value: not isinstance(value, bool) and isinstance(value, (int, float)) and value % 1 == 0,
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def problems_of(value: Any, schema: Mapping[str, Any], root: str = "the answer") -> list[str]:
    """Return what of *value* does not fit *schema*, each problem with the place it is at; values are not quoted.

    *root* is what the whole of it is called.

    Example:
        >>> problems_of({"age": "old"}, {"properties": {"age": {"type": "integer"}}, "required": ["name"]})
        ["the answer: 'name' is missing", 'age: this must be of type integer']
    """
    return [f"{at or root}: {problem}" for at, problem in _Check(schema).check(value, schema, "", 0)]


def listed(problems: list[str]) -> str:
    """Return *problems* for the message of an error: the first ones, and how many others there are.

    Example:
        >>> listed(["a"] * 7)
        'a; a; a; a; a; and 2 more'
    """
    told = "; ".join(problems[:SHOWN])
    return told + (f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else "")


_Found = Iterator[tuple[str, str]]


class _Check:
    """One schema, and the definitions in it."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def check(self, value: Any, schema: Any, at: str, depth: int) -> _Found:
        if schema is False:
            yield at, "nothing is allowed here"
        if not isinstance(schema, Mapping):
            return
        if depth > MAX_DEPTH:
            yield at, "this is nested too deeply"
            return
        keywords = cast("Mapping[str, Any]", schema)
        if (reference := keywords.get("$ref")) is not None:
            yield from self.check(value, self._referred(reference), at, depth + 1)
        yield from ((at, problem) for problem in _plain(value, keywords))
        yield from self._combined(value, keywords, at, depth)
        if isinstance(value, dict):
            yield from self._members(cast("dict[str, Any]", value), keywords, at, depth)
        if isinstance(value, list):
            yield from self._items(cast("list[Any]", value), keywords, at, depth)

    def _fits(self, value: Any, schema: Any, depth: int) -> bool:
        return next(self.check(value, schema, "", depth + 1), None) is None

    def _combined(self, value: Any, schema: Mapping[str, Any], at: str, depth: int) -> _Found:
        for one in schema.get("allOf") or ():
            yield from self.check(value, one, at, depth + 1)
        if "anyOf" in schema and not any(self._fits(value, one, depth) for one in schema["anyOf"]):
            yield at, "this fits none of the forms that are allowed"
        if "oneOf" in schema and sum(self._fits(value, one, depth) for one in schema["oneOf"]) != 1:
            yield at, "this must fit exactly one of the forms that are allowed"
        if "not" in schema and self._fits(value, schema["not"], depth):
            yield at, "this is of a form that is not allowed"

    def _members(self, value: dict[str, Any], schema: Mapping[str, Any], at: str, depth: int) -> _Found:
        known: Mapping[str, Any] = schema.get("properties") or {}
        patterns: Mapping[str, Any] = schema.get("patternProperties") or {}
        yield from ((at, f"{name!r} is missing") for name in schema.get("required") or () if name not in value)
        for name, member in value.items():
            there = f"{at}.{name[:64]}" if at else name[:64]
            matching = [one for pattern, one in patterns.items() if _matches(pattern, name)]
            matching += [known[name]] if name in known else []
            for one in matching:
                yield from self.check(member, one, there, depth + 1)
            if matching or "additionalProperties" not in schema:
                continue
            if schema["additionalProperties"] is False:
                yield there, "this name is not allowed"
            else:
                yield from self.check(member, schema["additionalProperties"], there, depth + 1)

    def _items(self, value: list[Any], schema: Mapping[str, Any], at: str, depth: int) -> _Found:
        first: list[Any] = schema.get("prefixItems") or []
        for index, item in enumerate(value):
            one: Any = first[index] if index < len(first) else schema.get("items", True)
            yield from self.check(item, one, f"{at}[{index}]", depth + 1)

    def _referred(self, reference: Any) -> Any:
        found: Any = self._root
        if not isinstance(reference, str) or not reference.startswith("#"):
            return True
        for part in filter(None, unquote(reference[1:]).split("/")):
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or key not in found:
                return True
            found = cast("Mapping[str, Any]", found)[key]
        return found


def _plain(value: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    """Find what is wrong with *value* itself."""
    kinds: Any = schema.get("type")
    if kinds is not None:
        wanted = [kinds] if isinstance(kinds, str) else list(kinds)
        if not any(_TYPES.get(kind, _anything)(value) for kind in wanted):
            yield f"this must be of type {' or '.join(map(str, wanted))}"
    if "enum" in schema and not any(_same(value, one) for one in schema["enum"]):
        yield f"this must be one of {', '.join(map(repr, schema['enum']))}"
    if "const" in schema and not _same(value, schema["const"]):
        yield f"this must be {schema['const']!r}"
    for keyword, (kind, wrong, words) in _LIMITS.items():
        if keyword in schema and _TYPES[kind](value) and wrong(value, schema[keyword]):
            yield words.format(schema[keyword])


def _anything(_: Any) -> bool:
    return True


def _same(one: Any, other: Any) -> bool:
    """Compare as JSON does: `true` is not 1, but 1.0 is."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        left, right = cast("list[Any]", one), cast("list[Any]", other)
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(one, dict) and isinstance(other, dict):
        mine, yours = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
        return mine.keys() == yours.keys() and all(_same(mine[key], yours[key]) for key in mine)
    return bool(one == other)


def _matches(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:  # JSON schemas have JavaScript's patterns, and Python does not know them all
        return True


def _repeats(items: list[Any]) -> bool:
    return any(_same(item, other) for index, item in enumerate(items) for other in items[:index])


def _divides(value: float, step: float) -> bool:
    if isinstance(value, int) and isinstance(step, int):
        return value % step == 0
    try:
        return math.isclose(value / step, round(value / step), rel_tol=1e-9, abs_tol=1e-9)  # 0.3 is three times 0.1
    except OverflowError:  # an integer that no float can hold
        return Fraction(value) % Fraction(step) == 0


_LIMITS: dict[str, tuple[str, Callable[[Any, Any], bool], str]] = {
    "minimum": ("number", lambda value, limit: value < limit, "this must be at least {}"),
    "maximum": ("number", lambda value, limit: value > limit, "this must be at most {}"),
    "exclusiveMinimum": ("number", lambda value, limit: value <= limit, "this must be more than {}"),
    "exclusiveMaximum": ("number", lambda value, limit: value >= limit, "this must be less than {}"),
    "multipleOf": ("number", lambda value, step: not _divides(value, step), "this must be a multiple of {}"),
    "minLength": ("string", lambda value, limit: len(value) < limit, "this needs {} characters or more"),
    "maxLength": ("string", lambda value, limit: len(value) > limit, "this must have at most {} characters"),
    "pattern": ("string", lambda value, pattern: not _matches(pattern, value), "this must match the pattern {!r}"),
    "minItems": ("array", lambda value, limit: len(value) < limit, "this needs {} items or more"),
    "maxItems": ("array", lambda value, limit: len(value) > limit, "this must have at most {} items"),
    "uniqueItems": ("array", lambda value, unique: bool(unique) and _repeats(value), "no two items may be the same"),
    "minProperties": ("object", lambda value, limit: len(value) < limit, "this needs {} members or more"),
    "maxProperties": ("object", lambda value, limit: len(value) > limit, "this must have at most {} members"),
}
"""Of each keyword: the type it is about, when a value breaks it, and the words for that."""
