"""Dates in words, in every language of CLDR: what changes in them from day to day is taken out.

Names of months and weekdays are words of their languages as well, and short ones of many others. So a name counts only
beside a number, and a short one only where a day and a year stand together.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from itertools import islice
from typing import Final

# Importing `pathlib` takes a tenth of what `import otelier` does. Not in the function either: a child that is forked
# while another thread imports waits for that thread.
_TABLE: Final = os.path.join(os.path.dirname(__file__), "date_names.txt")  # noqa: PTH118, PTH120
_MARKS: Final = b".,:;!?"
_MAX_DATES: Final = 5
"""Dates that are looked at: a prompt says the day once or twice, and each takes a microsecond or two."""
_MAX_MASKS: Final = 50
"""Numbers in a text beyond which none of them is looked at for names beside it."""
_SURE_CHARS: Final = 4
_SHORT_SCRIPTS: Final = "\u0e00"
"""The first of the scripts that need few letters for a name, and of those that are written without spaces."""
_MAX_AROUND: Final = 80
_COMMON: Final = frozenset(
    b"a alt an and ann any are arm as at bar be bed bin bud by cam can com did die dis due eye few for gnu ham has her "
    b"hid his hit i if in is it kin lad let lit mat me min mix mug my new now of on or our out pan par pay pen per pi "
    b"pin pos pre rim rob row sad sat say sin sis sit sol son spa sub sun tab tan tar ten the to tri up us van was we "
    b"wet who you".split()
)
"""Words of English that may stand before a date, and are also days of the week, or parts of their names, elsewhere."""
_COMMON_AFTER: Final = _COMMON - {b"an", b"per"}
"""Lithuanian and Turkish write their days after a date."""

_COMMON_BETWEEN: Final = frozenset(b"as is we".split())
"""Those that never stand between a day and a year."""

_ARTICLES: Final = frozenset(b"am das dem den der el em il le lo the".split())
"""Words that people write before a day, and CLDR's formats do not."""


class _Dates:
    """The table, in bytes as prompts are compared, and the patterns of dates."""

    def __init__(self) -> None:
        with open(_TABLE, encoding="utf-8") as table:  # noqa: PTH123
            lines = [line for line in table.read().splitlines() if not line.startswith("#")]
        between, names, days, short = (line.split(" ") for line in lines)
        self.every = frozenset(name.encode() for name in (*names, *short))
        """Names of any length."""
        self.sure = frozenset(name.encode() for name in names if _is_sure(name)).union(name.encode() for name in short)
        """Those that are hardly a word of another language."""
        self.backwards = frozenset(name[::-1] for name in self.sure)
        """The same, in reverse."""
        self.known = self.every.difference(_COMMON_BETWEEN).union(_ARTICLES, (word.encode() for word in between))
        """All words of dates, with those between the names."""
        self.days = frozenset(name.encode() for name in days)
        """Those of days of the week, of any length."""
        glued_half = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u6707\u6709-\u9fff]{2,}")
        self.halves = tuple(name.encode() for name in short if glued_half.fullmatch(name))
        """Those of halves of the day in scripts without spaces."""
        glued = (name for name in (*names, *short) if name[0] >= _SHORT_SCRIPTS and _is_sure(name))
        self.glued = frozenset(name.encode() for name in glued)
        """Those that may stand at the edge of a sentence without spaces."""
        self.glued_sizes = tuple(sorted({len(name) for name in self.glued}, reverse=True))
        """How long these are, from the longest on."""
        # All digits are `0` here. A pattern that begins with one is found three times as fast as one that begins with a
        # word, so what stands before a number is looked for in the text in reverse.
        self.date = re.compile(rb"0(?<![^ ]0)(?:0?[.,]? ((?:[^ 0]+ ){0,6})0000|000[.,]? ((?:[^ 0]+ ){1,6})00?)(?!0)")
        self.in_figures = re.compile(
            rb"0(?<![^ ]0)(?:0?[./-] ?00?[./-] ?0000|"
            rb"000(?:[./-]|[^ 0]{1,9}) ?00?(?:[./-]|[^ 0]{1,9}) ?00?[^ 0.,:;!?]{0,9})(?![0/-])"
        )
        self.near = re.compile(rb"0[^ 0]* (?:[^ 0]{1,3} ){0,2}[.,]?([^ 0.,:;!?]+)")
        self.next = re.compile(rb"0[^ 0]* [.,]?([^ 0]+?)[.,:;!?]*(?![^ ])")
        self.beside = re.compile(rb"0[^ 0]*((?: [^ 0]+){1,6})")


@functools.cache
def dates() -> _Dates:
    """Return the table and the patterns; the first call reads and compiles them, in 7 ms."""
    return _Dates()


def _is_sure(name: str) -> bool:
    if name[0] >= _SHORT_SCRIPTS:
        return len(name) > 1
    return len(name) >= (_SURE_CHARS if name.isascii() else _SURE_CHARS - 1)


def has_half_day(data: bytes) -> bool:
    """Return whether *data* names a half of the day in a script without spaces."""
    return any(half in data for half in dates().halves)


def without_short_names(data: bytes) -> bytes:
    """Return *data*, all its digits `0`, with one `0` for each date of day, month in letters, and year."""
    data = _without_days(data)
    pieces: list[bytes] = []
    done = 0
    for found in islice(dates().date.finditer(data), _MAX_DATES):
        start, end = found.span()
        around = _words_around(
            data[max(done, start - _MAX_AROUND) : start], found[1] or found[2] or b"", data[end : end + _MAX_AROUND]
        )
        if around is not None:
            pieces += (data[done : start - around[0]], b"0")
            done = end + around[1]
    return b"".join((*pieces, data[done:])) if pieces else data


