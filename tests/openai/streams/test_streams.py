"""Streams: the caller's stream stays the client's own, and its call ends once, however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode
from pydantic import BaseModel

from otelier.openai import OpenAIInstrumentor
from tests.openai.conftest import Api, instrumenting, serving
from tests.serving import wsgi_server

ENDPOINTS = ("chat", "responses")
TEXT = "One two three four five six"
SPAN = "chat gpt-4.1"
each_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS)
each_stream = pytest.mark.parametrize("endpoint", [*ENDPOINTS, "completions"])
each_mode = pytest.mark.parametrize("mode", ["sync", "async"])


class ConsumerError(Exception):
    """What a consumer raises."""


class Person(BaseModel):
    """What a helper is to read."""

    name: str


@pytest.fixture
def streams(api):
    """The API, with a text that comes in several chunks."""
    api.server.reply(TEXT, usage={"input_tokens": 9, "output_tokens": 6}, times=None)
    return api


def options(endpoint: str) -> dict[str, Any]:
    """What makes a call a stream with usage."""
    return {"stream": True, **({} if endpoint == "responses" else {"stream_options": {"include_usage": True}})}


def drained(api: Api, endpoint: str, mode: str) -> list[Any]:
    """Every chunk of a stream."""

    async def drain() -> list[Any]:
        async with api.async_client() as client:
            return [chunk async for chunk in await api.call_async(client, endpoint, **options(endpoint))]

    return list(api.call(endpoint, **options(endpoint))) if mode == "sync" else asyncio.run(drain())


@each_endpoint
@each_mode
def test_drained(streams, recorder, endpoint, mode):
    """A stream that was read has the attributes of its last chunk, and the time of its first."""
    drained(streams, endpoint, mode)
    span = recorder.find(SPAN)
    assert span.status.status_code is StatusCode.UNSET
    found = dict(span.attributes)
    assert 0 < found.pop("gen_ai.response.time_to_first_chunk") < 10
    assert found.pop("gen_ai.response.id")
    assert found.pop("server.port")
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4.1",
        "server.address": "127.0.0.1",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "gpt-4.1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 6,
    }
    more = {"openai.api.type", "openai.response.service_tier"}
    assert {key: value for key, value in found.items() if key not in more} == expected
    assert found.get("openai.api.type") == (None if endpoint == "chat" else "responses")


@each_endpoint
@each_mode
def test_chunk_metrics(streams, recorder, endpoint, mode):
    """The first chunk's time and the gaps between all are recorded, one value for each, with the call's span."""
    chunks = drained(streams, endpoint, mode)
    points = {point.name: point for point in recorder.metric_points if point.name.startswith("gen_ai.")}
    first = points["gen_ai.client.operation.time_to_first_chunk"]
    gaps = points["gen_ai.client.operation.time_per_output_chunk"]
    duration = points["gen_ai.client.operation.duration"]
    assert (first.count, gaps.count, duration.count) == (1, len(chunks) - 1, 1)
    assert first.bounds == gaps.bounds == duration.bounds
    assert first.sum + gaps.sum <= duration.sum
    assert first.attributes == gaps.attributes == duration.attributes
    assert first.attributes["gen_ai.response.model"] == "gpt-4.1"
    assert "openai.response.service_tier" not in duration.attributes
    span_id = f"{recorder.find(SPAN).context.span_id:016x}"
    assert {exemplar.span_id for point in points.values() for exemplar in point.exemplars} == {span_id}
    assert first.sum == recorder.find(SPAN).attributes["gen_ai.response.time_to_first_chunk"]


@each_endpoint
def test_the_stream_is_the_clients_own(streams, recorder, endpoint):
    """Type, attributes and `next` of a stream are what they are without instrumentation."""
    stream = streams.call(endpoint, **options(endpoint))
    assert type(stream) is openai.Stream
    assert stream.response.status_code == 200
    first = next(stream)
    rest = list(stream)
    OpenAIInstrumentor().uninstrument()
    plain = streams.call(endpoint, **options(endpoint))
    assert type(plain) is type(stream)
    assert set(vars(plain)) == set(vars(stream)) - {"_otelier"}
    assert [type(chunk) for chunk in plain] == [type(chunk) for chunk in [first, *rest]]
    assert recorder.find(SPAN)


def test_the_async_stream_is_the_clients_own(streams, recorder):
    """The same holds for an asynchronous stream."""

    async def main() -> None:
        async with streams.async_client() as client:
            stream = await streams.call_async(client, "chat", **options("chat"))
            assert type(stream) is openai.AsyncStream
            await anext(stream)
            assert [chunk async for chunk in stream]

    asyncio.run(main())
    assert recorder.find(SPAN)


@each_endpoint
def test_chunks_come_at_once(streams, recorder, endpoint):
    """A stream is handed over with its first chunk, and each further one as it comes."""
    path = "chat/completions" if endpoint == "chat" else endpoint
    asked = {**streams.arguments[endpoint], "stream": True}
    events = httpx.post(f"{streams.server.base_url}/{path}", json=asked).text.split("\n\n")[:-1]
    may_leave = threading.Semaphore(0)

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("content-type", "text/event-stream")])
        for event in events:
            assert may_leave.acquire(timeout=300)
            yield f"{event}\n\n".encode()

    with wsgi_server(app) as port:
        client = streams.client.with_options(base_url=f"http://127.0.0.1:{port}/v1")
        may_leave.release()
        started = time.perf_counter()
        stream = streams.method(client, endpoint)(**asked)
        next(stream)
        first_s = time.perf_counter() - started
        chunks = 1
        may_leave.release()
        for _ in stream:  # each has come before the next may leave
            chunks += 1
            may_leave.release()
    assert chunks == len([event for event in events if "[DONE]" not in event]) > 5
    assert 0 < recorder.find(SPAN).attributes["gen_ai.response.time_to_first_chunk"] <= first_s


@each_endpoint
def test_span_is_not_current_while_the_consumer_reads(streams, recorder, endpoint):
    """Between chunks the consumer runs in its own context: its spans are siblings of the call."""
    tracer = recorder.tracer_provider.get_tracer("tests")
    with tracer.start_as_current_span("request") as request:
        for _ in streams.call(endpoint, **options(endpoint)):
            assert trace.get_current_span() is request
            tracer.start_span("work").end()
    assert {span.parent.span_id for span in recorder.spans if span.name == "work"} == {request.context.span_id}
    assert recorder.find(SPAN).parent.span_id == request.context.span_id


# --- endings ---------------------------------------------------------------------------------------------------
def closed(stream: Any) -> None:
    """Close after a chunk."""
    next(stream)
    stream.close()


def closed_by_response(stream: Any) -> None:
    """Close the HTTP response after a chunk."""
    next(stream)
    stream.response.close()


def left(stream: Any) -> None:
    """Leave the block after a chunk."""
    with stream:
        next(stream)


def failed(stream: Any) -> None:
    """Raise in the block."""
    with contextlib.suppress(ConsumerError), stream:
        for _ in stream:
            raise ConsumerError("not ours")


def broken_off(stream: Any) -> None:
    """Break out of the loop and forget the stream."""
    for _ in stream:
        break


def unread(stream: Any) -> None:
    """Forget the stream unread."""


def raised_in_loop(stream: Any) -> None:
    """Raise in a loop without a block."""
    with contextlib.suppress(ConsumerError):
        for _ in stream:
            raise ConsumerError("not ours")


async def closed_async(stream: Any) -> None:
    """Close after a chunk."""
    await anext(stream)
    await stream.close()


async def left_async(stream: Any) -> None:
    """Leave the block after a chunk."""
    async with stream:
        await anext(stream)


async def failed_async(stream: Any) -> None:
    """Raise in the block."""
    with contextlib.suppress(ConsumerError):
        async with stream:
            async for _ in stream:
                raise ConsumerError("not ours")


async def unread_async(stream: Any) -> None:
    """Forget the stream unread."""


async def read_a_bit_async(stream: Any) -> None:
    """Read a chunk and forget the stream."""
    await anext(stream)


async def broken_off_async(stream: Any) -> None:
    """Break out of the loop and forget the stream."""
    async for _ in stream:
        break


async def until(holds: Callable[[], object]) -> None:
    """Let the loop go on until *holds* says so."""
    for _ in range(6000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


def only(recorder: Any) -> Any:
    """The one span that there is."""
    (span,) = recorder.spans
    return span


QUIET = (StatusCode.UNSET, None, None, None)
LEFT = (StatusCode.UNSET, None, None, True)

SYNC_ENDINGS = {
    closed: LEFT,
    closed_by_response: LEFT,
    left: LEFT,
    failed: LEFT,
    broken_off: LEFT,
    unread: LEFT,
    raised_in_loop: LEFT,
}
ASYNC_ENDINGS = {
    closed_async: LEFT,
    left_async: LEFT,
    failed_async: LEFT,
    broken_off_async: LEFT,
    read_a_bit_async: LEFT,
    unread_async: LEFT,
}


def outcome(span: Any) -> tuple[Any, ...]:
    """Status, its message, the error's type, and whether nobody waited any more."""
    found = [span.attributes.get(name) for name in ("error.type", "otelier.cancelled")]
    return span.status.status_code, span.status.description, *found


