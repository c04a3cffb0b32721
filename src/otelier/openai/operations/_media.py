"""Images, speech and transcriptions: calls that send or return files.

Files that are sent stay out of every signal: they are streams of the caller's, and only the client may read them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from otelier import names
from otelier.openai._telemetry import CallPoint
from otelier.openai.content._chat import ASSISTANT
from otelier.openai.content._parts import Message, Part, content_parts, input_message, output_message, text_part
from otelier.openai.reading._answer import add_count, add_tokens
from otelier.openai.reading._fields import Arguments, Attributes, Facts, answer_of, facts_of, field_of, items_of
from otelier.openai.reading._request import chat_request

TEXT: Final = "text"
IMAGE: Final = "image"
SPEECH: Final = "speech"

_DONE: Final = "stop"
_INPUT_TOKENS = {
    "audio_tokens": names.AUDIO_INPUT_TOKENS,
    "image_tokens": names.IMAGE_INPUT_TOKENS,
    "text_tokens": names.TEXT_INPUT_TOKENS,
}
_OUTPUT_TOKENS = {"image_tokens": names.IMAGE_OUTPUT_TOKENS, "text_tokens": names.TEXT_OUTPUT_TOKENS}


def media_request(output_type: str) -> Callable[[Arguments, Attributes], None]:
    """Return a function that adds the attributes of a call's arguments whose output is of *output_type*."""

    def read(arguments: Arguments, attributes: Attributes) -> None:
        chat_request(arguments, attributes)  # number of images, temperature: the names are the same
        attributes[names.OUTPUT_TYPE] = output_type  # and not the file's format, which `response_format` is here

    return read


def media_answer(facts: Facts, attributes: Attributes, point: CallPoint) -> None:
    """Add the tokens; these answers have no model and no id."""
    usage = answer_of(facts.get("usage"))
    add_tokens(usage.get("input_tokens"), usage.get("output_tokens"), attributes, point)
    details = facts_of(usage.get("input_tokens_details") or usage.get("input_token_details"))
    for name, attribute in _INPUT_TOKENS.items():
        add_count(attribute, details.get(name), attributes)
    details = facts_of(usage.get("output_tokens_details"))
    for name, attribute in _OUTPUT_TOKENS.items():
        add_count(attribute, details.get(name), attributes)


def media_request_content(arguments: Arguments) -> dict[str, list[Any]]:
    """Return the text that was sent: what to draw, to speak, or to expect; and how to speak it."""
    text = arguments.get("input") or arguments.get("prompt")
    instructions = arguments.get("instructions")
    return {
        names.INPUT_MESSAGES: [input_message("user", [text_part(text)])] if isinstance(text, str) else [],
        names.SYSTEM_INSTRUCTIONS: [text_part(instructions)] if isinstance(instructions, str) else [],
    }


def media_answer_content(answer: Any) -> dict[str, list[Any]]:
    """Return what was received: a message for each image, or one with the text; audio is left to the caller."""
    facts = facts_of(answer)  # no attributes: those of audio would decode it
    text = answer if isinstance(answer, str) else facts.get("text")
    if isinstance(text, str):
        return {names.OUTPUT_MESSAGES: [_media_message([text_part(text)])]}
    images = (_image_parts(image, facts.get("output_format")) for image in items_of(facts.get("data")))
    return {names.OUTPUT_MESSAGES: [_media_message(parts) for parts in images if parts]}


class MediaChunks:
    """The events of a stream of images or of a transcription; the last one of each image holds all of that."""

    __slots__ = ("_content", "_messages", "_usage", "model")

    def __init__(self, *, content: bool) -> None:
        self.model: str | None = None
        self._usage: Facts = {}
        self._messages: list[Message] = []
        self._content = content

    def observer(self) -> Callable[[Any], bool]:
        return self._see

    def _see(self, event: Any) -> bool:
        facts = facts_of(event)
        kind = facts.get("type")
        if isinstance(kind, str) and kind.endswith((".completed", ".done")):
            usage = answer_of(facts.get("usage"))
            self._usage = _added_usage(self._usage, usage) if self._usage else usage
            if self._content:
                self._messages += _event_messages(facts)
        return False

    @staticmethod
    def awaits_usage() -> bool:
        return False  # no helper of the client's reads it

    def write_to(self, attributes: Attributes, point: CallPoint) -> None:
        media_answer({"usage": self._usage}, attributes, point)

    def content(self) -> Mapping[str, list[Any]]:
        return {names.OUTPUT_MESSAGES: self._messages}


def _added_usage(before: Facts, usage: Facts) -> Facts:
    """Return what images took up to one more: its event has the prompt, which was read once, and the image's own."""
    details = [facts_of(each.get("output_tokens_details")) for each in (before, usage)]
    return {
        **before,
        **usage,
        "output_tokens": _sum(before.get("output_tokens"), usage.get("output_tokens")),
        "output_tokens_details": {name: _sum(*(each.get(name) for each in details)) for name in _OUTPUT_TOKENS},
    }


def _sum(*counts: Any) -> int | None:
    known = [count for count in counts if type(count) is int]
    return sum(known) if known else None


def _event_messages(event: Facts) -> Iterator[Message]:
    text = event.get("text")
    parts = [text_part(text)] if isinstance(text, str) else _image_parts(event, event.get("output_format"))
    if parts:
        yield _media_message(parts)


def _image_parts(image: Any, form: Any) -> list[Part]:
    url, data = field_of(image, "url"), field_of(image, "b64_json")
    if isinstance(data, str):
        url = f"data:image/{form if isinstance(form, str) else 'png'};base64,{data}"
    return content_parts([{"type": "input_image", "image_url": url}]) if isinstance(url, str) else []


def _media_message(parts: list[Part]) -> Message:
    return output_message(ASSISTANT, parts, _DONE)