def _words_around(before: bytes, between: bytes, after: bytes) -> tuple[int, int] | None:
    """Return how many bytes before and after a day and a year belong to that date, by what stands *between* them.

    `None` is no date in words: something else stands between, or nothing names its month.
    """
    names = dates()
    words = _without_marks(between.split())
    if not names.known.issuperset(words):
        return None
    wants_month = names.every.isdisjoint(words)
    taken = days = 0
    for word in before.split(b" ")[-2:0:-1]:  # not the first one, which may be cut
        plain = word.strip(_MARKS)
        if plain not in names.every:
            break
        if wants_month:
            wants_month = False
        elif plain.isascii() and (days or not _is_day(word)):
            break
        else:
            days += 1
        taken += len(word) + 1
    if not wants_month:
        return taken, 0 if days else _day_after(after)
    word = after.split(b" ", 2)[1:2]  # a year, a day, and the month at last
    return (
        (0, len(word[0]) + 1) if after[:2] in (b" ", b". ") and word and word[0].strip(_MARKS) in names.every else None
    )


def _without_days(data: bytes) -> bytes:
    """Return *data* without days of the week beside dates in figures."""
    pieces: list[bytes] = []
    done = 0
    for found in islice(dates().in_figures.finditer(data), _MAX_DATES):
        start, end = found.span()
        word = data[max(done, start - _MAX_AROUND) : start].split(b" ")[-2:-1]
        is_day = word and _is_day(word[0])
        pieces += (data[done : start - len(word[0]) - 1 if is_day else start], data[start:end])
        done = end + _day_after(data[end : end + _MAX_AROUND])
    return b"".join((*pieces, data[done:])) if pieces else data


def _is_day(word: bytes) -> bool:
    """Return whether *word*, with the marks after it, is a day of the week; English words need one: `Min,`."""
    plain = word.strip(_MARKS)
    if plain in _COMMON and (len(plain) < 3 or word[-1:] not in b".,"):
        return False
    return plain in dates().days and plain not in _ARTICLES


def _day_after(after: bytes) -> int:
    """Return how many bytes after a date are its day of the week, and what stands before that."""
    names, taken, comma = dates(), 0, False
    for number, word in enumerate(after.split(b" ", 4)[:4]):
        plain = word.strip(_MARKS)
        taken += len(word) + bool(number)
        if number and plain in names.days:
            if plain in _COMMON_AFTER:  # Basque writes `, or.` for Friday
                is_day = comma and len(plain) < 3 and word.endswith(b".")
            else:
                is_day = comma or len(plain) > 2
            return taken if is_day else 0
        if plain and (not number or plain not in names.known):
            break
        comma = word.endswith(b",")
    return 0


def without_names(backwards: bytes, *, spaceless: bool) -> bytes:
    """Return a masked text, given in reverse, without names of months and weekdays that stand beside a mask.

    Args:
        backwards: The text from its end, each date, number or other changing word a `0`.
        spaceless: Whether it is of a script that may have no spaces between words.
    """
    if backwards.count(b"0") > _MAX_MASKS:
        return backwards[::-1]
    names = dates()
    if spaceless or not names.backwards.isdisjoint(_beside(backwards)):
        backwards = names.beside.sub(_without_before, backwards, _MAX_DATES)
    data = backwards[::-1]
    if spaceless or not names.sure.isdisjoint(_beside(data)):
        data = names.beside.sub(_without_after, data, _MAX_DATES)
    while b" 0 0" in data:  # with nothing between them any more
        data = data.replace(b" 0 0", b" 0")
    return data


def _beside(data: bytes) -> list[bytes]:
    """Return the words that stand beside numbers in *data*, and those that follow on short ones there."""
    patterns = dates()
    return patterns.next.findall(data) + patterns.near.findall(data)


def _without_after(found: re.Match[bytes]) -> bytes:
    return found[0][: found.start(1) - found.start()] + _rest(found[1].split())


def _without_before(found: re.Match[bytes]) -> bytes:
    words = [word[::-1] for word in found[1].split()]
    return found[0][: found.start(1) - found.start()] + _rest(words, backwards=True)


def _rest(words: list[bytes], *, backwards: bool = False) -> bytes:
    """Return what is left of *words* beside a number, the nearest first, without names that follow on it."""
    names, taken = dates(), 0
    for number, word in enumerate(words):
        plain = word.strip(_MARKS)
        if plain in names.sure or (number and plain in names.every and not plain.isascii()):
            taken = number + 1
        elif plain and plain not in names.known:
            if number == taken and plain[:1] >= b"\xe0":
                words[number] = _unglued(word, backwards=backwards)
            break
    return b"".join(b" " + (word[::-1] if backwards else word) for word in words[taken:])


def _unglued(word: bytes, *, backwards: bool) -> bytes:
    """Return *word*, or a sentence without spaces, without the name at its edge that is next to a number."""
    names = dates()
    for size in names.glued_sizes:
        if size <= len(word) and (word[-size:] if backwards else word[:size]) in names.glued:
            return word[:-size] if backwards else word[size:]
    return word


def _without_marks(words: Sequence[bytes]) -> list[bytes]:
    return [plain for word in words if (plain := word.strip(_MARKS))]
