"""Canaries: a text of its own for every place where a user may put something that must not leave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import openai
from pydantic import BaseModel, Field

from otelier.testing import SpanRecorder
from tests.openai.conftest import Api, known

FIELDS = {
    "user_id": "canary of the user",
    "user_role": "canary of the role",
    "session_id": "canary of the session",
    "workflow_id": "canary of the workflow",
    "tenant_id": "canary of the tenant",
    "agent": "billing",
}
WHO = tuple(value for value in FIELDS.values() if value != "billing")
"""What only spans, log records and the baggage to hosts inside may say."""


class Cage:
    """Gives a canary for each place, and knows which it gave."""

    def __init__(self) -> None:
        self.all: list[str] = []

    def __call__(self, place: str) -> str:
        self.all.append(f"Canary of {place}, singing")
        return self.all[-1]


CREDENTIALS = Cage()
CLIENT = {
    "api_key": CREDENTIALS("the key").replace(" ", "-"),
    "organization": CREDENTIALS("the organization"),
    "project": CREDENTIALS("the project"),
    "default_headers": {"x-secret": CREDENTIALS("default headers")},
    "default_query": {"secret": CREDENTIALS("the default query")},
}
CREDENTIALS.all += [CLIENT["api_key"], "canary-in-the-url"]
PER_CALL = {
    "extra_headers": {"x-secret": CREDENTIALS("extra headers")},
    "extra_query": {"secret": CREDENTIALS("the extra query")},
    "extra_body": {"secret": CREDENTIALS("the extra body")},
}

CONTENT = Cage()
"""What is content, as the gate has it."""
UNTOLD = Cage()
"""What no signal says, content captured or not."""
ANSWER, ASKED = CONTENT("the answer"), CONTENT("the arguments that the model gives")
OF_USER = {"user": UNTOLD("the user as the provider knows him"), "metadata": {"note": UNTOLD("metadata")}}
PARAMETERS = {"type": "object", "properties": {"q": {"type": "string", "description": CONTENT("a parameter")}}}
FUNCTION = {"name": "look_up", "description": CONTENT("a tool"), "parameters": PARAMETERS}

CHAT: dict[str, Any] = {
    "model": "gpt-4.1",
    "messages": [
        {"role": "system", "content": CONTENT("the system prompt")},
        {"role": "developer", "content": CONTENT("the developer prompt")},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": CONTENT("a text part")},
                {"type": "image_url", "image_url": {"url": f"https://images.example/{CONTENT('an image')}"}},
            ],
        },
        {
            "role": "assistant",
            "content": CONTENT("an earlier answer"),
            "tool_calls": [
                {
                    "id": "c-1",
                    "type": "function",
                    "function": {"name": "look_up", "arguments": json.dumps({"q": CONTENT("earlier arguments")})},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c-1", "content": CONTENT("what a tool returned")},
        {"role": "user", "content": CONTENT("the question")},
    ],
    "tools": [{"type": "function", "function": FUNCTION}],
    "prediction": {"type": "content", "content": UNTOLD("the prediction")},
    **OF_USER,
    **PER_CALL,
}
RESPONSES: dict[str, Any] = {
    "model": "gpt-4.1",
    "instructions": CONTENT("instructions"),
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": CONTENT("an input text")}]},
        {"type": "function_call_output", "call_id": "c-1", "output": CONTENT("an output of a function")},
    ],
    "tools": [{"type": "function", **FUNCTION}],
    **OF_USER,
    **PER_CALL,
}
EMBEDDINGS: dict[str, Any] = {
    "model": "text-embedding-3-small",
    "input": [UNTOLD("a text to embed")],
    "user": OF_USER["user"],
    **PER_CALL,
}
OTHERS: dict[str, dict[str, Any]] = {
    "completions.create": {"model": "gpt-3.5-turbo-instruct", "prompt": CONTENT("a prompt"), "user": OF_USER["user"]},
    "images.generate": {"model": "gpt-image-1", "prompt": CONTENT("a picture"), "user": OF_USER["user"]},
    "audio.speech.create": {"model": "tts-1", "voice": "alloy", "input": CONTENT("what is spoken")},
    "audio.transcriptions.create": {
        "model": "whisper-1",
        "file": ("a.wav", b"RIFF"),
        "prompt": CONTENT("a hint"),
    },
}
"""Endpoints that the local server does not have: they fail, with all of their request quoted."""
ENDPOINTS = {"chat.completions.create": CHAT, "responses.create": RESPONSES, "embeddings.create": EMBEDDINGS, **OTHERS}
HOWS = ("plain", "raw", "stream", "stream dropped", "failed", "stream failed")


class Verdict(BaseModel, extra="forbid"):
    """What an answer is parsed into."""

    number: int


class Ages(BaseModel):
    """A form whose keys are the model's to choose."""

    ages: dict[str, int]


