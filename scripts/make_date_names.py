"""Write `src/otelier/identity/date_names.txt`: how days of the week and months are called in the languages of CLDR.

Run: uv run python scripts/make_date_names.py

Dates are masked in prompts before their fingerprint is taken. Babel brings CLDR's tables; it is needed here, and in the
test that goes through all of its locales, and nowhere else. Every locale writes dates of a year in its own formats:
words that change from date to date are names, and words that are there in each, such as `de`, go between them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from pathlib import Path

from babel import Locale, localedata
from babel import __version__ as release
from babel.dates import format_date, format_skeleton

from otelier.identity._fingerprint import _as_compared

TARGET = Path(__file__).parent.parent / "src/otelier/identity/date_names.txt"
FORMATS = ("full", "long", "medium", "short")
MAX_SHORT = 4
"""Letters from which on a name of a month counts beside any number."""
SKELETONS = ("yMMMM", "yMMMEd", "yMEd")
DATES = [dt.date(2026, month, 16) for month in range(1, 13)] + [dt.date(2026, 11, day) for day in range(16, 23)]
HEAD = f"""\
# Names of months and days of the week, and words that stand between them, in the languages of Unicode's CLDR.
# Made by scripts/make_date_names.py with Babel {release}. As prompts are compared: in NFKC, case-folded.
#
# Copyright (c) 1991-2025 Unicode, Inc. All rights reserved. CLDR data is distributed under the Unicode License v3:
# https://www.unicode.org/license.txt
#
# The first line are the words between, the second one the names, the third one those of days of the week. In the last
# one are short words that count beside any number: Mays that have no longer name, and halves of the day.
"""


def words_of(text: str) -> list[str]:
    """Return the words of a short *text* as they are compared, without those that have digits."""
    words = (word.strip(b".,:;!?") for word in _as_compared(text)[0].split())
    return [word.decode("utf-8", "ignore") for word in words if word and b"0" not in word]


def alike(texts: Iterable[str]) -> tuple[set[str], set[str]]:
    """Return the words that only some of *texts* have, and those that all have."""
    found = [words for words in map(set, map(words_of, texts)) if words]
    always = set.intersection(*found) if found else set()
    return set().union(*found) - always, always


def written(locale: Locale) -> Iterator[list[str]]:
    """Yield texts that differ in their names only: dates in each format, and the tables of names."""
    for form in FORMATS:
        yield [format_date(date, form, locale=locale) for date in DATES]
    for form in SKELETONS:
        if form in locale.datetime_skeletons:
            yield [format_skeleton(form, date, locale=locale) for date in DATES]
    for use in ("format", "stand-alone"):
        for width in ("wide", "abbreviated"):
            yield list(locale.months[use][width].values())
    yield from days(locale)


def days(locale: Locale) -> Iterator[list[str]]:
    """Yield the tables of days of the week."""
    for use in ("format", "stand-alone"):
        for width in ("wide", "abbreviated", "short"):
            yield list(locale.days[use].get(width, {}).values())


def beside_any_number(locale: Locale) -> Iterator[str]:
    """Yield short words that count beside any number; in ASCII only those of May, others are words of English."""
    for use in ("format", "stand-alone"):
        months = list(locale.months[use]["wide"].values())
        yield from (name for name in map(single, months) if len(name) < MAX_SHORT and not name.isascii())
        yield from (name for name in map(single, months[4:5]) if len(name) == MAX_SHORT - 1)
        for width in ("wide", "abbreviated"):
            periods = locale.day_periods.get(use, {}).get(width, {})
            halves = {single(periods.get(half, "")) for half in ("am", "pm")}
            yield from (half for half in halves if not half.isascii())


def single(text: str) -> str:
    """Return the only word of *text*, or nothing."""
    words = words_of(text)
    return words[0] if len(words) == 1 else ""


def main() -> None:
    names: set[str] = set()
    between: set[str] = set()
    week: set[str] = set()
    short: set[str] = set()
    for locale in map(Locale.parse, localedata.locale_identifiers()):
        short.update(filter(None, beside_any_number(locale)))
        week.update(*(alike(texts)[0] for texts in days(locale)))
        for texts in written(locale):
            some, always = alike(texts)
            names |= some
            between |= always
    lines = (" ".join(sorted(words)) + "\n" for words in (between, names, week, short))
    TARGET.write_text(HEAD + "".join(lines), encoding="utf-8")
    print(f"{len(names)} names, {len(between)} words between them, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
