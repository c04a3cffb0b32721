"""The content of Responses calls: items sent and received, instructions, tools offered."""

from __future__ import annotations

from typing import Any, Final

from otelier import names
from otelier.openai.content._parts import (
    Message,
    Part,
    content_parts,
    function_definition,
    input_message,
    output_message,
    parsed,
    plain,
    reasoning_part,
    text_part,
    tool_call_part,
    tool_response_part,
)
from otelier.openai.reading._answer import TOOL_CALLS, is_ended_call, reason_of_status
from otelier.openai.reading._fields import Arguments, field_of, items_of, text_of

ASSISTANT: Final = "assistant"
_TOOL_OUTPUTS = frozenset(("function_call_output", "custom_tool_call_output", "computer_call_output"))
_SERVER_TOOLS = {
    "code_interpreter_call": "code_interpreter",
    "file_search_call": "file_search",
    "image_generation_call": "image_generation",
    "mcp_call": "mcp",
    "mcp_list_tools": "mcp_list_tools",
    "tool_search_call": "tool_search",
    "web_search_call": "web_search",
}
_SERVER_TOOL_RESPONSES = {"tool_search_output": "tool_search"}
_ABSORBING_PARTS = frozenset(("text", "tool_call"))
_ABSORBING_REASONS = frozenset(("stop", "tool_call"))


def responses_request_content(arguments: Arguments) -> dict[str, list[Any]]:
    """Return what was sent, by attribute."""
    return {
        names.INPUT_MESSAGES: _input_messages(arguments.get("input")),
        names.SYSTEM_INSTRUCTIONS: _instructions(arguments.get("instructions")),
        names.TOOL_DEFINITIONS: _tool_definitions(arguments.get("tools")),
    }


def responses_answer_content(response: Any) -> dict[str, list[Any]]:
    """Return what was received, by attribute."""
    return {names.OUTPUT_MESSAGES: _messages(response)}


def fetched_content(response: Any) -> dict[str, list[Any]]:
    """Return what a stored response holds, by attribute; of what was sent it knows instructions and tools."""
    return {
        names.SYSTEM_INSTRUCTIONS: _instructions(field_of(response, "instructions")),
        names.TOOL_DEFINITIONS: _tool_definitions(field_of(response, "tools")),
        **responses_answer_content(response),
    }


def _messages(response: Any) -> list[Message]:
    """Return the output as messages; a tool call joins the message before it when both are of one turn."""
    messages: list[Message] = []
    for item in items_of(field_of(response, "output")):
        kind, status = field_of(item, "type"), field_of(item, "status")
        if is_ended_call(kind, status):
            _add_call(messages, _tool_call(item, kind))
        elif kind not in TOOL_CALLS:
            message = _output_message(item, kind, status)
            if message is not None:
                messages.append(message)
    return messages


def _instructions(value: Any) -> list[Part]:
    return [text_part(value)] if isinstance(value, str) else []


def _tool_definitions(tools: Any) -> list[Part]:
    found: list[Part] = []
    # Also sets and views of the caller's: only an iterator would be drained by looking at it.
    for tool in () if tools is None or isinstance(tools, str) or hasattr(tools, "__next__") else _listed(tools):
        kind, name = field_of(tool, "type"), field_of(tool, "name")
        if kind == "function":
            found.append(function_definition(tool))
        elif isinstance(kind, str):
            found.append({"name": name if isinstance(name, str) else kind, "type": kind})
    return found


def _listed(tools: Any) -> list[Any]:
    try:
        return list(tools)
    except TypeError:  # "not given"
        return []


def _input_messages(value: Any) -> list[Message]:
    if isinstance(value, str):
        return [input_message("user", [text_part(value)])]
    messages: list[Message] = []
    for item in items_of(value):
        message = _input_message(item)
        if message is None:
            continue
        if messages and _only_calls(message) and _only_calls(messages[-1]):
            messages[-1]["parts"] += message["parts"]  # parallel calls are one turn, spread over items
        else:
            messages.append(message)
    return messages


