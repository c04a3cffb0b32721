"""Images, sound and files in whatever a call sends or receives: no bytes of them are in any signal."""

from __future__ import annotations

import base64
import contextlib
import hashlib

import openai
import pytest

from otelier.testing import SpanRecorder
from tests.openai.conftest import instrumenting, serving

MODE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + hashlib.sha512(b"noise").digest() * 20
DATA = base64.b64encode(PNG).decode()
URL = f"data:image/png;base64,{DATA}"
HASH = f"sha256:{hashlib.sha256(PNG).hexdigest()}"
CALL = {"id": "c-1", "type": "function", "function": {"name": "look", "arguments": f'{{"picture": "{DATA}"}}'}}
RESULT = {"type": "function_call_output", "call_id": "c-1"}
SENT = {
    "image": ("chat", [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": URL}}]}]),
    "image of a tool": (
        "chat",
        [
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c-1", "content": [{"type": "image_url", "image_url": {"url": URL}}]},
        ],
    ),
    "JSON of a tool": ("chat", [{"role": "tool", "tool_call_id": "c-1", "content": f'{{"image": "{DATA}"}}'}]),
    "page of a tool": ("chat", [{"role": "tool", "tool_call_id": "c-1", "content": f"<img src='{URL}'>"}]),
    "text": ("chat", [{"role": "user", "content": f"What is {DATA}?"}]),
    "image of a function": ("responses", [{**RESULT, "output": [{"type": "input_image", "image_url": URL}]}]),
    "text of a function": ("responses", [{**RESULT, "output": DATA}]),
    "file of a function": ("responses", [{**RESULT, "output": [{"type": "input_file", "file_data": DATA}]}]),
    "screenshot": (
        "responses",
        [
            {
                "type": "computer_call_output",
                "call_id": "c-1",
                "output": {"type": "computer_screenshot", "image_url": URL},
            }
        ],
    ),
    "input of a custom tool": (
        "responses",
        [{"type": "custom_tool_call", "call_id": "c-1", "name": "draw", "input": DATA}],
    ),
}
OUTPUT = {
    "generated image": {"type": "image_generation_call", "id": "i", "status": "completed", "result": DATA},
    "arguments": {"type": "function_call", "call_id": "c", "name": "look", "arguments": f'{{"a": "{DATA}"}}'},
    "interpreter": {
        "type": "code_interpreter_call",
        "id": "i",
        "status": "completed",
        "code": "plot()",
        "container_id": "c",
        "outputs": [{"type": "image", "url": URL}],
    },
    "text": {
        "type": "message",
        "id": "m",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": f"Here: {URL}", "annotations": []}],
    },
}


@pytest.fixture
def recorder(monkeypatch):
    """Records calls with content on spans and events."""
    monkeypatch.setenv(MODE, "span_and_event")
    recorder = SpanRecorder()
    with instrumenting(recorder):
        yield recorder


def told(recorder: SpanRecorder) -> str:
    """Everything that signals say."""
    return repr(recorder.records) + repr(recorder.logs)


@pytest.mark.parametrize(("endpoint", "messages"), SENT.values(), ids=SENT)
def test_what_is_sent(recorder, endpoint, messages):
    """Bytes are told by their hash wherever they are sent, also where the provider refuses them there."""
    with serving() as api, contextlib.suppress(openai.BadRequestError):
        api.call(endpoint, **{"messages" if endpoint == "chat" else "input": messages})
    assert DATA[:60] not in told(recorder)
    assert HASH in told(recorder)


@pytest.mark.parametrize("item", OUTPUT.values(), ids=OUTPUT)
def test_what_is_received(recorder, item):
    """Bytes are told by their hash wherever a model or a provider's tool puts them."""
    body = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "gpt-4.1",
        "status": "completed",
        "output": [item],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }
    with serving() as api:
        api.server.reply(body=body)
        api.call("responses")
    assert DATA[:60] not in told(recorder)
    assert HASH in told(recorder)


def test_generated_images(recorder):
    """Images of the images endpoint are told by their hash, too."""
    with serving() as api:
        api.server.reply(body={"created": 1, "data": [{"b64_json": DATA}]})
        api.client.images.generate(model="gpt-image-1", prompt="a cat")
    assert DATA[:60] not in told(recorder)
    assert HASH in told(recorder)


def test_the_caller_has_the_bytes(recorder):
    """What is told is told of a copy: request and answer have their bytes."""
    with serving() as api:
        api.call("chat", messages=SENT["image"][1])
        assert api.server.requests[-1].body["messages"] == SENT["image"][1]
