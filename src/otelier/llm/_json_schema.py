"""A value against a JSON schema: what does not fit, in words that a model can mend it by.

A schema is read as draft 2020-12 has it. What cannot be known here (`format`, references to other documents, keywords
with values that the draft does not have) passes: a provider may check more, never less.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

SHOWN = 5
"""So many problems stand in the message of an error; all are in its `problems`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that does not fit."""

    path: Sequence[int | str]
    """Where it is; names in it may be the model's own."""
    words: str
    """What it is, for the model."""
    shown: str
    """The same without a word of the model's, for messages of exceptions: these end up in traces."""


def problems_of(value: Any, schema: Mapping[str, Any]) -> list[Problem]:
    """Return what of *value* does not fit *schema*, in the order of their places.

    Example:
        >>> lines_of(problems_of({"age": "old"}, {"properties": {"age": {"type": "integer"}}, "required": ["name"]}))
        ["the answer: 'name' is missing", 'age: this must be of type integer']
    """
    from otelier.llm._validator import errors_of  # loads jsonschema: `import otelier.llm` stays light

    try:
        errors = errors_of(value, schema)
    except RecursionError:  # a schema may refer to itself without end
        return [Problem((), _TOO_DEEP, _TOO_DEEP)]
    return [Problem(path, words, words) for error in errors for path, words in _told(error)]


def lines_of(problems: Iterable[Problem], root: str = "the answer") -> list[str]:
    """Return *problems* as the model is told, each with its place; *root* is what the whole of it is called."""
    return list(dict.fromkeys(f"{place_of(one.path) or root}: {one.words}" for one in problems))


def shown_lines_of(problems: Iterable[Problem], schema: Mapping[str, Any]) -> list[str]:
    """Return *problems* without a word of the model's: names that *schema* does not know are `*`.

    Example:
        >>> problem = Problem(["ages", "Alice"], "Alice is too old", "value_error")
        >>> shown_lines_of([problem], {"properties": {"ages": {"type": "object"}}})
        ['ages.*: value_error']
    """
    known = _names_in(schema)
    shown: list[Problem] = []
    for one in problems:
        path = [step if isinstance(step, int) or step in known else "*" for step in one.path]
        shown.append(Problem(path, one.shown, one.shown))
    return lines_of(shown)


def listed(problems: list[str]) -> str:
    """Return *problems* for the message of an error: the first ones, and how many others there are.

    Example:
        >>> listed(["a"] * 7)
        'a; a; a; a; a; and 2 more'
    """
    told = "; ".join(problems[:SHOWN])
    return told + (f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else "")


def place_of(path: Iterable[int | str]) -> str:
    """Write a place: `items[0].city`; names, which a model may have made up, are cut.

    Example:
        >>> place_of(["items", 0, "city"])
        'items[0].city'
    """
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step[:64]}" for step in path).lstrip(".")


def _names_in(schema: Any) -> set[str]:
    """Return the names of all members and definitions that *schema* tells of."""
    known: set[str] = set()
    waiting = [schema]
    while waiting:
        one: Any = waiting.pop()
        if isinstance(one, list):
            waiting += cast("list[Any]", one)
        elif isinstance(one, dict):
            for key, value in cast("dict[str, Any]", one).items():
                waiting.append(value)
                if key in ("properties", "$defs") and isinstance(value, dict):
                    known.update(cast("dict[str, Any]", value))
    return known


def _told(error: Any) -> Iterator[tuple[Sequence[int | str], str]]:
    """Say in our own words what the library found, with its place: its words quote values."""
    path, wanted, given = list(error.path), error.validator_value, error.instance
    match error.validator:
        case "required":  # an error for each name, without that name
            yield from ((path, f"{name!r} is missing") for name in wanted if name not in given)
        case "dependentRequired":
            needed = (name for one, names in wanted.items() if one in given for name in names)
            yield from ((path, f"{name!r} is missing") for name in needed if name not in given)
        case "additionalProperties":
            yield from (([*path, name], _NOT_ALLOWED) for name in _unknown(given, error.schema))
        case "type":
            yield path, f"this must be of type {wanted if isinstance(wanted, str) else ' or '.join(wanted)}"
        case "enum":
            yield path, f"this must be one of {', '.join(map(repr, wanted))}"
        case "items":  # itself only where it is `false`
            yield path, f"this must have at most {len(error.schema.get('prefixItems', ()))} items"
        case keyword:
            yield path, _WORDS.get(keyword, "this does not fit the schema").format(wanted)


def _unknown(given: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    known, patterns = schema.get("properties", ()), "|".join(schema.get("patternProperties", ()))
    return (name for name in given if name not in known and not (patterns and re.search(patterns, name)))


_TOO_DEEP: Final = "this is nested too deeply"
_NOT_ALLOWED: Final = "this name is not allowed"
_WORDS: Final[Mapping[str | None, str]] = {
    None: "something here is not allowed",  # by the schema `false`, whose own place the library does not tell
    "anyOf": "this fits none of the forms that are allowed",
    "oneOf": "this must fit exactly one of the forms that are allowed",
    "not": "this is of a form that is not allowed",
    "const": "this must be {!r}",
    "minimum": "this must be at least {}",
    "maximum": "this must be at most {}",
    "exclusiveMinimum": "this must be more than {}",
    "exclusiveMaximum": "this must be less than {}",
    "multipleOf": "this must be a multiple of {}",
    "minLength": "this needs {} characters or more",
    "maxLength": "this must have at most {} characters",
    "pattern": "this must match the pattern {!r}",
    "minItems": "this needs {} items or more",
    "maxItems": "this must have at most {} items",
    "uniqueItems": "no two items may be the same",
    "contains": "one item must be of a certain form, and none is",
    "minContains": "{} items or more must be of a certain form",
    "maxContains": "at most {} items may be of a certain form",
    "unevaluatedItems": "this has items that are not allowed",
    "minProperties": "this needs {} members or more",
    "maxProperties": "this must have at most {} members",
    "propertyNames": _NOT_ALLOWED,
    "unevaluatedProperties": "this has names that are not allowed",
}
"""Of each keyword that says the same of every value: what it says, with what the schema has there."""
