"""Endpoints beyond chat, Responses and embeddings: legacy completions, images, audio, and stored responses."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
from hashlib import sha256
from typing import Any

import openai
import pytest
from opentelemetry.trace import SpanKind, StatusCode

from otelier.testing import SpanRecorder
from tests.openai.conftest import FAILED_RESPONSE, Api, instrumenting, known, serving

# openai 3 says that some of these are going away.
pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")

WAV = ("meeting.wav", b"RIFF....WAVE")
PNG = ("cat.png", b"\x89PNG....")

CALLS: dict[str, tuple[str, dict[str, Any], str]] = {
    "completions": (
        "completions.create",
        {"model": "gpt-3.5-turbo-instruct", "prompt": "Hello"},
        "text_completion gpt-3.5-turbo-instruct",
    ),
    "images": ("images.generate", {"model": "gpt-image-1", "prompt": "A cat"}, "generate_content gpt-image-1"),
    "edits": ("images.edit", {"model": "gpt-image-1", "prompt": "A hat", "image": PNG}, "generate_content gpt-image-1"),
    "variations": ("images.create_variation", {"model": "dall-e-2", "image": PNG}, "generate_content dall-e-2"),
    "speech": (
        "audio.speech.create",
        {"model": "tts-1", "voice": "alloy", "input": "Hello"},
        "generate_content tts-1",
    ),
    "transcriptions": (
        "audio.transcriptions.create",
        {"model": "gpt-4o-transcribe", "file": WAV},
        "generate_content gpt-4o-transcribe",
    ),
    "translations": ("audio.translations.create", {"model": "whisper-1", "file": WAV}, "generate_content whisper-1"),
}
OPERATIONS = {"completions": "text_completion"}
OUTPUT_TYPES = {
    "images": "image",
    "edits": "image",
    "variations": "image",
    "speech": "speech",
    "transcriptions": "text",
    "translations": "text",
}
each_endpoint = pytest.mark.parametrize("endpoint", CALLS)


def method(client: Any, path: str) -> Any:
    """The method of *client* that stands at *path*."""
    for name in path.split("."):
        client = getattr(client, name)
    return client


def call(client: Any, endpoint: str, **more: Any) -> Any:
    """Call *endpoint*, with *more* arguments."""
    path, arguments, _ = CALLS[endpoint]
    return method(client, path)(**{**arguments, **more})


def raw(client: Any, endpoint: str, kind: str) -> Any:
    """Call *endpoint* for a raw or streaming response."""
    path, arguments, _ = CALLS[endpoint]
    resource, _, name = path.rpartition(".")
    return getattr(getattr(method(client, resource), kind), name)(**arguments)


def streams(client: Any, endpoint: str) -> bool:
    """Tell whether this release of the client streams *endpoint*."""
    return "stream" in inspect.signature(method(client, CALLS[endpoint][0])).parameters


def where(api: Api, operation: str) -> dict[str, Any]:
    """What the spans and metrics of every call carry."""
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "openai",
        "server.address": "127.0.0.1",
        "server.port": int(api.server.base_url.rpartition(":")[2].partition("/")[0]),
    }


def points(recorder: SpanRecorder) -> list[Any]:
    """The points of GenAI metrics."""
    return [point for point in recorder.metric_points if point.name.startswith("gen_ai.")]


@each_endpoint
def test_span(api, recorder, endpoint):
    """A call has one CLIENT span, named after operation and model, that says what kind of output was asked for."""
    call(api.client, endpoint)
    span = recorder.find(CALLS[endpoint][2])
    assert (span.kind, span.status.status_code) == (SpanKind.CLIENT, StatusCode.UNSET)
    operation = OPERATIONS.get(endpoint, "generate_content")
    expected = {**where(api, operation), "gen_ai.request.model": CALLS[endpoint][1]["model"]}
    assert {key: span.attributes[key] for key in expected} == expected
    assert span.attributes.get("gen_ai.output.type") == OUTPUT_TYPES.get(endpoint)


@each_endpoint
def test_async_is_the_same(api, recorder, endpoint):
    """An asynchronous call has the span of the synchronous one, and gets an answer of the same type."""

    async def run() -> Any:
        async with api.async_client() as client:
            return await call(client, endpoint)

    assert type(call(api.client, endpoint)) is type(asyncio.run(run()))
    one, other = ({**span.attributes, "gen_ai.response.id": ""} for span in recorder.spans)
    assert one == other


@each_endpoint
def test_duration(api, recorder, endpoint):
    """A call records its duration, with what the span started with and the model that answered."""
    call(api.client, endpoint)
    span = recorder.spans[0]
    duration = points(recorder)[0]
    assert (duration.name, duration.count) == ("gen_ai.client.operation.duration", 1)
    told = {"gen_ai.response.model"} & span.attributes.keys()
    assert duration.attributes.keys() == {*where(api, ""), "gen_ai.request.model", *told}
    assert [exemplar.span_id for exemplar in duration.exemplars] == [f"{span.context.span_id:016x}"]


@each_endpoint
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_errors(api, recorder, endpoint, mode):
    """The provider's error reaches the caller as it is, and span and duration say its class."""
    api.server.fail(429, message="Slow down, sk-proj-abcdef0123456789.")

    async def run() -> None:
        async with api.async_client() as client:
            await call(client, endpoint)

    with pytest.raises(openai.RateLimitError, match="sk-proj-abcdef0123456789"):
        call(api.client, endpoint) if mode == "sync" else asyncio.run(run())
    span = recorder.find(CALLS[endpoint][2])
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "openai.RateLimitError"
    assert "abcdef" not in span.to_json()
    (point,) = points(recorder)
    assert point.attributes["error.type"] == "openai.RateLimitError"


