"""Answers that the client raises over were paid for: what they say is told, on spans, metrics and as content."""

from __future__ import annotations

import asyncio
import importlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openai
import pytest
from opentelemetry.trace import StatusCode
from pydantic import BaseModel, ValidationError

from otelier.openai import OpenAIInstrumentor
from tests.openai.conftest import CHAT, RESPONSES, instrumenting

MODE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
OUTPUT = "gen_ai.output.messages"
TOKENS = "gen_ai.client.token.usage"
DURATION = "gen_ai.client.operation.duration"
ERRORS = (openai.OpenAIError, ValidationError, TypeError, AttributeError)
"""What the client raises over answers; of the last two it is not aware."""


class Person(BaseModel):
    """What is asked for."""

    name: str
    age: int


def chat_body(text: str, reason: str) -> dict[str, Any]:
    """The body of a chat completion."""
    return {
        "id": "chatcmpl-7",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4.1-2025-04-14",
        "service_tier": "default",
        "choices": [{"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
    }


def responses_body(text: str, status: str, why: str | None = None) -> dict[str, Any]:
    """The body of a response."""
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {
        "id": "resp_7",
        "object": "response",
        "created_at": 1,
        "model": "gpt-4.1-2025-04-14",
        "status": status,
        "incomplete_details": why and {"reason": why},
        "output": [{"type": "message", "id": "m-1", "role": "assistant", "status": status, "content": content}],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 9,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 2,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 11,
        },
    }


CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "length": ("chat", chat_body('{"name": "Bo', "length"), "length"),
    "filter": ("chat", chat_body('{"name"', "content_filter"), "content_filter"),
    "misfit": ("chat", chat_body('{"name": "Bob"}', "stop"), "stop"),
    "no JSON": ("chat", chat_body("Sure! Bob is 7.", "stop"), "stop"),
    "responses, length": ("responses", responses_body('{"name": "Bo', "incomplete", "max_output_tokens"), "length"),
    "responses, filter": ("responses", responses_body('{"na', "incomplete", "content_filter"), "content_filter"),
    "responses, misfit": ("responses", responses_body('{"name": "Bob"}', "completed"), "stop"),
}


def parse(client: Any, endpoint: str, way: str) -> Any:
    """Ask for a person in one of the ways that there are; awaited by asynchronous callers."""
    if endpoint == "chat":
        resource, arguments = client.chat.completions, {**CHAT, "response_format": Person}
        resource = resource if hasattr(resource, "parse") else client.beta.chat.completions  # until 1.92
    else:
        resource, arguments = client.responses, {**RESPONSES, "text_format": Person}
    if way == "raw":
        return resource.with_raw_response.parse(**arguments)
    if way == "streaming":
        return resource.with_streaming_response.parse(**arguments)
    return resource.parse(**arguments)


def check(recorder: Any, endpoint: str, reason: str, *, failed: bool = True) -> Any:
    """Look at what was told; return the span."""
    (span,) = recorder.spans
    told = span.attributes
    assert told["gen_ai.response.id"] == ("chatcmpl-7" if endpoint == "chat" else "resp_7")
    assert told["gen_ai.response.model"] == "gpt-4.1-2025-04-14"
    assert told["gen_ai.response.finish_reasons"] == (reason,)
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (9, 2)
    assert (span.status.status_code is StatusCode.ERROR) == failed
    assert ("error.type" in told) == failed
    points = {name: [one for one in recorder.metric_points if one.name == name] for name in (TOKENS, DURATION)}
    assert {one.attributes["gen_ai.token.type"]: one.sum for one in points[TOKENS]} == {"input": 9, "output": 2}
    (duration,) = points[DURATION]
    assert duration.attributes["gen_ai.response.model"] == "gpt-4.1-2025-04-14"
    assert duration.attributes.get("error.type") == told.get("error.type")
    return span


