"""Bodies that ask a local model, on each local engine, and lives of a body one after the other in one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from otelier.testing import OpenAIServer
from otelier.workflows import Worker
from tests.workflows.restating import at_restate

DEADLINE_S = 60.0


@pytest.fixture
def server(otelier_spans: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    """The model that bodies ask."""
    with OpenAIServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
        yield server


@pytest.fixture(params=["memory", "file", pytest.param("restate", marks=pytest.mark.restate)])
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where runs are kept."""
    if request.param == "restate":
        with at_restate(request.getfixturevalue("restate"), monkeypatch) as given:
            yield given
    else:
        yield "memory:" if request.param == "memory" else f"file:{tmp_path / 'runs.db'}"


async def until(condition: Callable[[], Awaitable[Any] | Any]) -> None:
    """Wait until *condition* holds."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        found = condition()
        if await found if isinstance(found, Awaitable) else found:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came to that")


def run(handler: Any, *args: Any, address: str = "memory:", others: Any = (), **how: Any) -> Any:
    """Run a handler to its end, and return its result."""

    async def main() -> Any:
        async with Worker("tests", modules=[handler, *others], engine=address) as worker:
            return await (await worker.start(handler, *args, **how)).result(timeout_s=DEADLINE_S)

    return asyncio.run(main())


def in_two_lives(handler: Any, *args: Any, address: str, between: Callable[[], object] = lambda: None) -> Any:
    """Run a handler until it waits for signal `go`, leave it, and let a second life of its body go to the end."""

    async def main() -> Any:
        async with Worker("tests", modules=[handler], engine=address) as worker:
            handle = await worker.start(handler, *args)
            engine, run_id = worker.engine, handle.workflow_id

            async def waits() -> bool:
                steps = (await engine.run(run_id)).steps
                return bool(steps) and steps[-1].kind == "signal"

            await until(waits)
        between()
        async with Worker("tests", modules=[handler], engine=engine) as worker:
            await engine.signal(run_id, "go", {"payload": None})
            handle = await worker.start(handler, *args, workflow_id=run_id)
            return await handle.result(timeout_s=DEADLINE_S)

    return asyncio.run(main())
