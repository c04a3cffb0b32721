"""The content of chat completions: messages sent and received, tools offered."""

from __future__ import annotations

from typing import Any

from otelier import names
from otelier.openai.content._parts import (
    Message,
    Part,
    blob_part,
    content_parts,
    file_part,
    function_definitions,
    input_message,
    other_part,
    output_message,
    parsed,
    plain,
    reasoning_part,
    refusal_parts,
    text_part,
    tool_call_part,
    tool_definitions,
    tool_response_part,
)
from otelier.openai.reading._answer import ERROR_REASON
from otelier.openai.reading._fields import Arguments, field_of, fields_set, items_of, text_of

ASSISTANT = "assistant"
_REASONING = ("reasoning_content", "reasoning")
_TOOL = "tool"
_FUNCTION = "function"  # the role that answers had before `tool_calls`
KNOWN_CALLS = frozenset(("", "custom", "function"))
_TOOL_REASONS = frozenset(("tool_calls", "function_call"))


def chat_request_content(arguments: Arguments) -> dict[str, list[Any]]:
    """Return what was sent, by attribute."""
    messages = (_input_message(message) for message in items_of(arguments.get("messages")))
    tools = tool_definitions(arguments.get("tools")) + function_definitions(arguments.get("functions"))
    return {
        names.INPUT_MESSAGES: [message for message in messages if message is not None],
        names.TOOL_DEFINITIONS: tools,
    }


def chat_answer_content(answer: Any) -> dict[str, list[Any]]:
    """Return what was received, by attribute: one message per choice."""
    found: list[Message] = []
    for choice in items_of(field_of(answer, "choices")):
        message = field_of(choice, "message")
        if message:
            parts = said(message)
            role = text_of(field_of(message, "role"))
            found.append(output_message(role, parts, message_reason(field_of(choice, "finish_reason"))))
    return {names.OUTPUT_MESSAGES: found}


def message_reason(reason: Any) -> str:
    """Return a finish reason under the name that messages use for it."""
    told = text_of(reason)
    return "tool_call" if told in _TOOL_REASONS else told or ERROR_REASON


def _input_message(message: Any) -> Message | None:
    role, content = field_of(message, "role"), field_of(message, "content")
    if role in (_TOOL, _FUNCTION):
        role, parts = _TOOL, [tool_response_part(field_of(message, "tool_call_id"), content)]
    elif role == ASSISTANT:
        parts = said(message)
    else:
        parts = content_parts(content)
    return input_message(str(role), parts, field_of(message, "name")) if parts else None


def said(message: Any, *, calls_first: bool = True) -> list[Part]:
    """Return all that a message of the model says; in a stream its calls come last."""
    message = fields_set(message)  # a model takes 2 us to say that it has no such field
    calls = _calls(message)
    return [
        *_reasoning(message),
        *(calls if calls_first else ()),
        *content_parts(field_of(message, "content")),
        *refusal_parts(message),
        *(_audio(audio) if (audio := field_of(message, "audio")) else ()),
        *(() if calls_first else calls),
    ]


def _reasoning(message: Any) -> list[Part]:
    """Return what the model thought, under either of the names that providers have for it."""
    for name in _REASONING:
        if isinstance(text := field_of(message, name), str) and text:
            return [reasoning_part(text)]
    return []


def _audio(audio: Any) -> list[Part]:
    """Return what was spoken: its words, and the sound by its hash, or by its id where that was told before."""
    transcript, data, audio_id = (field_of(audio, name) for name in ("transcript", "data", "id"))
    parts = [text_part(transcript)] if isinstance(transcript, str) and transcript else []
    sound = blob_part(None, "audio", data) if isinstance(data, str) and data else None
    if sound is not None:
        parts.append(sound)
    elif isinstance(audio_id, str) and audio_id:
        parts.append(file_part(None, "audio", audio_id))
    return parts


def _calls(message: Any) -> list[Part]:
    calls: list[Part] = []
    for call in items_of(field_of(message, "tool_calls")):
        call_id, function, custom = (field_of(call, name) for name in ("id", "function", "custom"))
        if function:
            calls.append(_call(call_id, function))
        elif custom:
            calls.append(_custom_call(call_id, custom))
        else:
            calls.append(_other_call(call))
    function = field_of(message, "function_call")  # what there was before `tool_calls`
    return [*calls, _call(None, function)] if function else calls


def _call(call_id: Any, function: Any) -> Part:
    arguments = field_of(function, "arguments")
    return tool_call_part(call_id, text_of(field_of(function, "name")), parsed(arguments) if arguments else None)


def _other_call(call: Any) -> Part:
    """Return a call of a kind that nobody knows as its provider has it; one of no kind is a function's."""
    kind = text_of(field_of(call, "type"))
    return _call(field_of(call, "id"), None) if kind in KNOWN_CALLS else other_part(call)


def _custom_call(call_id: Any, custom: Any) -> Part:
    return tool_call_part(call_id, text_of(field_of(custom, "name")), plain(field_of(custom, "input")))
