"""The local OpenAI server's endpoints beyond chat, Responses and embeddings, through the real client."""

from __future__ import annotations

import inspect
import io
import json
import wave
from base64 import b64decode

import httpx
import openai
import pytest

from otelier.testing import OpenAIServer

# openai 3 says that some of these are going away.
pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
ANSWER = "Here is a short answer."


@pytest.fixture
def server():
    with OpenAIServer() as running:
        yield running


@pytest.fixture
def client(server):
    plain = openai.DefaultHttpxClient(verify=False)
    with openai.OpenAI(base_url=server.base_url, api_key="test", max_retries=0, http_client=plain) as made:
        yield made


def test_legacy_completions(client):
    """Each prompt has a text, as often as it was asked for; a stream says the same word by word."""
    asked = {"model": "gpt-3.5-turbo-instruct", "prompt": ["One", "Two"], "n": 2}
    whole = client.completions.create(**asked)
    assert [choice.index for choice in whole.choices] == [0, 1, 2, 3]
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    chunks = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    said = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices and chunk.choices[0].index == 0)
    assert said == whole.choices[0].text
    assert chunks[-1].usage == whole.usage
    assert client.completions.create(**{**asked, "prompt": [1, 2, 3], "n": 1}).choices[0].text


def test_images(client, server):
    """The newer models send the image and what it took, the older ones a URL unless the image is asked for."""
    image = client.images.generate(model="gpt-image-1", prompt="A cat")
    assert b64decode(image.data[0].b64_json).startswith(PNG_MAGIC)
    sent = client.images.with_raw_response.generate(model="gpt-image-1", prompt="A cat").text
    usage = json.loads(sent)["usage"]  # old releases have no field for it
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert client.images.generate(model="dall-e-3", prompt="A cat").data[0].url.startswith("https://")
    asked = client.images.generate(model="dall-e-3", prompt="A cat", response_format="b64_json")
    assert asked.data[0].b64_json
    edited = client.images.edit(model="gpt-image-1", prompt="A hat", image=("a.png", b"one"), n=2)
    assert len(edited.data) == 2
    body = server.requests[-1].body
    assert (body["prompt"], body["n"]) == ("A hat", 2)
    assert body["image"] == {"filename": "a.png", "bytes": 3}
    assert server.requests[-1].prompt == "A hat"


def test_streamed_images(client):
    """A stream of images has as many unfinished ones as were asked for, and the whole one."""
    if "stream" not in inspect.signature(client.images.generate).parameters:
        pytest.skip("this openai streams no images")
    events = list(client.images.generate(model="gpt-image-1", prompt="A cat", stream=True, partial_images=2))
    assert [event.type for event in events] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    edits = list(client.images.edit(model="gpt-image-1", prompt="A hat", image=("a.png", b"png"), stream=True))
    assert [event.type for event in edits] == ["image_edit.completed"]


def test_several_files(server):
    """Files of one name are a list of them."""
    sent = [("image[]", ("a.png", b"1")), ("image[]", ("b.png", b"22"))]
    httpx.post(f"{server.base_url}/images/edits", data={"model": "gpt-image-1", "prompt": "A hat"}, files=sent)
    files = server.requests[-1].body["image"]
    assert [(file["filename"], file["bytes"]) for file in files] == [("a.png", 1), ("b.png", 2)]


def test_speech(client):
    """Speech is silent and of the type that was asked for; as events it comes in base64."""
    asked = {"model": "tts-1", "voice": "alloy", "input": "Hello"}
    with wave.open(io.BytesIO(client.audio.speech.create(**asked, response_format="wav").content)) as spoken:
        assert spoken.getnframes() / spoken.getframerate() == pytest.approx(0.1)
    mp3 = client.audio.speech.with_raw_response.create(**asked)
    assert mp3.headers["content-type"] == "audio/mpeg"
    text = client.audio.speech.create(**asked, extra_body={"stream_format": "sse"}).content.decode()
    events = [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line]
    assert [event["type"] for event in events] == ["speech.audio.delta", "speech.audio.done"]
    assert b64decode(events[0]["audio"])


@pytest.mark.parametrize(
    ("form", "begins"),
    [("json", ANSWER), ("verbose_json", ANSWER), ("text", ANSWER), ("srt", "1\n00:00:00"), ("vtt", "WEBVTT")],
)
def test_transcriptions(client, server, form, begins):
    """What was said comes in each form; the request shows the file's name and size."""
    answer = client.audio.transcriptions.create(
        model="gpt-4o-transcribe", file=("a.wav", b"wave"), response_format=form
    )
    assert (answer if isinstance(answer, str) else answer.text).startswith(begins)
    assert server.requests[-1].body["file"] == {"filename": "a.wav", "bytes": 4}
    assert client.audio.translations.create(model="whisper-1", file=("a.wav", b"wave")).text == ANSWER


def test_replies_and_faults(client, server):
    """Replies, errors and broken streams are asked for as for the other endpoints."""
    server.reply("What was said")
    assert client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"wave")).text == "What was said"
    server.fail(429)
    with pytest.raises(openai.RateLimitError):
        client.images.generate(prompt="A cat")
    with pytest.raises(openai.InternalServerError):
        client.completions.create(model="error-500", prompt="Hello")
    server.break_stream("error", after=1)
    with pytest.raises(openai.APIError):
        list(client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Hello there", stream=True))


def test_background(client, server):
    """A response of the background is queued, and done when it is fetched; a stream goes on where it was left."""
    queued = client.responses.create(model="gpt-4.1", input="Hello", extra_body={"background": True})
    assert (queued.status, queued.output) == ("queued", [])
    done = client.responses.retrieve(queued.id)
    assert (done.status, bool(done.output_text)) == ("completed", True)
    whole = _events(client, queued.id, {"stream": "true"})
    rest = _events(client, queued.id, {"stream": "true", "starting_after": "2"})
    assert [event["sequence_number"] for event in rest] == [event["sequence_number"] for event in whole][3:]


def _events(client, response_id, query):
    with client.responses.with_streaming_response.retrieve(response_id, extra_query=query) as response:
        lines = [line for line in response.iter_lines() if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


@pytest.mark.parametrize("deployment", [None, "ours"])
def test_azure(server, deployment):
    """The paths of Azure answer as those of OpenAI do."""
    client = openai.AzureOpenAI(
        azure_endpoint=server.url,
        azure_deployment=deployment,
        api_key="test",
        api_version="2025-04-01-preview",
        http_client=openai.DefaultHttpxClient(verify=False),
    )
    with client:
        assert client.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": "Hello"}]).choices
        assert client.images.generate(model="gpt-image-1", prompt="A cat").data
        assert client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"wave")).text
