"""The content gate: closed unless its variable opens it, and redacting whatever passes."""

from __future__ import annotations

import json

import pytest

from otelier.signals import ContentGate, ContentMode, content_gate

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


def test_json_is_compact_and_takes_binary():
    """JSON text has no blanks and bytes as base64, as the official instrumentation writes it."""
    gate = ContentGate(ContentMode.SPAN_ONLY)
    assert (
        gate.json({"a": [1, None, True], "b": b"\x00\xff", "ä": "é"})
        == r'{"a":[1,null,true],"b":"AP8=","\u00e4":"\u00e9"}'
    )


def test_what_cannot_be_read_never_passes_raw(quiet_faults, caplog):
    """An object that raises when it is read is replaced, and reported."""

    class Broken:
        def __str__(self):
            raise RuntimeError("no words")

    assert ContentGate(ContentMode.SPAN_ONLY).json({"a": Broken()}) == '"[REDACTED:error]"'
    assert len(caplog.records) == 1


def test_what_json_cannot_write_never_raises(quiet_faults, caplog):
    """A number too long for Python to write down costs the value, not the call."""
    assert ContentGate(ContentMode.SPAN_ONLY).json({"a": 10**5_000}) == '"[REDACTED:error]"'
    assert len(caplog.records) == 1
