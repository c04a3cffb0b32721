"""The recorded calls, and the ways to make each."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import openai
import yaml
from endings import (
    ConsumerError,
    closed,
    closed_async,
    drained,
    drained_async,
    dropped,
    failed,
    failed_async,
)
from replay import Replay, httpx

METHODS = {
    "/v1/chat/completions": "chat.completions.create",
    "/v1/responses": "responses.create",
    "/v1/embeddings": "embeddings.create",
}
FETCH = "/v1/responses/"
RAW = "with_raw_response"
LAZY = "left to the caller"


def method_of(client: Any, path: str, way: str = "", name: str | None = None) -> Any:
    """Return the method that asks for *path*, or one of its siblings by *name*; *way* is one to get a raw response."""
    *resources, method = (METHODS.get(path) or "responses.retrieve").split(".")
    for resource in (*resources, *([way] if way else [])):
        client = getattr(client, resource)
    return getattr(client, name or method, None)


def fitted(client: Any, path: str, request: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a recorded request; those that an old client does not have go past it."""
    known = inspect.signature(method_of(client, path)).parameters
    newer = {name: value for name, value in request.items() if name not in known}
    older = {name: value for name, value in request.items() if name in known}
    return {**older, "extra_body": newer} if newer else older


def client_for(response: dict[str, Any]) -> openai.OpenAI:
    """Return a client whose every request is answered by *response*."""
    return openai.OpenAI(api_key="k", max_retries=0, http_client=httpx.Client(transport=Replay(response)))


@dataclass(frozen=True)
class Recorded:
    """One recorded call, and the ways to make it; each leaves nothing behind."""

    path: str
    request: dict[str, Any]
    response: dict[str, Any]

    def sync(self, ending: Callable[[Any], None] | None = None, way: str = "") -> None:
        """Call, and end a stream with *ending*."""
        client = client_for(self.response)
        with contextlib.suppress(openai.APIError, ConsumerError):
            answer = method_of(client, self.path, way)(**fitted(client, self.path, self.request))
            if way:
                answer = answer.parse()
            if ending is not None:
                ending(answer)
        answer = None
        gc.collect(1)

    def run_async(self, ending: Callable[[Any], Any] | None = None, way: str = "") -> None:
        """The same with an asynchronous client."""

        async def run() -> None:
            http = httpx.AsyncClient(transport=Replay(self.response))
            client = openai.AsyncOpenAI(api_key="k", max_retries=0, http_client=http)
            with contextlib.suppress(openai.APIError, ConsumerError):
                answer = await method_of(client, self.path, way)(**fitted(client, self.path, self.request))
                if way:
                    answer = answer.parse()
                if ending is not None:
                    await ending(answer)

        asyncio.run(run())
        gc.collect(1)

    def left_to_caller(self) -> None:
        """Call for a response whose body the caller reads."""
        client = client_for(self.response)
        method = method_of(client, self.path, "with_streaming_response")
        with contextlib.suppress(openai.APIError), method(**fitted(client, self.path, self.request)) as response:
            answer = response.parse()
            if self.request.get("stream"):
                drained(answer)
        gc.collect(1)

    def helper(self) -> None:
        """Stream with the client's helper."""
        client = client_for(self.response)
        arguments = {**fitted(client, self.path, self.request)}
        arguments.pop("stream", None)
        method = method_of(client, self.path, name="stream")
        with contextlib.suppress(openai.APIError, TypeError), method(**arguments) as stream:
            drained(stream)
        gc.collect(1)

    def parsed(self) -> None:
        """Let the client parse what the model says."""
        client = client_for(self.response)
        with contextlib.suppress(openai.APIError, ValueError, TypeError):
            method_of(client, self.path, name="parse")(**fitted(client, self.path, self.request))

    def has(self, name: str) -> bool:
        """Tell whether this release of the client has a sibling of the method by *name*."""
        return self.path in METHODS and method_of(client_for(self.response), self.path, name=name) is not None

    def ways(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Yield the ways to make the call, each with its name."""
        if not self.request.get("stream"):
            yield "sync", self.sync
            yield "async", self.run_async
            yield "raw", lambda: self.sync(way=RAW)
            yield "raw async", lambda: self.run_async(way=RAW)
            yield LAZY, self.left_to_caller
            if self.has("parse"):
                yield "parse", self.parsed
            return
        for ending in (drained, closed, dropped, failed):
            yield f"stream {ending.__name__}", lambda ending=ending: self.sync(ending)
        for ending in (drained_async, closed_async, failed_async):
            yield f"stream {ending.__name__}", lambda ending=ending: self.run_async(ending)
        yield "stream raw", lambda: self.sync(drained, RAW)
        yield "stream raw async", lambda: self.run_async(drained_async, RAW)
        yield f"stream {LAZY}", self.left_to_caller
        if self.has("stream"):
            yield "stream helper", self.helper


def exchanges(folder: Path) -> Iterator[tuple[str, Recorded]]:
    """Yield the recorded calls of the endpoints that are instrumented."""
    for file in sorted(folder.glob("*.yaml")):
        for number, one in enumerate(yaml.safe_load(file.read_text(encoding="utf-8"))["interactions"]):
            where = urlsplit(one["request"]["uri"])
            if one["request"]["method"] == "POST" and where.path in METHODS:
                asked = json.loads(one["request"]["body"])
                yield f"{file.stem}#{number}", Recorded(where.path, asked, one["response"])
            elif one["request"]["method"] == "GET" and where.path.startswith(FETCH):
                asked = {name: json.loads(value) for name, value in parse_qsl(where.query)}
                fetched = {"response_id": where.path.removeprefix(FETCH), **asked}
                yield f"{file.stem}#{number}", Recorded(where.path, fetched, one["response"])
