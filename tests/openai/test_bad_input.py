"""What some proxy will send: the caller sees what it would see without us, and the span tells the truth."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from opentelemetry.trace import StatusCode

from tests.openai.conftest import CHAT, RESPONSES, instrumenting

HTTP: Any = importlib.import_module(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])
MODE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
ARGUMENTS = {"chat": CHAT, "responses": RESPONSES}
each_endpoint = pytest.mark.parametrize("endpoint", ["chat", "responses"])
each_mode = pytest.mark.parametrize("mode", ["sync", "async"])
each_content = pytest.mark.parametrize("content", ["no_content", "span_and_event"])


def answering(status: int, kind: str, *pieces: bytes) -> Callable[[Any], Any]:
    """A provider that answers with just this."""
    return lambda _: HTTP.Response(status, headers={"content-type": kind}, content=b"".join(pieces))


def outcome(provider: Callable[[Any], Any], endpoint: str, mode: str, **more: Any) -> Any:
    """What a caller sees: every chunk and the answer as text, and the exception."""
    transport = HTTP.MockTransport(provider)
    options: dict[str, Any] = {"base_url": "http://model.invalid/v1", "api_key": "sk-none", "max_retries": 0}
    arguments: dict[str, Any] = {**ARGUMENTS[endpoint], **more}
    seen: list[str] = []

    def call() -> None:
        with openai.OpenAI(http_client=HTTP.Client(transport=transport), **options) as client:
            create: Any = client.chat.completions.create if endpoint == "chat" else client.responses.create
            answer = create(**arguments)
            seen.extend(map(str, answer)) if "stream" in more else seen.append(str(answer))

    async def call_async() -> None:
        async with openai.AsyncOpenAI(http_client=HTTP.AsyncClient(transport=transport), **options) as client:
            create: Any = client.chat.completions.create if endpoint == "chat" else client.responses.create
            answer = await create(**arguments)
            if "stream" not in more:
                seen.append(str(answer))
                return
            async for chunk in answer:
                seen.append(str(chunk))  # noqa: PERF401 -- what came before an exception counts too

    try:
        call() if mode == "sync" else asyncio.run(call_async())
    except Exception as exc:
        return seen, type(exc), str(exc)
    return seen, None, None


def event(**data: Any) -> bytes:
    """One event of a stream."""
    return b"data: " + json.dumps(data).encode() + b"\n\n"


CHUNK = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4.1"}
SAID = {**CHUNK, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hé"}, "finish_reason": None}]}
STREAMS: dict[str, tuple[bytes, ...]] = {
    "not UTF-8": (event(**SAID), b'data: {"choices": [], "id": "\xff\xfe"}\n\n', event(**SAID)),
    "not UTF-8 at all": (b"\xff\xfe\xfd",),
    "half a character": (event(**SAID), b'data: {"id": "\xc3'),
    "half a JSON": (event(**SAID), b'data: {"id": \n\n'),
    "HTML": (b"<html><body>Sign in</body></html>",),
    "nothing": (),
    "no end": (event(**SAID), event(**SAID)),
    "an error": (event(**SAID), event(error={"message": "key sk-proj-abcdef0123456789 is over its limit"})),
    "comments": (b": ping\n\n", event(**SAID), b": ping\n\n", b"data: [DONE]\n\n"),
    "null": (b"data: null\n\n", b"data: 7\n\n", b'data: "text"\n\n', b"data: []\n\n"),
}


@each_endpoint
@each_mode
@each_content
@pytest.mark.parametrize("stream", STREAMS)
def test_streams_of_bad_bytes(recorder, monkeypatch, endpoint, mode, content, stream):
    """Chunks and exception are those that come without us; one span, which failed if the caller's call did."""
    monkeypatch.setenv(MODE, content)
    provider = answering(200, "text/event-stream", *STREAMS[stream])
    without = outcome(provider, endpoint, mode, stream=True)
    with instrumenting(recorder):
        assert outcome(provider, endpoint, mode, stream=True) == without
    (span,) = recorder.spans
    assert recorder.open_spans == ()
    _, error, _ = without
    if error is not None:
        assert span.status.status_code is StatusCode.ERROR
        assert span.attributes["error.type"].endswith(error.__name__)
    assert "abcdef" not in span.to_json()
    if without[0] and endpoint == "chat" and stream != "null":
        assert span.attributes["gen_ai.response.model"] == "gpt-4.1"