@each_endpoint
def test_raw_response(api, recorder, endpoint):
    """A raw response is the client's own, and the span is that of a plain call."""
    answer = call(api.client, endpoint)
    found = raw(api.client, endpoint, "with_raw_response")
    assert found.headers["x-request-id"]
    assert type(found.parse()) is type(answer)
    one, other = ({**span.attributes, "gen_ai.response.id": ""} for span in recorder.spans)
    assert one == other


@each_endpoint
def test_streaming_response(api, recorder, endpoint):
    """The body of a streaming response is left to the caller, and the call ends when it was read."""
    plain = call(api.client, endpoint)
    with raw(api.client, endpoint, "with_streaming_response") as response:
        assert not response.http_response.is_stream_consumed
        assert len(recorder.spans) == 1
        assert response.read()
    one, other = ({**span.attributes, "gen_ai.response.id": ""} for span in recorder.spans)
    assert one == other
    assert plain is not None


@each_endpoint
def test_a_client_of_the_users_own(api, recorder, endpoint):
    """Clients with options of their own, and per-call ones, change nothing."""
    call(api.client.with_options(timeout=5), endpoint, extra_headers={"x-mine": "1"}, extra_body={"mine": 1}, timeout=9)
    assert recorder.find(CALLS[endpoint][2])
    assert api.server.requests[-1].headers["x-mine"] == "1"
    assert str(api.server.requests[-1].body["mine"]) == "1"


# --- legacy completions ----------------------------------------------------------------------------------------
def test_legacy_completion(api, recorder):
    """Its span and metrics say what those of a chat completion do."""
    api.server.reply("Hi", usage={"input_tokens": 9, "output_tokens": 2})
    answer = call(api.client, "completions", temperature=0.5, max_tokens=7, n=2, seed=3, stop=["END"])
    assert dict(recorder.spans[0].attributes) == {
        **where(api, "text_completion"),
        "gen_ai.request.model": "gpt-3.5-turbo-instruct",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 7,
        "gen_ai.request.choice.count": 2,
        "gen_ai.request.seed": 3,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.response.id": answer.id,
        "gen_ai.response.model": "gpt-3.5-turbo-instruct",
        "gen_ai.response.finish_reasons": ("stop", "stop"),
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 2,
    }
    tokens = {point.attributes["gen_ai.token.type"]: point.sum for point in points(recorder)[1:]}
    assert tokens == {"input": 9, "output": 2}


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_legacy_completion_streamed(api, recorder, mode):
    """A stream is the client's own, and its span ends with it."""

    async def run() -> list[Any]:
        async with api.async_client() as client:
            return [chunk async for chunk in await call(client, "completions", stream=True)]

    api.server.reply("Hello there", usage={"input_tokens": 9, "output_tokens": 2})
    if mode == "async":
        chunks = asyncio.run(run())
    else:
        stream = call(api.client, "completions", stream=True, stream_options={"include_usage": True})
        assert type(stream) is openai.Stream
        chunks = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "Hello there"
    span = recorder.find("text_completion gpt-3.5-turbo-instruct")
    assert span.attributes["gen_ai.request.stream"] is True
    assert span.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert span.attributes.get("gen_ai.usage.input_tokens") == (9 if mode == "sync" else None)
    assert "gen_ai.response.time_to_first_chunk" in span.attributes
    assert "gen_ai.client.operation.time_to_first_chunk" in recorder.metrics()


