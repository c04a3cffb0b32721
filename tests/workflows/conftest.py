"""Bodies on every engine: in memory, on a file, and on a Restate server."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(params=["memory", "file"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """Where the engine keeps its runs; `None` is in memory."""
    return None if request.param == "memory" else str(tmp_path / "runs.db")


@pytest.fixture(params=["memory", "file", pytest.param("restate", marks=pytest.mark.restate)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """Where an engine keeps its runs, as `path`, or the address of a Restate server."""
    if request.param == "restate":
        return request.getfixturevalue("restate").address
    return None if request.param == "memory" else str(tmp_path / "runs.db")
