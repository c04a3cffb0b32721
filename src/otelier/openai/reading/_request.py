"""Request arguments, read as span attributes, and the fingerprint of their system prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final, TypeAlias

from otelier import names
from otelier.identity import MAX_PROMPT_CHARS, fingerprint_of, fingerprint_of_id
from otelier.openai.reading._fields import (
    MAX_NUMBER,
    Arguments,
    Attributes,
    field_of,
    fit_count,
    fit_texts,
    has_compaction,
    is_mapping,
    is_sequence,
    items_of,
    text_of,
)
from otelier.telemetry import fit_text

_Taker: TypeAlias = Callable[[Any, Attributes], None]
_Kind: TypeAlias = "type[int] | type[float]"

API_RESPONSES: Final = "responses"
JSON: Final = "json"
_JSON_FORMATS = frozenset(("json_object", "json_schema"))


def chat_request(arguments: Arguments, attributes: Attributes) -> None:
    """Add the attributes of a chat completion's arguments."""
    # One walk and one look-up each. The exact type drops `NOT_GIVEN`, `omit` and nonsense without naming them.
    for name, value in arguments.items():
        number = _CHAT_NUMBERS.get(name)
        if number is not None:
            attribute, kind = number
            if type(value) is kind and -MAX_NUMBER <= value <= MAX_NUMBER:
                attributes[attribute] = value
            else:
                _take_number(value, attribute, kind, attributes)
        elif name in _CHAT_OTHERS:
            _CHAT_OTHERS[name](value, attributes)
    if "max_completion_tokens" in arguments:  # the newer name of `max_tokens` stands before it, whichever came first
        _take_number(arguments["max_completion_tokens"], names.REQUEST_MAX_TOKENS, int, attributes)
    if "extra_body" in arguments:
        _take_extra_body(arguments, attributes)


def responses_request(arguments: Arguments, attributes: Attributes) -> None:
    """Add the attributes of a Responses call's arguments."""
    attributes[names.OPENAI_API_TYPE] = API_RESPONSES
    for name, value in arguments.items():
        taker = _RESPONSES.get(name)
        if taker is not None:
            taker(value, attributes)


def embeddings_request(arguments: Arguments, attributes: Attributes) -> None:
    """Add the attributes of an embeddings call's arguments."""
    dimensions, encoding = arguments.get("dimensions"), arguments.get("encoding_format")
    if fit_count(dimensions) is not None:
        attributes[names.EMBEDDING_DIMENSIONS] = dimensions
    if isinstance(encoding, str):
        attributes[names.REQUEST_ENCODING_FORMATS] = fit_texts((encoding,))


def _take_number(value: Any, attribute: str, kind: _Kind, attributes: Attributes) -> None:
    """Take a number as the *kind* that the conventions have, also of a subclass, such as numpy's; a flag is none.

    A backend may give an attribute the type of the first value it sees and refuse the others: 1 is 1.0 where
    others are 0.7.
    """
    is_number = isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
    if is_number and -MAX_NUMBER <= value <= MAX_NUMBER:
        attributes[attribute] = kind(value)


def _take_stop(value: Any, attributes: Attributes) -> None:
    if isinstance(value, str):
        attributes[names.REQUEST_STOP_SEQUENCES] = fit_texts((value,), lines=True)
    elif is_sequence(value) and all(isinstance(text, str) for text in value):
        attributes[names.REQUEST_STOP_SEQUENCES] = fit_texts(value, lines=True)


def _take_choice_count(value: Any, attributes: Attributes) -> None:
    if fit_count(value) is not None and value != 1:
        attributes[names.REQUEST_CHOICE_COUNT] = value


def _take_response_format(value: Any, attributes: Attributes) -> None:
    kind = value.get("type") if is_mapping(value) else value
    if isinstance(kind, type):  # a pydantic model, given to `parse`
        attributes[names.OUTPUT_TYPE] = JSON
    else:
        _take_format(kind, attributes)


def _take_format(kind: Any, attributes: Attributes) -> None:
    text = fit_text(kind)
    if text is not None:
        attributes[names.OUTPUT_TYPE] = JSON if text in _JSON_FORMATS else text


def _take_service_tier(value: Any, attributes: Attributes) -> None:
    text = fit_text(value)
    if text is not None and text != "auto":
        attributes[names.OPENAI_REQUEST_SERVICE_TIER] = text


