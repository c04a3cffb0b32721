"""Quotes of content in messages of errors: a provider, or what validates an answer, may say it in its own words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final

from otelier.signals._secrets import redacted

SHORTEST_QUOTE: Final = 12
"""Characters that a quote has at least; a shorter one may be any word."""
MAX_CHARS: Final = 65_536
"""Characters of a message that are looked at; what is beyond is cut off, since it was not looked at."""
CONTENT: Final = redacted("content")
"""What stands for a quote."""

# As pydantic quotes what it could not validate. It shortens that itself, so the pattern has an end.
_INPUT_VALUE: Final = re.compile(r"input_value=.{0,512}?, input_type=", re.DOTALL)


def unquoted(message: str, texts: Iterable[str]) -> str:
    """Return an error's *message* without what it quotes of *texts*, from their beginning or up to their end.

    Texts are found as they are, as `repr` and as JSON write them; what pydantic says of a value that it refused is
    taken out whatever it is. Quotes of fewer than 12 characters stay.

    Example:
        >>> unquoted("400: 'My name is Alice, …' is too long", ["My name is Alice, and I live here."])
        "400: '[REDACTED:content]…' is too long"
    """
    if len(message) > MAX_CHARS:
        message = f"{message[:MAX_CHARS]} [cut: {len(message) - MAX_CHARS} characters]"
    message = _INPUT_VALUE.sub(f"input_value={CONTENT}, input_type=", message)
    for text in texts:
        for form in _forms(text, len(message)):
            if len(form) >= SHORTEST_QUOTE:
                message = _without_start(message, form, CONTENT)
                message = _without_start(message[::-1], form[::-1], CONTENT[::-1])[::-1]
    return message


def _forms(text: str, most: int) -> Iterable[str]:
    if len(text) > 2 * most:  # no message quotes more than it is long
        text = text[:most] + text[-most:]
    return dict.fromkeys((text, repr(text)[1:-1], json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]))


def _without_start(message: str, text: str, mark: str) -> str:
    """Return *message* with *mark* for what stands there of the beginning of *text*."""
    pieces: list[str] = []
    done = 0
    while (start := message.find(text[:SHORTEST_QUOTE], done)) >= 0:
        length = SHORTEST_QUOTE
        while text[length : length + 1] and text[length] == message[start + length : start + length + 1]:
            length += 1
        pieces += message[done:start], mark
        done = start + length
    return "".join([*pieces, message[done:]])
