"""Quotes of content in messages of errors: a provider, or what validates an answer, may say it in its own words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from otelier.signals._rows import redacted

SHORTEST_QUOTE: Final = 12
"""Letters and digits that a quote has at least; fewer may be any word."""
MAX_CHARS: Final = 16_384
"""Characters of a message that are looked at; what is beyond is cut off, since it was not looked at."""
CONTENT: Final = redacted("content")
"""What stands for a quote."""

# As pydantic quotes what it could not validate. It shortens that itself, so the pattern has an end.
_INPUT_VALUE: Final = re.compile(r"input_value=.{0,512}?, input_type=", re.DOTALL)
_RUN: Final = re.compile(b"\1+")
# Only letters and digits count: how often a text was escaped on its way, and by whom, then makes no difference.
_ESCAPE: Final = re.compile(r"\\+(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|[abfnrtv0'\"/])?")
_COUNTS: Final = re.compile(rf"{_ESCAPE.pattern}|[^\W_]")
_NO_LETTERS: Final = re.compile(r"[\W_]+")


def unquoted(message: str, texts: Iterable[str]) -> str:
    """Return an error's *message* without what it quotes of *texts*, from their beginning or up to their end.

    Texts are found as they are and as Python and JSON write them; what pydantic says of a value that it refused is
    taken out whatever it is. Quotes of fewer than 12 letters and digits stay.

    Example:
        >>> unquoted("400: 'My name is Alice, …' is too long", ["My name is Alice, and I live here."])
        "400: '[REDACTED:content], …' is too long"
    """
    if len(message) > MAX_CHARS:
        message = f"{message[:MAX_CHARS]} [cut: {len(message) - MAX_CHARS} characters]"
    message = _INPUT_VALUE.sub(f"input_value={CONTENT}, input_type=", message)
    places = list(_counting(message))
    said = "".join(char for char, _, _ in places)
    backwards = said[::-1]
    quoted = bytearray(len(said))
    for text in texts:
        # No message quotes more than it is long.
        known = _letters(text[: len(message)])
        for start, length in _ranges(said, known):
            quoted[start : start + length] = b"\1" * length
        known = _letters(text[-len(message) :])[::-1]
        for start, length in _ranges(backwards, known):
            quoted[len(said) - start - length : len(said) - start] = b"\1" * length
    pieces: list[str] = []
    done = 0
    for run in _RUN.finditer(quoted):
        pieces += message[done : places[run.start()][1]], CONTENT
        done = places[run.end() - 1][2]
    return "".join([*pieces, message[done:]])


def _counting(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield each letter and digit of *text* with where it starts and ends there."""
    for match in _COUNTS.finditer(text):
        code = match[1] or match[2]
        char = chr(int(code, 16)) if code else match[0]
        if char.isalnum():
            yield char, match.start(), match.end()


def _letters(text: str) -> str:
    """Return the same letters and digits, without their places: ten times as fast."""
    if "\\" in text:
        text = _ESCAPE.sub(_unescaped, text)
    return _NO_LETTERS.sub("", text)


def _unescaped(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    return chr(int(code, 16)) if code else ""


def _ranges(said: str, known: str) -> Iterator[tuple[int, int]]:
    """Yield where *said* has the beginning of *known*, and how much of it."""
    done = 0
    head = known[:SHORTEST_QUOTE]
    while len(head) == SHORTEST_QUOTE and (start := said.find(head, done)) >= 0:
        length, step = SHORTEST_QUOTE, 256
        while step and length < len(known):
            if said.startswith(known[length : length + step], start + length):
                length = min(length + step, len(known))
            else:
                step //= 2
        yield start, length
        done = start + length
