"""What an error quotes of content is taken out of its message, in the ways that errors quote."""

from __future__ import annotations

import json
import re

import pytest

from otelier.signals import unquoted

TEXT = 'I am "Alice" from Köln,\nand my dog is called Rex.'
MARK = "[REDACTED:content]"


FORMS = {
    "plain": str,
    "Python": repr,
    "JSON": json.dumps,
    "JSON beyond ASCII": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON in JSON in Python": lambda text: repr(json.dumps(json.dumps(text))),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("text", [TEXT, "меня зовут Алиса, я живу здесь", r"C:\new\table of contents"])
def test_whole_quotes(form, text):
    """A text is found as it is, as Python shows it and as JSON writes it, however often it was escaped."""
    said = unquoted(f"400: {form(text)} is not valid, {form(text)} neither", [text])
    assert len(re.sub(r"[\W_]", "", said.replace(MARK, ""))) == len("400isnotvalidneither")
    assert said.count(MARK) == 2


def test_words_around_a_quote():
    """What stands around a quote stays."""
    said = unquoted(f"400: {TEXT!r} is not valid, {TEXT!r} neither", [TEXT])
    for word in ("Alice", "Köln", "Rex"):
        assert word not in said
    assert said.startswith("400: ")
    assert said.endswith(" neither")


@pytest.mark.parametrize(
    ("quote", "left"),
    [
        (TEXT[:20] + "...", MARK + "..."),
        ("..." + TEXT[-20:], "..." + MARK + "."),
        (TEXT[:17] + " and so on " + TEXT[-18:], MARK + " and so on " + MARK + "."),
        (TEXT[:17] + TEXT[-18:], MARK + "."),
    ],
)
def test_shortened_quotes(quote, left):
    """A quote that was cut behind, before or in the middle is taken out as far as it goes."""
    assert unquoted(f"cannot read {quote}", [TEXT]) == f"cannot read {left}"


def test_several_texts():
    """Each text is looked for, the same words in two of them once."""
    texts = ["the first of the texts", "the first of the texts and more", "a second text, another one"]
    assert unquoted("a: the first of the texts and more; b: a second text, another one.", texts) == (
        f"a: {MARK}; b: {MARK}."
    )


@pytest.mark.parametrize("message", ["", "400: the model does not exist", "Hello is too short", MARK])
def test_other_messages_stay(message):
    """What quotes nothing stays as it is, and so do words that anybody may use."""
    assert unquoted(message, [TEXT, "Hello", "", MARK[:5]]) == message


def test_pydantic():
    """What pydantic could not validate is taken out, whoever it belongs to; the reason stays."""
    message = (
        "1 validation error for Verdict\n  Invalid JSON: expected value at line 1 column 1 "
        "[type=json_invalid, input_value='The answer is 42', input_type=str]\n"
    )
    assert unquoted(message, []) == message.replace("'The answer is 42'", MARK)


def test_huge_messages_and_texts():
    """A message is cut at 16,384 characters; of a text of megabytes both ends are found."""
    text = "start " + "x y " * 500_000 + "the very end of it"
    said = unquoted(f"a {text[:39]}… b …{text[-18:]} {'z ' * 20_000}", [text])
    assert said.startswith(f"a {MARK}… b …{MARK} z")
    assert len(said) < 17_000
    assert "[cut: " in said[-40:]


@pytest.mark.parametrize(
    "piece", ["a", "\\", "\\u", "\\u12", "\\x4", "input_value=", "input_value=x, ", f"{TEXT[:20]} "]
)
@pytest.mark.timeout(60)
def test_no_message_makes_it_run_away(piece):
    """Near misses by the thousand, in the message and in the texts, are looked at in time that grows with them only."""
    message = piece * (16_000 // len(piece))
    texts = [f"{message[:11]}{number}{message[:5_000]}" for number in range(100)]
    assert isinstance(unquoted(message, [*texts, message, message[::-1]]), str)
