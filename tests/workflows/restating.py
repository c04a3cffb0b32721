"""Restate's server for tests: started once on free ports of this machine, and emptied between tests."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PLACE = Path(os.environ.get("OTELIER_RESTATE") or ROOT / "build" / "restate")
"""Where `make restate` puts the server."""
_START_S = 60
_ANY = "SELECT id FROM sys_invocation LIMIT 1"


def program() -> Path:
    """Return the server's program, or skip."""
    if sys.platform not in {"linux", "darwin"}:
        pytest.skip(f"Restate's server has no program for {sys.platform}")
    found = sorted(PLACE.glob("node_modules/@restatedev/restate-server-*/bin/restate-server"))
    if not found:
        npm = "" if shutil.which("npm") else " There is no npm here: install Node.js first."
        pytest.skip(f"no Restate server in {PLACE}: `make restate` gets it by npm.{npm} ({platform.machine()})")
    return found[0]


def free_port() -> int:
    """Return a port that is free now, and that no connection to elsewhere is given meanwhile."""
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


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


class RestateServer:
    """A server of its own, which can be killed and started again where it was."""

    def __init__(self, settings: str = "") -> None:
        self._program = program()
        self.folder = Path(mkdtemp(prefix="otelier-restate-"))
        self.ingress, self.admin, node = free_port(), free_port(), free_port()
        self.address = f"restate://127.0.0.1:{self.ingress}?admin={self.admin}"
        self._node = node
        self.configure(settings)
        self._running: subprocess.Popen[bytes] | None = None

    def configure(self, settings: str = "") -> None:
        """Write its settings, which hold from its next start."""
        node = self._node
        (self.folder / "restate.toml").write_text(
            f'bind-ip = "127.0.0.1"\nlisten-mode = "tcp"\nbind-address = "127.0.0.1:{node}"\n'
            f'advertised-address = "http://127.0.0.1:{node}"\nbase-dir = "{self.folder}/data"\n'
            f"disable-telemetry = true\ndefault-num-partitions = 2\n{settings}\n"
            f'[ingress]\nbind-address = "127.0.0.1:{self.ingress}"\n[admin]\nbind-address = "127.0.0.1:{self.admin}"\n'
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._running = subprocess.Popen(
                [self._program, "--config-file", self.folder / "restate.toml"],
                stdout=log, stderr=log, cwd=self.folder,
                env={**os.environ, "RUST_LOG": "warn,restate_service_client=info"},
            )  # fmt: skip
        ends = time.monotonic() + _START_S
        while not (self._answers(self.ingress, "/restate/health") and self._answers(self.admin, "/health", _ANY)):
            assert self._running.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < ends, "Restate's server does not answer"
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill it."""
        if self._running is not None:
            self._running.send_signal(signal.SIGKILL)
            self._running.wait()
            self._running = None

    def close(self) -> None:
        """Kill it, and remove what it kept."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self, port: int, path: str, query: str = "") -> bool:
        try:
            is_there = self.request("GET", path, port=port) is not None
            return is_there and (not query or self.request("POST", "/query", {"query": query}) is not None)
        except (OSError, ValueError):
            return False

    def request(self, method: str, path: str, body: Any = None, *, port: int | None = None) -> Any:
        """Ask the admin side, or who listens at *port*."""
        given = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json", "accept": "application/json"}
        url = f"http://127.0.0.1:{port or self.admin}{path}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(urllib.request.Request(url, given, headers, method=method), timeout=30) as answer:
                text = answer.read()
        except urllib.error.HTTPError as exc:
            with exc:
                exc.read()
            return None
        try:
            return json.loads(text) if text else {}
        except ValueError:
            return {}

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Return what a query finds."""
        ends = time.monotonic() + _START_S
        while (found := self.request("POST", "/query", {"query": query})) is None:  # it starts
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
