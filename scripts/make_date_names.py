"""Write `src/otelier/identity/date_names.txt`: how days of the week and months are called in the languages of CLDR.

Run: uv run python scripts/make_date_names.py

Dates are masked in prompts before their fingerprint is taken. Babel brings CLDR's tables; it is needed here, and in the
test that goes through all of its locales, and nowhere else. Every locale writes dates of a year in its four formats:
words that change from date to date are names, and words that are there in each, such as `de`, go between them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from pathlib import Path

from babel import Locale, localedata
from babel import __version__ as release
from babel.dates import format_date

from otelier.identity._fingerprint import words_of

TARGET = Path(__file__).parent.parent / "src/otelier/identity/date_names.txt"
FORMATS = ("full", "long", "medium", "short")
DATES = [dt.date(2026, month, 16) for month in range(1, 13)] + [dt.date(2026, 11, day) for day in range(16, 23)]
HEAD = f"""\
# Names of months and days of the week, and words that stand between them, in the languages of Unicode's CLDR.
# Made by scripts/make_date_names.py with Babel {release}. As prompts are compared: in NFKC, case-folded.
#
# Copyright (c) 1991-2025 Unicode, Inc. All rights reserved. CLDR data is distributed under the Unicode License v3:
# https://www.unicode.org/license.txt
#
# The first line are the words between, the second one the names.
"""


def alike(texts: Iterable[str]) -> tuple[set[str], set[str]]:
    """Return the words that only some of *texts* have, and those that all have."""
    found = [words for words in map(set, map(words_of, texts)) if words]
    always = set.intersection(*found) if found else set()
    return set().union(*found) - always, always


def written(locale: Locale) -> Iterator[list[str]]:
    """Yield texts that differ in their names only: dates in each format, and the tables of names."""
    for form in FORMATS:
        yield [format_date(date, form, locale=locale) for date in DATES]
    for table in (locale.months, locale.days):
        for use in ("format", "stand-alone"):
            for width in ("wide", "abbreviated"):
                yield list(table[use][width].values())


def main() -> None:
    names: set[str] = set()
    between: set[str] = set()
    for identifier in localedata.locale_identifiers():
        for texts in written(Locale.parse(identifier)):
            some, always = alike(texts)
            names |= some
            between |= always
    lines = [HEAD, " ".join(sorted(between)), "\n", " ".join(sorted(names)), "\n"]
    TARGET.write_text("".join(lines), encoding="utf-8")
    print(f"{len(names)} names, {len(between)} words between them, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