@each_stream
@pytest.mark.parametrize(("ending", "expected"), SYNC_ENDINGS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_endings(streams, recorder, endpoint, ending, expected):
    """A stream that ends early ends its span once, at once, without waiting for the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        ending(streams.call(endpoint, **options(endpoint)))
        assert outcome(only(recorder)) == expected
    finally:
        gc.enable()
    gc.collect()
    span = only(recorder)
    assert span.attributes["gen_ai.request.stream"] is True
    assert span.attributes.get("gen_ai.response.model") == (None if ending is unread else "gpt-4.1")
    (duration,) = (point for point in recorder.metric_points if point.name == "gen_ai.client.operation.duration")
    assert duration.attributes.get("error.type") == expected[2]


@each_stream
@pytest.mark.parametrize(
    ("ending", "expected"), ASYNC_ENDINGS.items(), ids=lambda value: getattr(value, "__name__", "")
)
def test_async_endings(streams, recorder, endpoint, ending, expected):
    """The same holds for asynchronous streams, however the loop deals with what is broken off."""

    async def main() -> None:
        async with streams.async_client() as client:
            await ending(await streams.call_async(client, endpoint, **options(endpoint)))
            await until(lambda: recorder.spans)
            assert outcome(only(recorder)) == expected

    asyncio.run(main())
    gc.collect()
    assert only(recorder)


def test_abandoned_streams_end_at_their_last_chunk(streams, recorder):
    """What nobody reads on has ended when it was last read, however late that is noticed."""
    began = time.perf_counter()
    stream = streams.call("chat", **options("chat"))
    next(stream)
    read_s, read_ns = time.perf_counter() - began, time.time_ns()
    time.sleep(0.05)
    del stream
    (duration,) = (point for point in recorder.metric_points if point.name == "gen_ai.client.operation.duration")
    assert duration.sum <= read_s
    assert only(recorder).end_time < read_ns + 0.05e9


@each_stream
def test_resumed_after_break(streams, recorder, endpoint):
    """A loop that is broken off and taken up again is one stream."""
    stream = streams.call(endpoint, **options(endpoint))
    for _ in stream:
        break
    assert recorder.spans == ()
    for _ in stream:
        pass
    assert outcome(only(recorder)) == QUIET
    assert only(recorder).attributes["gen_ai.usage.output_tokens"] == 6


def test_responses_end_with_their_last_event(streams, recorder):
    """A consumer that stops at the event that says so has read the whole response."""
    for event in streams.call("responses", stream=True):
        if event.type == "response.completed":
            break
    assert outcome(only(recorder)) == QUIET
    assert only(recorder).attributes["gen_ai.usage.output_tokens"] == 6


@each_stream
@each_mode
@pytest.mark.parametrize(
    ("fault", "error_type"), [("drop", "APIConnectionError"), ("invalid_json", "JSONDecodeError"), ("error", None)]
)
def test_broken_streams(api, recorder, endpoint, mode, fault, error_type):
    """A stream that breaks raises what it raises without us, and its span says so, with what had come."""
    api.server.break_stream(fault, after=2, text=TEXT, times=None)

    def ending() -> Any:
        try:
            drained(api, endpoint, mode)
        except Exception as exc:
            return type(exc)
        return None

    seen = ending()
    span = only(recorder)
    OpenAIInstrumentor().uninstrument()
    assert seen is ending()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["gen_ai.response.model"] == "gpt-4.1"
    if endpoint == "responses" and fault == "error":
        assert span.attributes["error.type"] == "server_error"
    else:
        assert span.attributes["error.type"].rpartition(".")[2] == seen.__name__
    assert seen is None or error_type in (None, seen.__name__) or fault == "drop"


@each_mode
def test_failed_response_in_a_stream(api, recorder, mode):
    """`response.failed` gives the span the code of its response, and not its message."""
    response = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "gpt-4.1",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }
    error = {"code": "rate_limit_exceeded", "message": "Try again."}
    api.server.reply(
        events=[
            {"type": "response.created", "sequence_number": 0, "response": {**response, "status": "in_progress"}},
            {
                "type": "response.failed",
                "sequence_number": 1,
                "response": {**response, "status": "failed", "error": error},
            },
        ]
    )
    drained(api, "responses", mode)
    span = recorder.find(SPAN)
    assert outcome(span) == (StatusCode.ERROR, "rate_limit_exceeded", "rate_limit_exceeded", None)
    assert span.attributes["gen_ai.response.id"] == "resp_1"
    assert span.attributes["gen_ai.response.finish_reasons"] == ("error",)


@each_stream
def test_cancelled(streams, recorder, endpoint):
    """A task that is cancelled while it waits for a chunk ends the span as cancelled, and nothing counts as failed."""
    streams.server.clear()
    streams.server.reply(TEXT, chunk_delay_s=0.2, times=None)

    async def consume(client: Any, came: asyncio.Event) -> None:
        async for _ in await streams.call_async(client, endpoint, **options(endpoint)):
            came.set()

    async def main() -> None:
        came = asyncio.Event()
        async with streams.async_client() as client:
            task = asyncio.create_task(consume(client, came))
            await came.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    span = only(recorder)
    assert outcome(span) == LEFT
    assert span.attributes["gen_ai.response.model"] == "gpt-4.1"
    assert [point for point in recorder.metric_points if "error.type" in point.attributes] == []


@each_stream
def test_cancelled_before_the_first_chunk(api, recorder, endpoint):
    """A task that is cancelled while it waits for the answer ends the span as cancelled, streamed or not."""
    api.server.reply(TEXT, delay_s=60, times=None)

    async def main() -> None:
        async with api.async_client() as client:
            for number, stream in enumerate((False, True), 1):
                task = asyncio.create_task(api.call_async(client, endpoint, stream=stream))
                await until(lambda number=number: len(api.server.requests) == number)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

    asyncio.run(main())
    assert [outcome(span) for span in recorder.spans] == [LEFT] * 2
    assert [point for point in recorder.metric_points if "error.type" in point.attributes] == []


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_loop_gone(streams, recorder):
    """A stream whose loop is closed ends when it is dropped."""

    async def main() -> Any:
        client = openai.AsyncOpenAI(**streams.options)
        stream = await streams.call_async(client, "chat", **options("chat"))
        await anext(stream)
        return stream

    loop = asyncio.new_event_loop()
    stream = loop.run_until_complete(main())
    loop.close()
    assert recorder.spans == ()
    del stream
    gc.collect()
    assert outcome(recorder.find(SPAN)) == LEFT


def test_uninstrumented_while_open(streams, recorder):
    """A stream that was opened before instrumentation went off still ends its span."""
    stream = streams.call("chat", **options("chat"))
    OpenAIInstrumentor().uninstrument()
    list(stream)
    assert outcome(recorder.find(SPAN)) == QUIET


@each_endpoint
def test_closing_twice_and_reading_on(streams, recorder, endpoint):
    """What comes after the end changes nothing."""
    stream = streams.call(endpoint, **options(endpoint))
    next(stream)
    stream.close()
    stream.close()
    with contextlib.suppress(Exception):
        list(stream)
    del stream
    gc.collect()
    assert outcome(recorder.find(SPAN)) == LEFT


# --- other ways to a stream ------------------------------------------------------------------------------------
@each_mode
@pytest.mark.parametrize("ending", ["drained", "closed", "dropped"])
def test_raw_streams(streams, recorder, mode, ending):
    """A raw response keeps its headers, is parsed to one stream, and ends its span with that."""

    async def read(client: Any) -> None:
        raw = await client.chat.completions.with_raw_response.create(**streams.arguments["chat"], **options("chat"))
        stream = raw.parse()
        assert raw.parse() is stream
        assert isinstance(stream, openai.AsyncStream)
        if ending == "drained":
            assert [chunk async for chunk in stream]
        elif ending == "closed":
            await raw.http_response.aclose()

    async def main() -> None:
        async with streams.async_client() as client:
            await read(client)

    if mode == "async":
        asyncio.run(main())
    else:
        create = streams.client.chat.completions.with_raw_response.create
        raw = create(**streams.arguments["chat"], **options("chat"))
        assert raw.headers["x-request-id"]
        if ending == "drained":
            stream = raw.parse()
            assert raw.parse() is stream
            assert type(stream) is openai.Stream
            assert list(stream)
        elif ending == "closed":
            raw.http_response.close()
        raw = stream = None
    gc.collect()
    assert outcome(recorder.find(SPAN)) == (
        LEFT if ending == "dropped" or (ending, mode) == ("closed", "async") else QUIET
    )


@each_endpoint
def test_streaming_response_streams(streams, recorder, endpoint):
    """`with_streaming_response` gives the stream when it is parsed; leaving the block ends the span."""
    resource = streams.client.chat.completions if endpoint == "chat" else streams.client.responses
    create = resource.with_streaming_response.create
    with create(**streams.arguments[endpoint], **options(endpoint)) as response:
        assert len(list(response.parse())) > 3
    with create(**streams.arguments[endpoint], **options(endpoint)) as response:
        assert list(response.iter_lines())
    assert [outcome(span) for span in recorder.spans] == [QUIET] * 2
    assert recorder.spans[0].attributes["gen_ai.usage.output_tokens"] == 6


def helper(client: Any, endpoint: str) -> Any:
    """The `.stream()` of *endpoint*, which chat completions once had under `beta` only."""
    if endpoint == "responses":
        return client.responses.stream
    return getattr(client.chat.completions, "stream", None) or client.beta.chat.completions.stream


@each_endpoint
@each_mode
def test_stream_helpers(streams, recorder, endpoint, mode):
    """The client's `.stream()` helpers work as they do, one span for each use."""

    async def main() -> None:
        async with streams.async_client() as client, helper(client, endpoint)(**streams.arguments[endpoint]) as stream:
            assert [event async for event in stream]

    if mode == "async":
        asyncio.run(main())
    else:
        with helper(streams.client, endpoint)(**streams.arguments[endpoint]) as stream:
            list(stream)
            final = stream.get_final_completion() if endpoint == "chat" else stream.get_final_response()
            assert TEXT in final.to_json()
    assert outcome(recorder.find(SPAN)) == QUIET


def test_stream_helper_closed_early(streams, recorder):
    """A helper that is left early ends its span when it closes the response."""
    with streams.client.responses.stream(**streams.arguments["responses"]) as stream:
        next(stream)
    assert outcome(recorder.find(SPAN)) == LEFT


@each_endpoint
@each_mode
def test_stream_helper_failed(streams, recorder, endpoint, mode):
    """An exception of the consumer's own in the block of a helper ends the span as left, not as failed."""

    async def main() -> None:
        async with streams.async_client() as client, helper(client, endpoint)(**streams.arguments[endpoint]) as stream:
            await anext(stream)
            raise ConsumerError("not ours")

    with contextlib.suppress(ConsumerError):
        if mode == "async":
            asyncio.run(main())
        with helper(streams.client, endpoint)(**streams.arguments[endpoint]) as stream:
            next(stream)
            raise ConsumerError("not ours")
    assert outcome(recorder.find(SPAN)) == LEFT


def opened(client: Any, endpoint: str, way: str) -> Any:
    """A block around a stream: the client's own, its helper's, or that of a response that streams."""
    resource = client.responses if endpoint == "responses" else client.chat.completions
    if way == "helper":
        return helper(client, endpoint)
    return resource.with_streaming_response.create if way == "lazy" else resource.create


@each_mode
@each_endpoint
@pytest.mark.parametrize("way", ["own", "helper", "lazy", "body"])
def test_another_call_that_fails_in_the_block(api, recorder, endpoint, mode, way):
    """The error of a call that the consumer makes while it reads is that call's alone."""
    api.server.reply(TEXT)
    api.server.fail(429)
    more = {} if way in ("helper", "body") else {"stream": True}

    def call() -> None:
        made = opened(api.client, endpoint, "lazy" if way == "body" else way)(**api.arguments[endpoint], **more)
        with made as stream:
            if way != "body":
                next(iter(stream.parse() if way == "lazy" else stream))
            api.call("embeddings")

    async def call_async() -> None:
        async with api.async_client() as client:
            made = opened(client, endpoint, "lazy" if way == "body" else way)(**api.arguments[endpoint], **more)
            async with await made if way == "own" else made as stream:
                if way != "body":
                    await anext(aiter(await stream.parse() if way == "lazy" else stream))
                await api.call_async(client, "embeddings")

    with pytest.raises(openai.RateLimitError):
        asyncio.run(call_async()) if mode == "async" else call()
    inner, outer = recorder.spans
    assert outcome(inner)[:1] == (StatusCode.ERROR,)
    assert outcome(outer) == LEFT


@each_mode
def test_a_helper_that_fails_in_the_block_of_another(api, recorder, mode):
    """An error of one helper is not one of the helper around it, which is not read on either."""
    api.server.reply(TEXT)
    api.server.reply('{"name"', finish_reason="length")
    given = {**api.arguments["chat"], "response_format": Person}

    def call() -> None:
        with helper(api.client, "chat")(**api.arguments["chat"]) as outer:
            next(outer)
            with helper(api.client, "chat")(**given) as inner:
                list(inner)

    async def call_async() -> None:
        async with api.async_client() as client, helper(client, "chat")(**api.arguments["chat"]) as outer:
            await anext(outer)
            async with helper(client, "chat")(**given) as inner:
                assert [event async for event in inner]

    with pytest.raises(openai.LengthFinishReasonError):
        asyncio.run(call_async()) if mode == "async" else call()
    inner, outer = recorder.spans
    assert outcome(outer) == LEFT
    assert "gen_ai.usage.output_tokens" not in outer.attributes
    assert inner.attributes["gen_ai.response.finish_reasons"] == ("length",)


@each_endpoint
@each_mode
def test_raw_streams_that_break(api, recorder, endpoint, mode):
    """A stream that breaks in a raw response ends its span with what the consumer sees."""
    api.server.break_stream("invalid_json", after=2, text=TEXT, times=None)

    def raw(client: Any) -> Any:
        resource = client.chat.completions if endpoint == "chat" else client.responses
        return resource.with_raw_response.create(**api.arguments[endpoint], stream=True)

    async def main() -> None:
        async with api.async_client() as client:
            async for _ in (await raw(client)).parse():
                pass

    with pytest.raises(ValueError, match="Expecting"):
        asyncio.run(main()) if mode == "async" else list(raw(api.client).parse())
    span = only(recorder)
    assert span.attributes["error.type"] == "json.decoder.JSONDecodeError"
    assert span.attributes["gen_ai.response.model"] == "gpt-4.1"


def test_stream_of_another_type(recorder):
    """A stream that cannot be followed from within is followed from outside, and passes for itself."""
    from openai.resources.chat.completions import AsyncCompletions, Completions

    class Foreign(list):
        closed = False

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *exc: object) -> None:
            self.closed = True

        def close(self) -> None:
            self.closed = True

    class ForeignAsync(Foreign):
        async def __aiter__(self) -> Any:
            for item in self:
                yield item

        async def close(self) -> None:
            self.closed = True

    chunk = openai.types.chat.ChatCompletionChunk(
        id="c-1", object="chat.completion.chunk", created=1, model="gpt-4.1", choices=[]
    )
    patch = pytest.MonkeyPatch()
    patch.setattr(Completions, "create", lambda *_, **__: Foreign([chunk, chunk]))

    async def create(*_: Any, **__: Any) -> Any:
        return ForeignAsync([chunk, chunk])

    patch.setattr(AsyncCompletions, "create", create)
    arguments: dict[str, Any] = {**Api.arguments["chat"], "stream": True}
    client = openai.OpenAI(api_key="none").chat.completions

    async def main() -> None:
        completions = openai.AsyncOpenAI(api_key="none").chat.completions
        assert [item async for item in await completions.create(**arguments)] == [chunk, chunk]
        stream = await completions.create(**arguments)
        assert await anext(stream) is chunk
        await stream.close()
        assert stream.closed

    with patch.context(), instrumenting(recorder):
        stream = client.create(**arguments)
        assert isinstance(stream, Foreign)
        assert next(stream) is chunk
        assert list(stream) == [chunk]
        with pytest.raises(ConsumerError), client.create(**arguments) as stream:
            raise ConsumerError("not ours")
        assert stream.closed
        client.create(**arguments).close()
        asyncio.run(main())
    patch.undo()
    assert [outcome(span) for span in recorder.spans] == [QUIET, LEFT, LEFT, QUIET, LEFT]
    assert recorder.spans[0].attributes["gen_ai.response.id"] == "c-1"


