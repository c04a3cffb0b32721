"""A folder, a receiver in another process, and the page's commands run there as a reader runs them."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.programs import Ran, environment, exporting_to
from tests.receiving import ReceiverProcess
from tests.running.page import ROOT
from tests.serving import free_port, get_all

BIN = ROOT / ".envs" / "running" / "bin"
INSTRUMENTATIONS = frozenset({"aiohttp-server", "aws-lambda", "celery", "django", "fastapi", "flask", "starlette"})
"""Those that take long to import; a test switches the others off."""
NEVER_MS = "600000"


def eventually(holds: Callable[[], object], what: str, *, timeout_s: float = 90.0) -> None:
    """Wait until *holds* says so."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"Waited {timeout_s} s for {what}."
        time.sleep(0.05)


class Stage:
    """Where a command of the page runs: its folder, and the receiver that it exports to."""

    def __init__(self, folder: Path, receiver: ReceiverProcess) -> None:
        self.folder = folder
        self.receiver = receiver
        self.variables: dict[str, str] = {}

    def write(self, name: str, text: str) -> None:
        """Put a file into the folder."""
        (self.folder / name).write_text(text)

    def environment(self, *, using: str = "", **given: str) -> dict[str, str]:
        """Return what a command's process is given: nothing is sent by time, only by flushing."""
        off = INSTRUMENTATIONS - set(using.split())
        return environment(
            **{
                **exporting_to(self.receiver.url),
                "OTEL_BSP_SCHEDULE_DELAY": NEVER_MS,
                "OTEL_BLRP_SCHEDULE_DELAY": NEVER_MS,
                "OTEL_METRIC_EXPORT_INTERVAL": NEVER_MS,
                "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": ",".join(sorted(off)),
                "HOME": str(self.folder),  # gunicorn and Jupyter keep files there
                "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
                **self.variables,
                **given,
            }
        )

    def run(self, command: str, *, using: str = "", **given: str) -> Ran:
        """Run a shell block to its end."""
        done = subprocess.run(
            ["bash", "-ec", command],
            cwd=self.folder,
            env=self.environment(using=using, **given),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    @contextlib.contextmanager
    def started(
        self, command: str, *, stop: signal.Signals = signal.SIGTERM, using: str = "", **given: str
    ) -> Iterator[Running]:
        """Run a shell block until *stop*, which it gets when the block ends."""
        output = self.folder / "output.txt"
        lines = command.strip().splitlines()
        script = "\n".join([*lines[:-1], f"exec env {lines[-1]}"])  # so that the signal reaches the program itself
        with output.open("w") as written:
            process = subprocess.Popen(
                ["bash", "-ec", script],
                cwd=self.folder,
                env=self.environment(using=using, **given),
                stdout=written,
                stderr=written,
            )
        try:
            yield Running(process, output)
        finally:
            process.send_signal(stop)
            try:
                process.wait(timeout=300)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
            finally:
                print(output.read_text())  # noqa: T201 -- pytest shows it when the test fails

    @contextlib.contextmanager
    def served(
        self,
        command: str,
        *,
        workers: int = 1,
        stop: signal.Signals = signal.SIGTERM,
        using: str = "",
        **given: str,
    ) -> Iterator[int]:
        """Serve by a shell block of gunicorn or uvicorn until *stop*; give its port once all workers answer."""
        port = free_port()
        # Both servers kill workers that seem to hang, or to start slowly.
        where = {
            "GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{port} --timeout 120",
            "UVICORN_PORT": str(port),
            "UVICORN_TIMEOUT_WORKER_HEALTHCHECK": "60",
        }
        with self.started(command, stop=stop, using=using, **where, **given) as running:
            eventually(lambda: running.workers(port) >= workers, f"{workers} workers to answer")
            yield port


class Running:
    """A command that is running."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self._output = output
        self._pids: set[str] = set()

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._output.read_text()

    def workers(self, port: int) -> int:
        """Return how many processes have answered so far; a connection for each request, since those are shared out."""
        assert self.process.poll() is None, self.output
        with contextlib.suppress(OSError, http.client.HTTPException):
            self._pids |= set(map(str, get_all(port, ["/who"] * 8, at_once=4)))
        return len(self._pids)


def calls_counted(receiver: ReceiverProcess) -> int:
    """Return how many model calls the metrics of all processes count; each export tells a total."""
    totals: dict[tuple[object, ...], int] = {}
    for point in receiver.metrics:
        if point.name == "gen_ai.client.operation.duration":
            series = (point.resource["service.instance.id"], *sorted(point.attributes.items()))
            totals[series] = max(totals.get(series, 0), point.count)
    return sum(totals.values())


def needs_fork() -> pytest.MarkDecorator:
    """Skip where processes cannot fork."""
    return pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
