"""Fingerprints: the same for one agent's prompt on every day, another for another agent's."""

from __future__ import annotations

import hashlib
import itertools
import random
import re

import pytest

from otelier.identity import prompt_fingerprint
from tests.programs import run

PROMPT = (
    "You are the billing assistant of Example Ltd. Today is {}. Answer in at most three sentences, "
    "quote the invoice you refer to, and never promise a refund."
)
SAME = {
    "ISO dates": ["2026-11-16", "2026-12-01", "1999-01-31"],
    "dates with slashes": ["16/11/2026", "1/2/2026", "12/31/99"],
    "dates with dots": ["16.11.2026", "1.2.26"],
    "dates in words": ["November 16, 2026", "March 3, 2026", "May 1, 2027"],
    "dates in words, day first": ["16 November 2026", "3 March 2026"],
    "dates with ordinals": ["November 16th, 2026", "March 3rd, 2026", "May 1st, 2027"],
    "dates with weekdays": ["Monday, November 16, 2026", "Friday, 20 November 2026", "Sun, Nov 22, 2026"],
    "dates in brackets": ["(November 16, 2026)", "(March 3, 2026)"],
    "dates cut short": ["Nov 16", "Sept. 3", "Dec 24"],
    "dates of RFC 2822": ["Mon, 16 Nov 2026 10:00:00 GMT", "Fri, 20 Nov 2026 23:59:59 GMT"],
    "dates of ctime": ["Mon Nov 16 10:00:00 2026", "Fri Nov 20 23:59:59 2026"],
    "dates and times of ISO": ["2026-11-16T10:00:00Z", "2026-11-20T23:59:59.123456+01:00"],
    "dates of several kinds": ["2026-11-16", "November 16, 2026", "16 Nov 2026", "Monday, Nov 16, 2026, 10:00 UTC"],
    "times": ["10:00", "23:59:59", "9:05"],
    "times with am and pm": ["10:00 AM", "9pm", "11:30 p.m.", "7:15 am"],
    "times with zones": ["10:00 UTC", "23:59 CET", "8:30 am PST", "10:00"],
    "UUIDs": ["9f1c2d34-5e6f-4a7b-8c9d-0e1f2a3b4c5d", "{00000000-0000-4000-8000-000000000001}".strip("{}")],
    "hashes": ["8f14e45fceea167a5a36dedd4bea2543", "c9f0f895fb98ab9159f51fd0297e236d", "0xdeadbeef01"],
    "hashes without a digit": ["8f14e45fceea167a", "deadbeefcafebabe", "FEEDFACE", "deadbeef-cafebabe"],
    "ids": ["user_8f2c11", "req-20261121-0001"],
    "models": ["gpt-4.1", "gpt-4o-mini-2024-07-18", "claude-3-5-sonnet-20241022", "o3-mini", "llama3.1:70b"],
    "models without digits": [
        "mistral-large-latest",
        "deepseek-chat",
        "gemini-pro",
        "Claude",
        "command-r-plus",
        "gpt-5",
    ],
    "models in words": ["GPT-4o", "Claude Sonnet 4.5", "Claude 3 Haiku", "Gemini 2.5 Pro", "ChatGPT", "GPT-4 Turbo"],
    "models with a publisher": ["openai/gpt-4.1", "anthropic/claude-3-opus", "meta-llama/Llama-3.3-70B-Instruct"],
    "e-mails": ["alice@example.com", "bob.smith+tag@mail.example.co.uk", "<carol@example.org>".strip("<>")],
    "e-mails in brackets": ["<alice@example.com>", "<bob@mail.example.org>"],
    "URLs": ["https://example.com/a?b=c#d", "http://localhost:8080/", "www.example.org/path"],
    "numbers": ["7", "1,000,000", "3.14", "-5", "1 000 000", "10e6", "1.000,50"],
    "numbers with signs": ["$5", "$1,250.00"],
    "percentages": ["5%", "99.9%"],
    "addresses": ["192.0.2.1", "192.0.2.1:8080", "2001:db8::1"],
}
TEXTS = {
    "case": ["You ARE a Billing agent.", "you are a billing AGENT."],
    "sharp s": ["Die Straße", "die STRASSE"],
    "white space": ["You are\n\n  a billing\tagent.", " You are a billing agent.\n"],
    "wide white space": ["You are\u00a0a\u2003billing\u3000agent.", "You are a billing agent."],
    "signs of editors": ["It\u2019s \u201cbilling\u201d \u2013 or not\u2026", 'It\'s "billing" - or not...'],
    "punctuation of Chinese": ["\u4f60\u597d\uff0c\u4f60\u662f\u8c01\uff1f", "\u4f60\u597d,\u4f60\u662f\u8c01?"],
    "brackets and emphasis": ["You are **[Ada]**.", "(You) are 'Ada'."],
    "compatibility forms": ["\uff39\uff4f\uff55 are the \ufb01rst agent\u2026", "You are the first agent..."],
    "composed letters": ["Du bist f\u00fcr \u00c4rger da", "Du bist fu\u0308r A\u0308rger da"],
    "digits of other scripts": ["at most 5 lines", "at most \u0665 lines"],
    "digits of other scripts beside words": ["\u0639\u0634\u0631\u0629\u0665", "\u0639\u0634\u0631\u0629\u0661\u0662"],
    "models in Chinese": ["请用GPT-4o回答", "请用claude-3-5-sonnet回答"],
    "numbers in Chinese": ["请用3句话回答。", "请用15句话回答。"],
}


