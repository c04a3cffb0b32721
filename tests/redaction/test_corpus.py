"""The corpus: every secret and all personal data in it is found, and nothing innocent is touched."""

from __future__ import annotations

from otelier.redaction import redact, redact_value
from tests.redaction.corpus import INNOCENT, PERSONAL, SECRETS


def test_the_corpus_is_large():
    """It is enough to say something, and no text stands in it twice."""
    assert len({found.text for found in SECRETS}) == len(SECRETS) >= 150
    assert len({found.text for found in PERSONAL}) == len(PERSONAL) >= 80
    assert len(set(INNOCENT)) == len(INNOCENT) >= 150


PIECE = 12
"""Characters of a long secret of which none may be left in a row: half a key is half a leak."""


def is_left(secret: str, text: str) -> bool:
    size = min(len(secret), PIECE)
    return any(secret[start : start + size] in text for start in range(len(secret) - size + 1))


def test_every_secret_is_found():
    """Of no text its secret is left, nor a piece of it, in a text by itself and as a value in nested data."""
    assert [found.name for found in SECRETS if is_left(found.secret, redact(found.text))] == []
    assert [found.name for found in SECRETS if is_left(found.secret, str(redact_value({"a": [found.text]})))] == []


def test_all_personal_data_is_found():
    """Of no text its personal data is left, and without being asked for it stays."""
    assert [(found.name, found.text) for found in PERSONAL if found.secret in redact(found.text, personal=True)] == []
    assert [(found.name, found.text) for found in PERSONAL if redact(found.text) != found.text] == []


def test_nothing_innocent_is_touched():
    """Code, prose, ids, numbers and addresses of other kinds pass unchanged, with personal data asked for."""
    assert [text for text in INNOCENT if redact(text, personal=True) != text] == []


def test_what_is_clean_stays_as_it_is():
    """Redacting twice changes nothing."""
    texts = [redact(found.text, personal=True) for found in (*SECRETS, *PERSONAL)]
    assert [text for text in texts if redact(text, personal=True) != text] == []