# --- images ----------------------------------------------------------------------------------------------------
def test_images(api, recorder):
    """The span of images says how many were asked for and what they took, by kind of token."""
    answer = call(api.client, "images", n=2)
    assert len(answer.data) == 2
    attributes = recorder.spans[0].attributes
    assert attributes["gen_ai.request.choice.count"] == 2
    assert attributes["gen_ai.usage.input_tokens"] == attributes["gen_ai.usage.text.input_tokens"] > 0
    assert attributes["gen_ai.usage.output_tokens"] == attributes["gen_ai.usage.image.output_tokens"] > 0
    tokens = {point.attributes["gen_ai.token.type"]: point.sum for point in points(recorder)[1:]}
    assert tokens["output"] == attributes["gen_ai.usage.output_tokens"]


def test_images_without_a_model(api, recorder):
    """A model that nobody named is not on the span."""
    api.client.images.generate(prompt="A cat")
    assert "gen_ai.request.model" not in recorder.find("generate_content").attributes


@pytest.mark.parametrize("endpoint", ["images", "edits"])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_images_streamed(api, recorder, endpoint, mode):
    """Streamed images are one span, with what the last event says they took."""
    if not streams(api.client, endpoint):
        pytest.skip("this openai streams no images")

    async def run() -> list[Any]:
        async with api.async_client() as client:
            return [event async for event in await call(client, endpoint, stream=True, partial_images=2)]

    one = list(call(api.client, endpoint, stream=True, partial_images=2)) if mode == "sync" else asyncio.run(run())
    assert [event.type.rpartition(".")[2] for event in one] == ["partial_image", "partial_image", "completed"]
    span = recorder.find("generate_content gpt-image-1")
    assert span.attributes["gen_ai.usage.output_tokens"] == one[-1].usage.output_tokens
    assert span.attributes["gen_ai.request.stream"] is True
    counts = {point.name: point.count for point in points(recorder)}
    assert counts["gen_ai.client.operation.time_per_output_chunk"] == 2


@pytest.mark.parametrize("endpoint", ["images", "edits"])
def test_several_images_streamed(api, recorder, endpoint):
    """A stream of several images took what all of them did, and read the prompt once: as much as without a stream."""
    if not streams(api.client, endpoint):
        pytest.skip("this openai streams no images")
    call(api.client, endpoint, n=3)
    for _ in call(api.client, endpoint, n=3, stream=True, partial_images=1):
        pass
    whole, streamed = (
        {key: value for key, value in span.attributes.items() if "usage" in key} for span in recorder.spans
    )
    assert streamed == whole
    tokens = {
        point.attributes["gen_ai.token.type"]: (point.count, point.sum)
        for point in points(recorder)
        if point.name == "gen_ai.client.token.usage"
    }
    assert tokens["output"] == (2, 2 * whole["gen_ai.usage.output_tokens"])
    assert tokens["input"] == (2, 2 * whole["gen_ai.usage.input_tokens"])


# --- audio -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", ["mp3", "wav", "pcm"])
def test_speech(api, recorder, form):
    """Speech is given to the caller as it is; nothing of it is read for us."""
    answer = call(api.client, "speech", response_format=form)
    assert len(answer.content) > 100
    assert "gen_ai.usage.input_tokens" not in recorder.spans[0].attributes