@pytest.mark.parametrize("values", SAME.values(), ids=SAME)
def test_what_changes_from_call_to_call_does_not_count(values):
    """Dates, times, ids, models, addresses and numbers of all kinds give the fingerprint of their kin."""
    assert len({prompt_fingerprint(PROMPT.format(value)) for value in values}) == 1


@pytest.mark.parametrize("texts", TEXTS.values(), ids=TEXTS)
def test_how_it_is_written_does_not_count(texts):
    """Case, white space and compatibility forms do not make another prompt."""
    assert len(set(map(prompt_fingerprint, texts))) == 1


def test_every_word_counts():
    """A prompt with one word left out, replaced, or said twice is another prompt, whichever word it is."""
    words = PROMPT.format("November 16, 2026").split()
    fingerprints = [prompt_fingerprint(" ".join(words))]
    date = range(words.index("November"), words.index("2026.") + 1)
    for position in range(len(words)):
        if position in date:
            continue
        before, word, after = words[:position], words[position], words[position + 1 :]
        changed = ([*before, *instead, *after] for instead in ([], ["zebra"], [word, "really"]))
        fingerprints += [prompt_fingerprint(" ".join(text)) for text in changed]
    assert len(set(fingerprints)) == len(fingerprints) > 60


def test_every_word_counts_beside_what_is_masked():
    """Also the words next to a date, a number or a model are told apart."""
    made = [
        prompt_fingerprint(f"{before} {value} {after} agent")
        for value in ("November 16, 2026", "10:30 pm", "42", "Claude Sonnet 4.5", "alice@example.com")
        for before, after in itertools.product(("billing", "triage", "maybe"), repeat=2)
    ]
    # Five values of three kinds: a date and a time are masked as numbers are.
    assert len(set(made)) == 9


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Claude writes.", "Claudia writes."),
        ("Use a pro tool.", "Use a mini tool."),
        ("You write a haiku.", "You write a sonnet."),
        ("You may refund.", "You march on."),
        ("The sun rises.", "The sat rises."),
        ("You are nano.", "You are mini."),
        ("你是翻译助手请用3句话回答", "你是计费助手请用3句话回答"),
        ("あなたは3人の翻訳者です", "あなたは3人の会計士です"),
        ("คุณคือผู้แปล 3 คน", "คุณคือผู้ขาย 3 คน"),
        ("Agent: \U0001f600", "Agent: \U0001f680"),
        ("naive", "na\u00efve"),
        ("Be brief.", "Be brief!"),
        ("Add a.mx 5 times.", "Add a.my 5 times."),
    ],
)
def test_what_makes_another_prompt(one, other):
    """Words that could be a date's or a model's count where they are not, and so do other scripts and signs."""
    assert prompt_fingerprint(one) != prompt_fingerprint(other)


