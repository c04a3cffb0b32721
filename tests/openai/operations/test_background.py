"""Responses whose tokens nobody saw when they were asked for: what they used is told once, where they are fetched."""

from __future__ import annotations

import asyncio
import json
import os
import threading

import pytest

from otelier.openai import OpenAIInstrumentor
from tests.openai.conftest import RESPONSES, known

TOKENS = "gen_ai.client.token.usage"
MODE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
BACKGROUND = {"background": True}
"""What late releases of the client take as an argument."""
USED = {"input": 9, "output": 2}


def told(recorder):
    """Tokens on the metrics, by kind, and on spans, by operation."""
    metric = {one.attributes["gen_ai.token.type"]: one.sum for one in recorder.metric_points if one.name == TOKENS}
    spans = [
        (span.attributes["gen_ai.operation.name"], span.attributes["gen_ai.usage.output_tokens"])
        for span in recorder.spans
        if "gen_ai.usage.output_tokens" in span.attributes
    ]
    return metric, spans


@pytest.fixture
def background(api):
    """A response that works in the background, its answer to come."""
    api.server.reply("Hello", usage={"input_tokens": 9, "output_tokens": 2})
    return api.call("responses", extra_body=BACKGROUND)


def test_fetched_whole(api, recorder, background):
    """The first fetch that finds the response ended tells its tokens, and no other."""
    assert background.usage is None
    assert told(recorder) == ({}, [])
    for _ in range(3):
        api.client.responses.retrieve(background.id)
    assert told(recorder) == (USED, [("fetch_response", 2)])


@pytest.mark.parametrize("zeros", [True, False])
def test_fetched_before_it_ended(api, recorder, zeros):
    """A fetch that finds it at work tells nothing, whatever usage there is, and leaves it to the next one."""
    stored = {"id": "resp_b", "object": "response", "created_at": 1, "model": "gpt-4.1", "output": []}
    for status in ("queued", "in_progress", "cancelled", "cancelled"):
        read, written = (9, 2) if status == "cancelled" else (0, 0)
        usage = {
            "input_tokens": read,
            "output_tokens": written,
            "total_tokens": read + written,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        }
        more = {"usage": usage} if zeros or written else {}
        api.server.reply(body={**stored, "status": status, **more})
    api.call("responses", extra_body=BACKGROUND)
    api.client.responses.retrieve("resp_b")
    assert told(recorder) == ({}, [])
    for _ in range(2):
        api.client.responses.retrieve("resp_b")
    assert told(recorder) == (USED, [("fetch_response", 2)])


def test_fetched_as_stream(api, recorder, background):
    """So does a fetch that is streamed."""
    if not known(api.client.responses.retrieve, stream=True):
        pytest.skip("not in this release")
    list(api.client.responses.retrieve(background.id, stream=True))
    list(api.client.responses.retrieve(background.id, stream=True))
    api.client.responses.retrieve(background.id)
    assert told(recorder) == (USED, [("fetch_response", 2)])


def test_fetched_raw(api, recorder, background):
    """So does one whose raw response the caller gets, or reads themselves."""
    with api.client.responses.with_streaming_response.retrieve(background.id) as raw:
        raw.parse()
    api.client.responses.with_raw_response.retrieve(background.id).parse()
    assert told(recorder) == (USED, [("fetch_response", 2)])


def test_fetched_asynchronously(api, recorder, background):
    """So does one of many at once, and only one."""

    async def main() -> None:
        async with api.async_client() as client:
            await asyncio.gather(*[client.responses.retrieve(background.id) for _ in range(5)])

    asyncio.run(main())
    assert told(recorder) == (USED, [("fetch_response", 2)])


