"""Restate's server for measurements: on free ports of this machine, in a folder of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PLACE = Path(os.environ.get("OTELIER_RESTATE") or ROOT / "build" / "restate")
"""Where `scripts/get_restate.sh` puts it."""
START_S = 60
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def program() -> Path | None:
    """Return the server's program, if it is there."""
    found = sorted(PLACE.glob("node_modules/@restatedev/restate-server-*/bin/restate-server"))
    return found[0] if found else None


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class RestateServer:
    """A server that runs in a block."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._ingress, self._admin, node = free_port(), free_port(), free_port()
        self.address = f"restate://127.0.0.1:{self._ingress}?admin={self._admin}"
        config, self._log = folder / "restate.toml", folder / "restate.log"
        config.write_text(
            f'bind-ip = "127.0.0.1"\nlisten-mode = "tcp"\nbind-address = "127.0.0.1:{node}"\n'
            f'advertised-address = "http://127.0.0.1:{node}"\nbase-dir = "{folder}/restate"\n'
            "disable-telemetry = true\ndefault-num-partitions = 2\n"
            f'[ingress]\nbind-address = "127.0.0.1:{self._ingress}"\n'
            f'[admin]\nbind-address = "127.0.0.1:{self._admin}"\n',
            encoding="utf-8",
        )
        self._command = [str(program), "--config-file", str(config)]

    def __enter__(self) -> RestateServer:
        with self._log.open("ab") as log:
            environment = {**os.environ, "RUST_LOG": "warn"}
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=environment)
        ends = time.monotonic() + START_S
        while True:
            try:
                self._request(self._ingress, "/restate/health")
                self.rows("SELECT id FROM sys_invocation LIMIT 1")
            except OSError:
                if self._process.poll() is not None or time.monotonic() > ends:
                    self._process.kill()
                    text = self._log.read_text(encoding="utf-8")
                    raise RuntimeError(f"Restate's server does not answer: {text[-2000:]}") from None
                time.sleep(0.05)
            else:
                return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Return what a query finds."""
        return self._request(self._admin, "/query", {"query": query})["rows"]

    def count(self, status: str) -> int:
        """Return how many invocations have a status."""
        return self.rows(f"SELECT count(*) AS n FROM sys_invocation WHERE status = '{status}'")[0]["n"]

    def _request(self, port: int, path: str, body: Any = None) -> Any:
        given = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json", "accept": "application/json"}
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(
            urllib.request.Request(f"http://127.0.0.1:{port}{path}", given, headers), timeout=60
        ) as answer:
            text = answer.read()
        return json.loads(text) if text else {}

    def processor_s(self) -> float:
        """Return the seconds of processor that it has used."""
        text = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(text[11]) + int(text[12])) * _TICK_S

    def resident_mb(self) -> float:
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
