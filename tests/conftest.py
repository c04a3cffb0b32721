"""A Restate server for the tests that run on one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.workflows.restating import RestateServer


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
