"""Choices that stream are told as if they had come whole, whatever their provider makes of the pieces."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.openai.conftest import CHAT, instrumenting, serving

MODE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


def piece(call_id: str | None, name: str | None, arguments: str, **more: Any) -> dict[str, Any]:
    """A piece of a call."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def told_of(recorder: Any, *deltas: Any) -> list[Any]:
    """The parts of the one message that a stream of *deltas* is told as."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4.1"}
    events = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    with instrumenting(recorder), serving() as api:
        api.server.reply(events=[*events, {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}])
        for _ in api.call("chat", messages=CHAT["messages"], stream=True):
            pass
    (message,) = json.loads(recorder.spans[-1].attributes["gen_ai.output.messages"])
    return message["parts"]


@pytest.fixture
def told(monkeypatch, recorder):
    """What is told of a stream, with content on."""
    monkeypatch.setenv(MODE, "span_only")
    return lambda *deltas: told_of(recorder, *deltas)


def calls(*pieces: Any) -> dict[str, Any]:
    """A delta of pieces of calls."""
    return {"tool_calls": list(pieces)}


def call(call_id: str | None, name: str, arguments: Any) -> dict[str, Any]:
    """A call as it is told."""
    return {"arguments": arguments, "name": name, "id": call_id, "type": "tool_call"}


TWO = [call("c-1", "search", {"q": "a"}), call("c-2", "search", {"q": "b"})]


@pytest.mark.parametrize("index", [{"index": 0}, {"index": None}, {}], ids=["zero", "null", "none"])
def test_calls_with_one_index(told, index):
    """Calls that all have the same index, or none, are told apart by their ids."""
    parts = told(
        calls(piece("c-1", "search", "", **index)),
        calls(piece(None, None, '{"q": ', **index)),
        calls(piece(None, None, '"a"}', **index)),
        calls(piece("c-2", "search", '{"q": "b"}', **index)),
    )
    assert parts == TWO


@pytest.mark.parametrize("index", [{"index": 0}, {}], ids=["zero", "none"])
def test_calls_without_ids(told, index):
    """Without ids a call ends where another name comes, or its name again behind whole arguments."""
    parts = told(
        calls(piece("", "search", '{"q": "a"}', **index)),
        calls(piece("", "search", '{"q": "b"}', **index)),
        calls(piece("", "look_up", "{}", **index)),
    )
    assert [(part["name"], part["arguments"]) for part in parts] == [
        ("search", {"q": "a"}),
        ("search", {"q": "b"}),
        ("look_up", {}),
    ]


def test_calls_in_one_chunk(told):
    """The same within one chunk."""
    assert (
        told(calls(piece("c-1", "search", '{"q": "a"}', index=0), piece("c-2", "search", '{"q": "b"}', index=0))) == TWO
    )


def test_ids_and_names_that_are_repeated(told):
    """Providers that repeat id and name in every piece make one call of it."""
    parts = told(
        calls(piece("c-1", "search", '{"q": ', index=0)),
        calls(piece("c-1", "search", '"a"}', index=0)),
        calls(piece("c-2", "search", '{"q": ', index=1)),
        calls(piece("c-2", "search", '"b"}', index=1)),
    )
    assert parts == TWO


def test_custom_tools(told):
    """A custom tool is called with text, which stays what it is."""
    first = {"index": 0, "id": "c-1", "type": "custom", "custom": {"name": "run_sql", "input": "SELECT "}}
    parts = told(calls(first), calls({"index": 0, "custom": {"input": "42"}}), calls({"index": 0}))
    assert parts == [call("c-1", "run_sql", "SELECT 42")]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning(told, name):
    """What the model thinks stands before what it says, under either of its names."""
    parts = told({name: "Hm"}, {name: "m."}, {"content": "Hello"})
    assert parts == [{"content": "Hmm.", "type": "reasoning"}, {"content": "Hello", "type": "text"}]


def test_calls_of_old(told):
    """What there was before `tool_calls` is a call without an id."""
    parts = told({"function_call": {"name": "search", "arguments": '{"q": '}}, {"function_call": {"arguments": '"a"}'}})
    assert parts == [call(None, "search", {"q": "a"})]


def test_speech(told):
    """What is spoken is told by its words and its id."""
    audio = [{"id": "audio-1", "transcript": "Hel"}, {"data": "aGVs", "transcript": "lo"}]
    assert told(*({"audio": each} for each in audio)) == [
        {"content": "Hello", "type": "text"},
        {"mime_type": None, "modality": "audio", "file_id": "audio-1", "type": "file"},
    ]


def test_content_in_parts(told):
    """Content that comes as parts is told as parts."""
    parts = told({"content": [{"type": "text", "text": "Hello"}]}, {"content": [{"type": "smell", "of": "roses"}]})
    assert parts == [{"content": "Hello", "type": "text"}, {"type": "smell", "of": "roses"}]