def test_speech_streamed_to_a_file(api, recorder, tmp_path):
    """The client's own way to stream speech stays: nothing is read before the caller does."""
    with raw(api.client, "speech", "with_streaming_response") as response:
        response.stream_to_file(tmp_path / "hello.mp3")
        assert recorder.find("generate_content tts-1")
    assert (tmp_path / "hello.mp3").stat().st_size > 100


@pytest.mark.parametrize("form", ["json", "verbose_json", "text", "srt", "vtt"])
def test_transcription_formats(api, recorder, form):
    """A transcription comes in the form that was asked for, as text too; its kind of output is text."""
    answer = call(api.client, "transcriptions", response_format=form, temperature=0.5)
    text = answer if isinstance(answer, str) else answer.text
    assert "short answer" in text
    attributes = recorder.spans[0].attributes
    assert attributes["gen_ai.output.type"] == "text"
    assert attributes["gen_ai.request.temperature"] == 0.5
    if form == "json":
        assert attributes["gen_ai.usage.input_tokens"] == attributes["gen_ai.usage.audio.input_tokens"] > 0


def test_seconds_are_no_tokens(api, recorder):
    """A model that counts seconds has no tokens on its span."""
    call(api.client, "transcriptions", model="whisper-1")
    assert not [key for key in recorder.spans[0].attributes if "usage" in key]


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_transcription_streamed(api, recorder, mode):
    """A streamed transcription is one span, with the tokens of its last event."""
    if not streams(api.client, "transcriptions"):
        pytest.skip("this openai streams no transcriptions")

    async def run() -> list[Any]:
        async with api.async_client() as client:
            return [event async for event in await call(client, "transcriptions", stream=True)]

    events = list(call(api.client, "transcriptions", stream=True)) if mode == "sync" else asyncio.run(run())
    assert events[-1].type == "transcript.text.done"
    attributes = recorder.find("generate_content gpt-4o-transcribe").attributes
    assert attributes["gen_ai.usage.audio.input_tokens"] > 0
    assert attributes["gen_ai.request.stream"] is True


# --- responses that are fetched --------------------------------------------------------------------------------
def test_fetched_response(api, recorder):
    """Fetching a response is an operation of its own: it has its state, and no tokens, which its creation had."""
    made = api.client.responses.create(model="gpt-4.1", input="Hello")
    recorder.clear()
    assert api.client.responses.retrieve(made.id).output_text == made.output_text
    span = recorder.find("fetch_response")
    assert span.kind is SpanKind.CLIENT
    assert dict(span.attributes) == {
        **where(api, "fetch_response"),
        "openai.api.type": "responses",
        "gen_ai.response.id": made.id,
        "gen_ai.response.model": "gpt-4.1",
        "gen_ai.response.status": "completed",
        "gen_ai.response.finish_reasons": ("stop",),
        "openai.response.service_tier": "default",
    }
    fetched = [point for point in points(recorder) if point.attributes["gen_ai.operation.name"] == "fetch_response"]
    assert [point.name for point in fetched] == ["gen_ai.client.operation.duration"]
    assert fetched[0].attributes == {**where(api, "fetch_response"), "gen_ai.response.model": "gpt-4.1"}


@pytest.mark.parametrize("way", ["place", "name", "raw", "streaming", "async"])
def test_ways_to_fetch(api, recorder, way):
    """A response may be fetched by place and by name, sync and async, raw and left unread."""
    made = api.client.responses.create(model="gpt-4.1", input="Hello")
    responses = api.client.responses

    async def run() -> Any:
        async with api.async_client() as client:
            return await client.responses.retrieve(made.id)

    if way == "place":
        answer = responses.retrieve(made.id)
    elif way == "name":
        answer = responses.retrieve(response_id=made.id)
    elif way == "raw":
        answer = responses.with_raw_response.retrieve(made.id).parse()
    elif way == "async":
        answer = asyncio.run(run())
    else:
        with responses.with_streaming_response.retrieve(made.id) as response:
            assert not response.http_response.is_stream_consumed
            answer = response.parse()
    assert answer.id == made.id
    assert recorder.find("fetch_response").attributes["gen_ai.response.status"] == "completed"


