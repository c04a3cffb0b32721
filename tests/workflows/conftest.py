"""Bodies on the local engine, in memory and on a file."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(params=["memory", "file"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """Where the engine keeps its runs; `None` is in memory."""
    return None if request.param == "memory" else str(tmp_path / "runs.db")
