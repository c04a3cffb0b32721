"""Spans that users and other instrumentations make in a body, whose worker is killed at any place of it."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from opentelemetry.context import get_current

from otelier.testing import SpanRecord
from otelier.workflows._headers import sealed, start_headers
from otelier.workflows.engines.local import LocalEngine
from otelier.workflows.engines.protocol import Target
from tests.workflows.engines.serving import on_a_loop, opened, until
from tests.workflows.nursery import Nursery, nursery
from tests.workflows.orders import spans_in
from tests.workflows.restating import free_port
from tests.workflows.trees import assert_trees

PATHS = ("/before", "/charge", "/left", "/right", "/after", "/ship", "/last")
IN_STEPS = {"/charge": "run_step charge", "/ship": "run_step ship"}
TWICE = {
    "/left": {"/right"},
    "/right": {"/left"},
    "/after": {"wait_signal go"},
    "/last": {"around"},
}
"""What may go out twice: what ended between the last record and the kill."""


class Server:
    """An HTTP server that leaves the first request for one path without an answer, and keeps who asked."""

    def __init__(self, held: str) -> None:
        self.held = held
        self.is_holding = asyncio.Event()
        self.asked: dict[str, list[str]] = defaultdict(list)
        """The `traceparent` of each request, by its path."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().splitlines()
                path = head[0].split()[1]
                self.asked[path] += [line.split()[1] for line in head if line.startswith("traceparent:")]
                if path == self.held and not self.is_holding.is_set():
                    self.is_holding.set()
                    await reader.read()
                    return
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[str]:
    """Serve until the block ends."""
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()


@asynccontextmanager
async def working(found: Nursery, directory: Path, place: str) -> AsyncIterator[None]:
    """Let a worker work until the block ends, and kill it then."""
    pid = await found.start(place, directory)
    await until(lambda: found.works(pid))
    yield
    await found.kill(pid)


async def _has_begun(client: LocalEngine, op: str) -> bool:
    return any(step.name == op and step.end_ns is None for step in (await client.run("o-1")).steps)


@pytest.fixture(params=["file", pytest.param("restate", marks=pytest.mark.restate)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an engine keeps its runs, which outlives its workers."""
    return request.getfixturevalue("restate").address if request.param == "restate" else str(tmp_path / "runs.db")


@pytest.mark.parametrize(
    "held",
    [
        *("/charge", "/right", "/last", "go"),
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("/before", "/left", "/after", "/ship")),
    ],
)
@on_a_loop
async def test_spans_of_a_body_go_out_once_wherever_its_worker_is_killed(place: str, tmp_path: Path, held: str):
    """A user's own span around steps and a wait, and the requests that `httpx` makes in the body and in steps: each is
    exported once, with its children, and with the ids that each life gave it.
    """
    server = Server(held)
    programs = nursery("tests.workflows.programs.instrumented", {"OTELIER_WORKER_BIND": f"127.0.0.1:{free_port()}"})
    async with opened(place) as client, serving(server) as url, programs as found:
        headers = start_headers(None, "o-1", "invoke_workflow shop")
        async with working(found, tmp_path, place):
            await client.start(Target("shop", "shop"), {"url": url}, headers, run_id="o-1")
            if held in PATHS[4:]:
                await client.signal("o-1", "go", sealed(None, get_current()))
            if held in PATHS:
                await until(server.is_holding.is_set)
            if held in IN_STEPS or held == "go":
                await until(lambda: _has_begun(client, held.removeprefix("/")))
        async with working(found, tmp_path, place):
            if held not in PATHS[4:]:
                await client.signal("o-1", "go", sealed(None, get_current()))
            assert await client.result("o-1", 600) == [True, "fine"]
            await until(lambda: any(span.name == "invoke_workflow shop" for span in spans_in(tmp_path / "spans")))
    exported = spans_in(tmp_path / "spans")
    (spans,) = assert_trees(exported).values()
    by_name = {span.name: span for span in spans if span.name != "GET"}
    asked = {_shown(span, url): span for span in spans if span.name == "GET"}
    twice = Counter(_shown(span, url) for span in exported) - Counter(_shown(span, url) for span in spans)
    assert set(twice) <= TWICE.get(held, set())
    assert len(spans) == 12
    assert by_name.keys() == {"invoke_workflow shop", "around", "run_step charge", "run_step ship", "wait_signal go"}
    assert asked.keys() == set(PATHS)
    around, root = by_name["around"].span_id, by_name["invoke_workflow shop"].span_id
    parents = {path: span.parent_id for path, span in asked.items()}
    inside = {"/before": around, "/left": around, "/right": around, "/after": around, "/last": root}
    assert parents == {**inside, **{path: by_name[step].span_id for path, step in IN_STEPS.items()}}
    assert {by_name[name].parent_id for name in ("run_step charge", "wait_signal go", "run_step ship")} == {around}
    for path, span in asked.items():
        _check_ids(path, span, server.asked[path], held)


def _shown(span: SpanRecord, url: str) -> str:
    """Return what tells a span from the others here: a request's path, else the name."""
    return str(span.attributes["http.url"]).removeprefix(url) if span.name == "GET" else span.name


def _check_ids(path: str, span: SpanRecord, traceparents: list[str], held: str) -> None:
    """Assert that a body's request had one id in each life, and that it was made again in each of them."""
    ids = [one.split("-")[2] for one in traceparents]
    if path in IN_STEPS:
        assert ids[-1] == span.span_id
        assert len(ids) == (2 if path == held else 1)
    else:
        assert set(ids) == {span.span_id}
