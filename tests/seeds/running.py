"""Runs each example of the two egisai pages; the tests and `python -m tests.seeds.report` look at what it emitted."""

from __future__ import annotations

import asyncio
import os
import runpy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

from tests.serving import Client, asgi_server

EXAMPLES = Path(__file__).parent / "examples"
Names = dict[str, Any]


@dataclass(frozen=True)
class Example:
    """One code block of the pages and how a reader would use it."""

    page: str
    file: str
    use: Callable[[Names], None]

    def run(self) -> Names:
        """Run the file in a context of its own and use what it defines; returns its names."""

        def fresh() -> Names:
            names = runpy.run_path(str(EXAMPLES / self.file))
            self.use(names)
            if isinstance(names["client"], openai.OpenAI):
                names["client"].close()
            return names

        return copy_context().run(fresh)


def _nothing(names: Names) -> None:
    """The file itself is the example."""


def _both_agents(names: Names) -> None:
    for name in ("triage", "billing"):
        assert names[name]("I was charged twice"), "the model's answer"


def _requests(names: Names, path: str, count: int = 8) -> None:
    """Send requests of different users at once to the FastAPI application, on a real server."""

    def one(number: int) -> None:
        with Client(port) as client:
            body = {
                "user_id": f"u-{number}",
                "session_id": f"s-{number}",
                "messages": [{"role": "user", "content": f"I am number {number}"}],
            }
            assert isinstance(client.post(path.format(name=("triage", "billing")[number % 2]), body), str)

    async def served(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/close":
            await names["app"](scope, receive, send)
            return
        await _close_async(names)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"closed"})

    FastAPIInstrumentor.instrument_app(names["app"])
    try:
        with asgi_server(served) as port:
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(one, range(count)))
            with Client(port) as client:
                assert client.get("/close") == "closed"
    finally:
        FastAPIInstrumentor.uninstrument_app(names["app"])


async def _close_async(names: Names) -> None:
    """Close the example's async client on the loop that used it."""
    for name in ("client", "async_client"):
        if isinstance(names.get(name), openai.AsyncOpenAI):
            await names[name].close()


def _tenants(names: Names) -> None:
    for user, session in (("u-1", "s-1"), ("u-2", "s-2")):
        names["handle"](names["a_request"](user, session))


def _threads(names: Names) -> None:
    async def tasks() -> None:
        await names["asyncio_tasks"]()
        await _close_async(names)

    asyncio.run(tasks())
    for name in ("pool_threads", "top_level_thread", "thread_that_sets_again"):
        copy_context().run(names[name])


SET_CONTEXT = "set_context reference"
MULTI_AGENT = "multi-agent context"
ALL = [
    Example(SET_CONTEXT, "request_context.py", lambda names: _requests(names, "/chat")),
    Example(SET_CONTEXT, "sub_agents_short.py", _both_agents),
    Example(SET_CONTEXT, "workflow_short.py", _nothing),
    Example(MULTI_AGENT, "one_agent.py", _nothing),
    Example(MULTI_AGENT, "sub_agents.py", _both_agents),
    Example(MULTI_AGENT, "async_handler.py", lambda names: _requests(names, "/agents/{name}/chat")),
    Example(MULTI_AGENT, "multi_tenant.py", _tenants),
    Example(MULTI_AGENT, "workflow.py", _nothing),
    Example(MULTI_AGENT, "threads_and_tasks.py", _threads),
    Example(MULTI_AGENT, "precedence.py", lambda names: names["up_and_down"]()),
]
BY_FILE = {example.file: example for example in ALL}


def point_client_at(base_url: str) -> None:
    """Let `openai.OpenAI()` talk to a local server: the only thing the examples' surroundings change."""
    os.environ["OPENAI_BASE_URL"] = base_url
    os.environ["OPENAI_API_KEY"] = "sk-none"
