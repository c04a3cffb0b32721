"""Restate's server on free ports of this machine, in a folder of its own: for measurements, and for the tests."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PLACE = Path(os.environ.get("OTELIER_RESTATE") or ROOT / "build" / "restate")
"""Where `scripts/get_restate.sh` puts it."""
START_S = 60
_ANY = "SELECT id FROM sys_invocation LIMIT 1"
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def program() -> Path | None:
    """Return the server's program, if it is there."""
    found = sorted(PLACE.glob("node_modules/@restatedev/restate-server-*/bin/restate-server"))
    return found[0] if found else None


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


class RestateServer:
    """A server, which can be killed and started again where it was; in a block it runs until that ends."""

    def __init__(self, program: Path, folder: Path, settings: str = "") -> None:
        self.folder = folder
        self.ingress, self.admin, self._node = free_port(), free_port(), free_port()
        self.address = f"restate://127.0.0.1:{self.ingress}?admin={self.admin}"
        self.log = folder / "log"
        self._command = [str(program), "--config-file", str(folder / "restate.toml")]
        self._running: subprocess.Popen[bytes] | None = None
        self.configure(settings)

    def configure(self, settings: str = "") -> None:
        """Write its settings, which hold from its next start."""
        (self.folder / "restate.toml").write_text(
            f'bind-ip = "127.0.0.1"\nlisten-mode = "tcp"\nbind-address = "127.0.0.1:{self._node}"\n'
            f'advertised-address = "http://127.0.0.1:{self._node}"\nbase-dir = "{self.folder}/data"\n'
            f"disable-telemetry = true\ndefault-num-partitions = 2\n{settings}\n"
            f'[ingress]\nbind-address = "127.0.0.1:{self.ingress}"\n'
            f'[admin]\nbind-address = "127.0.0.1:{self.admin}"\n',
            encoding="utf-8",
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        environment = {**os.environ, "RUST_LOG": "warn,restate_service_client=info"}
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(self._command, stdout=log, stderr=log, env=environment, cwd=self.folder)
        ends = time.monotonic() + START_S
        while True:
            try:
                self.ask("GET", "/restate/health", port=self.ingress)
                self.ask("POST", "/query", {"query": _ANY})
            except OSError:
                if self._running.poll() is not None or time.monotonic() > ends:
                    self.kill()
                    text = self.log.read_text(encoding="utf-8")
                    raise RuntimeError(f"Restate's server does not answer: {text[-2000:]}") from None
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """Kill it."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()
            self._running = None

    def __enter__(self) -> RestateServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def ask(self, method: str, path: str, body: Any = None, *, port: int | None = None) -> Any:
        """Ask the admin side, or who listens at *port*, and return the JSON of its answer.

        Raises:
            OSError: if there is no answer, or it is a failure.
        """
        given = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json", "accept": "application/json"}
        url = f"http://127.0.0.1:{port or self.admin}{path}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(urllib.request.Request(url, given, headers, method=method), timeout=60) as answer:
                text = answer.read()
        except urllib.error.HTTPError as exc:
            exc.close()
            raise
        return json.loads(text) if text.startswith((b"{", b"[")) else {}

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Return what a query finds."""
        return self.ask("POST", "/query", {"query": query})["rows"]

    def count(self, status: str) -> int:
        """Return how many invocations have a status."""
        return self.rows(f"SELECT count(*) AS n FROM sys_invocation WHERE status = '{status}'")[0]["n"]

    def processor_s(self) -> float:
        """Return the seconds of processor that it has used."""
        text = self._proc("stat").rpartition(")")[2].split()
        return (int(text[11]) + int(text[12])) * _TICK_S

    def resident_mb(self) -> float:
        return int(self._proc("statm").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def _proc(self, name: str) -> str:
        assert self._running is not None
        return Path(f"/proc/{self._running.pid}/{name}").read_text(encoding="ascii")
