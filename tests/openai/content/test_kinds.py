"""Every kind of item, part, tool and role that the client's own types list is told as what it is."""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin

import pytest
import typing_extensions
from openai.types import chat, responses

from otelier.openai.content._chat import StreamedChoice, chat_answer_content, chat_request_content
from otelier.openai.content._responses import responses_answer_content, responses_request_content

INPUT, OUTPUT, TOOLS = "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.tool.definitions"
CANARY = "what it says"
_CANARIES = re.compile(r"<<(\w+)>>")
_WRAPPERS = {typing_extensions.Required, typing_extensions.NotRequired, typing_extensions.Annotated}
_WRAPPERS |= {getattr(typing, name) for name in ("Required", "NotRequired") if hasattr(typing, name)}

_BESIDE = frozenset(("id", "call_id", "file_id", "created_by", "namespace", "fingerprint"))
"""Beside the content: told where an id refers to it, or the item is told as its provider has it."""
_SILENT = frozenset(("encrypted_content", "authorization", "headers"))
"""What is encrypted, and what authorises."""
_CITED = frozenset(("filename", "token"))
_CHECKS = frozenset(("code", "message"))
_SILENT_OF = {
    "message": _CITED,
    "output_text": _CITED,
    "computer_call": _CHECKS,
    "computer_call_output": _CHECKS,
    "shell_call": frozenset(("description", "name", "path")),  # of its environment
    "function_call_output": frozenset(("name",)),
    "function": frozenset(("output_schema",)),
    # By its id, where it has one.
    "file": frozenset(("file_data", "file_name", "filename")),  # openai 1 has both words for its name
    "input_file": frozenset(("file_data", "file_url", "filename")),
}
"""What stands beside the content of one kind, and is not told."""


def members(union: Any) -> Iterator[type[Any]]:
    """The classes of a union, however it is written."""
    union = getattr(union, "__value__", union)
    origin = get_origin(union)
    if origin in (Union, types.UnionType):
        for one in get_args(union):
            yield from members(one)
    elif getattr(union, "__metadata__", None) is not None or origin in _WRAPPERS:
        yield from members(get_args(union)[0])
    elif isinstance(union, type):
        yield union


def annotations(kind: type[Any]) -> dict[str, Any]:
    """The fields of a TypedDict or a model, with their types."""
    fields: Any = getattr(kind, "model_fields", None)
    if fields is not None:
        return {name: field.annotation for name, field in fields.items()}
    return typing_extensions.get_type_hints(kind)


def literals(annotation: Any) -> tuple[Any, ...]:
    """The values of a literal type, in whatever it is wrapped."""
    annotation = getattr(annotation, "__value__", annotation)
    if get_origin(annotation) is typing.Literal:
        return get_args(annotation)
    return tuple(value for inner in get_args(annotation) if inner is not type(None) for value in literals(inner))


def kinds(module: Any, *unions: str) -> list[Any]:
    """Each value of `type` (or of `role`, where there is no type) that the classes of some unions may have."""
    return list(_kinds(module, *unions))


def _kinds(module: Any, *unions: str) -> Iterator[Any]:
    for name in unions:
        for kind in members(getattr(module, name, ())):
            known = annotations(kind)
            for value in literals(known.get("type", known.get("role"))):
                yield pytest.param(kind, value, id=f"{kind.__name__}-{value}")


def canary(name: str) -> str:
    """A text that says which field it stands in."""
    return f"<<{name}>>"


def canaries(value: Any) -> set[str]:
    """The fields whose texts are somewhere in *value*."""
    return set(_CANARIES.findall(json.dumps(value)))


def example(annotation: Any, name: str = "", depth: int = 5) -> Any:
    """Something that fits the type of the field *name*, with a canary for each text."""
    annotation = getattr(annotation, "__value__", annotation)
    origin, inner = get_origin(annotation), get_args(annotation)
    if getattr(annotation, "__metadata__", None) is not None or origin in _WRAPPERS:
        return example(inner[0], name, depth)
    if origin is typing.Literal:
        return inner[0]
    if origin in (Union, types.UnionType):
        return example(next(one for one in inner if one is not type(None)), name, depth)
    if (origin is not None and issubclass(origin, dict)) or annotation is dict:
        return {"key": canary(name)}
    if origin is not None:
        return [example(inner[0], name, depth)]
    if annotation in (str, object, typing.Any):
        return canary(name)
    if annotation in (int, float, bool):
        return annotation(1)
    if depth and isinstance(annotation, type) and hasattr(annotation, "__annotations__"):
        return {field: example(one, field, depth - 1) for field, one in annotations(annotation).items()}
    return None


