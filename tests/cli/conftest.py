"""The commands on each engine that other processes reach: a file, and a Restate server."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(params=["file", pytest.param("restate", marks=pytest.mark.restate)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where runs are kept: a file that is not there yet, or the address of a Restate server that knows nothing."""
    return tmp_path / "runs.db" if request.param == "file" else request.getfixturevalue("restate").address
