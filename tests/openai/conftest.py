"""The openai client against a local server, instrumented with providers of the test's own."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import openai
import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otelier.openai import OpenAIInstrumentor
from otelier.testing import OpenAIServer, SpanRecorder

CHAT: dict[str, Any] = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Hello"}]}
RESPONSES: dict[str, Any] = {"model": "gpt-4.1", "input": "Hello"}
COMPLETIONS: dict[str, Any] = {"model": "gpt-4.1", "prompt": "Hello"}
EMBEDDINGS: dict[str, Any] = {"model": "text-embedding-3-small", "input": "Hello"}
FAILED_RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "gpt-4.1",
    "status": "failed",
    "error": {"code": "server_error", "message": "It broke."},
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}


class Api:
    """The clients of one server, and the endpoints by name."""

    arguments = {"chat": CHAT, "responses": RESPONSES, "completions": COMPLETIONS, "embeddings": EMBEDDINGS}  # noqa: RUF012

    def __init__(self, server: OpenAIServer) -> None:
        self.server = server
        self.options: dict[str, Any] = {"base_url": server.base_url, "api_key": "sk-none", "max_retries": 0}
        # Nothing here is encrypted, and loading the certificates takes longer than most tests.
        self.client = openai.OpenAI(http_client=openai.DefaultHttpxClient(verify=False), **self.options)

    @contextlib.asynccontextmanager
    async def async_client(self) -> AsyncIterator[openai.AsyncOpenAI]:
        """A client for the running loop."""
        plain = openai.DefaultAsyncHttpxClient(verify=False)
        async with openai.AsyncOpenAI(http_client=plain, **self.options) as client:
            yield client

    @staticmethod
    def method(client: Any, endpoint: str) -> Callable[..., Any]:
        """The method of *client* that calls *endpoint*."""
        for name in ("chat", "completions") if endpoint == "chat" else (endpoint,):
            client = getattr(client, name)
        return client.create

    def call(self, endpoint: str, **more: Any) -> Any:
        """Make a call as the arguments of *endpoint* have it, with *more* of them."""
        return self.method(self.client, endpoint)(**{**self.arguments[endpoint], **more})

    async def call_async(self, client: openai.AsyncOpenAI, endpoint: str, **more: Any) -> Any:
        """The same with an asynchronous client."""
        return await self.method(client, endpoint)(**{**self.arguments[endpoint], **more})


def known(method: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    """Those *arguments* that the client's release takes."""
    taken = inspect.signature(method).parameters
    return {name: value for name, value in arguments.items() if name in taken}


@pytest.fixture
def api(instrumented: SpanRecorder) -> Iterator[Api]:
    """A server and its clients, with instrumentation on."""
    with serving() as api:
        yield api


@pytest.fixture
def recorder() -> SpanRecorder:
    """What everything goes to."""
    return SpanRecorder()


@pytest.fixture
def instrumented(recorder: SpanRecorder) -> Iterator[SpanRecorder]:
    """The recorder, with instrumentation on; every span must have ended with the test."""
    with instrumenting(recorder):
        yield recorder
    assert recorder.open_spans == ()


@pytest.fixture
def unsampled() -> SpanRecorder:
    """A recorder that samples nothing."""
    return SpanRecorder(sampler=ALWAYS_OFF)


@contextlib.contextmanager
def serving() -> Iterator[Api]:
    """A server and its clients."""
    with OpenAIServer(refuses=False) as server:
        api = Api(server)
        with api.client:
            yield api


@contextlib.contextmanager
def instrumenting(recorder: SpanRecorder) -> Iterator[None]:
    """Instrument while the block runs."""
    OpenAIInstrumentor().instrument(
        tracer_provider=recorder.tracer_provider,
        meter_provider=recorder.meter_provider,
        logger_provider=recorder.logger_provider,
    )
    try:
        yield
    finally:
        OpenAIInstrumentor().uninstrument()
