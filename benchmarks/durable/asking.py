"""Processes that are measured, as the process that measures sees them, and how figures are shown."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

HERE = Path(__file__).parent.parent
OTELIER, DBOS = "durable.ours", "durable.with_dbos"


class Process:
    """A process of one side, which answers one question at a time."""

    def __init__(self, module: str, *args: str, python: str = sys.executable) -> None:
        self.began = time.time()
        # DBOS tells on standard error of what is cut off when it is killed.
        self._process = subprocess.Popen(
            [python, "-m", module, *args],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL if module == DBOS else None,
            env={**os.environ, "PYTHONPATH": str(HERE)}, text=True,
        )  # fmt: skip

    def tell(self, do: str, **given: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **given}) + "\n")
        self._process.stdin.flush()

    def hear(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args} ended with {self._process.wait()}")
        return json.loads(line)

    def ask(self, do: str, **given: Any) -> Any:
        self.tell(do, **given)
        return self.hear()

    def kill(self) -> float:
        """Kill it, and return when."""
        at = time.time()
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        return at

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def ms(times: list[float]) -> str:
    """Show the median and the 99th percentile."""
    most = quantiles(times, n=100)[98] if len(times) > 1 else times[0]
    return f"p50 {median(times) * 1e3:7.2f} ms   p99 {most * 1e3:7.2f} ms"


def ms_most(times: list[float]) -> str:
    """Show the median, the 90th percentile and the maximum of few."""
    ordered = sorted(times)
    p90 = ordered[int(len(ordered) * 0.9)]
    return f"p50 {median(ordered) * 1e3:7.1f} ms   p90 {p90 * 1e3:7.1f} ms   most {ordered[-1] * 1e3:7.1f} ms"


def row(name: str, value: str, limit: str = "") -> None:
    """Print one row."""
    print(f"{name:40} {value:58} {limit and 'limit: ' + limit}".rstrip(), flush=True)


def title(text: str) -> None:
    print(f"\n{text}", flush=True)