class Cat(BaseModel):
    """One kind of a tagged union."""

    kind: Literal["cat"]


class Dog(BaseModel):
    """Another kind."""

    kind: Literal["dog"]


class Tagged(BaseModel):
    """A form with a tag that may be wrong."""

    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


def quoting(arguments: dict[str, Any]) -> str:
    """An error's message as a careless provider words it."""
    said = {key: value for key, value in arguments.items() if not key.startswith(("extra_", "file"))}
    return f"cannot be read: {json.dumps(said)}; input: {said}"


@contextlib.contextmanager
def canary_client(api: Api) -> Iterator[Api]:
    """The API through a client whose every option is a canary."""
    api.options |= {**CLIENT, "base_url": api.server.base_url.replace("://", "://me:canary-in-the-url@")}
    with openai.OpenAI(http_client=openai.DefaultHttpxClient(verify=False), **api.options) as client:
        api.client = client
        yield api


def call(api: Api, endpoint: str, how: str, *, asynchronous: bool) -> None:
    """Make one call, read what it gives, and swallow what it raises."""
    streamed = how.startswith("stream")
    arguments = {**ENDPOINTS[endpoint], **({"stream": True} if streamed else {})}
    api.server.clear()
    if how == "failed" or endpoint in OTHERS:
        api.server.fail(400, message=quoting(arguments), code=quoting(arguments), times=None)
    elif how == "stream failed":
        error = {"message": quoting(arguments), "code": quoting(arguments)}
        is_chat = endpoint.startswith("chat")
        api.server.reply(events=[{"error": error} if is_chat else {"type": "error", **error}], times=None)
    else:
        api.server.reply(ANSWER, tool_calls=[("look_up", {"q": ASKED})], times=None)
    with contextlib.suppress(openai.OpenAIError):
        if asynchronous:
            asyncio.run(_call_async(api, endpoint, how, arguments))
        else:
            _read(_method(api.client, endpoint, how), how, arguments)


def _method(client: Any, endpoint: str, how: str) -> Any:
    *resources, method = endpoint.split(".")
    for name in [*resources, *(["with_raw_response"] if how == "raw" else []), method]:
        client = getattr(client, name)
    return client


def _read(method: Any, how: str, arguments: dict[str, Any]) -> None:
    answer = method(**known(method, **arguments))
    if how == "stream dropped":
        next(iter(answer))
    elif how.startswith("stream"):
        list(answer)


async def _call_async(api: Api, endpoint: str, how: str, arguments: dict[str, Any]) -> None:
    async with api.async_client() as client:
        method = _method(client, endpoint, how)
        answer = await method(**known(method, **arguments))
        if how.startswith("stream"):
            async for _ in answer:
                if how == "stream dropped":
                    break


def spans_of(recorder: SpanRecorder) -> str:
    """Everything that spans say: attributes, events, links, status, resource, scope."""
    return repr(recorder.records)


def logs_of(recorder: SpanRecorder) -> str:
    """Everything that exported log records say."""
    return repr(recorder.logs)


def metrics_of(recorder: SpanRecorder) -> str:
    """Everything that metric points say, exemplars included."""
    return repr(recorder.metric_points)


class Lines(logging.Handler):
    """Everything that otelier itself logs while the block runs, at any level."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self._logger = logging.getLogger("otelier")
        self._level = self._logger.level

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.getMessage()} {record.args} {record.exc_info}")

    def __enter__(self) -> Lines:
        self._logger.addHandler(self)
        self._logger.setLevel(logging.DEBUG)
        return self

    def __exit__(self, *exc: object) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level)


def found(canaries: Any, text: str) -> list[str]:
    """Which of them *text* holds."""
    return [canary for canary in canaries if canary in text]
