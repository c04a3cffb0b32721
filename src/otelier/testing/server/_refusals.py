"""What the real API refuses of a request for chat completions, in its own words, before a model is asked.

See: https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, cast

from otelier.testing.server._replies import Reply, failure
from otelier.testing.server._requests import Json, OpenAIRequest, part
from otelier.testing.server._strict import problem_of

ROLES: Final = ("system", "assistant", "user", "function", "tool", "developer")
_PARTS: Final = {"user": ("text", "image_url", "input_audio", "file"), "assistant": ("text", "refusal")}
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NEEDS: Final = (("stream_options", "stream"), ("tool_choice", "tools"), ("parallel_tool_calls", "tools"))


def refusal(request: OpenAIRequest) -> Reply | None:
    """Return the error that *request* deserves; `None` when it is as it must be."""
    problem = next(_problems(request.asked), None)
    return None if problem is None else failure(400, message=problem)


def schema_refusal(request: OpenAIRequest) -> Reply | None:
    """Return the error that the schemas of *request* deserve; `None` when they are as they must be."""
    problem = next(_schema_problems(request.asked), None)
    return None if problem is None else failure(400, message=problem)


def _schema_problems(body: Json) -> Iterator[str]:
    for number, tool in enumerate(_list(body.get("tools"))):
        yield from _of_tool(tool, f"tools[{number}]")
    yield from _of_format(part(body, "response_format"))


def _problems(body: Json) -> Iterator[str]:
    messages = body.get("messages")
    if not isinstance(messages, list):
        yield "Missing required parameter: 'messages'."
        return
    if not messages:
        yield "Invalid 'messages': empty array. Expected an array with minimum length 1."
    for number, message in enumerate(cast("list[Any]", messages)):
        yield from _of_message(message, f"messages[{number}]")
    yield from _of_calls(cast("list[Any]", messages))
    for name, needed in _NEEDS:
        if body.get(name) is not None and not body.get(needed):
            yield f"'{name}' is only allowed when '{needed}' is specified."


def _of_message(message: Any, place: str) -> Iterator[str]:
    if not isinstance(message, dict):
        yield f"Invalid type for '{place}': expected an object."
        return
    known = cast("Json", message)
    role, content = known.get("role"), known.get("content")
    if role not in ROLES:
        yield f"Invalid value: {role!r}. Supported values are: {', '.join(map(repr, ROLES))}."
        return
    says_otherwise = role == "assistant" and known.keys() & {"tool_calls", "function_call", "refusal", "audio"}
    if content is None and not says_otherwise:
        yield f"Invalid value for 'content': expected a string, got null. ({place})"
    elif content is not None and not isinstance(content, (str, list)):
        yield f"Invalid type for '{place}.content': expected one of a string or array of objects."
    for number, one in enumerate(_list(content)):
        kind: Any = cast("Json", one).get("type") if isinstance(one, dict) else None
        if kind is None:
            yield f"Missing required parameter: '{place}.content[{number}].type'."
        elif kind not in _PARTS.get(role, ("text",)):
            yield f"Invalid value: {kind!r}. Supported values are: {', '.join(_PARTS.get(role, ('text',)))}. ({place})"
    for number, call in enumerate(_list(known.get("tool_calls"))):
        for name in ("id", "type"):
            if not isinstance(call, dict) or not isinstance(cast("Json", call).get(name), str):
                yield f"Missing required parameter: '{place}.tool_calls[{number}].{name}'."


def _of_calls(messages: list[Any]) -> Iterator[str]:
    """Yield where a call of a tool has no answer behind it, or an answer no call before it."""
    waiting: list[Any] = []
    answered = False
    for message in messages:
        if message.get("role") == "tool":
            if not answered:
                yield "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
            waiting = [one for one in waiting if one != message.get("tool_call_id")]
            continue
        if waiting:
            break
        waiting = [part({"call": call}, "call").get("id") for call in _list(message.get("tool_calls"))]
        answered = bool(waiting)
    if waiting:
        ids = ", ".join(map(str, waiting))
        yield (
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {ids}"
        )


def _of_tool(tool: Any, place: str) -> Iterator[str]:
    function = part(cast("Json", tool), "function") if isinstance(tool, dict) else {}
    if not isinstance(tool, dict) or cast("Json", tool).get("type") != "function":
        return  # custom tools are of any form
    if not _NAME.fullmatch(str(function.get("name") or "")):
        yield f"Invalid '{place}.function.name': string does not match pattern. Expected '^[a-zA-Z0-9_-]+$'."
    parameters, where = part(function, "parameters"), f"Invalid schema for function {function.get('name')!r}"
    if "parameters" in function and parameters.get("type") != "object":
        yield f"{where}: schema must be a JSON Schema of 'type: \"object\"'."
    elif function.get("strict") and (problem := problem_of(parameters)):
        yield f"{where}: {problem}"


def _of_format(wanted: Json) -> Iterator[str]:
    if wanted.get("type") != "json_schema":
        return
    asked = part(wanted, "json_schema")
    name, schema = str(asked.get("name") or ""), part(asked, "schema")
    if not _NAME.fullmatch(name):
        yield "Invalid 'response_format.json_schema.name': string does not match pattern '^[a-zA-Z0-9_-]+$'."
    elif schema.get("type", "object" if not asked.get("strict") else None) != "object":
        yield f"Invalid schema for response_format {name!r}: schema must be a JSON Schema of 'type: \"object\"'."
    elif asked.get("strict") and (problem := problem_of(schema)):
        yield f"Invalid schema for response_format {name!r}: {problem}"


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []
