"""Schemas of answers and arguments: the request for the provider, the reader of the answer, and what does not fit.

A JSON schema is read as draft 2020-12 has it. What cannot be known here (`format`, references to other documents,
keywords with values that the draft does not have) passes: a provider may check more, never less.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeGuard, cast

from otelier.errors import AnswerError, NotJsonError
from otelier.llm._json import as_object, find_json, sendable_schema
from otelier.llm._strict import WRAPPED, is_wrapped, object_form, strict_form

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

Schema: TypeAlias = "type[BaseModel] | Mapping[str, Any]"
"""A pydantic model class, or a JSON schema."""
Reader: TypeAlias = Callable[[Any], Any]
"""Takes an `Answer` and returns its text as data, or raises `AnswerError` with the answer in it."""

SHOWN: Final = 5
"""Problems in the message of an error; all are in its `problems`."""
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
"""Words for each keyword, with the value that the schema has there."""


def format_of(schema: Schema) -> dict[str, Any]:
    """Return the response format that asks a provider for *schema*.

    A model class is asked for strictly, where the strict form can say it. A JSON schema is not, because most of them
    break one of the rules that strict schemas have. What is no object is asked for as the only member of one.
    """
    if is_model_class(schema):
        return _format_of_class(schema)
    plain = cast("Mapping[str, Any]", schema)
    return _format(str(plain.get("title") or "answer"), object_form(plain), strict=False)


@lru_cache(maxsize=256)
def _schema_of_class(schema: type[BaseModel]) -> dict[str, Any]:
    # Made once: it takes pydantic longer than all else that a question does here.
    return sendable_schema(schema.model_json_schema())


@lru_cache(maxsize=256)
def _format_of_class(schema: type[BaseModel]) -> dict[str, Any]:
    plain = _schema_of_class(schema)
    strict = strict_form(plain)
    return _format(schema.__name__, object_form(plain) if strict is None else strict, strict=strict is not None)


def _format(name: str, schema: dict[str, Any], *, strict: bool) -> dict[str, Any]:
    allowed = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:64]
    return {"type": "json_schema", "json_schema": {"name": allowed or "answer", "schema": schema, "strict": strict}}


def reader_of_format(response_format: Mapping[str, Any]) -> Reader | None:
    """Return what reads an answer to *response_format*; `None` where it asks for text."""
    kind = response_format.get("type")
    if kind == "json_object":
        return reader_of({})
    if kind == "json_schema":
        return reader_of(as_object(as_object(response_format.get("json_schema")).get("schema")))
    return None


def reader_of(schema: Schema) -> Reader:
    """Return what reads an answer to *schema*."""
    return _into_model(schema) if is_model_class(schema) else _into_json(cast("Mapping[str, Any]", schema))


def is_model_class(schema: Any) -> TypeGuard[type[BaseModel]]:
    """Tell whether *schema* is a pydantic model class."""
    if not isinstance(schema, type):
        return False
    from pydantic import BaseModel  # not before it is needed: `import otelier.llm` stays light

    return issubclass(schema, BaseModel)


def _into_model(schema: Any) -> Reader:
    def read(answer: Any) -> Any:
        from pydantic import ValidationError

        # Pydantic's own parser takes `NaN`, and has other words for what is no JSON.
        text, value = _json_in(answer)
        try:
            if _holds_answer(value) and is_wrapped(_schema_of_class(schema)):
                return schema.model_validate_json(json.dumps(value[WRAPPED]))
            return schema.model_validate_json(text)
        except ValidationError as exc:
            # Raised below: as the cause of our error this one, which quotes the answer, would be in tracebacks.
            problems = pydantic_problems(exc)
        raise _answer_error(answer, problems, _schema_of_class(schema))

    return read


def _into_json(schema: Mapping[str, Any]) -> Reader:
    def read(answer: Any) -> Any:
        _, value = _json_in(answer)
        if is_wrapped(schema) and _holds_answer(value):
            value = value[WRAPPED]
        if problems := schema_problems(value, schema):
            raise _answer_error(answer, problems, schema)
        return value

    return read


def _holds_answer(value: Any) -> bool:
    return isinstance(value, dict) and list(cast("dict[str, Any]", value)) == [WRAPPED]


def _json_in(answer: Any) -> tuple[str, Any]:
    try:
        return find_json(answer.text)
    except NotJsonError as exc:
        problem = str(exc)
    raise AnswerError(
        f"Cannot read the answer of model {answer.model!r} as JSON: {problem}. "
        "Ask for JSON in the prompt too, or use a model that keeps to a schema; the text is in `error.answer.text`.",
        answer=answer,
        problems=[f"the answer: this is no JSON: {problem}"],
    )


def pydantic_problems(exc: ValidationError) -> list[Problem]:
    """Return what pydantic found; the words of validators, and its own ones of some classes, quote the input."""
    errors = exc.errors(include_url=False, include_input=False)
    return [Problem(one["loc"], _words(one), _words_without_input(one)) for one in errors]


def _words(problem: Any) -> str:
    if problem["type"] == "union_tag_invalid":
        return f"Input should have one of the tags {problem['ctx']['expected_tags']}"
    return problem["msg"]


def _words_without_input(problem: Any) -> str:
    """Return pydantic's words where nothing is put into them, else the class of the problem alone."""
    from pydantic_core import PydanticKnownError

    try:
        return PydanticKnownError(problem["type"]).message()
    except TypeError:  # there is something to put in
        kind = problem["type"]
    except KeyError:  # a class that a validator made up
        kind = "value_error"
    return f"this is not valid ({kind})"


