"""Bytes in content: whatever form they have and wherever they stand, only type, size and hash leave."""

from __future__ import annotations

import base64
import hashlib
import json
import random

import pytest

from otelier.signals import ContentGate, ContentMode, redact_start, redact_value

NOISE = random.Random(7).randbytes
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + NOISE(900)
MP3 = b"ID3" + NOISE(900)
ZEROS = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(3_000)


def b64(content):
    return base64.b64encode(content).decode()


def told(content, mime_type="image/png"):
    return f"[bytes: {mime_type}, size {len(content)}, sha256:{hashlib.sha256(content).hexdigest()}]"


FORMS = {
    "base64": (b64(PNG), told(PNG)),
    "base64 for URLs": (base64.urlsafe_b64encode(PNG).decode(), told(PNG)),
    "base64 in lines": (base64.encodebytes(PNG + b"ab").decode().strip(), told(PNG + b"ab")),
    "hexadecimal": (PNG.hex(), told(PNG)),
    "a data URL": (f"data:image/png;base64,{b64(PNG)}", told(PNG)),
    "a data URL with parameters": (f"data:audio/mpeg;rate=16;base64,{b64(MP3)}", told(MP3, "audio/mpeg")),
    "a data URL in percent": ("data:image/svg+xml,%3Csvg%2F%3E", told(b"<svg/>", "image/svg+xml")),
    "a small image": (b64(PNG[:40]), told(PNG[:40])),
    "sound": (b64(MP3), told(MP3, "audio/mpeg")),
    "silence": (b64(ZEROS), told(ZEROS, "audio/wav")),
    "noise": (b64(PNG[8:]), told(PNG[8:], "application/octet-stream")),
    "bytes": (PNG, told(PNG)),
    "a bytearray": (bytearray(PNG), told(PNG)),
    "a memoryview": (memoryview(PNG), told(PNG)),
}
PLACES = {
    "alone": lambda form: form,
    "a list": lambda form: [1, [form]],
    "any key": lambda form: {"whatever": {"deep": (form,)}},
    "a key of its own": lambda form: {form if isinstance(form, str) else "a": form},
    "an output": lambda form: {"type": "image_generation_call", "result": form},
    "an image": lambda form: {"type": "image_url", "image_url": {"url": form}},
    "text": lambda form: f"see ({form}) and more" if isinstance(form, str) else form,
    "quoted JSON": lambda form: json.dumps({"a": [{"b": form}]}) if isinstance(form, str) else form,
}


SHORT = ("data:image/svg+xml,%3Csvg%2F%3E", b64(PNG[:40]))


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize(("form", "expected"), FORMS.values(), ids=FORMS)
def test_bytes_never_leave(form, expected, place):
    """In every place each form becomes type, size and hash."""
    if form in SHORT and place in (PLACES["text"], PLACES["quoted JSON"], PLACES["a key of its own"]):
        pytest.skip("there only what is long, or says that it is base64, is looked for")
    text = ContentGate(ContentMode.SPAN_ONLY).json(place(form))
    assert expected in text
    if isinstance(form, str):
        assert form[:60] not in text
    assert b64(PNG)[:60] not in text


@pytest.mark.parametrize("key", ["b64_json", "data", "file_data"])
def test_under_a_telling_key_short_base64_is_bytes(key):
    """Where the name says that it is bytes, 64 characters are enough."""
    content = NOISE(60)
    assert redact_value({key: b64(content)}) == {key: told(content, "application/octet-stream")}


INNOCENT = (
    "x" * 1_000,
    "Explain how baggage is propagated. " * 100,
    "/usr/lib/python3/site2packages/Otelier/" * 20,
    "https://example.com/a/Long/Path/with/many/Parts/and/numbers/12/" * 10,
    "a-slug-that-Goes-on-and-on-12-times-" * 20,
    "1234567890" * 60,
    "abcdefghij" * 60,
    "data: 12, more: data",
    "data:, nothing",
    "sha256:" + "ab12" * 16,
    "日本語の長い文章" * 100,
    "AAAA",
)


@pytest.mark.parametrize("text", INNOCENT)
def test_text_is_no_bytes(text):
    """Words, paths, slugs, numbers and hashes stay as they are."""
    assert redact_value({"note": text}) == {"note": text}


def test_secrets_beside_bytes_are_found():
    """What stands before and behind bytes is redacted all the same, and a private key is a secret first."""
    text = f"password=hunter2 {b64(PNG)} token=abc12345"
    assert redact_value(text) == f"password=[REDACTED:secret] {told(PNG)} token=[REDACTED:secret]"
    pem = f"-----BEGIN PRIVATE KEY-----\n{base64.encodebytes(PNG).decode()}-----END PRIVATE KEY-----"
    assert redact_value(pem) == "[REDACTED:private-key]"


@pytest.mark.parametrize(
    "form", [f"data:image/png;base64,{b64(PNG)}", b64(PNG), PNG.hex()], ids=["url", "base64", "hex"]
)
def test_messages_of_errors_show_no_bytes(form):
    """What is told of an error has type, size and hash in their place, within its characters, and no secret either."""
    text = ContentGate(ContentMode.SPAN_ONLY).text(f"password=hunter2 bad image {form}, sent again", 1_000)
    assert text == f"password=[REDACTED:secret] bad image {told(PNG)}, sent again"
    assert redact_start(f"{form} " + "word " * 100, 200).endswith(" characters]")


def test_a_private_key_in_a_message_is_a_secret_first():
    """Its base64 is no file."""
    pem = f"-----BEGIN PRIVATE KEY-----\n{base64.encodebytes(PNG).decode()}-----END PRIVATE KEY-----"
    assert redact_start(f"bad key {pem}", 500) == "bad key [REDACTED:private-key]"


def test_a_huge_message_is_cut_and_says_so():
    """Beyond a million characters nothing is looked at, and all that is cut is counted."""
    text = f"data:image/png;base64,{b64(PNG)} " + "word " * 400_000
    shown = redact_start(text, 500)
    assert shown.startswith(told(PNG))
    assert len(shown) < 550
    assert int(shown.split("[cut: ")[1].split()[0]) == len(told(PNG)) + 1 + 2_000_000 - 500


def test_bytes_cost_no_budget():
    """A file of megabytes leaves room for the text behind it, and is hashed whole."""
    content = NOISE(3_000_000)
    shown = redact_value([b64(content), "the question"], max_chars=1_000)
    assert shown == [told(content, "application/octet-stream"), "the question"]
