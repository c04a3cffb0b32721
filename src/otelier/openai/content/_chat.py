"""The content of chat completions: messages sent and received, whole or put together from the deltas of a stream."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

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
    parsed_arguments,
    plain_data,
    reasoning_part,
    refusal_parts,
    text_part,
    tool_call_part,
    tool_definitions,
    tool_response_part,
)
from otelier.openai.reading._answer import ERROR_REASON
from otelier.openai.reading._fields import (
    Arguments,
    Facts,
    facts_of,
    field_of,
    fields_set,
    is_mapping,
    is_sequence,
    items_of,
    text_of,
)

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
            parts = message_parts(message)
            role = text_of(field_of(message, "role"))
            found.append(output_message(role, parts, message_reason(field_of(choice, "finish_reason"))))
    return {names.OUTPUT_MESSAGES: found}


def message_reason(reason: Any) -> str:
    """Return a finish reason under the name that messages use for it."""
    known = text_of(reason)
    return "tool_call" if known in _TOOL_REASONS else known or ERROR_REASON


def _input_message(message: Any) -> Message | None:
    role, content = field_of(message, "role"), field_of(message, "content")
    if role in (_TOOL, _FUNCTION):
        role, parts = _TOOL, [tool_response_part(field_of(message, "tool_call_id"), content)]
    elif role == ASSISTANT:
        parts = message_parts(message)
    else:
        parts = content_parts(content)
    return input_message(str(role), parts, field_of(message, "name")) if parts else None


def message_parts(message: Any, *, calls_first: bool = True) -> list[Part]:
    """Return the parts of a message of the model's; in a stream its calls come last."""
    message = fields_set(message)  # a model takes 2 us to find that it has no such field
    calls = _call_parts(message)
    return [
        *_reasoning_parts(message),
        *(calls if calls_first else ()),
        *content_parts(field_of(message, "content")),
        *refusal_parts(message),
        *(_audio_parts(audio) if (audio := field_of(message, "audio")) else ()),
        *(() if calls_first else calls),
    ]


def _reasoning_parts(message: Any) -> list[Part]:
    """Return what the model thought, under either of the names that providers have for it."""
    for name in _REASONING:
        if isinstance(text := field_of(message, name), str) and text:
            return [reasoning_part(text)]
    return []


def _audio_parts(audio: Any) -> list[Part]:
    """Return what was spoken: its words, and the sound by its hash, or by its id where it was sent before."""
    transcript, data, audio_id = (field_of(audio, name) for name in ("transcript", "data", "id"))
    parts = [text_part(transcript)] if isinstance(transcript, str) and transcript else []
    sound = blob_part(None, "audio", data) if isinstance(data, str) and data else None
    if sound is not None:
        parts.append(sound)
    elif isinstance(audio_id, str) and audio_id:
        parts.append(file_part(None, "audio", audio_id))
    return parts


def _call_parts(message: Any) -> list[Part]:
    calls: list[Part] = []
    for call in items_of(field_of(message, "tool_calls")):
        call_id, function, custom = (field_of(call, name) for name in ("id", "function", "custom"))
        if function:
            calls.append(_function_call_part(call_id, function))
        elif custom:
            calls.append(_custom_call_part(call_id, custom))
        else:
            calls.append(_other_call_part(call))
    function = field_of(message, "function_call")  # what there was before `tool_calls`
    return [*calls, _function_call_part(None, function)] if function else calls


def _function_call_part(call_id: Any, function: Any) -> Part:
    arguments = field_of(function, "arguments")
    return tool_call_part(
        call_id, text_of(field_of(function, "name")), parsed_arguments(arguments) if arguments else None
    )


def _other_call_part(call: Any) -> Part:
    """Return a call of a kind that nobody knows as its provider has it; one of no kind is a function's."""
    kind = text_of(field_of(call, "type"))
    return _function_call_part(field_of(call, "id"), None) if kind in KNOWN_CALLS else other_part(call)


def _custom_call_part(call_id: Any, custom: Any) -> Part:
    return tool_call_part(call_id, text_of(field_of(custom, "name")), plain_data(field_of(custom, "input")))


class StreamedChoice:
    """Takes deltas, and gives the message as far as it came."""

    __slots__ = ("_audio", "_calls", "_latest", "_old_call", "_parts", "_reasoning", "_refusal", "_text")

    def __init__(self) -> None:
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._reasoning: list[str] = []
        self._parts: list[Any] = []
        self._calls: list[_StreamedCall] = []
        self._latest: dict[Any, _StreamedCall] = {}
        self._old_call: _StreamedCall | None = None
        self._audio: dict[str, str] = {}

    def add(self, choice: Facts) -> None:
        """Add the delta of one chunk."""
        # What most chunks bring is looked at here, and the rest where a chunk has any: a fifth less time.
        delta = choice.get("delta")
        facts = facts_of(delta)
        text = facts.get("content")
        if type(text) is str:
            self._text.append(text)
        elif is_sequence(text):
            self._parts += text
        get = facts.get
        if get("tool_calls") or get("refusal") or get("audio") or get("function_call") or get("reasoning_content"):
            self._add_others(facts)
        unknown: Any = getattr(delta, "__pydantic_extra__", None)  # no client of today knows what a model thinks
        if unknown:
            self._add_others(unknown)

    def message(self, finish_reason: str | None) -> Message:
        """Return the message as far as it came."""
        whole = {
            "reasoning": "".join(self._reasoning),
            "content": [*(("".join(self._text),) if self._text else ()), *self._parts],
            "refusal": "".join(self._refusal) or None,
            "audio": self._audio,
            "function_call": None if self._old_call is None else self._old_call.whole()["function"],
            "tool_calls": [call.whole() for call in self._calls],
        }
        return output_message(ASSISTANT, message_parts(whole, calls_first=False), message_reason(finish_reason))

    def _add_others(self, facts: Facts) -> None:
        self._refusal.append(text_of(facts.get("refusal")))
        self._reasoning.append(text_of(facts.get("reasoning_content")) or text_of(facts.get("reasoning")))
        for call in items_of(facts.get("tool_calls")):
            self._add_call(call)
        if facts.get("function_call"):  # what there was before `tool_calls`
            if self._old_call is None:
                self._old_call = _StreamedCall()
            self._old_call.add({"function": facts["function_call"]})
        audio = facts.get("audio")
        for name in ("id", "transcript"):  # the sound comes in pieces that nobody needs to keep
            text = field_of(audio, name)
            if isinstance(text, str):
                self._audio[name] = self._audio.get(name, "") + text if name == "transcript" else text

    def _add_call(self, piece: Any) -> None:
        index = field_of(piece, "index")
        index = index if isinstance(index, int) else None
        call = self._latest.get(index)
        if call is None or call.pieces.end_before(field_of(piece, "id"), _member(piece)[1]):
            call = self._latest[index] = _StreamedCall()
            self._calls.append(call)
        call.add(piece)