def _take_extra_body(arguments: Arguments, attributes: Attributes) -> None:
    """Take what an old client sends only this way; the arguments proper stand before it."""
    extra = arguments["extra_body"]
    if is_mapping(extra):
        if names.REQUEST_MAX_TOKENS not in attributes:
            _take_number(extra.get("max_completion_tokens"), names.REQUEST_MAX_TOKENS, int, attributes)
        if not isinstance(arguments.get("service_tier"), str):
            _take_service_tier(extra.get("service_tier"), attributes)


def _number_taker(attribute: str, kind: _Kind) -> _Taker:
    return lambda value, attributes: _take_number(value, attribute, kind, attributes)


def _take_text(value: Any, attributes: Attributes) -> None:
    _take_format(field_of(field_of(value, "format"), "type"), attributes)


def _take_text_format(value: Any, attributes: Attributes) -> None:
    if isinstance(value, type):
        attributes.setdefault(names.OUTPUT_TYPE, JSON)


def _take_conversation(value: Any, attributes: Attributes) -> None:
    conversation = fit_text(value if isinstance(value, str) else field_of(value, "id"))
    if conversation is not None:
        attributes[names.CONVERSATION_ID] = conversation


def _take_input(value: Any, attributes: Attributes) -> None:
    if type(value) is not str and has_compaction(value):
        attributes[names.CONVERSATION_COMPACTED] = True


_CHAT_NUMBERS: dict[str, tuple[str, _Kind]] = {
    "temperature": (names.REQUEST_TEMPERATURE, float),
    "top_p": (names.REQUEST_TOP_P, float),
    "max_tokens": (names.REQUEST_MAX_TOKENS, int),
    "presence_penalty": (names.REQUEST_PRESENCE_PENALTY, float),
    "frequency_penalty": (names.REQUEST_FREQUENCY_PENALTY, float),
    "seed": (names.REQUEST_SEED, int),
}
_CHAT_OTHERS: dict[str, _Taker] = {
    "stop": _take_stop,
    "n": _take_choice_count,
    "response_format": _take_response_format,
    "service_tier": _take_service_tier,
}
_RESPONSES: dict[str, _Taker] = {
    "temperature": _number_taker(names.REQUEST_TEMPERATURE, float),
    "top_p": _number_taker(names.REQUEST_TOP_P, float),
    "max_output_tokens": _number_taker(names.REQUEST_MAX_TOKENS, int),
    "service_tier": _take_service_tier,
    "text": _take_text,
    "text_format": _take_text_format,
    "conversation": _take_conversation,
    "input": _take_input,
}


_ROLES = ("system", "developer")
_MAX_MESSAGES = 32
_MAX_PARTS = 256


def chat_fingerprint(arguments: Arguments) -> str | None:
    """Return the fingerprint of a chat completion's leading system and developer messages; `None` without any."""
    return _of_texts(_leading(arguments.get("messages")))


def responses_fingerprint(arguments: Arguments) -> str | None:
    """Return the fingerprint of a Responses call's `instructions` and leading messages, else of its `prompt.id`."""
    instructions = text_of(arguments.get("instructions"))
    texts = _leading(arguments.get("input"), [instructions] if _is_text(instructions) else [])
    if texts:
        return _of_texts(texts)
    prompt_id = text_of(field_of(arguments.get("prompt"), "id"))
    return fingerprint_of_id(prompt_id) if prompt_id else None


def _of_texts(texts: list[str]) -> str | None:
    if not texts:
        return None
    # One text of 10 MB is joined for nothing; of several each is cut first, or they would be copied whole.
    return fingerprint_of(texts[0] if len(texts) == 1 else "\n".join(text[:MAX_PROMPT_CHARS] for text in texts))


def _leading(messages: Any, before: list[str] | None = None) -> list[str]:
    """Return *before* and the texts of the system and developer messages that *messages* begins with."""
    found = before or []
    chars = sum(map(len, found))
    for message in islice(items_of(messages), _MAX_MESSAGES):
        if field_of(message, "role") not in _ROLES:
            break
        for text in _texts_in(field_of(message, "content")):
            if _is_text(text):
                found.append(text)
                chars += len(text)
            if chars >= MAX_PROMPT_CHARS:
                return found
    return found


def _is_text(text: str) -> bool:
    return bool(text) and not text.isspace()  # strip() would copy 10 MB


def _texts_in(content: Any) -> Iterator[str]:
    """Yield the texts of a message's *content*; parts of other kinds are skipped."""
    if isinstance(content, str):
        yield content
    else:
        yield from (text_of(field_of(part, "text")) for part in islice(items_of(content), _MAX_PARTS))
