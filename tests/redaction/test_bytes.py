"""Bytes in content: whatever form they have and wherever they stand, only type, size and hash leave."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import textwrap

import pytest

from otelier.redaction import ContentGate, TooLongError, redact_start, redact_value
from otelier.settings import ContentMode

NOISE = random.Random(7).randbytes
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + NOISE(900)
MP3 = b"ID3" + NOISE(900)
MP4 = b"\x00\x00\x00\x18ftypmp42" + NOISE(900)
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
    "a film": (b64(MP4), told(MP4, "video/mp4")),
    "silence": (b64(ZEROS), told(ZEROS, "audio/wav")),
    "noise": (b64(PNG[8:]), told(PNG[8:], "application/octet-stream")),
    "base64 in short lines": ("\n".join(textwrap.wrap(b64(PNG), 40)), told(PNG)),
    "base64 joined by blanks": (" ".join(textwrap.wrap(b64(PNG), 76)), told(PNG)),
    "noise in short lines": (
        "\n".join(textwrap.wrap(b64(PNG[9:]), 40)),
        told(PNG[9:], "application/octet-stream"),
    ),
    "noise joined by blanks": (
        " ".join(textwrap.wrap(b64(PNG[9:]), 76)),
        told(PNG[9:], "application/octet-stream"),
    ),
    "a data URL in capitals": (f"DATA:image/png;BASE64,{b64(PNG[:40])}", told(PNG[:40])),
    "pairs of digits": (PNG.hex(" "), told(PNG)),
    "pairs in capitals, with colons": (PNG.hex(":").upper(), told(PNG)),
    "pairs in lines": ("\n".join(PNG[start : start + 16].hex(" ") for start in range(0, len(PNG), 16)), told(PNG)),
    "an array of C": (", ".join(f"0x{byte:02x}" for byte in PNG), told(PNG)),
    "numbers": ([*PNG], told(PNG)),
    "a tuple of numbers": (tuple(PNG), told(PNG)),
    "an array of JavaScript": ({str(place): byte for place, byte in enumerate(PNG)}, told(PNG)),
    "a buffer of Node": ({"type": "Buffer", "data": [*PNG[8:]]}, told(PNG[8:], "application/octet-stream")),
    "numbers as text": (json.dumps([*PNG]), told(PNG)),
    "a buffer as text": (
        json.dumps({"type": "Buffer", "data": [*PNG[8:]]}, indent=1),
        told(PNG[8:], "application/octet-stream"),
    ),
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


def hexdump(content, form):
    rows = [(start, content[start : start + 16]) for start in range(0, len(content), 16)]
    return "\n".join(
        form(start, row, "".join(chr(one) if 32 <= one < 127 else "." for one in row)) for start, row in rows
    )


DUMPS = {
    "xxd": lambda start, row, text: f"{start:08x}: {row.hex(' ', -2):39}  {text}",
    "hexdump": lambda start, row, text: f"{start:08x}  {row[:8].hex(' '):23}  {row[8:].hex(' '):23}  |{text}|",
    "without text": lambda start, row, text: f"{start:07x} {row.hex(' ')}",
}


@pytest.mark.parametrize("form", DUMPS.values(), ids=DUMPS)
def test_dumps_are_bytes(form):
    """What tools print of a file is the file, and what stands before and behind it stays."""
    text = f"It begins so:\n{hexdump(PNG, form)}\nand that is all."
    assert redact_value({"out": text}) == {"out": f"It begins so:\n{told(PNG)}and that is all."}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize(("form", "expected"), FORMS.values(), ids=FORMS)
def test_bytes_never_leave(form, expected, place):
    """In every place each form becomes type, size and hash."""
    text = ContentGate(ContentMode.SPAN_ONLY).json(place(form))
    assert expected in text
    if isinstance(form, str):
        assert form[:60] not in text
    assert b64(PNG)[:60] not in text


@pytest.mark.parametrize("key", ["bytes", "audio", "file_data"])
def test_under_a_telling_key_numbers_are_bytes(key):
    """Where the name says that it is bytes, more than 64 numbers are."""
    content = NOISE(65)
    assert redact_value({key: [*content]}) == {key: told(content, "application/octet-stream")}
    assert redact_value({key: [*content[:64]]}) == {key: [*content[:64]]}


@pytest.mark.parametrize(
    "value",
    [
        [*range(200)],
        {"data": [day % 200 for day in range(365)]},
        {"data": [{"embedding": [0.1, -0.2] * 100, "ids": [12, 250, 7] * 40}]},
        {"token": "Hi", "logprob": -0.1, "bytes": [72, 105]},
        {"bytes": [256] * 100},
        {"bytes": ["a"] * 100},
        [255, 216, 255, *range(300)],
        [[1, 2, 3]] * 100,
        {str(number): number for number in range(100)},
        [True] * 100,
    ],
    ids=lambda value: str(value)[:30],
)
def test_numbers_are_no_bytes(value):
    """Counts, ids, embeddings and the bytes of one token stay as they are, also in a text."""
    assert redact_value(value) == value
    assert redact_value(json.dumps(value)) == json.dumps(value)


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
    "\n".join(hashlib.sha1(bytes([one])).hexdigest() for one in range(20)),
    "\n".join(hashlib.sha256(bytes([one])).hexdigest() for one in range(20)),
    " ".join(hashlib.sha256(bytes([one])).hexdigest() for one in range(20)),
    "\n".join(
        "Qm" + b64(hashlib.sha256(bytes([one])).digest() * 2).replace("/", "a").replace("+", "b")[:44]
        for one in range(20)
    ),
    "\n".join(f"{one:08x} a fine fix of the day" for one in range(20)),
    "12 34 56 78 90 " * 40,
    " ".join(["00:1b:44:11:3a:b7"] * 40),
    "\n".join(["AA:1B:44:11:3A:B7:00:22:10:99:AB:CD:EF:01:02:03:04:05:06:07"] * 20),
    "be ad da fe " * 40,
    "12:34:56 " * 40,
    "[" + "1, 2, 3, " * 100 + "4]",
    "data:text says more",
    "日本語の長い文章" * 100,
    "AAAA",
    "data: " + b64(NOISE(100)),
    "a1" * 200 + "b",
    "g7h+" * 100,
)


@pytest.mark.parametrize("text", INNOCENT)
def test_text_is_no_bytes(text):
    """Words, paths, slugs, numbers and hashes stay as they are."""
    assert redact_value({"note": text}) == {"note": text}


@pytest.mark.parametrize("value", [{"image": "cat.png"}, {"audio": "spoken words, " * 10}, {"data": {"unit": "s"}}])
def test_under_a_telling_key_words_are_no_bytes(value):
    """What is no base64 and no list of numbers stays as it is, also where the name says that it is bytes."""
    assert redact_value(value) == value
    assert redact_value(value, most=1_000) == value


def test_long_base64_under_a_telling_key_is_looked_at_aside():
    """Base64 that has more characters than may be looked at is not decoded first."""
    with pytest.raises(TooLongError):
        redact_value({"image": b64(PNG)}, most=1_000)


def test_a_data_url_that_is_no_base64():
    """Bytes are never shown, also where a text announces base64 and then holds something else."""
    text = f"see data:image/png;base64,%C3%A9{'ab' * 21} there"
    assert redact_value(text) == f"see {told(('é' + 'ab' * 21).encode())} there"


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


@pytest.mark.parametrize(
    "piece",
    ["iVBORw0KGg", "data:", "data:a/b", "data:a/b;c", "data:a/b,", "89 ", "0x89, ", "89:\n", "0000010: 89 ", "[137, ",
     "0000010 8950 x\n", "0000010 8950 a x\n0000020 8950 \n", "a" * 40 + "\n", "a1B" * 20 + " ",
     "a1B+" * 20 + "\n", '"Buffer","data":', '"Buffer","data":[1,'],
)  # fmt: skip
@pytest.mark.timeout(30)
def test_no_text_makes_a_search_run_away(piece):
    """Hundreds of thousands of near misses are looked at in time that grows with their number only."""
    assert redact_value(piece * (300_000 // len(piece)))
