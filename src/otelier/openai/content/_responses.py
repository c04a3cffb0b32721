"""The content of Responses calls: items sent and received, instructions, tools offered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from otelier import names
from otelier.openai.content._parts import (
    Message,
    Part,
    content_parts,
    input_message,
    other_part,
    output_message,
    parsed_arguments,
    plain_data,
    reasoning_part,
    result_data,
    text_part,
    tool_call_part,
    tool_definitions,
    tool_response_part,
)
from otelier.openai.reading._answer import ERROR_REASON, is_client_call, is_ended_call, reason_of_status
from otelier.openai.reading._fields import Arguments, field_of, fields_set, items_of, text_of

_ABSORBING_PARTS = frozenset(("text", "tool_call"))
_ABSORBING_REASONS = frozenset(("stop", "tool_call"))
_DONE = "stop"
_UNFINISHED = "incomplete"


def responses_request_content(arguments: Arguments) -> dict[str, list[Any]]:
    """Return what was sent, by attribute."""
    return {
        names.INPUT_MESSAGES: _input_messages(arguments.get("input")),
        names.SYSTEM_INSTRUCTIONS: _instructions(arguments.get("instructions")),
        names.TOOL_DEFINITIONS: tool_definitions(arguments.get("tools")),
    }


def responses_answer_content(response: Any) -> dict[str, list[Any]]:
    """Return what was received, by attribute."""
    return {names.OUTPUT_MESSAGES: output_messages(items_of(field_of(response, "output")))}


def fetched_content(response: Any) -> dict[str, list[Any]]:
    """Return what a stored response holds, by attribute; of what was sent it knows instructions and tools."""
    return {
        names.SYSTEM_INSTRUCTIONS: _instructions(field_of(response, "instructions")),
        names.TOOL_DEFINITIONS: tool_definitions(field_of(response, "tools")),
        **responses_answer_content(response),
    }


def output_messages(items: Any) -> list[Message]:
    """Return an output's *items* as messages; a tool call joins the message before it when both are of one turn."""
    messages: list[Message] = []
    for item in items:
        kind, status = kind_of(item), field_of(item, "status")
        parts = item_parts(item, kind)
        if is_client_call(item, kind):
            if is_ended_call(item, kind):
                _add_call(messages, parts[0])
        elif parts:
            messages.append(output_message(role_of(item, kind), parts, _reason(item, kind, status)))
    return messages


def _reason(item: Any, kind: str, status: Any) -> str:
    if kind == COMPACTION:
        return kind
    if status is None:
        return ERROR_REASON if fields_set(item).get("error") else _DONE
    return reason_of_status(status) or _UNFINISHED


def _instructions(value: Any) -> list[Part]:
    if isinstance(value, str):
        return [text_part(value)]
    return [part for item in items_of(value) for part in content_parts(field_of(item, "content"))]


def _input_messages(value: Any) -> list[Message]:
    if isinstance(value, str):
        return [input_message("user", [text_part(value)])]
    messages: list[Message] = []
    for item in items_of(value):
        kind = kind_of(item)
        parts = item_parts(item, kind)
        if not parts:
            continue
        message = input_message(role_of(item, kind), parts, field_of(item, "name") if kind == "message" else None)
        if messages and _only_calls(message) and _only_calls(messages[-1]):
            messages[-1]["parts"] += message["parts"]  # parallel calls are one turn, spread over items
        else:
            messages.append(message)
    return messages


def _only_calls(message: Message) -> bool:
    return message["role"] == ASSISTANT and all(part["type"] == "tool_call" for part in message["parts"])


def _add_call(messages: list[Message], call: Part) -> None:
    last = messages[-1] if messages else None
    if (
        last is not None
        and last["role"] == ASSISTANT
        and last["finish_reason"] in _ABSORBING_REASONS
        and all(part["type"] in _ABSORBING_PARTS for part in last["parts"])
    ):
        last["parts"].append(call)
        last["finish_reason"] = "tool_call"
    else:
        messages.append(output_message(ASSISTANT, [call], "tool_call"))


ASSISTANT: Final = "assistant"
COMPACTION: Final = "compaction"
_TOOL: Final = "tool"
_USER: Final = "user"
_MESSAGE: Final = "message"
_SERVER_CALLS: Final = {
    "code_interpreter_call": "code_interpreter",
    "file_search_call": "file_search",
    "image_generation_call": "image_generation",
    "mcp_call": "mcp",
    "mcp_list_tools": "mcp_list_tools",
    "program": "program",
    "shell_call": "shell",
    "tool_search_call": "tool_search",
    "web_search_call": "web_search",
}
_SERVER_OUTPUTS: Final = {"program_output": "program", "tool_search_output": "tool_search"}
_CLIENT_OUTPUTS: Final = frozenset(
    (
        "apply_patch_call_output",
        "computer_call_output",
        "custom_tool_call_output",
        "function_call_output",
        "local_shell_call_output",
        "shell_call_output",
    )
)
_JSON_TEXTS: Final = frozenset(("arguments", "output", "result"))
_REASONING_TEXTS: Final = ("reasoning_text", "reasoning_summary")  # the latter in `content` until 1.67
_FROM_USER: Final = frozenset(("compaction_trigger", "configuration_update", "item_reference", "mcp_approval_response"))