def test_response_of_the_background(api, recorder):
    """A response that is made in the background is queued first, which is no end; it is fetched when it is done."""
    made = api.client.responses.create(model="gpt-4.1", input="Hello", extra_body={"background": True})
    assert made.status == "queued"
    fetched = api.client.responses.retrieve(made.id)
    assert fetched.status == "completed"
    first, second = recorder.spans
    assert first.status.status_code is StatusCode.UNSET
    assert "gen_ai.response.finish_reasons" not in first.attributes
    assert "gen_ai.usage.input_tokens" not in first.attributes
    assert second.attributes["gen_ai.response.status"] == "completed"


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_fetched_stream(api, recorder, mode):
    """A stored stream is followed from where it is read on; its chunks say nothing of how soon a model began."""
    if "stream" not in inspect.signature(api.client.responses.retrieve).parameters:
        pytest.skip("this openai fetches no streams")
    made = api.client.responses.create(model="gpt-4.1", input="Hello")

    async def run() -> list[Any]:
        async with api.async_client() as client:
            return [event async for event in await client.responses.retrieve(made.id, stream=True, starting_after=3)]

    if mode == "async":
        events = asyncio.run(run())
    else:
        events = list(api.client.responses.retrieve(made.id, stream=True, starting_after=3))
    assert events[0].sequence_number == 4
    attributes = recorder.find("fetch_response").attributes
    assert attributes["gen_ai.request.stream_cursor"] == "3"
    assert attributes["gen_ai.response.status"] == "completed"
    assert not {"gen_ai.usage.input_tokens", "gen_ai.response.time_to_first_chunk"} & attributes.keys()


def test_fetching_a_response_that_failed(api, recorder):
    """That a response failed when it was made is its state, and no failure of fetching it."""
    api.server.reply(body=FAILED_RESPONSE)
    api.client.responses.retrieve("resp_1")
    span = recorder.find("fetch_response")
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes["gen_ai.response.status"] == "failed"
    assert span.attributes["gen_ai.response.finish_reasons"] == ("error",)


def test_fetching_what_is_not_there(api, recorder):
    """A response that the provider does not have is an error, with the id that was asked for."""
    with pytest.raises(openai.NotFoundError):
        api.client.responses.retrieve("resp_none")
    span = recorder.find("fetch_response")
    assert span.attributes["error.type"] == "openai.NotFoundError"
    assert span.attributes["gen_ai.response.id"] == "resp_none"


def test_fetching_nothing(api, recorder):
    """A call without an id is the caller's mistake, and no call to anybody."""
    with pytest.raises(TypeError, match="response_id"):
        api.client.responses.retrieve()
    with pytest.raises(TypeError, match="response_id"):
        api.client.responses.retrieve("resp_1", response_id="resp_2")
    assert recorder.spans == () or recorder.spans[0].attributes["error.type"] == "TypeError"


# --- content ---------------------------------------------------------------------------------------------------
@pytest.fixture
def telling(monkeypatch, recorder):
    """A server and its clients, with content on spans and events."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "span_and_event")
    with instrumenting(recorder), serving() as api:
        yield api


def told(recorder: SpanRecorder) -> tuple[Any, Any]:
    """The parts that a call sent and received, from its span; the event has the same."""
    (span,) = recorder.spans
    (event,) = (log for log in recorder.logs if log.event_name == "gen_ai.client.inference.operation.details")
    found: list[Any] = []
    for name in ("gen_ai.input.messages", "gen_ai.output.messages"):
        text = span.attributes.get(name)
        found.append([part for message in json.loads(text or "[]") for part in message["parts"]])
        assert (name in event.attributes) == (text is not None)
    return found[0], found[1]


def text(content: str) -> dict[str, str]:
    """A part of text."""
    return {"content": content, "type": "text"}


@pytest.mark.parametrize("stream", [False, True])
def test_content_of_legacy_completions(telling, recorder, stream):
    """Prompts that are text are messages, and so is each choice."""
    telling.server.reply("Hi there")
    answer = call(telling.client, "completions", prompt=["Hello", "Bye"], stream=stream)
    if stream:
        assert list(answer)
    assert told(recorder) == ([text("Hello"), text("Bye")], [text("Hi there")] * 2)


def test_tokens_are_no_content(telling, recorder):
    """A prompt of tokens is left out."""
    call(telling.client, "completions", prompt=[1, 2, 3])
    assert told(recorder)[0] == []


def test_content_of_images(telling, recorder):
    """A prompt is a message; an image is a message with its address."""
    answer = call(telling.client, "variations", n=2)
    sent, received = told(recorder)
    assert sent == []
    assert [part["uri"] for part in received] == [image.url for image in answer.data]


def test_content_of_transcriptions(telling, recorder):
    """What was said is a message; the file that was sent stays the caller's."""
    answer = call(telling.client, "transcriptions", prompt="A meeting")
    assert told(recorder) == ([text("A meeting")], [text(answer.text)])


