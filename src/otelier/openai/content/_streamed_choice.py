"""One choice of a streamed chat completion, put together from its deltas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otelier.openai.content._chat import ASSISTANT, KNOWN_CALLS, message_reason, said
from otelier.openai.content._parts import Message, output_message
from otelier.openai.reading._call_pieces import CallPieces
from otelier.openai.reading._fields import (
    Facts,
    facts_of,
    field_of,
    fields_set,
    is_mapping,
    is_sequence,
    items_of,
    text_of,
)


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
        return output_message(ASSISTANT, said(whole, calls_first=False), message_reason(finish_reason))

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
    """Add the members of a piece: text goes on, unless it says once more what the call is."""
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
