"""Dates in the languages of Unicode's CLDR: a prompt that says what day it is, is one agent's every day."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest
from babel import Locale, localedata
from babel.dates import format_date, format_datetime, format_skeleton

from otelier import prompt_fingerprint
from otelier.identity._dates import dates
from tests.identity.test_fingerprint import generated

FORMATS = ("full", "long", "medium", "short")
DAYS = [dt.date(2026, month, 15 + month) for month in range(1, 13)]
PROMPT = "You are the billing agent.\nDate: {}\nAnswer briefly."
# Their names have signs that count as white space, digits, or words so short that they are those of other languages.
NOT_WHOLLY = {"bem", "blo", "cch", "cv", "gaa", "kde", "kln", "mua", "mus", "nmg", "nnh", "quc", "rn", "saq", "trv"}


def prompts_of(*texts):
    return {prompt_fingerprint(PROMPT.format(text)) for text in texts}


def languages():
    found = {}
    for identifier in localedata.locale_identifiers():
        found.setdefault(identifier.partition("_")[0], []).append(identifier)
    return found


def test_every_locale_of_cldr():
    """Twelve days in each of the four formats of a locale give one fingerprint, but for names of a few languages."""
    seen, wrong, formats = set(), {}, 0
    for language, identifiers in languages().items():
        for locale in map(Locale.parse, identifiers):
            for form in FORMATS:
                texts = tuple(format_date(day, form, locale=locale) for day in DAYS)
                if texts not in seen:
                    seen.add(texts)
                    formats += 1
                    if len(prompts_of(*texts)) > 1:
                        wrong.setdefault(language, []).append((str(locale), form))
    assert formats > 900
    assert set(wrong) <= NOT_WHOLLY, wrong


# ruff: noqa: RUF001 -- letters of other alphabets are what it is about
SENTENCES = {
    "German": ["Heute ist Montag, der 16. November 2026.", "Heute ist Dienstag, der 3. März 2026."],
    "German without a year": ["Heute ist der 16. November.", "Heute ist der 3. Dezember."],
    "French": ["Nous sommes le lundi 16 novembre 2026.", "Nous sommes le mardi 3 août 2027."],
    "French, the first": ["Nous sommes le 1er août 2026.", "Nous sommes le 2 août 2026."],
    "Spanish": ["Hoy es lunes, 16 de noviembre de 2026.", "Hoy es martes, 3 de marzo de 2026."],
    "Spanish without a year": ["Hoy es 16 de noviembre.", "Hoy es 3 de marzo."],
    "Portuguese": ["Hoje é segunda-feira, 16 de novembro de 2026.", "Hoje é terça-feira, 3 de março de 2026."],
    "Portuguese, short": ["Hoje: 16 de set. de 2026", "Hoje: 3 de out. de 2026"],
    "Italian": ["Oggi è lunedì 16 novembre 2026.", "Oggi è martedì 3 marzo 2026."],
    "Dutch": ["Vandaag is maandag 16 november 2026.", "Vandaag is dinsdag 3 maart 2026."],
    "Polish": ["Dziś jest poniedziałek, 16 listopada 2026.", "Dziś jest wtorek, 3 marca 2026."],
    "Czech": ["Dnes je pondělí 16. listopadu 2026.", "Dnes je úterý 3. března 2026."],
    "Turkish": ["Bugün 16 Kasım 2026 Pazartesi.", "Bugün 3 Mart 2026 Salı."],
    "Russian": ["Сегодня понедельник, 16 ноября 2026 г.", "Сегодня вторник, 3 марта 2026 г."],
    "Greek": ["Σήμερα είναι Δευτέρα, 16 Νοεμβρίου 2026.", "Σήμερα είναι Τρίτη, 3 Μαρτίου 2026."],
    "Arabic": ["اليوم هو الاثنين، ١٦ نوفمبر ٢٠٢٦.", "اليوم هو الثلاثاء، ٣ مارس ٢٠٢٦."],
    "Persian": ["امروز دوشنبه ۱۶ نوامبر ۲۰۲۶ است.", "امروز جمعه ۳ مارس ۲۰۲۶ است."],
    "Hindi": ["आज सोमवार, १६ नवंबर २०२६ है।", "आज मंगलवार, ३ मार्च २०२६ है।"],
    "Thai": ["วันนี้คือวันจันทร์ที่ 16 พฤศจิกายน พ.ศ. 2569", "วันนี้คือวันอังคารที่ 3 มีนาคม พ.ศ. 2569"],
    "Vietnamese": ["Hôm nay là Thứ Hai, 16 tháng 11, 2026.", "Hôm nay là Thứ Ba, 3 tháng 3, 2026."],
    "Japanese": ["今日は2026年11月16日月曜日です。", "今日は2026年3月3日火曜日です。"],
    "Japanese, short": ["今日は2026年11月16日(月)です。", "今日は2026年3月3日(火)です。"],
    "Chinese": ["今天是2026年11月16日星期一。", "今天是2026年3月3日星期二。"],
    "Korean": ["오늘은 2026년 11월 16일 월요일입니다.", "오늘은 2026년 3월 3일 화요일입니다."],
    "Finnish": ["Tänään on maanantai 16. marraskuuta 2026.", "Tänään on tiistai 3. maaliskuuta 2026."],
    "Hungarian": ["Ma 2026. november 16., hétfő van.", "Ma 2026. március 3., kedd van."],
    "Hebrew": ["היום יום שני, 16 בנובמבר 2026.", "היום יום שלישי, 3 במרץ 2026."],
    "Indonesian": ["Hari ini Senin, 16 November 2026.", "Hari ini Selasa, 3 Maret 2026."],
}


@pytest.mark.parametrize("days", SENTENCES.values(), ids=SENTENCES)
def test_a_sentence_that_says_the_day(days):
    """As people write it, with and without a year, in digits of any script, it is masked and leaves the rest alone."""
    one, other = days
    assert len(prompts_of(one, other)) == 1
    assert len(prompts_of(one, f"zebra {other}")) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("You may march.", "You mars juin."),
        ("Sprich vom März.", "Sprich vom Juni."),
        ("Reply in mars.", "Reply in juillet."),
        ("Name the lundi team.", "Name the mardi team."),
        ("Answer in 3 lines.", "Answer with 3 lines."),
        ("Use 5 set tools.", "Use 5 out tools."),
        ("Add 12 pri items.", "Add 12 sau items."),
        ("Version 2026 is out 3 times.", "Version 2026 is now 3 times."),
        ("Use the 3 tools of Mars.", "Use the 3 tools of Venus."),
        ("Call 5 de facto agents.", "Call 5 a facto agents."),
        ("Deadlines to 1/1/2026 count.", "Deadlines by 1/1/2026 count."),
        ("1/1/2026 or later", "1/1/2026 and later"),
        ("Sprich vom 3. Mal.", "Sprich vom 3. Mai."),
        ("土曜の担当です", "日曜の担当です"),
    ],
)
def test_names_of_days_that_are_none(one, other):
    """Names of months and days count where no number stands beside them, and short ones where no whole date is."""
    assert prompt_fingerprint(one) != prompt_fingerprint(other)


SKELETONS = {
    "yMMMEd": "de fr es pt it nl pl tr sv da cs hu ja zh ko ru uk el ar he th lt ca eu hr id",
    "yMEd": "de fr es pt it nl pl tr sv cs hu ja zh ko ru uk he lt ca eu hr id",
    "yMMMM": "de fr nl sv pl id sw hi bn ta mr fa",
    "MMMMd": "de fr nl sv id sw hi bn ta mr fa",
}


@pytest.mark.parametrize(
    ("skeleton", "locale"), [(form, locale) for form, locales in SKELETONS.items() for locale in locales.split()]
)
def test_short_days_of_the_week_and_may(skeleton, locale):
    """A short day of the week beside a whole date is masked, and so is May where it has no longer name."""
    assert len(prompts_of(*(format_skeleton(skeleton, day, locale=locale) for day in DAYS))) == 1


@pytest.mark.parametrize("form", ["full", "long", "medium", "short"])
@pytest.mark.parametrize("locale", ["ar", "ar_EG", "ko", "el", "hi", "en"])
def test_halves_of_the_day(locale, form):
    """A time is masked with the half of the day beside it."""
    days = [dt.datetime(2026, 3, 9, hour, 5, 9, tzinfo=dt.timezone.utc) for hour in (3, 13)]
    assert len(prompts_of(*(format_datetime(day, form, locale=locale) for day in days))) == 1


@pytest.mark.parametrize(("one", "other"), [("午前10時30分", "午後3時5分"), ("今は上午10點です", "今は下午3點です")])
def test_halves_of_the_day_without_spaces(one, other):
    """Where there are no spaces, a half of the day is masked beside its hour, also without a date."""
    assert len(prompts_of(one, other)) == 1


def test_ten_thousand_prompts_with_dates():
    """10,000 prompts, each with a date in one of many languages, have 10,000 fingerprints."""
    locales = itertools.cycle(["de", "fr", "es", "pt", "it", "ru", "ja", "zh", "ar", "th", "tr", "pl", "vi"])
    prompts = [
        f"{format_date(DAYS[number % 12], 'full', locale=next(locales))}. {generated(number)}"
        for number in range(10_000)
    ]
    assert len(set(map(prompt_fingerprint, prompts))) == 10_000


def test_the_table_is_of_its_script():
    """Every name and word in the table is as `scripts/make_date_names.py` writes it: single words without digits."""
    names = dates()
    assert len(names.every) > 7_000
    assert names.sure < names.every
    assert not [word for word in names.known if b" " in word or b"0" in word or word != word.strip()]