def test_the_form():
    """A version, and a SHA-256: nothing of the prompt can be read from it."""
    assert re.fullmatch("fp1:[0-9a-f]{64}", prompt_fingerprint(PROMPT))
    plain = hashlib.sha256(b"you are a billing agent.").hexdigest()
    assert prompt_fingerprint("You are a  Billing agent.") == f"fp1:{plain}"  # it stays: dashboards keep it


def generated(number):
    """A prompt such as people write, unlike all others in a word or two."""
    chance = random.Random(number)
    role, manner, domain, rule = (chance.choice(words) for words in VOCABULARY)
    filler = " ".join(chance.choice(WORDS) for _ in range(chance.randint(5, 120)))
    named = "".join(chance.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(6))
    return (
        f"You are {named}, a {manner} {role} for {domain} with {chance.choice(MODELS)}. "
        f"Today is {chance.randint(1, 28)} May 2026. {rule} {filler}."
    )


VOCABULARY = (
    ("assistant", "reviewer", "planner", "translator", "analyst", "tutor", "triage agent", "researcher"),
    ("friendly", "strict", "concise", "patient", "formal", "curious"),
    ("billing", "shipping", "returns", "legal questions", "travel", "recruiting", "health insurance", "gardening"),
    ("Never guess.", "Always cite your sources.", "Answer in JSON.", "Use the tools you are given.", "Ask back."),
)
MODELS = ("gpt-4.1", "gpt-4o-mini", "claude-3-5-sonnet", "Gemini 2.5 Pro")
WORDS = PROMPT.lower().replace("{}", "").replace(",", "").replace(".", "").split()


def test_ten_thousand_prompts_never_collide():
    """10,000 generated prompts, each unlike the others in some word, have 10,000 fingerprints."""
    prompts = {generated(number) for number in range(10_000)}
    assert len(set(map(prompt_fingerprint, prompts))) == len(prompts) == 10_000


@pytest.mark.parametrize("seed", range(20))
def test_one_word_and_one_day(seed):
    """Of random prompts of up to 2,000 characters each word counts, and no date, time, id, address or number does."""
    chance = random.Random(seed)
    for _ in range(10):
        words = " ".join(generated(chance.randrange(1_000_000)) for _ in range(6))
        words = words[: chance.randint(100, 1_900)].split()
        kinds = chance.sample(list(SAME), 3)
        for kind in kinds:
            words.insert(chance.randrange(len(words)), f"({{{kind}}}),")
        one = filled(words, kinds, chance)
        assert filled(words, kinds, chance) == one
        plain = [place for place, word in enumerate(words) if word.isalpha() and word.lower() not in MAYBE_DATES]
        for place in chance.sample(plain, 5):
            assert filled([*words[:place], "zebra", *words[place + 1 :]], kinds, chance) != one


def filled(words, kinds, chance):
    """The fingerprint of *words* with some value of each of *kinds* in its place."""
    text = " ".join(words)
    for kind in kinds:
        text = text.replace(f"{{{kind}}}", chance.choice(SAME[kind]))
    return prompt_fingerprint(text)


MAYBE_DATES = ("may", "pro")
LONG = {
    "English": (PROMPT.replace("{}", "") * 100, 2_300),
    "German": ("Du prüfst für die Ärztekammer jede Überweisung und erklärst höflich, was fehlt. " * 100, 1_750),
    "Russian": ("Вы проверяете каждый счёт и вежливо объясняете клиенту, чего в нём не хватает. " * 100, 1_000),
    "Chinese": ("你是计费助手\uff0c请核对每一张发票\uff0c并礼貌地说明缺少什么。" * 300, 370),
}