def _only_calls(message: Message) -> bool:
    return message["role"] == ASSISTANT and all(part["type"] == "tool_call" for part in message["parts"])


def _input_message(item: Any) -> Message | None:
    kind = field_of(item, "type")
    if kind in TOOL_CALLS:
        return input_message(ASSISTANT, [_tool_call(item, kind)])
    if kind in _TOOL_OUTPUTS:
        return input_message("tool", [tool_response_part(_call_id(item), field_of(item, "output"))])
    if kind == "reasoning":
        parts = _reasoning(item)
        return input_message(ASSISTANT, parts) if parts else None
    role, parts = field_of(item, "role"), content_parts(field_of(item, "content"))
    return input_message(role, parts, field_of(item, "name")) if isinstance(role, str) and parts else None


def _output_message(item: Any, kind: Any, status: Any) -> Message | None:
    if kind == "message":
        parts, reason = _answer_parts(item), reason_of_status(status)
        return None if reason is None else output_message(text_of(field_of(item, "role")), parts, reason)
    if kind == "reasoning":
        parts, reason = _reasoning(item), reason_of_status(status)
        return output_message(ASSISTANT, parts, reason) if parts and reason is not None else None
    if kind in _SERVER_TOOLS or kind in _SERVER_TOOL_RESPONSES:
        return _server_tool(item, kind, status)
    return None


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


def _answer_parts(item: Any) -> list[Part]:
    parts: list[Part] = []
    for block in items_of(field_of(item, "content")):
        text = field_of(block, "refusal" if field_of(block, "type") == "refusal" else "text")
        if isinstance(text, str):
            parts.append(text_part(text))
    return parts


def _reasoning(item: Any) -> list[Part]:
    texts = [field_of(block, "text") for block in items_of(field_of(item, "summary"))]
    texts += [
        field_of(block, "text")
        for block in items_of(field_of(item, "content"))
        if field_of(block, "type") == "reasoning_text"
    ]
    return [reasoning_part(text) for text in texts if isinstance(text, str)]


def _call_id(item: Any) -> Any:
    return text_of(field_of(item, "call_id")) or text_of(field_of(item, "id")) or None


def _tool_call(item: Any, kind: Any) -> Part:
    if kind == "computer_call":
        return tool_call_part(_call_id(item), "computer", _computer_arguments(item))
    raw = field_of(item, "arguments" if kind == "function_call" else "input")
    arguments = parsed(raw) if kind == "function_call" and isinstance(raw, str) else plain(raw)
    return tool_call_part(_call_id(item), text_of(field_of(item, "name")), arguments)


def _computer_arguments(item: Any) -> dict[str, Any]:
    item = _dumped(item)
    found = {name: field_of(item, name) for name in ("action", "actions")}
    return {name: plain(value) for name, value in found.items() if value is not None}


def _server_tool(item: Any, kind: str, status: Any) -> Message | None:
    """Return a tool that ran at the provider; its details stay as the provider names them."""
    if kind.startswith("tool_search") and field_of(item, "execution") != "server":
        return None
    reason = reason_of_status(status)
    if kind == "mcp_list_tools":
        reason = "error" if field_of(item, "error") else "stop"
    if reason is None:
        return None
    details = dict(_dumped(item))
    item_id, call_id, name = details.pop("id", None), details.pop("call_id", None), details.pop("name", None)
    call_id = call_id if isinstance(call_id, str) else None
    details.pop("type", None)
    details["type"] = tool = _SERVER_TOOLS.get(kind) or _SERVER_TOOL_RESPONSES[kind]
    if kind in _SERVER_TOOL_RESPONSES:
        part: Part = {"server_tool_call_response": details, "id": call_id, "type": "server_tool_call_response"}
    else:
        part = {
            "name": name if isinstance(name, str) else tool,
            "server_tool_call": details,
            "id": call_id or (item_id if isinstance(item_id, str) else None),
            "type": "server_tool_call",
        }
    return output_message(ASSISTANT, [part], reason)


def _dumped(item: Any) -> Any:
    dump = getattr(item, "model_dump", None)
    return dump(exclude_none=True, mode="json") if callable(dump) else item
