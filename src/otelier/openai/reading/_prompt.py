"""The system prompt of a call, from which its agent is known when nobody named one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from otelier.identity import MAX_PROMPT_CHARS, fingerprint_of, fingerprint_of_id
from otelier.openai.reading._fields import Arguments, field_of, items_of, text_of

_ROLES = ("system", "developer")
_MAX_MESSAGES = 32
_MAX_PARTS = 256


def chat_fingerprint(arguments: Arguments) -> str | None:
    """Return the fingerprint of a chat completion's leading system and developer messages; `None` without any."""
    return _of_texts(_leading(arguments.get("messages")))


def responses_fingerprint(arguments: Arguments) -> str | None:
    """Return the fingerprint of a Responses call's `instructions` and leading messages, else of its `prompt.id`."""
    instructions = text_of(arguments.get("instructions"))
    texts = _leading(arguments.get("input"), [instructions] if _says(instructions) else [])
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
        for text in _texts(field_of(message, "content")):
            if _says(text):
                found.append(text)
                chars += len(text)
            if chars >= MAX_PROMPT_CHARS:
                return found
    return found


def _says(text: str) -> bool:
    return bool(text) and not text.isspace()  # strip() would copy 10 MB


def _texts(content: Any) -> Iterator[str]:
    """Yield the texts of a message's *content*; parts of other kinds say nothing about who it is for."""
    if isinstance(content, str):
        yield content
    else:
        yield from (text_of(field_of(part, "text")) for part in islice(items_of(content), _MAX_PARTS))
