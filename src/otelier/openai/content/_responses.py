"""The content of Responses calls: items sent and received, instructions, tools offered."""

from __future__ import annotations

from typing import Any

from otelier import names
from otelier.openai.content._items import ASSISTANT, COMPACTION, kind_of, parts_of, role_of
from otelier.openai.content._parts import (
    Message,
    Part,
    content_parts,
    input_message,
    output_message,
    text_part,
    tool_definitions,
)
from otelier.openai.reading._answer import ERROR_REASON, is_client_call, is_ended_call, reason_of_status
from otelier.openai.reading._fields import Arguments, field_of, fields_set, items_of

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
        parts = parts_of(item, kind)
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
        parts = parts_of(item, kind)
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
