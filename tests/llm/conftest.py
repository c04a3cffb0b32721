"""A local model, and the calls of this room against it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import openai
import pytest
from pydantic import BaseModel

from otelier import llm
from otelier.testing import OpenAIServer, SpanRecorder

T = TypeVar("T")
Limits: Any = type(openai.DEFAULT_CONNECTION_LIMITS)  # of httpx, or of httpx2 in openai 3


class Parcel(BaseModel):
    """A parcel, as the tests ask for it."""

    id: int
    city: str


PARCEL = {
    "type": "object",
    "properties": {"id": {"type": "integer"}, "city": {"type": "string"}},
    "required": ["id", "city"],
}


class Model:
    """The server, and what was recorded of the calls to it."""

    def __init__(self, server: OpenAIServer, spans: SpanRecorder) -> None:
        self.server = server
        self.spans = spans
        self.connections = 100
        # Nothing here is encrypted, and loading the certificates takes longer than most tests.
        self.options: dict[str, Any] = {"base_url": server.base_url, "api_key": "sk-none"}

    def run(self, use: Callable[[openai.AsyncOpenAI], Awaitable[T]]) -> T:
        """Run *use* in a loop of its own, with a client for it."""

        async def main() -> T:
            http = openai.DefaultAsyncHttpxClient(verify=False, limits=Limits(max_connections=self.connections))
            async with openai.AsyncOpenAI(http_client=http, timeout=30, **self.options) as client:
                return await use(client)

        return asyncio.run(main())

    def generate(self, prompt: Any = "Where is my parcel?", model: str = "gpt-4.1", **more: Any) -> llm.Answer[Any]:
        """The whole answer."""
        return self.run(lambda client: llm.generate(prompt, model, client=client, **more))

    def collect(self, prompt: Any = "Where is my parcel?", model: str = "gpt-4.1", **more: Any) -> llm.Answer[Any]:
        """The same, streamed and put together again."""
        return self.run(lambda client: llm.stream(prompt, model, client=client, **more).collect())

    @property
    def sent(self) -> dict[str, Any]:
        """The body of the last request."""
        return self.server.requests[-1].asked


@pytest.fixture
def model(otelier_spans: SpanRecorder) -> Iterator[Model]:
    """A local model, with otelier switched on."""
    with OpenAIServer() as server:
        yield Model(server, otelier_spans)


@pytest.fixture(params=["generate", "collect"])
def ask(request: pytest.FixtureRequest, model: Model) -> Callable[..., llm.Answer[Any]]:
    """Each of the two ways to a whole answer."""
    return getattr(model, request.param)
