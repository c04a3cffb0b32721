"""What an answer shall look like: how the provider is told, and how the answer is read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard, cast

from otelier.errors import AnswerError, NotJsonError
from otelier.llm._carried import carried
from otelier.llm._json import found_in, members_of
from otelier.llm._json_schema import Problem, lines_of, listed, problems_of, shown_lines_of
from otelier.llm._strict import WRAPPED, is_wrapped, object_form, strict_form

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

Schema: TypeAlias = "type[BaseModel] | Mapping[str, Any]"
"""A pydantic model class, or a JSON schema."""
Reader: TypeAlias = Callable[[Any], Any]
"""Takes an `Answer` and returns its text as data, or raises `AnswerError` with the answer in it."""


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
def _plain(schema: type[BaseModel]) -> dict[str, Any]:
    # Made once: it takes pydantic longer than all else that a question does here.
    return carried(schema.model_json_schema())


@lru_cache(maxsize=256)
def _format_of_class(schema: type[BaseModel]) -> dict[str, Any]:
    plain = _plain(schema)
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
        return reader_of(members_of(members_of(response_format.get("json_schema")).get("schema")))
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
        text, value = _found(answer)
        try:
            if _holds_answer(value) and is_wrapped(_plain(schema)):
                return schema.model_validate_json(json.dumps(value[WRAPPED]))
            return schema.model_validate_json(text)
        except ValidationError as exc:
            # Raised below: as the cause of our error this one, which quotes the answer, would be in tracebacks.
            problems = problems_found(exc)
        raise _misfit(answer, problems, _plain(schema))

    return read


def _into_json(schema: Mapping[str, Any]) -> Reader:
    def read(answer: Any) -> Any:
        _, value = _found(answer)
        if is_wrapped(schema) and _holds_answer(value):
            value = value[WRAPPED]
        if problems := problems_of(value, schema):
            raise _misfit(answer, problems, schema)
        return value

    return read


def _holds_answer(value: Any) -> bool:
    return isinstance(value, dict) and list(cast("dict[str, Any]", value)) == [WRAPPED]


def _found(answer: Any) -> tuple[str, Any]:
    try:
        return found_in(answer.text)
    except NotJsonError as exc:
        problem = str(exc)
    raise AnswerError(
        f"Cannot read the answer of model {answer.model!r} as JSON: {problem}. "
        "Ask for JSON in the prompt too, or use a model that keeps to a schema; the text is in `error.answer.text`.",
        answer=answer,
        problems=[f"the answer: this is no JSON: {problem}"],
    )


def problems_found(exc: ValidationError) -> list[Problem]:
    """Return what pydantic found; the words of validators, and its own ones of some classes, quote the input."""
    errors = exc.errors(include_url=False, include_input=False)
    return [Problem(one["loc"], _words(one), _shown(one)) for one in errors]


def _words(problem: Any) -> str:
    if problem["type"] == "union_tag_invalid":
        return f"Input should have one of the tags {problem['ctx']['expected_tags']}"
    return problem["msg"]


def _shown(problem: Any) -> str:
    """Return pydantic's words where nothing is put into them, else the class of the problem alone."""
    from pydantic_core import PydanticKnownError

    try:
        return PydanticKnownError(problem["type"]).message()
    except TypeError:  # there is something to put in
        kind = problem["type"]
    except KeyError:  # a class that a validator made up
        kind = "value_error"
    return f"this is not valid ({kind})"


def _misfit(answer: Any, problems: list[Problem], schema: Mapping[str, Any]) -> AnswerError:
    return AnswerError(
        f"The answer of model {answer.model!r} does not fit the schema: {listed(shown_lines_of(problems, schema))}. "
        "Ask again with `error.problems` in the prompt; the text is in `error.answer.text`.",
        answer=answer,
        problems=lines_of(problems),
    )
