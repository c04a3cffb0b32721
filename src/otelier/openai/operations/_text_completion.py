"""Legacy completions, a text for a text; request, answer and usage are those of chat completions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otelier import names
from otelier.openai.content._chat import ASSISTANT, message_reason
from otelier.openai.content._parts import input_message, output_message, text_part
from otelier.openai.operations._chunks import ChatChunks, index_of
from otelier.openai.reading._fields import Arguments, facts_of, field_of, items_of, text_of


def text_request_content(arguments: Arguments) -> dict[str, list[Any]]:
    """Return what was sent: a message for each prompt that is text and not tokens."""
    prompt = arguments.get("prompt")
    prompts = [prompt] if isinstance(prompt, str) else items_of(prompt)
    return {names.INPUT_MESSAGES: [input_message("user", [text_part(one)]) for one in prompts if isinstance(one, str)]}


def text_answer_content(answer: Any) -> dict[str, list[Any]]:
    """Return what was received: one message per choice."""
    choices = items_of(field_of(answer, "choices"))
    return _messages((text_of(field_of(choice, "text")), field_of(choice, "finish_reason")) for choice in choices)


class TextChunks(ChatChunks):
    """The chunks of a legacy completion: a choice holds its text itself."""

    __slots__ = ("_texts",)

    def __init__(self, *, content: bool) -> None:
        super().__init__(content=content)
        self._texts: dict[int, list[str]] = {}

    def _see_content(self, chunk: Any) -> bool:
        self._see(chunk)
        for choice in items_of(facts_of(chunk).get("choices")):
            self._texts.setdefault(index_of(facts_of(choice)), []).append(text_of(field_of(choice, "text")))
        return False

    def content(self) -> Mapping[str, list[Any]]:
        return _messages(("".join(self._texts[index]), self._reasons.get(index)) for index in sorted(self._texts))


def _messages(choices: Any) -> dict[str, list[Any]]:
    return {
        names.OUTPUT_MESSAGES: [
            output_message(ASSISTANT, [text_part(text)], message_reason(reason)) for text, reason in choices
        ]
    }
