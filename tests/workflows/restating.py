"""Restate's server for tests: started once on free ports of this machine, and emptied between tests."""

from __future__ import annotations

import asyncio
import platform
import shutil
import sys
import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from benchmarks.durable.restate_server import PLACE, START_S, free_port, program
from benchmarks.durable.restate_server import RestateServer as Server

__all__ = ["RestateServer", "at_restate", "free_port"]


def _program() -> Path:
    """Return the server's program, or skip."""
    if sys.platform not in {"linux", "darwin"}:
        pytest.skip(f"Restate's server has no program for {sys.platform}")
    found = program()
    if found is None:
        npm = "" if shutil.which("npm") else " There is no npm here: install Node.js first."
        pytest.skip(f"no Restate server in {PLACE}: `make restate` gets it by npm.{npm} ({platform.machine()})")
    return found


@contextmanager
def at_restate(server: RestateServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give the address of a server, whose engine in this process is one of its own until the block ends."""
    from otelier.workflows.engines.restate import Options, open_engine  # an extra

    monkeypatch.setenv("OTELIER_WORKER_BIND", f"127.0.0.1:{free_port()}")
    engine = open_engine(server.address, options=Options(max_retry_s=0.2, stop_s=2.0))
    try:
        yield server.address
    finally:
        asyncio.run(engine.close())


class RestateServer(Server):
    """A server of its own, which can be emptied."""

    def __init__(self, settings: str = "") -> None:
        super().__init__(_program(), Path(mkdtemp(prefix="otelier-restate-")), settings)

    def close(self) -> None:
        """Kill it, and remove what it kept."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def request(self, method: str, path: str, body: Any = None, *, port: int | None = None) -> Any:
        """Ask the admin side, or who listens at *port*; `None` is a failure that it answers."""
        try:
            return self.ask(method, path, body, port=port)
        except urllib.error.HTTPError:
            return None

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Return what a query finds; a server that starts is asked again."""
        ends = time.monotonic() + START_S
        while (found := self.request("POST", "/query", {"query": query})) is None:
            assert time.monotonic() < ends, query
            time.sleep(0.05)
        return found["rows"]

    def empty(self) -> None:
        """Remove all runs, states and workers, so that the next test finds nothing."""
        ends = time.monotonic() + 30
        while True:
            left = self.rows("SELECT id, status FROM sys_invocation")
            states = self.rows("SELECT DISTINCT service_name, service_key FROM state")
            for one in left:
                verb = "purge" if one["status"] == "completed" else "kill"
                self.request("PATCH", f"/invocations/{one['id']}/{verb}")
            for one in states:
                given = {"object_key": one["service_key"], "new_state": {}}
                self.request("POST", f"/services/{one['service_name']}/state", given)
            if not left and not states:
                break
            assert time.monotonic() < ends, f"not emptied: {left[:3]} {states[:3]}"
        for one in (self.request("GET", "/deployments") or {}).get("deployments", ()):
            self.request("DELETE", f"/deployments/{one['id']}?force=true")