@pytest.mark.parametrize("way", ["block", "close", "aclose"])
@pytest.mark.parametrize("failing", [False, True])
def test_closing_a_stream_of_another_type(recorder, failing, way):
    """Leaving its block or closing it ends the call, whatever it closes, and with what the closing raises."""
    from openai.resources.chat.completions import AsyncCompletions, Completions

    class Foreign(list):
        def close(self) -> None:
            if failing:
                raise ConsumerError("not ours")

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *exc: object) -> None:
            self.close()

    class ForeignAsync(Foreign):
        async def __aiter__(self) -> Any:
            yield "never read"

        async def close(self) -> None:
            Foreign.close(self)

        aclose = close

        async def __aenter__(self) -> Any:
            return self

        async def __aexit__(self, *exc: object) -> None:
            await self.close()

    async def create(*_: Any, **__: Any) -> Any:
        return ForeignAsync()

    expected = pytest.raises(ConsumerError) if failing else contextlib.nullcontext()
    arguments: dict[str, Any] = {**Api.arguments["chat"], "stream": True}

    async def main() -> None:
        stream = await openai.AsyncOpenAI(api_key="none").chat.completions.create(**arguments)
        kept.append(stream)
        with expected:
            if way == "block":
                async with stream:
                    pass
            else:
                await getattr(stream, way)()

    kept: list[Any] = []  # what is dropped would end its call by that
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Completions, "create", lambda *_, **__: Foreign())
        patch.setattr(AsyncCompletions, "create", create)
        with instrumenting(recorder):
            stream = openai.OpenAI(api_key="none").chat.completions.create(**arguments)
            with expected, stream if way == "block" else contextlib.closing(stream):
                pass
            asyncio.run(main())
    kind = f"{__name__}.ConsumerError"
    failed = (StatusCode.ERROR, kind, kind, None)
    assert [outcome(span) for span in recorder.spans] == [failed if failing else LEFT] * 2


