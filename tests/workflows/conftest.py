"""Bodies on every engine: in memory, on a file, and on a Restate server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workflows.restating import RestateServer


@pytest.fixture(params=["memory", "file"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """Where the engine keeps its runs; `None` is in memory."""
    return None if request.param == "memory" else str(tmp_path / "runs.db")


@pytest.fixture(scope="session")
def started_restate() -> Iterator[RestateServer]:
    """A Restate server, for all tests of this process; skipped where there is none."""
    pytest.importorskip("restate", reason="the extra `restate` is not installed")
    server = RestateServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def restate(started_restate: RestateServer) -> RestateServer:
    """A Restate server that knows nothing."""
    started_restate.empty()
    return started_restate


@pytest.fixture(params=["memory", "file", pytest.param("restate", marks=pytest.mark.restate)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """Where an engine keeps its runs, as `path`, or the address of a Restate server."""
    if request.param == "restate":
        return request.getfixturevalue("restate").address
    return None if request.param == "memory" else str(tmp_path / "runs.db")
