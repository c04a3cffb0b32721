"""Rows of the tables of what is redacted: what one kind looks like, and how all of them are taken out of a text.

A row is tried only where one of its hints occurs, and a group of rows only where the characters do that all of them
need, so a text without secrets costs a few substring searches. Every pattern runs in linear time: it begins with a
literal or a character class, which the engine finds quickly, looks at what stands left of that only then (0.6 ms
instead of 56 per megabyte), and what it repeats has an end that is not tried again from each character.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, TypeAlias

_ZERO_WIDTH: Final = "\u00ad\u034f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff"
_LOOKALIKES: Final = "\u00a0\u2000-\u200a\u2010-\u2013\u202f\u205f\u2212\u3000\uff01-\uff5e\u0660-\u0669\u06f0-\u06f9"
_ANY: Final = re.compile(f"[{_LOOKALIKES}]+")
_NONE: Final = re.compile(f"[{_ZERO_WIDTH}]+")
_EITHER: Final = re.compile(f"[{_ZERO_WIDTH}{_LOOKALIKES}]")
_PLAIN: Final = {
    **dict.fromkeys((0xA0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000), " "),
    **dict.fromkeys((*range(0x2010, 0x2014), 0x2212), "-"),
    **{code: chr(code - 0xFF01 + ord("!")) for code in range(0xFF01, 0xFF5F)},
    **{zero + digit: str(digit) for zero in (0x0660, 0x06F0) for digit in range(10)},
}


def undisguised(text: str) -> tuple[str, list[int] | None]:
    """Return *text* with plain characters for disguised ones and without zero-width ones, and where each character was.

    The places are `None` where all are as before.

    Example:
        >>> undisguised("\uff14\u00a0a")
        ('4 a', None)
        >>> undisguised("s\u200bk")
        ('sk', [0, 2])
    """
    if text.isascii() or _EITHER.search(text) is None:
        return text, None
    places: list[int] | None = None
    if _NONE.search(text) is not None:
        places, done = [], 0
        for match in _NONE.finditer(text):
            places.extend(range(done, match.start()))
            done = match.end()
        places.extend(range(done, len(text)))
        text = _NONE.sub("", text)
    return _ANY.sub(lambda match: match[0].translate(_PLAIN), text), places


MARK = "[REDACTED:"
BLANK = "\0"
"""Character that stands, for the rows that follow, in place of what a row found."""

Find: TypeAlias = "tuple[int, int, str]"
"""Start and end of something found, and its kind."""


def redacted(kind: str) -> str:
    """Return what stands in the place of a secret of *kind*."""
    return f"{MARK}{kind}]"


def is_redacted(value: str) -> bool:
    """Return whether another row found *value*, or it was redacted before."""
    return value[: len(MARK)].lower() == MARK.lower() or (value[:1] == BLANK and not value.strip(BLANK))


class Finder(Protocol):
    """A row of a table of redactions."""

    @property
    def hints(self) -> tuple[str, ...]:
        """Texts of which one occurs wherever something can be found."""
        ...

    @property
    def any_case(self) -> bool:
        """Whether the hints and what is found are in lower case, and are looked for in the lowered text."""
        ...

    def find(self, text: str, lowered: str) -> list[Find]:
        """Return what is found in *text*; *lowered* is the same, of equal length, in lower case."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kind of secret, as a pattern."""

    kind: str
    """Name within `[REDACTED:kind]`."""
    hints: tuple[str, ...]
    """Texts of which one occurs wherever the pattern can match."""
    pattern: re.Pattern[str]
    """Pattern to find; a group `keep` at its start stays, the rest is replaced."""
    any_case: bool = False
    """The pattern is in lower case and looks at the lowered text; the engine's own way takes ten times as long."""
    unless: Callable[[re.Match[str], str], bool] | None = None
    """Looks again at what was found, and at the text as it was written; true means that it is no secret."""
    before: int = 0
    """Characters left of the match that belong to it, for a pattern that begins with the rarest part."""

    def find(self, text: str, lowered: str) -> list[Find]:
        """Return what the pattern finds in *text*, but for what `unless` says."""
        groups = self.pattern.groupindex
        looked_at, unless = lowered if self.any_case else text, self.unless
        keeps, quotes = "keep" in groups, "quote" in groups
        finds: list[Find] = []
        match = self.pattern.search(looked_at)
        while match is not None:
            end = match.end()
            if unless is None or not unless(match, text):
                finds.append((match.end("keep") if keeps else match.start() - self.before, end, self.kind))
            elif quotes and match["quote"] is not None:
                end = match.end("keep")  # what stands in quotes may itself be a name: `"key": "api_key", "value": …`
            match = self.pattern.search(looked_at, end)
        return finds


class Group(NamedTuple):
    """Rows that need the same characters."""

    needs: tuple[str, ...]
    """Texts of which one occurs wherever a row of the group finds something; single characters are found fastest."""
    rows: tuple[Finder, ...]
    gate: re.Pattern[str] | None = None
    """Words that a text has where a row of the group finds something, if characters are not enough to know."""


def apply_rows(text: str, groups: Iterable[Group]) -> str:
    """Return *text* with what the rows find replaced; what one found is not looked at by those after it."""
    plain, places = undisguised(text)
    lowered = lower(plain)
    finds: list[Find] = []
    for needs, rows, gate in groups:
        for need in needs:
            if need in lowered:
                break
        else:
            continue
        if gate is not None and gate.search(lowered) is None:
            continue
        for row in rows:
            looked_at = lowered if row.any_case else plain
            for hint in row.hints:
                if hint in looked_at:
                    found = row.find(plain, lowered)
                    if found:
                        finds += found
                        plain, lowered = _blanked(plain, found), _blanked(lowered, found)
                    break
    return _replaced(text, finds, places) if finds else text


def _blanked(text: str, finds: list[Find]) -> str:
    pieces: list[str] = []
    done = 0
    for start, end, _ in finds:
        pieces += text[done:start], BLANK * (end - max(start, done))
        done = end
    return "".join([*pieces, text[done:]])


def _replaced(text: str, finds: list[Find], places: list[int] | None) -> str:
    pieces: list[str] = []
    done = 0
    if places is not None:
        finds = [(places[start], places[end - 1] + 1, kind) for start, end, kind in finds]
    for start, end, kind in sorted(finds, key=lambda find: (find[0], -find[1])):
        if end <= done:  # within one that stands already
            continue
        pieces += text[done:start], redacted(kind)
        done = end
    return "".join([*pieces, text[done:]])


def lower(text: str) -> str:
    """Return *text* in lower case with every character in its place.

    Example:
        >>> len(lower("İ")), len("İ".lower())
        (1, 2)
    """
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(low if len(low := char.lower()) == 1 else char for char in text)
