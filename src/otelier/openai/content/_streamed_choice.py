"""One choice of a streamed chat completion, put together from its deltas."""

from __future__ import annotations

import json
from typing import Any

from otelier.openai.content._chat import ASSISTANT, message_reason, said
from otelier.openai.content._parts import Message, output_message
from otelier.openai.reading._fields import Facts, facts_of, field_of, is_sequence, items_of, text_of


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
        if call is None or call.ends_before(piece):
            call = self._latest[index] = _StreamedCall()
            self._calls.append(call)
        call.add(piece)


class _StreamedCall:
    """One call of a tool, whose arguments come in pieces."""

    __slots__ = ("_id", "_kind", "_name", "_written")

    def __init__(self) -> None:
        self._id: Any = None
        self._kind = "function"
        self._name = ""
        self._written: list[str] = []

    def ends_before(self, piece: Any) -> bool:
        """Tell whether *piece* begins another call: some providers give all of them the same index, or none."""
        call_id = field_of(piece, "id")
        if call_id and self._id:
            return call_id != self._id
        name = _member(piece)[1]
        return bool(name and self._name) and (name != self._name or self._is_whole())

    def add(self, piece: Any) -> None:
        """Add one piece."""
        self._id = self._id or field_of(piece, "id")
        kind, name, written = _member(piece)
        self._kind = kind or self._kind
        self._name = self._name or name
        self._written.append(written)

    def whole(self) -> dict[str, Any]:
        """Return the call as one that is not streamed."""
        written = "".join(self._written)
        if self._kind == "custom":
            return {"id": self._id, "custom": {"name": self._name, "input": written}}
        return {"id": self._id, "function": {"name": self._name, "arguments": written}}

    def _is_whole(self) -> bool:
        try:
            json.loads("".join(self._written))
        except (ValueError, RecursionError):
            return False
        return True


def _member(piece: Any) -> tuple[str, str, str]:
    """Return kind, name and what was written of a piece of a call."""
    custom = field_of(piece, "custom")
    if custom:
        return "custom", text_of(field_of(custom, "name")), text_of(field_of(custom, "input"))
    function = field_of(piece, "function")
    kind = "function" if function else ""
    return kind, text_of(field_of(function, "name")), text_of(field_of(function, "arguments"))
