"""A Restate server for programs that can use one."""

from __future__ import annotations

from tests.workflows.conftest import restate, started_restate

__all__ = ["restate", "started_restate"]