@pytest.mark.parametrize(("endpoint", "body", "reason"), CASES.values(), ids=CASES)
def test_parse_that_raises(api, recorder, endpoint, body, reason):
    """What an answer says that `parse` raises over is told, beside the error."""
    api.server.reply(body=body)
    with pytest.raises(ERRORS) as caught:
        parse(api.client, endpoint, "plain")
    span = check(recorder, endpoint, reason)
    assert span.attributes["error.type"].endswith(type(caught.value).__name__)


@pytest.mark.parametrize(("endpoint", "body", "reason"), CASES.values(), ids=CASES)
def test_asynchronous_parse_that_raises(api, recorder, endpoint, body, reason):
    """The same with an asynchronous client."""

    async def main() -> None:
        async with api.async_client() as client:
            with pytest.raises(ERRORS):
                await parse(client, endpoint, "plain")

    api.server.reply(body=body)
    asyncio.run(main())
    check(recorder, endpoint, reason)


@pytest.mark.parametrize(("endpoint", "body", "reason"), CASES.values(), ids=CASES)
def test_raw_responses(api, recorder, endpoint, body, reason):
    """A raw response raises when its caller parses it; the call had its answer by then."""
    if endpoint == "responses" and not hasattr(api.client.responses.with_raw_response, "parse"):
        pytest.skip("not in this release")
    api.server.reply(body=body)
    raw = parse(api.client, endpoint, "raw")
    check(recorder, endpoint, reason, failed=False)
    with pytest.raises(ERRORS):
        raw.parse()


@pytest.mark.parametrize("case", [case for case, told in CASES.items() if told[0] == "chat"])
@pytest.mark.parametrize("read_first", [False, True])
def test_streaming_responses(api, recorder, case, read_first):
    """A body that is left to the caller is told of when it is read, whether or not it can be parsed."""
    endpoint, body, reason = CASES[case]
    api.server.reply(body=body)
    with parse(api.client, endpoint, "streaming") as raw:
        if read_first:
            raw.read()
        else:
            with pytest.raises(ERRORS):
                raw.parse()
    check(recorder, endpoint, reason, failed=not read_first)


def test_asynchronous_streaming_responses(api, recorder):
    """The same with an asynchronous client."""

    async def main() -> None:
        async with api.async_client() as client, parse(client, "chat", "streaming") as raw:
            with pytest.raises(ERRORS):
                await raw.parse()

    api.server.reply(body=CASES["misfit"][1])
    asyncio.run(main())
    check(recorder, "chat", "stop")


@pytest.mark.parametrize("case", ["length", "misfit", "responses, misfit"])
def test_content(monkeypatch, recorder, api, case):
    """With content on, the words that the client would not take are told."""
    endpoint, body, _ = CASES[case]
    monkeypatch.setenv(MODE, "span_only")
    OpenAIInstrumentor().uninstrument()
    OpenAIInstrumentor().instrument(tracer_provider=recorder.tracer_provider, meter_provider=recorder.meter_provider)
    api.server.reply(body=body)
    with pytest.raises(ERRORS):
        parse(api.client, endpoint, "plain")
    (message,) = json.loads(recorder.spans[0].attributes[OUTPUT])
    text = body["choices"][0]["message"]["content"] if endpoint == "chat" else body["output"][0]["content"][0]["text"]
    assert message["parts"] == [{"content": text, "type": "text"}]


@pytest.mark.parametrize(("text", "reason"), [('{"name": "Bo', "length"), ('{"name"', "content_filter")])
def test_stream_helper_that_raises(api, recorder, text, reason):
    """The helper for streams raises at the chunk that ends the answer: what came until then is told."""
    api.server.reply(text, finish_reason=reason)
    resource = api.client.chat.completions
    resource = resource if hasattr(resource, "stream") else api.client.beta.chat.completions
    with pytest.raises(openai.OpenAIError), resource.stream(**CHAT, response_format=Person) as stream:
        for _ in stream:
            pass
    (span,) = recorder.spans
    assert span.attributes["gen_ai.response.finish_reasons"] == (reason,)
    assert span.attributes["gen_ai.response.id"]
    assert span.attributes["gen_ai.response.model"]
    assert span.attributes["gen_ai.request.stream"] is True