@each_mode
def test_a_response_that_cannot_be_closed(streams, recorder, mode):
    """What closing the HTTP response raises reaches the caller, and the call has failed by it."""

    def close() -> None:
        raise ConsumerError("not ours")

    async def aclose() -> None:
        close()

    def breaks(response: Any) -> None:
        response.close, response.aclose = close, aclose

    async def breaks_async(response: Any) -> None:
        breaks(response)

    async def main() -> None:
        async with streams.async_client() as client:
            client._client.event_hooks["response"].append(breaks_async)
            stream = await streams.call_async(client, "chat", stream=True)
            await anext(stream)
            await stream.close()

    def call() -> None:
        streams.client._client.event_hooks["response"].append(breaks)
        stream = streams.call("chat", stream=True)
        next(stream)
        stream.close()

    with pytest.raises(ConsumerError):
        asyncio.run(main()) if mode == "async" else call()
    assert only(recorder).attributes["error.type"] == f"{__name__}.ConsumerError"


def test_left_after_the_whole_answer(streams, recorder):
    """A stream that is left when all of the answer was read is no stream that nobody waited for."""
    with streams.call("chat", **options("chat")) as stream:
        for chunk in stream:
            if chunk.choices[0].finish_reason:
                break
    assert outcome(only(recorder)) == QUIET


