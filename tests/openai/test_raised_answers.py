"""Answers that the client raises over were paid for: what they say is told, on spans, metrics and as content."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest
from opentelemetry.trace import StatusCode
from pydantic import BaseModel, ValidationError

from otelier.openai import OpenAIInstrumentor
from tests.openai.conftest import CHAT, RESPONSES

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
