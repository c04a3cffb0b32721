"""Clients that are answered at once and without a network, so that thousands of calls take seconds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import types
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextvars import Context, copy_context
from typing import Any

import httpx
import openai
from openai.types.chat import ChatCompletion

import otelier

OUTPUT = 1_000_000
"""What the output tokens of a call are more than its input tokens: neither can pass for the other."""
_OPTIONS: dict[str, Any] = {"api_key": "sk-none", "base_url": "http://127.0.0.1:9/v1", "max_retries": 0}


def model(number: int) -> str:
    """The model of call *number*: it gives the call time series, and so exemplars, of its own."""
    return f"m-{number}"


def chat(number: int, **more: Any) -> dict[str, Any]:
    """The arguments of call *number*, which takes so many tokens."""
    return {"model": model(number), "messages": [{"role": "user", "content": "Hello"}], **more}


def _usage(asked: str) -> dict[str, int]:
    number = int(asked.partition("-")[2])
    return {"prompt_tokens": number, "completion_tokens": OUTPUT + number, "total_tokens": OUTPUT + 2 * number}


def answer(asked: str) -> dict[str, Any]:
    """The answer to a call of model *asked*."""
    message = {"role": "assistant", "content": "Hello."}
    choices = [{"index": 0, "finish_reason": "stop", "message": message, "logprobs": None}]
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4.1"}
    return {**head, "choices": choices, "usage": _usage(asked)}


class Instant(openai.OpenAI):
    """A user's own client, which answers chat completions itself: all above the transport is as it always is."""

    def __init__(self, **options: Any) -> None:
        super().__init__(http_client=openai.DefaultHttpxClient(verify=False), **_OPTIONS, **options)

    def request(self, cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
        return ChatCompletion.model_validate(answer(options.json_data["model"]))


class _Silent(openai.AsyncOpenAI):
    """A user's own client, whose requests are never answered."""

    async def request(self, cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
        await _forever()


@types.coroutine
def _forever() -> Iterator[None]:
    yield


@contextlib.contextmanager
def waiting_calls(*users: str, **more: Any) -> Iterator[list[tuple[Context, Coroutine[Any, Any, Any]]]]:
    """Calls of one client that wait for their answers, one for each user, each with its context; they need no loop."""
    client = _Silent(http_client=openai.DefaultAsyncHttpxClient(verify=False), **_OPTIONS)

    def begin(user: str) -> Coroutine[Any, Any, Any]:
        call = client.chat.completions.create(**chat(1, **more))
        otelier.set_context(user_id=user)
        call.send(None)  # from here on this is the context inside the call
        return call

    contexts = [copy_context() for _ in users]
    calls = [context.run(begin, user) for context, user in zip(contexts, users)]
    yield list(zip(contexts, calls))
    for call in calls:
        call.close()
    asyncio.run(client.close())


@contextlib.contextmanager
def waiting_call(**more: Any) -> Iterator[Coroutine[Any, Any, Any]]:
    """A call of alice's that waits for its answer, in a context of its own."""
    with waiting_calls("alice", **more) as ((_, call),):
        yield call


def _sse(asked: str) -> Iterator[bytes]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4.1"}
    for word in ("One ", "two ", "three"):
        choices = [{"index": 0, "delta": {"content": word}, "finish_reason": None}]
        yield b"data: " + json.dumps({**head, "choices": choices, "usage": None}).encode() + b"\n\n"
    yield b"data: " + json.dumps({**head, "choices": [], "usage": _usage(asked)}).encode() + b"\n\ndata: [DONE]\n\n"


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that comes in pieces, as from a server."""

    def __init__(self, asked: str) -> None:
        self._pieces = _sse(asked)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = next(self._pieces, None)
        if piece is None:
            raise StopAsyncIteration
        return piece


def _respond(request: httpx.Request) -> httpx.Response:
    asked = json.loads(request.content)
    if asked["model"] == "broken":
        return httpx.Response(500, json={"error": {"message": "no such luck"}})
    if asked.get("stream"):
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=_Body(asked["model"]))
    return httpx.Response(200, json=answer(asked["model"]))


@contextlib.contextmanager
def replaying() -> Iterator[openai.OpenAI]:
    """A client of HTTP responses that are made in place, streams too."""
    with openai.OpenAI(http_client=httpx.Client(transport=httpx.MockTransport(_respond)), **_OPTIONS) as client:
        yield client


@contextlib.asynccontextmanager
async def replaying_async() -> AsyncIterator[openai.AsyncOpenAI]:
    """The same for the running loop; each request lets the other tasks take their turns before it is answered."""

    async def respond(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)
        return _respond(request)

    transport = httpx.MockTransport(respond)
    async with openai.AsyncOpenAI(http_client=httpx.AsyncClient(transport=transport), **_OPTIONS) as client:
        yield client
