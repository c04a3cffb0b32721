"""Long content on an event loop: what takes long is done in another thread, on what the content was at the call."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from otelier.openai import _call
from otelier.openai.content import _parts
from otelier.redaction import MOST_ON_A_LOOP, ContentGate
from otelier.telemetry import do_aside, finish_aside
from tests.openai.conftest import CHAT, instrumenting, serving

MODE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
INPUT, OUTPUT = "gen_ai.input.messages", "gen_ai.output.messages"
BYTES = b"\x00\x01\x02" * MOST_ON_A_LOOP
DATA = base64.b64encode(BYTES).decode()
HASH = f"sha256:{hashlib.sha256(BYTES).hexdigest()}"
ARGUMENTS = {"notes": ["The parcel is late."] * 1_700}
WRITTEN = json.dumps(ARGUMENTS)
CALL = {"id": "c-1", "type": "function", "function": {"name": "note", "arguments": WRITTEN}}
SENT: dict[str, list[dict[str, Any]]] = {
    "arguments": [{"role": "assistant", "tool_calls": [CALL]}],
    "result": [{"role": "tool", "tool_call_id": "c-1", "content": WRITTEN}],
    "image": [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}}]}
    ],
    "file": [{"role": "user", "content": [{"type": "file", "file": {"file_data": DATA, "filename": "a.pdf"}}]}],
    "sound": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}}]}],
}


@pytest.fixture
def done(monkeypatch) -> list[tuple[threading.Thread, int]]:
    """The thread and the size of all that is parsed, decoded and hashed."""
    seen: list[tuple[threading.Thread, int]] = []

    def watched(function: Any) -> Any:
        def watching(given: Any, **more: Any) -> Any:
            seen.append((threading.current_thread(), len(given)))
            return function(given, **more)

        return watching

    loads = watched(json.loads)
    monkeypatch.setattr(_parts, "json", type("json", (), {"loads": staticmethod(loads)}))
    for name in ("b64decode", "sha256"):
        monkeypatch.setattr(_parts, name, watched(getattr(_parts, name)))
    return seen


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Let the thread for long content do nothing until the block has ended."""
    goes_on = threading.Event()
    assert do_aside(lambda: goes_on.wait(60))
    try:
        yield
    finally:
        goes_on.set()
        assert finish_aside(60)


def asked(recorder: Any, messages: list[Any], *, stream: bool, arguments: str = "{}") -> dict[str, Any]:
    """Ask on a loop and change the messages then; return what is told of it."""

    async def main() -> None:
        async with api.async_client() as client:
            answer = await api.call_async(client, "chat", messages=messages, stream=stream)
            if stream:
                assert [chunk async for chunk in answer]

    with instrumenting(recorder), serving() as api:
        api.server.reply(tool_calls=[("note", json.loads(arguments))])
        with held():
            asyncio.run(main())
            messages.clear()
    return {name: json.loads(recorder.spans[-1].attributes[name]) for name in (INPUT, OUTPUT)}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", SENT)
def test_sent(monkeypatch, recorder, done, kind, stream):
    """What was sent is parsed, decoded and hashed off the loop, and told as it was at the call."""
    monkeypatch.setenv(MODE, "span_only")
    (message,) = asked(recorder, json.loads(json.dumps(SENT[kind])), stream=stream)[INPUT]
    (part,) = message["parts"]
    if kind in ("arguments", "result"):
        assert part["arguments" if kind == "arguments" else "response"] == ARGUMENTS
    else:
        assert (part["uri"], part["size"]) == (HASH, len(BYTES))
    check(done)


@pytest.mark.parametrize("stream", [False, True])
def test_received(monkeypatch, recorder, done, stream):
    """So is what was received."""
    monkeypatch.setenv(MODE, "span_only")
    (message,) = asked(recorder, list(CHAT["messages"]), stream=stream, arguments=WRITTEN)[OUTPUT]
    assert [part["arguments"] for part in message["parts"]] == [ARGUMENTS]
    check(done)


def check(done: list[tuple[threading.Thread, int]]) -> None:
    """Look where the work was done."""
    names = {thread.name for thread, size in done if size > MOST_ON_A_LOOP}
    assert names == {"otelier-content"}


@pytest.mark.parametrize("data", ["***", "*" * 2_000])
def test_what_is_no_base64(monkeypatch, recorder, data):
    """A long text that cannot be decoded is told by its own hash; a short one is seen at once, and left out."""
    monkeypatch.setenv(MODE, "span_only")
    url = f"data:image/png;base64,{data}"
    content = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": url}}]
    (message,) = asked(recorder, [{"role": "user", "content": content}], stream=False)[INPUT]
    hashed = f"sha256:{hashlib.sha256(url.encode()).hexdigest()}"
    assert [part.get("uri") for part in message["parts"]] == ([None] if len(data) < 1_000 else [None, hashed])


@pytest.mark.parametrize("place", ["redacting", "starting"])
def test_long_content_that_cannot_be_shown(monkeypatch, recorder, quiet_faults, place):
    """Where redacting it in another thread fails, or no thread can be started, the span ends without its content."""
    monkeypatch.setenv(MODE, "span_only")
    redacted = ContentGate.values

    def values(gate: ContentGate, content: Any, *, most: int | None = None) -> Any:
        if most is None:
            raise LookupError
        return redacted(gate, content, most=most)

    if place == "redacting":
        monkeypatch.setattr(ContentGate, "values", values)
    else:
        monkeypatch.setattr(_call, "do_aside", lambda _: False)

    async def call() -> None:
        async with api.async_client() as client:
            await api.call_async(client, "chat", messages=SENT["result"])

    with instrumenting(recorder), serving() as api:
        asyncio.run(call())
        assert finish_aside(30)
    attributes = recorder.find("chat gpt-4.1").attributes
    assert attributes["gen_ai.response.model"] == "gpt-4.1"
    assert INPUT not in attributes
