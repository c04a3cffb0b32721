"""The system prompt of a call, from which its agent is known when nobody named one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from otelier.identity import fingerprint_of, fingerprint_of_id
from otelier.openai._reading import Arguments, field_of, items_of, text_of

_ROLES = frozenset(("system", "developer"))
_MAX_MESSAGES = 32


def chat_fingerprint(arguments: Arguments) -> str | None:
    """Return the fingerprint of a chat completion's leading system and developer messages; `None` without any."""
    return _of_texts(_leading(arguments.get("messages")))


def responses_fingerprint(arguments: Arguments) -> str | None:
    """Return the fingerprint of a Responses call's `instructions` and leading messages, else that of its `prompt.id`."""
    instructions: Any = arguments.get("instructions")
    texts = [instructions] if isinstance(instructions, str) and instructions else []
    found = _of_texts([*texts, *_leading(arguments.get("input"))])
    if found is None and not texts:
        prompt_id = field_of(arguments.get("prompt"), "id")
        return fingerprint_of_id(prompt_id) if isinstance(prompt_id, str) and prompt_id else None
    return found


def _of_texts(texts: list[str]) -> str | None:
    return fingerprint_of("\n".join(texts)) if texts else None


def _leading(messages: Any) -> list[str]:
    """Return the text of the system and developer messages that *messages* begins with."""
    found: list[str] = []
    for message in items_of(messages)[:_MAX_MESSAGES]:
        if field_of(message, "role") not in _ROLES:
            break
        found.extend(_texts(field_of(message, "content")))
    return found


def _texts(content: Any) -> Iterator[str]:
    """Yield the texts of a message's *content*; parts of other kinds say nothing about who it is for."""
    if isinstance(content, str):
        yield content
    else:
        yield from filter(None, (text_of(field_of(part, "text")) for part in items_of(content)))
