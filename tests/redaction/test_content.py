"""The content gate: closed unless its variable opens it, and redacting whatever passes."""

from __future__ import annotations

import json
from types import MappingProxyType

import pytest
from pydantic import BaseModel

from otelier.redaction import ContentGate, content_gate
from otelier.settings import ContentMode

VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


@pytest.mark.parametrize(
    ("text", "on_span", "on_event"),
    [
        (None, False, False),
        ("", False, False),
        ("NO_CONTENT", False, False),
        ("span_only", True, False),
        ("Event_Only", False, True),
        (" SPAN_AND_EVENT ", True, True),
    ],
)
def test_the_variable_says_where_content_may_go(text, on_span, on_event, monkeypatch, caplog):
    """Each mode opens its signals, in any case; without the variable nothing is open."""
    if text is not None:
        monkeypatch.setenv(VARIABLE, text)
    mode = content_gate().mode
    assert (mode.on_span, mode.on_event, mode.any) == (on_span, on_event, on_span or on_event)
    assert caplog.records == []


@pytest.mark.parametrize("text", ["true", "1", "SPAN"])
def test_anything_else_is_closed_and_told_once(text, monkeypatch, caplog):
    """A value that is no mode captures nothing and warns once, naming the variable and the choices."""
    monkeypatch.setenv(VARIABLE, text)
    assert [content_gate().mode for _ in range(2)] == [ContentMode.NO_CONTENT] * 2
    (record,) = caplog.records
    for word in (VARIABLE, "NO_CONTENT", "SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT", "No content is captured"):
        assert word in record.getMessage()


def test_the_variable_is_read_when_asked(monkeypatch):
    """A gate made earlier stays as it was made; a new one sees the change."""
    before = content_gate()
    monkeypatch.setenv(VARIABLE, "SPAN_ONLY")
    assert (before.mode, content_gate().mode) == (ContentMode.NO_CONTENT, ContentMode.SPAN_ONLY)


def test_what_passes_is_redacted():
    """Text, JSON text and structured data lose their secrets in the gate."""
    gate = ContentGate(ContentMode.SPAN_AND_EVENT)
    messages = [{"role": "user", "parts": [{"type": "text", "content": "my key is sk-proj-abcdef0123456789"}]}]
    clean = [{"role": "user", "parts": [{"type": "text", "content": "my key is [REDACTED:api-key]"}]}]
    assert gate.value(messages[0]["parts"][0]["content"]) == "my key is [REDACTED:api-key]"
    assert gate.value(messages) == clean
    assert json.loads(gate.json(messages)) == clean


def test_json_is_compact_and_strict():
    """JSON text has no blanks, letters as they are, and nothing that strict readers refuse."""
    gate = ContentGate(ContentMode.SPAN_ONLY)
    assert gate.json({"a": [1, None, True], "ä": "é"}) == '{"a":[1,null,true],"ä":"é"}'
    odd = {"a": [float("nan"), float("inf"), -float("inf")], "b\ud800": "c\udfff", "d": 2**64, "e": 10**5_000}
    assert strict(gate.json(odd)) == {
        "a": ["nan", "inf", "-inf"],
        "b\ufffd": "c\ufffd",
        "d": "18446744073709551616",
        "e": "[number of 16610 bits]",
    }


def strict(text):
    """What a reader of JSON that takes nothing else makes of it."""

    def refuse(constant):
        raise ValueError(constant)

    return json.loads(text.encode(), parse_constant=refuse)


HUGE = {
    "one text": "word " * 1_000_000,
    "texts": ["word " * 1_000] * 1_000,
    "items": list(range(1_000_000)),
    "objects": [{"name": "a", "n": number} for number in range(200_000)],
    "keys": {f"key {number}": number for number in range(200_000)},
    "one key": {"key " * 1_000_000: 1},
    "escapes": '"\\\n\x00' * 500_000,
    "many escapes": ["\x00\x01"] * 200_000,
    "letters": "日本語 " * 500_000,
    "nesting": "[" * 100_000,
    "messages": [{"role": "user", "parts": [{"type": "text", "content": "word " * 100}]}] * 10_000,
}


@pytest.mark.parametrize("value", HUGE.values(), ids=HUGE)
@pytest.mark.parametrize("max_chars", [200, 250_000])
def test_an_attribute_has_a_budget(value, max_chars):
    """However content is large, an attribute has no more characters than there may be, and is strict JSON still."""
    text = ContentGate(ContentMode.SPAN_ONLY, max_chars=max_chars).json(value)
    assert len(text) <= max_chars
    assert "cut" in text or "limit" in text or value == "[" * 100_000
    strict(text)


def test_text_that_only_escapes_make_too_long():
    """A text whose escapes outgrow the attribute, however it is cut, is left out as a whole."""
    assert ContentGate(ContentMode.SPAN_ONLY, max_chars=1_000).json("\x00" * 200) == '"[REDACTED:limit]"'


def test_all_attributes_together_have_a_budget():
    """Several attributes have twice the characters of one, and the first come first."""
    gate = ContentGate(ContentMode.SPAN_ONLY, max_chars=1_000)
    shown = gate.values(dict.fromkeys("abcd", "word " * 1_000))
    sizes = [len(gate.written(value)) for value in shown.values()]
    assert sum(sizes) <= 2_200
    assert sizes[0] > 900


@pytest.mark.parametrize("before", range(3_900, 4_110, 7))
@pytest.mark.parametrize("secret", ["sk-proj-abcdef0123456789abcdef", "password=hunter2hunter2hunter2"])
def test_no_half_of_a_secret_is_left_at_a_cut(before, secret):
    """A secret that begins before a cut and ends behind it is redacted, wherever the cut is."""
    gate = ContentGate(ContentMode.SPAN_ONLY, max_chars=4_000)
    for text in (f"{'a ' * (before // 2)}{secret} {'b ' * 9_000}", f"{'password=hunter3 ' * 400}{'a ' * 300}{secret}"):
        told = gate.json(text)
        assert not any(secret[:length] in told for length in (16, 20, 26))
        assert "hunter" not in told


def test_what_cannot_be_read_never_passes_raw(quiet_faults, caplog):
    """An object that raises when it is read is replaced, and reported."""

    class Broken:
        def __str__(self):
            raise RuntimeError("no words")

    assert ContentGate(ContentMode.SPAN_ONLY).json({"a": Broken()}) == '"[REDACTED:error]"'
    assert len(caplog.records) == 1
    assert ContentGate(ContentMode.SPAN_ONLY).values({"a": Broken(), "b": 1}) == {"a": "[REDACTED:error]", "b": 1}


def test_what_cannot_be_written_never_passes_raw(quiet_faults, caplog):
    """A value that is no JSON, such as one from a hook, is replaced, and reported."""
    assert ContentGate(ContentMode.SPAN_ONLY).written(object()) == '"[REDACTED:error]"'
    assert "redaction.json" in caplog.text


def test_mappings_and_models_are_redacted():
    """What has members is redacted by them, of whatever class it is."""

    class Login(BaseModel):
        user: str
        password: str

    secret = {"user": "bob", "password": "[REDACTED:secret]"}
    given = {"user": "bob", "password": "hunter2"}
    assert ContentGate(ContentMode.SPAN_ONLY).value([MappingProxyType(given), Login(**given)]) == [secret, secret]