def kind_of(item: Any) -> str:
    """Return the kind of an item; a message may have none."""
    kind = field_of(item, "type")
    return kind if isinstance(kind, str) else _MESSAGE if field_of(item, "role") else ""


def role_of(item: Any, kind: str) -> str:
    """Return the role of an *item* of that *kind*."""
    role = field_of(item, "role")
    if isinstance(role, str) and role:
        return role
    if _is_client_output(item, kind):
        return _TOOL
    return _USER if kind in _FROM_USER else ASSISTANT


def item_parts(item: Any, kind: str) -> list[Part]:
    """Return the parts of an *item* of that *kind*; unknown kinds stay as the provider has them."""
    if kind == _MESSAGE:
        return content_parts(field_of(item, "content"))
    if kind == "reasoning":
        return _reasoning_items(item)
    if kind == COMPACTION:  # what was compacted is encrypted
        return [{"id": field_of(item, "id"), "type": kind}]
    if is_client_call(item, kind):
        return [_client_call(item, kind)]
    if _is_client_output(item, kind):
        return [tool_response_part(call_id_of(item), _output(item))]
    if kind in _SERVER_OUTPUTS:
        return [_server_output(item, kind)]
    if kind in _SERVER_CALLS:
        return [_server_call(item, kind)]
    return [other_part(item)] if kind else []


def call_id_of(item: Any) -> str | None:
    """Return the id by which a tool's answer is known to be one to its call."""
    return text_of(field_of(item, "call_id")) or text_of(field_of(item, "id")) or None


def _reasoning_items(item: Any) -> list[Part]:
    texts = [field_of(block, "text") for block in items_of(field_of(item, "summary"))]
    texts += [
        field_of(block, "text")
        for block in items_of(field_of(item, "content"))
        if field_of(block, "type") in _REASONING_TEXTS
    ]
    return [reasoning_part(text) for text in texts if isinstance(text, str)]


def _client_call(item: Any, kind: str) -> Part:
    name, arguments = _CLIENT_CALLS[kind](item)
    return tool_call_part(call_id_of(item), name, arguments)


def _function_call(item: Any) -> tuple[str, Any]:
    return text_of(field_of(item, "name")), parsed_arguments(field_of(item, "arguments"))


def _custom_call(item: Any) -> tuple[str, Any]:
    return text_of(field_of(item, "name")), plain_data(field_of(item, "input"))


def _computer_call(item: Any) -> tuple[str, Any]:
    found = {name: field_of(item, name) for name in ("action", "actions")}
    return "computer", {name: plain_data(value) for name, value in found.items() if value is not None}


def _taking(name: str, member: str) -> Callable[[Any], tuple[str, Any]]:
    return lambda item: (name, plain_data(field_of(item, member)))


_CLIENT_CALLS: Final[dict[str, Callable[[Any], tuple[str, Any]]]] = {
    "apply_patch_call": _taking("apply_patch", "operation"),
    "computer_call": _computer_call,
    "custom_tool_call": _custom_call,
    "function_call": _function_call,
    "local_shell_call": _taking("local_shell", "action"),
    "shell_call": _taking("shell", "action"),
    "tool_search_call": _taking("tool_search", "arguments"),
}


def _output(item: Any) -> Any:
    """Return what the client's tool answered, under the first name that items have it by."""
    given = (field_of(item, name) for name in ("output", "tools", "status"))
    return next((value for value in given if value is not None), None)


def _is_client_output(item: Any, kind: str) -> bool:
    if kind == "tool_search_output":
        return field_of(item, "execution") == "client"
    return kind in _CLIENT_OUTPUTS


def _server_call(item: Any, kind: str) -> Part:
    details, item_id, call_id = _details(item, _SERVER_CALLS[kind])
    name = details.pop("name", None)
    return {
        "name": name if isinstance(name, str) else _SERVER_CALLS[kind],
        "server_tool_call": details,
        "id": call_id or item_id,
        "type": "server_tool_call",
    }


def _server_output(item: Any, kind: str) -> Part:
    details, _, call_id = _details(item, _SERVER_OUTPUTS[kind])
    return {"server_tool_call_response": details, "id": call_id, "type": "server_tool_call_response"}


def _details(item: Any, tool: str) -> tuple[Part, str | None, str | None]:
    """Return the members of an item as the provider names them, for its *tool*; and the item's id and call's."""
    details = {
        key: result_data(value) if key in _JSON_TEXTS else value
        for key, value in plain_data(fields_set(item)).items()
        if key != "type"
    }
    item_id, call_id = text_of(details.pop("id", None)), text_of(details.pop("call_id", None))
    details["type"] = tool
    return details, item_id or None, call_id or None
