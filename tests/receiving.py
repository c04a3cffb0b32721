"""An OTLP receiver that is nothing but a process of its own, and what it wrote down."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

from tests.programs import environment


class ReceiverProcess:
    """Reads the file of `python -m otelier.testing.receiver --out`; has the names of `OtlpReceiver`."""

    def __init__(self, url: str, out: Path) -> None:
        self.url = url
        self._out = out

    def _records(self, signal: str) -> list[SimpleNamespace]:
        text = self._out.read_text()
        whole = text[: text.rfind("\n") + 1]  # a line may be half-written
        records = map(json.loads, whole.splitlines())
        return [SimpleNamespace(**record) for record in records if record["signal"] == signal]

    @property
    def spans(self) -> list[SimpleNamespace]:
        return self._records("spans")

    @property
    def metrics(self) -> list[SimpleNamespace]:
        return self._records("metrics")

    @property
    def logs(self) -> list[SimpleNamespace]:
        return self._records("logs")

    def wait_for(self, *, spans: int, logs: int, timeout_s: float) -> None:
        """Wait until so much has come."""
        deadline = time.monotonic() + timeout_s
        while len(self.spans) < spans or len(self.logs) < logs:
            if time.monotonic() > deadline:
                raise TimeoutError(f"Waited for {spans} spans and {logs} logs: {len(self.spans)}, {len(self.logs)}.")
            time.sleep(0.1)


@contextlib.contextmanager
def receiver_process(folder: Path) -> Iterator[ReceiverProcess]:
    """Run a receiver until the block ends; it must end cleanly, and say how much it received."""
    out = folder / "received.jsonl"
    out.touch()
    command = [sys.executable, "-m", "otelier.testing.receiver", "--port", "0", "--out", str(out)]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        try:
            receiver = ReceiverProcess(url, out)
            yield receiver
        finally:
            process.terminate()
            said, _ = process.communicate(timeout=300)
    counts = json.loads(said.splitlines()[-1])
    assert (counts["spans"], counts["logs"]) == (len(receiver.spans), len(receiver.logs))