class _StreamedCall:
    """One call of a tool, whose arguments come in pieces."""

    __slots__ = ("_kind", "_other", "pieces")

    def __init__(self) -> None:
        self.pieces = CallPieces()
        self._kind = "function"
        self._other: dict[str, Any] = {}
        """Members of a call of a kind that nobody knows."""

    def add(self, piece: Any) -> None:
        """Add one piece."""
        kind, name, written = _member(piece)
        if not kind:
            _join(self._other, fields_set(piece))
        self._kind = kind or self._kind
        self.pieces.add(field_of(piece, "id"), name, written)

    def whole(self) -> dict[str, Any]:
        """Return the call as one that is not streamed."""
        call_id, name, written = self.pieces.call_id, self.pieces.name, "".join(self.pieces.written)
        if not name and not written and text_of(self._other.get("type")) not in KNOWN_CALLS:
            return self._other
        if self._kind == "custom":
            return {"id": call_id, "custom": {"name": name, "input": written}}
        return {"id": call_id, "function": {"name": name, "arguments": written}}


def _join(whole: dict[str, Any], piece: Mapping[str, Any]) -> None:
    """Add the members of a piece: text goes on, but id and type do not."""
    for name, value in piece.items():
        before = whole.get(name)
        if name == "index":
            continue
        if is_mapping(value):
            inner: dict[str, Any] = dict(before) if is_mapping(before) else {}
            whole[name] = inner
            _join(inner, value)
        elif isinstance(before, str) and isinstance(value, str) and name not in ("id", "type"):
            whole[name] = before + value
        else:
            whole[name] = value


def _member(piece: Any) -> tuple[str, str, str]:
    """Return kind, name and what was written of a piece of a call."""
    custom = field_of(piece, "custom")
    if custom:
        return "custom", text_of(field_of(custom, "name")), text_of(field_of(custom, "input"))
    function = field_of(piece, "function")
    kind = "function" if function else ""
    return kind, text_of(field_of(function, "name")), text_of(field_of(function, "arguments"))


_MARKS: Final = re.compile(r'\\.?|["{}\[\]]', re.DOTALL)
_DEPTH: Final = {"{": 1, "[": 1, "}": -1, "]": -1}


class CallPieces:
    """Collects the pieces of one streamed tool call, and detects where the next call begins.

    Some providers give all calls of an answer the same index, or none, and no ids.

    Example:
        >>> pieces = CallPieces()
        >>> pieces.add(None, "search", '{"q": ')
        >>> pieces.end_before(None, "search"), pieces.end_before(None, "look_up")
        (False, True)
        >>> pieces.add(None, "search", '"a"}')
        >>> pieces.end_before(None, "search")
        True
    """

    __slots__ = ("_depth", "_escape", "_in_text", "_looked_at", "_opening", "call_id", "name", "written")

    def __init__(self) -> None:
        self.call_id: Any = None
        """The first id that came; nothing while there is none."""
        self.name = ""
        """The first name that came."""
        self.written: list[str] = []
        """The pieces of the arguments."""
        self._looked_at = 0
        self._opening = ""
        self._depth = 0
        self._in_text = False
        self._escape = ""

    def add(self, call_id: Any, name: str, written: str) -> None:
        """Add the members of one piece."""
        self.call_id = self.call_id or call_id
        self.name = self.name or name
        self.written.append(written)

    def end_before(self, call_id: Any, name: str) -> bool:
        """Return whether a piece with that id and name begins another call.

        Another id does. Without ids, another name does, and so does the same name if the arguments so far are complete;
        some providers repeat the name in every piece.
        """
        if call_id and self.call_id:
            return call_id != self.call_id
        return bool(name and self.name) and (name != self.name or self._are_whole())

    def _are_whole(self) -> bool:
        """Tell whether the arguments are an object that is closed.

        Each piece is looked at once: to parse all of them whenever one comes would take the square of their number.
        """
        unread = "".join(self.written[self._looked_at :])
        self._looked_at = len(self.written)
        self._opening = self._opening or unread.lstrip()[:1]
        marks = _MARKS.findall(self._escape + unread)
        self._escape = "\\" if marks and marks[-1] == "\\" else ""
        for mark in marks:
            if mark == '"':
                self._in_text = not self._in_text
            elif not self._in_text:
                self._depth += _DEPTH.get(mark, 0)
        return self._opening == "{" and self._depth == 0
