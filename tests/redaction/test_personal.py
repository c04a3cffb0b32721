"""Personal data: found by its form, and left where nobody asks for it."""

from __future__ import annotations

import pytest

from otelier.redaction import redact, redact_value

FOUND = {
    "write to Bob.O+x@mail.example.co.uk.": "write to [REDACTED:email].",
    "müller@beispiel.de, and": "[REDACTED:email], and",
    "<a@b.io>": "<[REDACTED:email]>",
    "pay with 4111 1111 1111 1111 123": "pay with [REDACTED:card] 123",
    "5500-0000-0000-0004.": "[REDACTED:card].",
    "3782 822463 10005": "[REDACTED:card]",
    "378282246310005": "[REDACTED:card]",
    '{"card":"4242424242424242"}': '{"card":"[REDACTED:card]"}',
    "call +1 202-555-0143 now": "call [REDACTED:phone] now",
    "+49 (0)30 901820": "[REDACTED:phone]",
    "(202) 555-0143": "[REDACTED:phone]",
    "202.555.0143": "[REDACTED:phone]",
    "020 7946 0958": "[REDACTED:phone]",
    "to DE89 3704 0044 0532 0130 00 today": "to [REDACTED:iban] today",
}
LEFT = (
    "order 4111111111111112",
    "2026-11-21 15:48:13",
    "192.168.100.200",
    "550e8400-e29b-41d4-a716-446655440000",
    "version 1.2.3, 1234567890 bytes, 0.123456789",
    "user@localhost",
    "@decorator",
    "a = b @ c.d",
    "sum of 12 345 678",
    "order ZZ89 3704 0044 0532 0130 00",
    "DE89 3704 0044, and more",
)


@pytest.mark.parametrize(("text", "expected"), FOUND.items())
def test_what_is_found(text, expected):
    """Each kind in the forms it is written in, and nothing around it."""
    assert redact(text, personal=True) == expected
    assert redact(text) == text


@pytest.mark.parametrize("text", LEFT)
def test_what_is_left(text):
    """Dates, addresses of machines, ids and numbers of other kinds."""
    assert redact(text, personal=True) == text


def test_what_is_found_in_a_text_that_is_cut():
    """A text that is longer than what is looked at loses its end, and its personal data all the same."""
    clean = redact("write to bob@example.com " + "word " * 250_000, personal=True)
    assert clean.startswith("write to [REDACTED:email] word word")
    assert "[cut: " in clean[-40:]


def test_nested_data():
    """Also as keys and as numbers, wherever they are in the data."""
    data = {"a@b.io": [{"card": 4111111111111111, "flag": True}], "n": 4111111111111112}
    assert redact_value(data, personal=True) == {
        "[REDACTED:email]": [{"card": "[REDACTED:card]", "flag": True}],
        "n": 4111111111111112,
    }
    assert redact_value(data) == data