def test_fetched_by_threads(api, recorder, background):
    """Threads that fetch it at once tell it once."""
    threads = [threading.Thread(target=api.client.responses.retrieve, args=(background.id,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told(recorder) == (USED, [("fetch_response", 2)])


def test_fetched_by_a_stranger(api, recorder):
    """A process that did not start it tells no tokens: the one that did may."""
    api.server.reply("Hello", usage={"input_tokens": 9, "output_tokens": 2})
    OpenAIInstrumentor().uninstrument()
    response = api.call("responses", extra_body=BACKGROUND)
    OpenAIInstrumentor().instrument(tracer_provider=recorder.tracer_provider, meter_provider=recorder.meter_provider)
    api.client.responses.retrieve(response.id)
    assert told(recorder) == ({}, [])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_children_know_nothing(background):
    """A forked child did not start what its parent did."""
    from otelier.openai.operations import _responses

    assert background.id in _responses._unrecorded
    child = os.fork()
    if child == 0:
        os._exit(len(_responses._unrecorded))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_was_told_is_not_told_again(api, recorder):
    """A response that told its tokens when it was asked for tells none when it is fetched."""
    api.server.reply("Hello", usage={"input_tokens": 9, "output_tokens": 2}, times=None)
    response = api.call("responses")
    stream = list(api.call("responses", stream=True))
    api.client.responses.retrieve(response.id)
    api.client.responses.retrieve(stream[-1].response.id)
    assert told(recorder)[1] == [("chat", 2), ("chat", 2)]


def test_ids_are_bounded(api):
    """A process that starts responses and never fetches them keeps few of their ids."""
    from otelier.openai.operations import _responses

    for number in range(_responses.MAX_UNRECORDED + 10):
        _responses.remember_unrecorded(f"resp_{number}")
    assert len(_responses._unrecorded) == _responses.MAX_UNRECORDED
    assert "resp_0" not in _responses._unrecorded


def test_streams_left_early(api, recorder):
    """A stream that is left early keeps id and model; its tokens are told by the fetch that finds it ended."""
    api.server.reply("One two three", usage={"input_tokens": 9, "output_tokens": 2})
    stream = api.call("responses", stream=True, extra_body=BACKGROUND)
    first = next(stream)
    stream.close()
    (span,) = recorder.spans
    assert span.attributes["gen_ai.response.id"] == first.response.id
    assert span.attributes["gen_ai.response.model"] == "gpt-4.1"
    assert span.attributes["gen_ai.request.stream"] is True
    api.client.responses.retrieve(first.response.id)
    assert told(recorder) == (USED, [("fetch_response", 2)])


def test_content_of_streams_left_early(monkeypatch, api, recorder):
    """With content on, what came until then is told: whole items, and the words of the one that did not end."""
    monkeypatch.setenv(MODE, "span_only")
    OpenAIInstrumentor().uninstrument()
    OpenAIInstrumentor().instrument(tracer_provider=recorder.tracer_provider)
    item = {"type": "function_call", "id": "fc", "call_id": "c-1", "name": "search", "arguments": "{}"}
    stored = {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-4.1", "output": []}
    delta = {
        "type": "response.output_text.delta",
        "item_id": "m",
        "output_index": 1,
        "content_index": 0,
        "logprobs": [],
    }
    events = [
        {"type": "response.created", "response": {**stored, "status": "in_progress"}},
        {"type": "response.output_item.done", "output_index": 0, "item": {**item, "status": "completed"}},
        {**delta, "delta": "One "},
        {**delta, "delta": "two"},
        {"type": "response.completed", "response": {**stored, "status": "completed"}},
    ]
    api.server.reply(events=[{**event, "sequence_number": number} for number, event in enumerate(events)])
    stream = api.client.responses.create(**RESPONSES, stream=True)
    for _ in range(4):
        next(stream)
    stream.close()
    messages = json.loads(recorder.spans[0].attributes["gen_ai.output.messages"])
    assert [part.get("name", part.get("content")) for message in messages for part in message["parts"]] == [
        "search",
        "One two",
    ]


def test_a_conversation_that_was_compacted(api, recorder):
    """A stream in which the provider compacts the conversation says so on its span."""
    whole = {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-4.1", "status": "completed"}
    item = {"type": "compaction", "id": "cmp_1", "encrypted_content": "x"}
    added = {"type": "response.output_item.added", "output_index": 0, "item": item}
    api.server.reply(events=[added, {"type": "response.completed", "response": {**whole, "output": []}}])
    for _ in api.call("responses", stream=True):
        pass
    assert recorder.spans[0].attributes["gen_ai.conversation.compacted"] is True