def made(kind: type[Any], value: Any) -> dict[str, Any]:
    """An example of a class, as what is asked for."""
    found = example(kind)
    found["type" if "type" in found else "role"] = value
    return found


def check_told(value: Any, given: Any, told: Any) -> None:
    """Look whether all that *given* says is told, and nothing that is silent in what is of that kind."""
    assert canaries(told) - _BESIDE == canaries(given) - _BESIDE - _SILENT - _SILENT_OF.get(value, frozenset())


def check_parts(messages: list[Any]) -> None:
    """Look at the form of what is told."""
    for message in messages:
        assert isinstance(message["role"], str)
        assert message["parts"]
        assert "name" not in message or isinstance(message["name"], str)
        for part in message["parts"]:
            assert isinstance(part["type"], str)
            assert None not in (part.get("name", ""), part.get("content", ""))


PART_OF = {
    "message": {"text"},
    "reasoning": {"reasoning"},
    "compaction": {"compaction"},
    "function_call": {"tool_call"},
    "custom_tool_call": {"tool_call"},
    "computer_call": {"tool_call"},
    "local_shell_call": {"tool_call"},
    "shell_call": {"tool_call"},
    "apply_patch_call": {"tool_call"},
    "tool_search_call": {"tool_call", "server_tool_call"},
    "function_call_output": {"tool_call_response"},
    "custom_tool_call_output": {"tool_call_response"},
    "computer_call_output": {"tool_call_response"},
    "local_shell_call_output": {"tool_call_response"},
    "shell_call_output": {"tool_call_response"},
    "apply_patch_call_output": {"tool_call_response"},
    "tool_search_output": {"tool_call_response", "server_tool_call_response"},
    "program_output": {"server_tool_call_response"},
    "code_interpreter_call": {"server_tool_call"},
    "file_search_call": {"server_tool_call"},
    "image_generation_call": {"server_tool_call"},
    "mcp_call": {"server_tool_call"},
    "mcp_list_tools": {"server_tool_call"},
    "program": {"server_tool_call"},
    "web_search_call": {"server_tool_call"},
}


@pytest.mark.parametrize(("kind", "value"), kinds(responses, "ResponseInputItemParam"))
def test_items_sent(kind, value):
    """Every item that a request may hold is a message of its role, with a part that says what it is."""
    item = made(kind, value)
    found = responses_request_content({"input": [item]})[INPUT]
    check_parts(found)
    (message,) = found
    told = {part["type"] for part in message["parts"]}
    assert told <= PART_OF.get(value, {value})
    if "role" in item:
        assert message["role"] == item["role"]
    if told == {"tool_call_response"}:
        assert message["role"] == "tool"
    check_told(value, item, message)


@pytest.mark.parametrize(("kind", "value"), kinds(responses, "ResponseOutputItem"))
def test_items_received(kind, value):
    """Every item that an answer may hold is told too, as a mapping and as the client's own model."""
    item = made(kind, value)
    if "status" in item:
        item["status"] = "completed"
    as_model = kind.model_construct(**item)
    for given in (item, as_model):
        found = responses_answer_content({"output": [given]})[OUTPUT]
        check_parts(found)
        (message,) = found
        assert {part["type"] for part in message["parts"]} <= PART_OF.get(value, {value})
        assert message["finish_reason"]
        check_told(value, item, message)


PARTS = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "refusal": "text",
    "summary_text": "reasoning",
    "reasoning_text": "reasoning",
    "image_url": "uri",
    "input_image": "uri",
    "computer_screenshot": "uri",
    "file": "file",
    "input_file": "file",
}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *kinds(chat, "ChatCompletionContentPartParam"),
        *kinds(chat.chat_completion_assistant_message_param, "ContentArrayOfContentPart"),
        *kinds(responses, "ResponseInputContentParam", "ResponseFunctionCallOutputItemParam"),
        *kinds(responses.response_output_message_param, "Content"),
    ],
)
def test_parts_sent(kind, value):
    """Every part of a message is a part of the conventions."""
    part = made(kind, value)
    if value == "input_audio":
        part["input_audio"] = {"data": "aGVsbG8=", "format": "wav"}
    chats = chat_request_content({"messages": [{"role": "user", "content": [part]}]})[INPUT]
    items = responses_request_content({"input": [{"role": "user", "content": [part]}]})[INPUT]
    assert chats == items
    check_parts(chats)
    assert chats[0]["parts"][0]["type"] == PARTS.get(value, "uri")
    check_told(value, part, chats)


