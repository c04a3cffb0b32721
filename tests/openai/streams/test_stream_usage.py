"""`stream_usage=True`: streams tell how many tokens they took, and their consumers see what they would see without."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from otelier.openai import OpenAIInstrumentor
from tests.openai.conftest import serving

USAGE = {"input_tokens": 9, "output_tokens": 6}
SPAN = "chat gpt-4.1"
VARIABLE = "OTELIER_OPENAI_STREAM_USAGE"
each_mode = pytest.mark.parametrize("mode", ["sync", "async"])


@pytest.fixture
def api(recorder):
    """A server whose streams come in several chunks."""
    with serving() as api:
        api.server.reply("One two three four", usage=USAGE, times=None)
        yield api
    OpenAIInstrumentor().uninstrument()
    assert recorder.open_spans == ()


def instrument(recorder, **given: Any) -> None:
    OpenAIInstrumentor().uninstrument()
    OpenAIInstrumentor().instrument(
        tracer_provider=recorder.tracer_provider,
        meter_provider=recorder.meter_provider,
        logger_provider=recorder.logger_provider,
        **given,
    )


def chunks(api: Any, mode: str, **more: Any) -> list[Any]:
    async def drain() -> list[Any]:
        async with api.async_client() as client:
            return [chunk async for chunk in await api.call_async(client, "chat", stream=True, **more)]

    return list(api.call("chat", stream=True, **more)) if mode == "sync" else asyncio.run(drain())


def seen(found: list[Any]) -> list[Any]:
    """What a consumer looks at; ids are new with each answer."""
    return [
        [[choice.model_dump() for choice in chunk.choices], chunk.usage and chunk.usage.model_dump()] for chunk in found
    ]


@each_mode
@pytest.mark.parametrize("by", ["argument", "environment"])
def test_usage_is_asked_for_and_hidden(api, recorder, monkeypatch, mode, by):
    """The span and the metrics have the tokens; the consumer sees the chunks that it would see without."""
    without = seen(chunks(api, mode))
    if by == "environment":
        monkeypatch.setenv(VARIABLE, "true")
        instrument(recorder)
    else:
        instrument(recorder, stream_usage=True)
    assert seen(chunks(api, mode)) == without
    assert api.server.requests[-1].body["stream_options"] == {"include_usage": True}
    span = recorder.find(SPAN)
    assert (span.attributes["gen_ai.usage.input_tokens"], span.attributes["gen_ai.usage.output_tokens"]) == (9, 6)
    assert [point.sum for point in recorder.metric_points if point.name == "gen_ai.client.token.usage"] == [9, 6]


@each_mode
def test_callers_who_ask_see_it(api, recorder, mode):
    """Who asks for usage gets its chunk, and options that the caller gives go on beside ours."""
    instrument(recorder, stream_usage=True)
    found = chunks(api, mode, stream_options={"include_usage": True})
    assert found[-1].usage.completion_tokens == 6
    found = chunks(api, mode, extra_body={"stream_options": {"include_usage": True}})
    assert found[-1].usage.completion_tokens == 6
    asked = {"include_obfuscation": False}
    found = chunks(api, mode, stream_options=asked)
    assert all(chunk.usage is None for chunk in found)
    assert api.server.requests[-1].body["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    assert asked == {"include_obfuscation": False}


def test_what_is_left_alone(api, recorder):
    """Without the switch, in answers that do not stream, in other APIs, and where a body is the caller's to read."""
    instrument(recorder)
    chunks(api, "sync")
    instrument(recorder, stream_usage=True)
    api.call("chat")
    list(api.call("responses", stream=True))
    chunks(api, "sync", extra_body={"stream_options": {"include_usage": False}})
    streaming = api.client.chat.completions.with_streaming_response
    with streaming.create(**api.arguments["chat"], stream=True) as response:
        lines = list(response.iter_lines())
    assert lines
    asked = [request.body.get("stream_options") for request in api.server.requests]
    assert asked == [None, None, None, {"include_usage": False}, None]


def test_raw_responses_and_the_helper(api, recorder):
    """A raw response gives its stream without the chunk, and so does the client's helper."""
    instrument(recorder, stream_usage=True)
    raw = api.client.chat.completions.with_raw_response.create(**api.arguments["chat"], stream=True)
    assert all(chunk.choices for chunk in raw.parse())
    helper = getattr(api.client.chat.completions, "stream", None) or api.client.beta.chat.completions.stream
    with helper(**api.arguments["chat"]) as stream:
        for _ in stream:
            pass
        assert stream.get_final_completion().choices[0].message.content == "One two three four"
    assert [span.attributes["gen_ai.usage.output_tokens"] for span in recorder.spans] == [6, 6]


@each_mode
def test_broken_off(api, recorder, mode):
    """A stream that is dropped before its usage came ends as such, at once."""
    instrument(recorder, stream_usage=True)

    async def drop() -> None:
        async with api.async_client() as client:
            await anext(await api.call_async(client, "chat", stream=True))

    gc.disable()
    try:
        if mode == "sync":
            next(api.call("chat", stream=True))
        else:
            asyncio.run(drop())
        assert recorder.find(SPAN).attributes["otelier.cancelled"] is True
    finally:
        gc.enable()


def test_chunks_like_it(api, recorder):
    """A chunk without choices and without usage, as Azure's first one, is the caller's; so is usage beside choices."""
    choice = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4.1"}
    events = [{**head, "choices": []}, {**head, "choices": [choice], "usage": usage}]
    api.server.clear()
    api.server.reply(events=events)
    instrument(recorder, stream_usage=True)
    assert [len(chunk.choices) for chunk in chunks(api, "sync")] == [0, 1]
    assert recorder.find(SPAN).attributes["gen_ai.usage.output_tokens"] == 2


def test_a_variable_that_cannot_be_read(api, recorder, monkeypatch, caplog):
    """It is told once, and no usage is asked for."""
    monkeypatch.setenv(VARIABLE, "maybe")
    instrument(recorder)
    chunks(api, "sync")
    assert "stream_options" not in api.server.requests[-1].body
    assert len([record for record in caplog.records if VARIABLE in record.getMessage()]) == 1
