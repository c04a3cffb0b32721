"""Refusals: requests for chat completions, Responses and embeddings that the API answers with status 400."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, cast

from otelier.testing.server._replies import Reply
from otelier.testing.server._requests import Json, part
from otelier.testing.server._types import bad_request, misfit, validator

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


_RANGES: Final = {
    "temperature": (0, 2), "top_p": (0, 1), "presence_penalty": (-2, 2), "frequency_penalty": (-2, 2),
    "n": (1, 128), "max_tokens": (1, None), "max_completion_tokens": (1, None), "max_output_tokens": (16, None),
    "top_logprobs": (0, 20), "dimensions": (1, None),
}  # fmt: skip
_INTEGERS: Final = ("n", "max_tokens", "max_completion_tokens", "max_output_tokens", "top_logprobs", "dimensions")
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]+")
_NAME_CHARS: Final = 64
_STOPS: Final = 4


def refusal(endpoint: str, body: Json) -> Reply | None:
    """Return the error that *body* deserves at *endpoint*, `chat`, `responses` or `embeddings`; `None` for none."""
    found = misfit(endpoint, body)
    if found is not None:
        return found
    return next(_both(_of_ranges(body), _RULES[endpoint](body)), None)


def warm_up() -> None:
    """Load now what the first request would wait for."""
    for endpoint in _RULES:
        validator(endpoint)


def _both(*rules: Iterable[Reply]) -> Iterator[Reply]:
    for each in rules:
        yield from each


def _of_ranges(body: Json) -> Iterator[Reply]:
    for name, (least, most) in _RANGES.items():
        value = body.get(name)
        kind = "integer" if name in _INTEGERS else "decimal"
        if value is not None and most is not None and value > most:
            yield bad_request(
                f"Invalid '{name}': {kind} above maximum value. Expected a value <= {most}, but got {value} instead.",
                name, f"{kind}_above_max_value",
            )  # fmt: skip
        if value is not None and value < least:
            yield bad_request(
                f"Invalid '{name}': {kind} below minimum value. Expected a value >= {least}, but got {value} instead.",
                name, f"{kind}_below_min_value",
            )  # fmt: skip


def _empty(name: str) -> Reply:
    return bad_request(
        f"Invalid '{name}': empty array. Expected an array with minimum length 1, but got an empty array instead.",
        name, "empty_array",
    )  # fmt: skip


# --- chat completions ------------------------------------------------------------------------------------------
def _of_chat(body: Json) -> Iterator[Reply]:
    messages: list[Json] = body["messages"]
    if not messages:
        yield _empty("messages")
    yield from (_empty(f"messages[{n}].content") for n, message in enumerate(messages) if message.get("content") == [])
    yield from _unpaired_tools(messages)
    tools: list[Json] = body.get("tools") or []
    if body.get("tools") == []:
        yield _empty("tools")
    yield from _of_functions([part(tool, "function") for tool in tools], "tools[{}].function")
    for name in ("tool_choice", "parallel_tool_calls"):
        if not tools and body.get(name) not in (None, "none") and not body.get("functions"):
            yield bad_request(f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are specified.", name)
    if body.get("stream_options") and not body.get("stream"):
        yield bad_request("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    stops: Any = body.get("stop")
    count = len(cast("list[str]", stops)) if isinstance(stops, list) else 0
    if count > _STOPS:
        yield bad_request(
            f"Invalid 'stop': array too long. Expected an array with maximum length {_STOPS}, but got an array with "
            f"length {count} instead.", "stop", "array_above_max_length",
        )  # fmt: skip
    wanted = part(body, "response_format")
    if wanted.get("type") == "json_object" and "json" not in json.dumps(messages).lower():
        yield bad_request(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
            "messages",
        )
    asked = part(wanted, "json_schema")
    yield from _of_answer(asked, "response_format", None)


def _unpaired_tools(messages: list[Json]) -> Iterator[Reply]:
    """Yield an error for each tool message that answers no call, and for calls that are not answered."""
    called: list[str] = []
    open_calls: list[str] = []
    for number, message in enumerate(messages):
        if message["role"] == "tool":
            if not called:
                yield bad_request(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
                    "'tool_calls'.", f"messages.[{number}].role",
                )  # fmt: skip
            elif message["tool_call_id"] not in called:
                yield bad_request(
                    f"Invalid parameter: 'tool_call_id' of '{message['tool_call_id']}' not found in 'tool_calls' of "
                    "previous message.", f"messages.[{number}].tool_call_id",
                )  # fmt: skip
            open_calls = [call for call in open_calls if call != message["tool_call_id"]]
            continue
        if open_calls:
            yield _unanswered(open_calls, f"messages.[{number}].role")
        calls: list[Json] = message.get("tool_calls") or []
        called = [str(call.get("id")) for call in calls]
        open_calls = list(called)
    if open_calls:
        yield _unanswered(open_calls, "messages")


def _unanswered(calls: list[str], where: str) -> Reply:
    return bad_request(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        f"The following tool_call_ids did not have response messages: {', '.join(calls)}", where,
    )  # fmt: skip


# --- Responses -------------------------------------------------------------------------------------------------
def _of_responses(body: Json) -> Iterator[Reply]:
    given: Any = body.get("input")
    elsewhere = body.get("previous_response_id") or body.get("conversation")
    if given is None and not elsewhere and not body.get("prompt"):
        yield bad_request(
            "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation_id' must be provided.",
            "input", "missing_required_parameter",
        )  # fmt: skip
    items = cast("list[Json]", given) if isinstance(given, list) else []
    for kind in ("function_call", "custom_tool_call"):
        words = kind.replace("_", " ")
        called = [item.get("call_id") for item in items if item.get("type") == kind]
        answered = [item.get("call_id") for item in items if item.get("type") == f"{kind}_output"]
        if not elsewhere:
            yield from (
                bad_request(f"No tool call found for {words} output with call_id {call}.", "input")
                for call in answered if call not in called
            )  # fmt: skip
        yield from (
            bad_request(f"No tool output found for {words} {call}.", "input") for call in called if call not in answered
        )
    tools: list[Json] = body.get("tools") or []
    functions = [tool if tool.get("type") == "function" else Json() for tool in tools]
    yield from _of_functions(functions, "tools[{}]")
    wanted = part(part(body, "text"), "format")
    said = json.dumps([given, body.get("instructions")]).lower()
    if wanted.get("type") == "json_object" and "json" not in said and not elsewhere:
        yield bad_request(
            "Response input messages must contain the word 'json' in some form to use 'text.format' of type "
            "'json_object'.", "input",
        )  # fmt: skip
    if wanted.get("type") == "json_schema":
        yield from _of_answer(wanted, "text.format.schema", "invalid_json_schema")


# --- embeddings ------------------------------------------------------------------------------------------------
def _of_embeddings(body: Json) -> Iterator[Reply]:
    given: Any = body["input"]
    if given in ("", []):
        yield bad_request(f"Invalid 'input': input cannot be an empty {'array' if given == [] else 'string'}.", "input")
    for number, each in enumerate(cast("list[Any]", given) if isinstance(given, list) else ()):
        if each == "":
            yield bad_request(f"Invalid 'input[{number}]': input cannot be an empty string.", f"input[{number}]")


# --- functions and schemas -------------------------------------------------------------------------------------
def _of_functions(functions: list[Json], place: str) -> Iterator[Reply]:
    for number, function in enumerate(functions):
        if not function:
            continue
        where, name = place.format(number), str(function.get("name"))
        yield from _of_name(name, f"{where}.name")
        fault = root_fault(part(function, "parameters"), strict=function.get("strict") is True)
        if fault is not None:
            message = f"Invalid schema for function '{name}': {fault}"
            yield bad_request(message, f"{where}.parameters", "invalid_function_parameters")


def _of_answer(asked: Json, where: str, code: str | None) -> Iterator[Reply]:
    if not asked:
        return
    name = str(asked.get("name"))
    yield from _of_name(name, f"{where}.name")
    fault = root_fault(part(asked, "schema"), strict=True) if asked.get("strict") else None
    if fault is not None:
        yield bad_request(f"Invalid schema for response_format '{name}': {fault}", where, code)


def _of_name(name: str, where: str) -> Iterator[Reply]:
    if len(name) > _NAME_CHARS:
        yield bad_request(
            f"Invalid '{where}': string too long. Expected a string with maximum length {_NAME_CHARS}, but got a "
            f"string with length {len(name)} instead.", where, "string_above_max_length",
        )  # fmt: skip
    if not _NAME.fullmatch(name):
        yield bad_request(
            f"Invalid '{where}': string does not match pattern. Expected a string that matches the pattern "
            f"'^{_NAME.pattern}$'.", where, "invalid_value",
        )  # fmt: skip


_RULES: Final = {"chat": _of_chat, "responses": _of_responses, "embeddings": _of_embeddings}