def test_content_of_streamed_transcriptions(telling, recorder):
    """A streamed transcription is told as a whole one is."""
    if not streams(telling.client, "transcriptions"):
        pytest.skip("this openai streams no transcriptions")
    *_, last = call(telling.client, "transcriptions", stream=True)
    assert told(recorder) == ([], [text(last.text)])


def test_content_of_streamed_images(telling, recorder):
    """A streamed image is told by the hash of the whole one, and not by the partial ones before it."""
    if not streams(telling.client, "images"):
        pytest.skip("this openai streams no images")
    *_, last = call(telling.client, "images", stream=True, partial_images=2)
    ((image,),) = told(recorder)[1:]
    assert image["uri"] == f"sha256:{sha256(base64.b64decode(last.b64_json)).hexdigest()}"


def test_an_error_in_the_block_of_a_media_stream(telling, recorder):
    """An exception of the caller's own leaves the stream, as it does that of a chat."""
    if not streams(telling.client, "transcriptions"):
        pytest.skip("this openai streams no transcriptions")
    with pytest.raises(LookupError), call(telling.client, "transcriptions", stream=True):
        raise LookupError
    assert recorder.find("generate_content gpt-4o-transcribe").attributes["otelier.cancelled"] is True


def test_content_of_speech(telling, recorder):
    """What is to be spoken is a message; the audio stays the caller's."""
    call(telling.client, "speech", **known(telling.client.audio.speech.create, instructions="Cheerful"))
    assert told(recorder) == ([text("Hello")], [])
    instructions = json.loads(recorder.spans[0].attributes.get("gen_ai.system_instructions", "[]"))
    assert instructions in ([], [text("Cheerful")])


def test_content_of_fetched_responses(telling, recorder):
    """What a response holds is on the span of fetching it; no event tells of it, because no model worked."""
    made = telling.client.responses.create(model="gpt-4.1", input="Hello", instructions="Be kind")
    recorder.clear()
    telling.client.responses.retrieve(made.id)
    attributes = recorder.find("fetch_response").attributes
    assert json.loads(attributes["gen_ai.output.messages"])[0]["parts"] == [text(made.output_text)]
    assert json.loads(attributes["gen_ai.system_instructions"]) == [text("Be kind")]
    assert "gen_ai.input.messages" not in attributes
    assert [log for log in recorder.logs if log.event_name] == []


def test_content_of_a_fetched_stream(telling, recorder):
    """A stored response that is read as a stream is told as one that is fetched whole."""
    if "stream" not in inspect.signature(telling.client.responses.retrieve).parameters:
        pytest.skip("this openai fetches no streams")
    made = telling.client.responses.create(model="gpt-4.1", input="Hello", instructions="Be kind")
    recorder.clear()
    assert list(telling.client.responses.retrieve(made.id, stream=True))
    attributes = recorder.find("fetch_response").attributes
    assert json.loads(attributes["gen_ai.output.messages"])[0]["parts"] == [text(made.output_text)]
    assert json.loads(attributes["gen_ai.system_instructions"]) == [text("Be kind")]
