"""Checks of requests against the openai client's own types, as JSON schemas, with errors in the API's words.

The client's types are made for type checkers: as pydantic types they let any iterable pass unseen. As JSON schemas they
say what an array holds.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from pydantic import TypeAdapter

from otelier.testing.server._replies import Reply, failure
from otelier.testing.server._requests import Json

_TAGS: Final = ("type", "role")
"""Members that distinguish the kinds of a message, an item or a part."""
_ALWAYS: Final = (*_TAGS, "model", "messages", "input", "content", "tool_call_id", "name", "function", "json_schema")
"""Names that a request of any year has where it has them at all."""
_KINDS: Final = {
    "string": "a string", "array": "an array", "object": "an object", "integer": "an integer", "number": "a decimal",
    "boolean": "a boolean", "null": "null",
}  # fmt: skip


@functools.cache
def validator(endpoint: str) -> Draft202012Validator:
    """Return the validator of `chat`, `responses` or `embeddings` requests; it takes half a second to make."""
    # Imported here: with it the server would load the client before anybody asks it for something.
    import openai
    from openai.types import EmbeddingCreateParams
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
    from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

    types = {
        "chat": CompletionCreateParamsNonStreaming,
        "responses": ResponseCreateParamsNonStreaming,
        "embeddings": EmbeddingCreateParams,
    }
    schema: Any = TypeAdapter(types[endpoint]).json_schema()
    for each in (schema, *schema.get("$defs", {}).values()):
        _let_be_missing(each)
    if openai.VERSION.startswith("1."):  # pragma: no cover -- of `make floor`
        for each in (schema, *schema.get("$defs", {}).values()):
            _let_be_newer(each)
    schema["properties"]["stream"] = {"type": "boolean"}  # what is not streamed and what is have one type each
    return Draft202012Validator(schema)


def _let_be_missing(schema: Json) -> None:
    """Ask for no name whose value may be null: the client's types do so here and there, and the API does not."""
    properties: Json = schema.get("properties", {})
    schema["required"] = [
        name for name in schema.get("required", ()) if {"type": "null"} not in properties[name].get("anyOf", ())
    ]


def _let_be_newer(schema: Json) -> None:  # pragma: no cover -- as above
    """Allow what came after the types of openai 1: more values, and names that may be left out."""
    properties: Json = schema.get("properties", {})
    schema["required"] = [name for name in schema["required"] if name in _ALWAYS]
    for name, allowed in properties.items():
        if name not in _TAGS:
            for each in (allowed, *allowed.get("anyOf", ())):
                each.pop("enum", None)


def misfit(endpoint: str, body: Json) -> Reply | None:
    """Return the error for the first thing in *body* that the types do not allow; `None` when everything fits."""
    given = {name: value for name, value in body.items() if value is not None}
    errors: Iterable[ValidationError] = cast("Any", validator(endpoint)).iter_errors(given)
    first = min(errors, key=lambda error: list(map(str, error.absolute_path)), default=None)
    schema = cast("Json", validator(endpoint).schema)
    return None if first is None else _explained(first, schema.get("$defs", {}))


def bad_request(message: str, param: str | None, code: str | None = None) -> Reply:
    """Return the API's error for a request that is not valid."""
    reply = failure(400, message=message, code=code)
    reply.body["error"]["param"] = param
    return reply


def and_list(words: Iterable[str]) -> str:
    """Return `'a', 'b', and 'c'`."""
    quoted = [f"'{word}'" for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])}, and {quoted[-1]}"