@pytest.mark.parametrize(("text", "chars"), LONG.values(), ids=LONG)
def test_the_beginning_of_a_long_prompt(text, chars):
    """A long prompt is known by its beginning, whatever comes behind it and whatever day it is."""

    def dated(date, head=text[:chars], tail=text[chars:]):
        return prompt_fingerprint(f"({date}) {head} {tail}")

    one = dated("2026-11-16")
    assert one == dated("Wednesday, November 18, 2026, 10:00 UTC") == dated("16.11.26")
    assert one == dated("2026-11-16", tail=text[chars:3_000] + "zebra" * 2_000_000)
    for place in (0, chars // 2, chars):
        assert one != dated("2026-11-16", head=f"{text[:place]} zebra {text[place:chars]}")


SHAPES = {
    "one word": "a",
    "one number": "1",
    "numbers": "1 ",
    "numbers and words": "a 1 ",
    "short words": "a b c ",
    "new words": "".join(map("".join, itertools.product("abcd ", repeat=5))),
    "dates": "nov 3 ",
    "months": "nov, sat, may, ",
    "dates and words": "nov 5 a ",
    "models": "gpt mini ",
    "e-mails": "a@b.de ",
    "at signs": "@",
    "URLs": "http://a ",
    "brackets": "( ",
    "spaces": " \n",
    "control characters": "\x00a",
    "base64": hashlib.sha512(b"a").hexdigest(),
    "accents": "\u00e9 ",
    "marks in the wrong order": "\u0301\u0316",
    "letters that grow": "\ufdfa",
    "letters that grow when folded": "\u0390 ",
    "dots": "\u2026 ",
    "syllables taken apart": "\u1112\u1161\u11ab",
    "Chinese": "\u4f60",
    "Chinese with numbers": "\u4f601",
    "Arabic numbers": "\u0665 ",
    "emoji": "\U0001f600",
    "lone surrogates": "\ud800",
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_prompts_of_any_shape(shape):
    """Whatever a prompt of 10 MB is made of, no more than its first 3,000 characters is looked at."""
    long = (shape * (10_000_000 // len(shape) + 1))[:10_000_000]
    fingerprint = prompt_fingerprint(long)
    assert re.fullmatch("fp1:[0-9a-f]{64}", fingerprint)
    assert fingerprint == prompt_fingerprint(long[:3_000]) == prompt_fingerprint(long[:3_000] + " zebra" * 100)
    assert fingerprint != prompt_fingerprint(f"zebra {long}")


def test_every_process_agrees():
    """A fingerprint depends on nothing but the text: neither on the process nor on how it hashes."""
    program = "import sys, otelier; print(otelier.prompt_fingerprint(sys.argv[1]))"
    text = PROMPT.format("November 16, 2026")
    found = {run(program, text, PYTHONHASHSEED=seed).out.strip() for seed in ("0", "1", "random")}
    assert found == {prompt_fingerprint(text)} == {PINNED}


PINNED = "fp1:292838b3d16ad8cfed50e1e9f14dc02843819772e4b56a384f30a6ed8964250e"


@pytest.mark.parametrize(
    "text",
    ["", " ", "\x00", "\x00\x01\x02 #", "\ud800", "a\udfffb", "#", "# # #", "...", "@", "://", "\u0301", "\ufdfa" * 50],
    ids=ascii,
)
def test_odd_texts(text):
    """Nothing at all, control characters, lone surrogates and signs have a fingerprint like anything else."""
    assert re.fullmatch("fp1:[0-9a-f]{64}", prompt_fingerprint(text))
    assert prompt_fingerprint(text) == prompt_fingerprint(text)


def test_control_characters_make_no_date():
    """What stands in a prompt cannot pass for our own marks."""
    assert prompt_fingerprint("in \x00billing 5") != prompt_fingerprint("in \x00shipping 5")
    assert prompt_fingerprint("gpt \x02billing") != prompt_fingerprint("gpt \x02shipping")