def _answer_error(answer: Any, problems: list[Problem], schema: Mapping[str, Any]) -> AnswerError:
    shown = join_problems(shown_lines_of(problems, schema))
    return AnswerError(
        f"The answer of model {answer.model!r} does not fit the schema: {shown}. "
        "Ask again with `error.problems` in the prompt; the text is in `error.answer.text`.",
        answer=answer,
        problems=lines_of(problems),
    )


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that does not fit."""

    path: Sequence[int | str]
    """Where it is; names in it may be the model's own."""
    words: str
    """What it is, for the model."""
    shown: str
    """The same without a word of the model's, for messages of exceptions: these end up in traces."""


def schema_problems(value: Any, schema: Mapping[str, Any]) -> list[Problem]:
    """Return what of *value* does not fit *schema*, in the order of their places.

    Example:
        >>> schema = {"properties": {"age": {"type": "integer"}}, "required": ["name"]}
        >>> lines_of(schema_problems({"age": "old"}, schema))
        ["the answer: 'name' is missing", 'age: this must be of type integer']
    """
    from otelier.llm._validator import errors_of  # loads jsonschema: `import otelier.llm` stays light

    try:
        errors = errors_of(value, schema)
    except RecursionError:  # a schema may refer to itself without end
        return [Problem((), _TOO_DEEP, _TOO_DEEP)]
    return [Problem(path, words, words) for error in errors for path, words in _described(error)]


def lines_of(problems: Iterable[Problem], root: str = "the answer") -> list[str]:
    """Return *problems* as lines for the model, each with its place; *root* is the name of the whole value."""
    return list(dict.fromkeys(f"{path_text(one.path) or root}: {one.words}" for one in problems))


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


def join_problems(problems: list[str]) -> str:
    """Return *problems* for the message of an error: the first ones, and how many others there are.

    Example:
        >>> join_problems(["a"] * 7)
        'a; a; a; a; a; and 2 more'
    """
    shown = "; ".join(problems[:SHOWN])
    return shown + (f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else "")


def path_text(path: Iterable[int | str]) -> str:
    """Write a place: `items[0].city`; names, which a model may have made up, are cut.

    Example:
        >>> path_text(["items", 0, "city"])
        'items[0].city'
    """
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step[:64]}" for step in path).lstrip(".")


def _names_in(schema: Any) -> set[str]:
    """Return the names of all members and definitions in *schema*."""
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


def _described(error: Any) -> Iterator[tuple[Sequence[int | str], str]]:
    """Describe an error of the library in our own words, with its place: its words quote values."""
    path, wanted, given = list(error.path), error.validator_value, error.instance
    match error.validator:
        case "required":  # an error for each name, without that name
            yield from ((path, f"{name!r} is missing") for name in wanted if name not in given)
        case "dependentRequired":
            needed = (name for one, names in wanted.items() if one in given for name in names)
            yield from ((path, f"{name!r} is missing") for name in needed if name not in given)
        case "additionalProperties":
            yield from (([*path, name], _NOT_ALLOWED) for name in _names_not_allowed(given, error.schema))
        case "type":
            yield path, f"this must be of type {wanted if isinstance(wanted, str) else ' or '.join(wanted)}"
        case "enum":
            yield path, f"this must be one of {', '.join(map(repr, wanted))}"
        case "items":  # itself only where it is `false`
            yield path, f"this must have at most {len(error.schema.get('prefixItems', ()))} items"
        case keyword:
            yield path, _WORDS.get(keyword, "this does not fit the schema").format(wanted)


def _names_not_allowed(given: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    known, patterns = schema.get("properties", ()), "|".join(schema.get("patternProperties", ()))
    return (name for name in given if name not in known and not (patterns and re.search(patterns, name)))