@pytest.mark.parametrize(("kind", "value"), kinds(chat, "ChatCompletionMessageParam"))
def test_messages_sent(kind, value):
    """Every role is told as it is, but for the one that answers of tools had before they were called so."""
    message = made(kind, value)
    (told,) = chat_request_content({"messages": [message]})[INPUT]
    check_parts([told])
    assert told["role"] == {"function": "tool"}.get(value, value)
    check_told(value, message, told)
    kinds_told = [part["type"] for part in told["parts"]]
    if value in ("tool", "function"):
        assert kinds_told == ["tool_call_response"]
    if value == "assistant":
        assert set(kinds_told) == {"tool_call", "text", "file"}
        assert kinds_told.count("tool_call") == 1 + len(message["tool_calls"])  # and `function_call`


@pytest.mark.parametrize(
    ("kind", "value"),
    [*kinds(chat, "ChatCompletionToolUnionParam", "ChatCompletionToolParam"), *kinds(responses, "ToolParam")],
)
def test_tools_offered(kind, value):
    """Every tool is told with its name, its kind and its settings, but for what authorises its use."""
    tool = made(kind, value)
    for found in (chat_request_content({"tools": [tool]}), responses_request_content({"tools": [tool]})):
        (definition,) = found[TOOLS]
        assert definition["type"] == value
        assert isinstance(definition["name"], str)
        assert not _SILENT & set(definition)
        check_told(value, tool, definition)


@pytest.mark.parametrize(
    ("kind", "value"),
    kinds(chat, "ChatCompletionMessageToolCallUnionParam", "ChatCompletionMessageToolCallParam"),
)
def test_calls_of_chat(kind, value):
    """Every call of a tool is told with id, name and what it is called with, sent and received."""
    call = made(kind, value)
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    (sent,) = chat_request_content({"messages": [message]})[INPUT]
    (received,) = chat_answer_content({"choices": [{"finish_reason": "tool_calls", "message": message}]})[OUTPUT]
    arguments = canary("input" if value == "custom" else "arguments")
    expected = {"arguments": arguments, "name": canary("name"), "id": canary("id"), "type": "tool_call"}
    assert sent["parts"] == received["parts"] == [expected]


@pytest.mark.parametrize("kind", ["reasoning_text", "reasoning_summary"])
def test_reasoning_of_all_releases(kind):
    """What a model thought is told under each name that releases of the client have for it in an item's content."""
    item = {"type": "reasoning", "id": "r-1", "content": [{"type": kind, "text": CANARY}]}
    (sent,) = responses_request_content({"input": [item]})[INPUT]
    assert sent["parts"] == [{"content": CANARY, "type": "reasoning"}]


def test_calls_that_nobody_knows_yet():
    """A call of a kind that no client of chat knows is told as its provider has it, sent, received and streamed."""
    call = {"id": "w", "type": "weird", "weird": {"z": 1, "text": CANARY}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    (sent,) = chat_request_content({"messages": [message]})[INPUT]
    received = chat_answer_content({"choices": [{"finish_reason": "tool_calls", "message": message}]})[OUTPUT][0]
    streamed = StreamedChoice()
    for piece in (
        {"index": 0, "id": "w", "type": "weird", "weird": {"z": 1, "text": CANARY[:5]}},
        {"index": 0, "id": "w", "type": "weird", "weird": {"text": CANARY[5:]}},
    ):
        streamed.add({"delta": {"tool_calls": [piece]}})
    assert sent["parts"] == received["parts"] == streamed.message("tool_calls")["parts"] == [call]


def test_what_nobody_knows_yet():
    """A kind that no client knows is told as its provider has it."""
    item = {"type": "telepathy_call", "id": "t-1", "thought": CANARY}
    part = {"type": "smell", "smell": {"of": CANARY}}
    tool = {"type": "telepathy", "range": 7}
    found = responses_request_content({"input": [item, {"role": "user", "content": [part]}], "tools": [tool]})
    assert [message["parts"] for message in found[INPUT]] == [[item], [part]]
    assert found[TOOLS] == [{"name": "telepathy", "range": 7, "type": "telepathy"}]
    assert responses_answer_content({"output": [item]})[OUTPUT][0]["parts"] == [item]
