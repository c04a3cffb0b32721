"""`with_streaming_response`: the body is left to the caller, and the call lasts until it was read."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

from tests.openai.conftest import Api

SPAN = "chat gpt-4.1"
USAGE = {"input_tokens": 9, "output_tokens": 2}
READERS = {
    "parse": lambda response: response.parse().choices[0].message.content,
    "json": lambda response: response.json()["choices"][0]["message"]["content"],
    "text": lambda response: "Hi" if '"Hi"' in response.text() else None,
    "read": lambda response: "Hi" if b'"Hi"' in response.read() else None,
}


class ConsumerError(Exception):
    """What a consumer raises."""


def create(api: Api) -> Any:
    """A call whose answer is yet to be read."""
    api.server.reply("Hi", usage=USAGE)
    return api.client.chat.completions.with_streaming_response.create(**api.arguments["chat"])


@pytest.mark.parametrize("reader", READERS)
def test_read_whole(api, recorder, reader):
    """Nothing is read before the caller reads; then the call ends, with what the answer says."""
    with create(api) as response:
        assert type(response).__name__ == "APIResponse"
        assert not response.http_response.is_stream_consumed
        assert recorder.spans == ()
        assert READERS[reader](response) == "Hi"
        span = recorder.find(SPAN)
        assert span.attributes["gen_ai.usage.input_tokens"] == 9
        assert response.parse() is response.parse()
    assert len(recorder.spans) == 1
    tokens = [point for point in recorder.metric_points if point.name == "gen_ai.client.token.usage"]
    assert sorted(point.sum for point in tokens) == [2, 9]


@pytest.mark.parametrize("reader", ["parse", "json", "text", "read"])
def test_read_whole_asynchronously(api, recorder, reader):
    """The same with an asynchronous client."""
    api.server.reply("Hi", usage=USAGE)

    async def call() -> None:
        async with api.async_client() as client:
            lazily = client.chat.completions.with_streaming_response
            async with lazily.create(**api.arguments["chat"]) as response:
                assert type(response).__name__ == "AsyncAPIResponse"
                assert not response.http_response.is_stream_consumed
                assert recorder.spans == ()
                assert await getattr(response, reader)()
                assert recorder.find(SPAN).attributes["gen_ai.usage.output_tokens"] == 2
                assert (await response.parse()).choices

    asyncio.run(call())
    assert len(recorder.spans) == 1


@pytest.mark.parametrize("way", ["iter_bytes", "iter_text", "iter_lines"])
def test_read_in_pieces(api, recorder, way):
    """A body that is read in pieces stays the caller's: the span says what was asked for, and ends with the body."""
    with create(api) as response:
        pieces = getattr(response, way)()
        assert next(pieces)
        assert list(pieces) is not None
        span = recorder.find(SPAN)
        assert "gen_ai.usage.input_tokens" not in span.attributes
        assert span.status.status_code is StatusCode.UNSET


def test_not_read_at_all(api, recorder):
    """A body that nobody reads ends the call when its block is left."""
    with create(api) as response:
        assert response.headers["x-request-id"]
        assert recorder.spans == ()
    assert recorder.find(SPAN).status.status_code is StatusCode.UNSET
    assert vars(response).keys() & {"parse", "read", "_otelier"} == set()


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_exception_in_the_block(api, recorder, mode):
    """An exception of the caller's own before the body was read leaves the call; one after it changes nothing."""

    def call(*, read: bool) -> None:
        with create(api) as response:
            if read:
                response.read()
            raise ConsumerError

    async def call_async(*, read: bool) -> None:
        async with api.async_client() as client:
            lazily = client.chat.completions.with_streaming_response
            async with lazily.create(**api.arguments["chat"]) as response:
                if read:
                    await response.read()
                raise ConsumerError

    for read in (False, True):
        with pytest.raises(ConsumerError):
            asyncio.run(call_async(read=read)) if mode == "async" else call(read=read)
    assert [span.status.status_code for span in recorder.spans] == [StatusCode.UNSET] * 2
    assert ["error.type" in span.attributes for span in recorder.spans] == [False] * 2
    assert [span.attributes.get("otelier.cancelled") for span in recorder.spans] == [True, None]


@pytest.mark.parametrize("body", ["<html>", "no JSON"])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_what_is_no_answer(api, recorder, mode, body):
    """A page of a proxy, or half an answer, is given to the caller as it is; the span says no more than it knows."""
    if body == "<html>":
        api.server.fail(200, html=True)
    else:
        api.server.reply(body=body)

    def call() -> str:
        with api.client.chat.completions.with_streaming_response.create(**api.arguments["chat"]) as response:
            return response.text()

    async def call_async() -> str:
        async with api.async_client() as client:
            lazily = client.chat.completions.with_streaming_response
            async with lazily.create(**api.arguments["chat"]) as response:
                return await response.text()

    assert body in (asyncio.run(call_async()) if mode == "async" else call())
    assert "gen_ai.response.model" not in recorder.find(SPAN).attributes


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_streams(api, recorder, mode):
    """A streaming response of a stream is followed once it is parsed, and its chunks are the client's."""

    async def call() -> list[Any]:
        async with api.async_client() as client:
            lazily = client.chat.completions.with_streaming_response
            async with lazily.create(**api.arguments["chat"], stream=True) as response:
                return [chunk async for chunk in await response.parse()]

    if mode == "async":
        chunks = asyncio.run(call())
    else:
        with api.client.chat.completions.with_streaming_response.create(
            **api.arguments["chat"], stream=True
        ) as response:
            chunks = list(response.parse())
    assert chunks
    span = recorder.find(SPAN)
    assert span.attributes["gen_ai.request.stream"] is True
    assert span.attributes["gen_ai.response.finish_reasons"] == ("stop",)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_exception_in_the_block_of_a_stream(api, recorder, mode):
    """An exception of the caller's own while a streaming response's stream is read leaves the call."""

    def call() -> None:
        lazily = api.client.chat.completions.with_streaming_response
        with lazily.create(**api.arguments["chat"], stream=True) as response:
            for _ in response.parse():
                raise ConsumerError

    async def call_async() -> None:
        async with api.async_client() as client:
            lazily = client.chat.completions.with_streaming_response
            async with lazily.create(**api.arguments["chat"], stream=True) as response:
                async for _ in await response.parse():
                    raise ConsumerError

    with pytest.raises(ConsumerError):
        asyncio.run(call_async()) if mode == "async" else call()
    assert recorder.find(SPAN).attributes["otelier.cancelled"] is True
    assert "error.type" not in recorder.find(SPAN).attributes


def test_dropped(api, recorder):
    """A response that is neither read nor closed ends its call when it goes."""
    manager = create(api)
    response = manager.__enter__()
    http_response = response.http_response
    del manager, response
    gc.collect()
    assert recorder.find(SPAN).status.status_code is StatusCode.UNSET
    http_response.close()
    assert len(recorder.spans) == 1
