"""What an answer shall look like: how the provider is told, and how the answer is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard, cast

from otelier.errors import AnswerError
from otelier.llm._json import NotJsonError, members_of, parsed
from otelier.llm._json_schema import listed, place_of, problems_of

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

Schema: TypeAlias = "type[BaseModel] | Mapping[str, Any]"
"""A pydantic model class, or a JSON schema."""
Reader: TypeAlias = Callable[[Any], Any]
"""Takes an `Answer` and returns its text as data, or raises `AnswerError` with the answer in it."""


def format_of(schema: Schema) -> dict[str, Any]:
    """Return the response format that asks a provider for *schema*.

    A model class is asked for strictly, in the form that the client's own `parse` sends. A JSON schema is sent as it
    is and not strictly, because most of them break one of the rules that strict schemas have.
    """
    if is_model_class(schema):
        import openai  # not before a call is made

        tool: Any = openai.pydantic_function_tool(schema)
        return _format(schema.__name__, tool["function"]["parameters"], strict=True)
    plain = cast("Mapping[str, Any]", schema)
    return _format(str(plain.get("title") or "answer"), dict(plain), strict=False)


def _format(name: str, schema: dict[str, Any], *, strict: bool) -> dict[str, Any]:
    allowed = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:64]
    return {"type": "json_schema", "json_schema": {"name": allowed, "schema": schema, "strict": strict}}


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

        _value(answer)  # pydantic's own parser takes `NaN`, and has other words for what is no JSON
        try:
            return schema.model_validate_json(answer.text)
        except ValidationError as exc:
            # Raised below: as the cause of our error this one, which quotes the answer, would be in tracebacks.
            problems = problems_found(exc)
        raise _misfit(answer, problems)

    return read


def _into_json(schema: Mapping[str, Any]) -> Reader:
    def read(answer: Any) -> Any:
        value = _value(answer)
        if problems := problems_of(value, schema):
            raise _misfit(answer, problems)
        return value

    return read


def _value(answer: Any) -> Any:
    try:
        return parsed(answer.text)
    except NotJsonError as exc:
        problem = str(exc)
    raise AnswerError(
        f"Cannot read the answer of model {answer.model!r} as JSON: {problem}. "
        "Ask for JSON in the prompt too, or use a model that keeps to a schema; the text is in `error.answer.text`.",
        answer=answer,
        problems=[f"the answer: this is no JSON: {problem}"],
    )


def problems_found(exc: ValidationError, root: str = "the answer") -> list[str]:
    """Return what pydantic found, each problem with the place it is at; values are not quoted."""
    return [
        f"{place_of(one['loc']) or root}: {_words(one)}" for one in exc.errors(include_url=False, include_input=False)
    ]


def _words(problem: Any) -> str:
    if problem["type"] == "union_tag_invalid":  # the one whose words quote the input
        return f"Input should have one of the tags {problem['ctx']['expected_tags']}"
    return problem["msg"]


def _misfit(answer: Any, problems: list[str]) -> AnswerError:
    return AnswerError(
        f"The answer of model {answer.model!r} does not fit the schema: {listed(problems)}. "
        "Ask again with `error.problems` in the prompt; the text is in `error.answer.text`.",
        answer=answer,
        problems=problems,
    )