# --- measuring -------------------------------------------------------------------------------------------------
def test_no_room_in_the_queue(streams, recorder, monkeypatch):
    """Where chunk times have no room to wait, each is recorded as it comes, to the same figures."""
    from otelier.telemetry import PointQueue

    monkeypatch.setattr(PointQueue, "reserve_for_stream", lambda _: None)
    chunks = drained(streams, "chat", "sync")
    counts = {point.name: point.count for point in recorder.metric_points if point.name.startswith("gen_ai.")}
    assert counts["gen_ai.client.operation.time_to_first_chunk"] == 1
    assert counts["gen_ai.client.operation.time_per_output_chunk"] == len(chunks) - 1
    assert only(recorder).attributes["gen_ai.response.time_to_first_chunk"] > 0
    models = [point.attributes.get("gen_ai.response.model") for point in recorder.metric_points if point.count]
    assert models == ["gpt-4.1"] * len(models)


@each_endpoint
def test_unsampled_streams(unsampled, endpoint):
    """A stream that is not sampled is measured all the same, without an exemplar."""
    with instrumenting(unsampled), serving() as api:
        list(api.call(endpoint, **options(endpoint)))
    assert unsampled.spans == ()
    points = [point for point in unsampled.metric_points if point.name.startswith("gen_ai.")]
    assert len({point.name for point in points}) == 4
    assert [point.exemplars for point in points] == [()] * len(points)


def test_chunks_of_the_callers_own_type(streams, recorder):
    """Chunks that say nothing we know leave the span without what they would have said."""
    raw = streams.client.chat.completions.with_raw_response.create(**streams.arguments["chat"], stream=True)
    assert all(isinstance(chunk, dict) for chunk in raw.parse(to=openai.Stream[object]))
    span = recorder.find(SPAN)
    assert outcome(span) == QUIET
    assert span.attributes["gen_ai.response.time_to_first_chunk"] > 0