def _explained(error: ValidationError, definitions: Json) -> Reply:
    """Return the API's error for *error*: of several kinds of value that would do, the one that was meant decides."""
    while error.context and error.validator in ("anyOf", "oneOf"):
        branches: dict[Any, list[ValidationError]] = {}
        for each in error.context:
            branches.setdefault(each.relative_schema_path[0], []).append(each)
        of_kind = {n: branch for n, branch in branches.items() if not any(_is_kind(each) for each in branch)}
        if not of_kind:
            kinds = [_expected(each) for branch in branches.values() for each in branch if _is_kind(each)]
            return _wrong_type(error, [kind for kind in kinds if kind != "null"])
        meant = {n: branch for n, branch in of_kind.items() if not any(_is_tag(each) for each in branch)}
        tags = [each for branch in of_kind.values() for each in branch if _is_tag(each)]
        if tags and not any(_shares_tag(error, number, definitions) for number in meant):
            wrong = [each for each in tags if each.validator != "required"]
            return _wrong_value(wrong) if wrong else _missing(tags[0])
        error = min(meant.values(), key=len)[0]
    if error.validator == "required":
        return _missing(error)
    if error.validator in ("const", "enum"):
        return _wrong_value([error])
    return _wrong_type(error, [_expected(error)])


def _shares_tag(error: ValidationError, number: int, definitions: Json) -> bool:
    """Return whether the value of *error* has the member that distinguishes branch *number* from the others."""
    branch: Json = cast("list[Json]", error.validator_value)[number]
    branch = definitions.get(str(branch.get("$ref", "")).rpartition("/")[2], branch)
    return any(tag in branch.get("properties", ()) and tag in cast("Json", error.instance) for tag in _TAGS)


def _is_kind(error: ValidationError) -> bool:
    return error.validator == "type" and not error.relative_path


def _expected(error: ValidationError) -> str:
    return str(error.validator_value)


def _is_tag(error: ValidationError) -> bool:
    if error.validator == "required":
        return not error.relative_path and _missing_name(error) in _TAGS
    return error.validator in ("const", "enum") and len(error.relative_path) == 1 and error.relative_path[0] in _TAGS


def _missing(error: ValidationError) -> Reply:
    where = ".".join(filter(None, [_path(error), _missing_name(error)]))
    return bad_request(f"Missing required parameter: '{where}'.", where, "missing_required_parameter")


def _missing_name(error: ValidationError) -> str:
    given = cast("Mapping[str, Any]", error.instance)
    # One error for each name that is missing; its message is the only place that says which.
    wanted = cast("list[str]", error.validator_value)
    return next((name for name in wanted if name not in given and repr(name) in error.message), "")


def _wrong_value(errors: list[ValidationError]) -> Reply:
    allowed: dict[str, None] = {}
    for error in errors:
        values: Any = error.validator_value if error.validator == "enum" else [error.validator_value]
        allowed.update(dict.fromkeys(map(str, values)))
    supported = f"Supported values are: {and_list(allowed)}."
    return bad_request(f"Invalid value: '{errors[0].instance}'. {supported}", _path(errors[0]), "invalid_value")


def _wrong_type(error: ValidationError, kinds: list[str]) -> Reply:
    where, got = _path(error), _KINDS[_kind_of(error.instance)]
    if where.startswith("messages") and where.endswith(".content") and error.instance is None:
        where = where.replace("[", ".[")
        return bad_request("Invalid value for 'content': expected a string, got null.", where)
    names = list(dict.fromkeys(_KINDS[kind] for kind in kinds))
    names = ["array of objects" if name == "an array" and len(names) > 1 else name for name in names]
    expected = names[0] if len(names) == 1 else f"one of {' or '.join(names)}"
    return bad_request(
        f"Invalid type for '{where}': expected {expected}, but got {got} instead.", where, "invalid_type"
    )


def _kind_of(value: Any) -> str:
    kinds: tuple[tuple[Any, str], ...] = (
        (bool, "boolean"), (str, "string"), (int, "integer"), (float, "number"), (list, "array"), (dict, "object"),
    )  # fmt: skip
    return next((kind for type_, kind in kinds if isinstance(value, type_)), "null")


def _path(error: ValidationError) -> str:
    """Return where *error* stands, as the API writes it: `messages[0].content`."""
    text = ""
    for step in error.absolute_path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text