ANSWERS: dict[str, tuple[int, str, bytes]] = {
    "HTML from a proxy": (200, "text/html", b"<html><body>Sign in</body></html>"),
    "HTML with an error": (502, "text/html", b"<html>Bad gateway sk-proj-abcdef0123456789</html>"),
    "not UTF-8": (200, "application/json", b'{"id": "\xff\xfe", "choices": []}'),
    "no JSON": (200, "application/json", b'{"id": '),
    "empty": (200, "application/json", b""),
    "null": (200, "application/json", b"null"),
    "an error with a secret": (
        401,
        "application/json",
        b'{"error": {"message": "Incorrect API key provided: sk-proj-abcdef0123456789.", "code": "invalid_api_key"}}',
    ),
    "an error without a shape": (400, "application/json", b'{"error": [1, {"a": "\xff"}]}'),
}


@each_endpoint
@each_mode
@each_content
@pytest.mark.parametrize("answer", ANSWERS)
def test_answers_of_bad_bytes(recorder, monkeypatch, endpoint, mode, content, answer):
    """The same for answers in one piece; the caller gets the message whole, and the span has it without secrets."""
    monkeypatch.setenv(MODE, content)
    provider = answering(*ANSWERS[answer])
    without = outcome(provider, endpoint, mode)
    with instrumenting(recorder):
        assert outcome(provider, endpoint, mode) == without
    (span,) = recorder.spans
    _, error, _ = without
    assert (span.status.status_code is StatusCode.ERROR) == (error is not None)
    if error is not None:
        assert span.attributes["error.type"].endswith(error.__name__)
    exported = [span.to_json(), *(str(log.attributes) for log in recorder.logs), str(recorder.metrics())]
    assert not [text for text in exported if "abcdef" in text]


def chat(**choice: Any) -> bytes:
    """A chat completion with one choice."""
    answer = {"id": "c-1", "object": "chat.completion", "created": 1, "model": "unheard-of-9", "usage": None}
    message = {"role": "assistant", "content": None, **choice.pop("message", {})}
    return json.dumps({**answer, "choices": [{"index": 0, "message": message, **choice}]}).encode()


CHOICES: dict[str, tuple[bytes, str, list[Any]]] = {
    "refused": (chat(finish_reason="stop", message={"refusal": "I cannot."}), "stop", ["I cannot."]),
    "filtered": (
        chat(finish_reason="content_filter", content_filter_results={"hate": {"filtered": True}}),
        "content_filter",
        [],
    ),
    "broken arguments": (
        chat(
            finish_reason="tool_calls",
            message={"tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": '{"a": '}}]},
        ),
        "tool_calls",
        ['{"a": '],
    ),
    "no reason": (chat(finish_reason=None, message={"content": "Hi"}), "error", ["Hi"]),
    "a new reason": (chat(finish_reason="sunset", message={"content": "Hi"}), "sunset", ["Hi"]),
}


@each_mode
@pytest.mark.parametrize("choice", CHOICES)
def test_choices(recorder, monkeypatch, mode, choice):
    """Refusals, filters, broken arguments and what nobody has heard of are told as they are; no usage is no zero."""
    monkeypatch.setenv(MODE, "span_only")
    body, reason, said = CHOICES[choice]
    provider = answering(200, "application/json", body)
    without = outcome(provider, "chat", mode)
    with instrumenting(recorder):
        assert outcome(provider, "chat", mode) == without
    (span,) = recorder.spans
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes["gen_ai.response.model"] == "unheard-of-9"
    assert span.attributes["gen_ai.response.finish_reasons"] == (reason,)
    assert "gen_ai.usage.input_tokens" not in span.attributes
    (message,) = json.loads(span.attributes["gen_ai.output.messages"])
    assert [part.get("content") or part.get("arguments") for part in message["parts"]] == said