def events(*chunks: dict[str, Any]) -> str:
    """A stream's body."""
    return "".join(
        (f"event: {chunk['type']}\n" if "type" in chunk else "") + f"data: {json.dumps(chunk)}\n\n" for chunk in chunks
    )


def chat_stream(text: str, reason: str, *, usage: bool = True) -> str:
    """The body of a streamed chat completion, with the chunk that brings usage last."""
    head = {"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4.1-2025-04-14"}
    said = [({"role": "assistant", "content": text}, None), ({}, reason)]
    chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]} for delta, end in said]
    counted = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    return events(*chunks, *([{**head, "choices": [], "usage": counted}] if usage else []))


def responses_stream(text: str) -> str:
    """The body of a streamed response, whose last event brings usage."""
    whole = responses_body(text, "completed")
    item = whole["output"][0]
    part = item["content"][0]
    at = {"item_id": "m-1", "output_index": 0, "content_index": 0}
    told = [
        {"type": "response.created", "response": {**whole, "status": "in_progress", "output": [], "usage": None}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        {"type": "response.content_part.added", **at, "part": {**part, "text": ""}},
        {"type": "response.output_text.delta", **at, "delta": text, "logprobs": []},
        {"type": "response.output_text.done", **at, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **at, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    return events(*({**event, "sequence_number": number} for number, event in enumerate(told)))


def stream(client: Any, endpoint: str) -> Any:
    """Ask for a streamed person with the client's helper."""
    if endpoint == "responses":
        if not hasattr(client.responses, "stream"):
            pytest.skip("not in this release")
        return client.responses.stream(**RESPONSES, text_format=Person)
    resource = client.chat.completions if hasattr(client.chat.completions, "stream") else client.beta.chat.completions
    return resource.stream(**CHAT, response_format=Person, stream_options={"include_usage": True})


STREAMS = {
    "length": ("chat", chat_stream('{"name": "Bo', "length"), "length"),
    "filter": ("chat", chat_stream('{"name"', "content_filter"), "content_filter"),
    "misfit": ("chat", chat_stream('{"name": "Bob"}', "stop"), "stop"),
    "responses, misfit": ("responses", responses_stream('{"name": "Bob"}'), "stop"),
}


@contextmanager
def sending(body: str, *, then: str) -> Iterator[str]:
    """A server that sends *body* in an HTTP chunk, and then ends the answer or goes silent; yields its address."""
    held = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for event in body.encode().split(b"\n\n")[:-1]:
                self.wfile.write(b"%x\r\n%s\n\n\r\n" % (len(event) + 2, event))
                self.wfile.flush()
            if then == "silence":
                held.wait(60)
            else:
                self.wfile.write(b"0\r\n\r\n")
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            held.set()
            server.shutdown()
            thread.join()


def read_all(api: Any, mode: str, endpoint: str, url: str) -> None:
    """Read a stream until the helper raises."""

    async def main() -> None:
        async with api.async_client() as client, stream(client.with_options(base_url=url), endpoint) as events:
            async for _ in events:
                pass

    if mode == "async":
        with pytest.raises(ERRORS):
            asyncio.run(main())
        return
    with pytest.raises(ERRORS), stream(api.client.with_options(base_url=url), endpoint) as events:
        for _ in events:
            pass


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize(("endpoint", "body", "reason"), STREAMS.values(), ids=STREAMS)
def test_usage_behind_what_the_helper_raises_over(api, recorder, mode, endpoint, body, reason):
    """Usage comes after the chunk that the helper raises over, and is told on span and metric."""
    with sending(body, then="end") as url:
        read_all(api, mode, endpoint, url)
    check(recorder, endpoint, reason)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_usage_that_never_comes(api, recorder, mode):
    """A provider that sends nothing more holds up no error; the server here is silent for a minute."""
    begun = time.monotonic()
    with sending(chat_stream('{"name": "Bo', "length", usage=False), then="silence") as url:
        read_all(api, mode, "chat", url)
        assert time.monotonic() - begun < 30
    (span,) = recorder.spans
    assert span.attributes["error.type"].endswith("LengthFinishReasonError")
    assert "gen_ai.usage.input_tokens" not in span.attributes


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_usage_that_may_not_be_waited_for(recorder, mode):
    """Where one read cannot be kept short, as of a transport of the caller's own, nothing more is read."""
    body = chat_stream('{"name": "Bo', "length")
    http: Any = importlib.import_module(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])
    responses = http.MockTransport(
        lambda _: http.Response(200, headers={"content-type": "text/event-stream"}, content=body)
    )
    options: dict[str, Any] = {"base_url": "http://model.invalid/v1", "api_key": "sk-none"}

    def call() -> None:
        plain = http.Client(transport=responses)
        with openai.OpenAI(http_client=plain, **options) as client, stream(client, "chat") as events:
            list(events)

    async def call_async() -> None:
        plain = http.AsyncClient(transport=responses)
        async with openai.AsyncOpenAI(http_client=plain, **options) as client, stream(client, "chat") as events:
            async for _ in events:
                pass

    with instrumenting(recorder), pytest.raises(openai.LengthFinishReasonError):
        asyncio.run(call_async()) if mode == "async" else call()
    assert "gen_ai.usage.input_tokens" not in recorder.find("chat gpt-4.1").attributes


def test_errors_with_status_200(api, recorder):
    """Some servers say with status 200 that they failed: the span is failed, and what was used is told."""
    body = {**chat_body("", "error"), "error": {"code": 502, "message": "Upstream broke.", "metadata": {}}}
    api.server.reply(body=body)
    api.call("chat")
    span = check(recorder, "chat", "error")
    assert span.attributes["error.type"] == "502"


def test_answers_that_are_no_choices(api, recorder):
    """`parse` cannot read an answer that is an error alone; its id and model are told."""
    body = {**chat_body("", "stop"), "choices": None, "error": {"type": "overloaded_error", "message": "Busy."}}
    api.server.reply(body=body)
    with pytest.raises(ERRORS):
        parse(api.client, "chat", "plain")
    (span,) = recorder.spans
    assert span.attributes["gen_ai.response.id"] == "chatcmpl-7"
    assert span.attributes["gen_ai.usage.input_tokens"] == 9


def test_misfits_without_an_answer(api, recorder):
    """A page of HTML says nothing; the error passes, and the span has what the request says."""
    api.server.reply(body="<html>Bad gateway</html>")
    with pytest.raises(ERRORS):
        parse(api.client, "chat", "plain")
    (span,) = recorder.spans
    assert span.attributes["gen_ai.request.model"] == "gpt-4.1"
    assert "gen_ai.response.id" not in span.attributes


def test_answers_of_earlier_tries_are_not_told(api, recorder):
    """What a server said before it was asked again belongs to no answer."""
    api.server.fail(500)
    api.server.fail(400, message="No.")
    with pytest.raises(openai.BadRequestError):
        api.client.with_options(max_retries=1).chat.completions.create(**CHAT)
    (span,) = recorder.spans
    assert not [name for name in span.attributes if name.startswith(("gen_ai.response", "gen_ai.usage"))]


def test_refused_streams(api, recorder):
    """A stream that was refused says that it was to be one."""
    for endpoint in ("chat", "responses"):
        api.server.fail(400)
        with pytest.raises(openai.BadRequestError):
            api.call(endpoint, stream=True)
    assert [span.attributes["gen_ai.request.stream"] for span in recorder.spans] == [True, True]
