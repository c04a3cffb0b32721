"""The content of chat completions: messages sent and received, tools offered."""

from __future__ import annotations

from typing import Any

from otelier import names
from otelier.openai.content._parts import (
    Message,
    Part,
    content_parts,
    function_definition,
    input_message,
    output_message,
    parsed,
    refusal_parts,
    text_part,
    tool_call_part,
    tool_response_part,
)
from otelier.openai.reading._answer import ERROR_REASON
from otelier.openai.reading._fields import Arguments, Facts, facts_of, field_of, items_of, text_of

ASSISTANT = "assistant"
_TOOL = "tool"
_TOOL_REASONS = frozenset(("tool_calls", "function_call"))


def chat_request_content(arguments: Arguments) -> dict[str, list[Any]]:
    """Return what was sent, by attribute."""
    messages = (_input_message(message) for message in items_of(arguments.get("messages")))
    functions = (
        field_of(tool, "function") for tool in items_of(arguments.get("tools")) if field_of(tool, "type") == "function"
    )
    return {
        names.INPUT_MESSAGES: [message for message in messages if message is not None],
        names.TOOL_DEFINITIONS: [function_definition(function) for function in functions if function],
    }


def chat_answer_content(answer: Any) -> dict[str, list[Any]]:
    """Return what was received, by attribute: one message per choice."""
    found: list[Message] = []
    for choice in items_of(field_of(answer, "choices")):
        message = field_of(choice, "message")
        if message:
            parts = _calls(message) + content_parts(field_of(message, "content")) + refusal_parts(message)
            role = text_of(field_of(message, "role"))
            found.append(output_message(role, parts, message_reason(field_of(choice, "finish_reason"))))
    return {names.OUTPUT_MESSAGES: found}


def message_reason(reason: Any) -> str:
    """Return a finish reason under the name that messages use for it."""
    told = text_of(reason)
    return "tool_call" if told in _TOOL_REASONS else told or ERROR_REASON


class StreamedChoice:
    """One choice of a stream, put together from its deltas."""

    __slots__ = ("_calls", "_refusal", "_text")

    def __init__(self) -> None:
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._calls: dict[int, _StreamedCall] = {}

    def add(self, choice: Facts) -> None:
        """Add the delta of one chunk."""
        delta = facts_of(choice.get("delta"))
        content = delta.get("content")
        if isinstance(content, str):
            self._text.append(content)
        refusal = delta.get("refusal")
        if refusal is not None:
            self._refusal.append(text_of(refusal))
        for call in items_of(delta.get("tool_calls") or ()):
            index = field_of(call, "index")
            known = self._calls.get(index)
            if known is None:
                known = self._calls[index] = _StreamedCall(call)
            known.arguments.append(text_of(field_of(field_of(call, "function"), "arguments")))

    def message(self, finish_reason: str | None) -> Message:
        """Return the message as far as it came."""
        parts = [text_part("".join(self._text))] if self._text else []
        refusal = "".join(self._refusal)
        if refusal:
            parts.append(text_part(refusal))
        parts += [self._calls[index].part() for index in sorted(self._calls)]
        return output_message(ASSISTANT, parts, message_reason(finish_reason))


class _StreamedCall:
    __slots__ = ("_id", "_name", "arguments")

    def __init__(self, call: Any) -> None:
        self._id = field_of(call, "id")
        self._name = field_of(field_of(call, "function"), "name")
        self.arguments: list[str] = []

    def part(self) -> Part:
        arguments = "".join(self.arguments)
        return tool_call_part(self._id, self._name, parsed(arguments) if arguments else None)


def _input_message(message: Any) -> Message | None:
    role, content = field_of(message, "role"), field_of(message, "content")
    if role == _TOOL:
        parts = [tool_response_part(field_of(message, "tool_call_id"), content)]
    elif role == ASSISTANT:
        parts = _calls(message) + content_parts(content) + refusal_parts(message)
    else:
        parts = content_parts(content)
    return input_message(str(role), parts, field_of(message, "name")) if parts else None


def _calls(message: Any) -> list[Part]:
    calls: list[Part] = []
    for call in items_of(field_of(message, "tool_calls")):
        function = field_of(call, "function")
        arguments = field_of(function, "arguments")
        name = text_of(field_of(function, "name"))
        calls.append(tool_call_part(field_of(call, "id"), name, parsed(arguments) if arguments else None))
    return calls
