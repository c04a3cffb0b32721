"""Small programs in processes of their own, under `opentelemetry-instrument` or not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INSTRUMENT = str(Path(sys.executable).parent / "opentelemetry-instrument")


def environment(**given: str) -> dict[str, str]:
    """This process's environment less what says something about telemetry, with what is *given*."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL", "OPENAI"))}
    return {**kept, **given}


def exporting_to(url: str) -> dict[str, str]:
    """Variables that make a process export to an OTLP receiver at *url*, soon and over HTTP."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_BLRP_SCHEDULE_DELAY": "100",
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
    }


@dataclass(frozen=True)
class Ran:
    """How a program ended."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> Any:
        """What the program printed last, as JSON."""
        assert self.code == 0, self.err
        return json.loads(self.out.splitlines()[-1])

    def lines(self, *words: str) -> list[str]:
        """Lines of the error output that hold all *words*."""
        return [line for line in self.err.splitlines() if all(word in line for word in words)]


def run(
    source: str,
    *arguments: str,
    instrumented: bool = False,
    measured: bool = True,
    timeout_s: float = 300,
    **given: str,
) -> Ran:
    """Run a program's text; *given* are environment variables.

    A program that forks beside busy threads, or handles signals, is not *measured*: coverage.py has a lock of its own,
    which such a child or handler may find taken for ever.
    """
    variables = environment(**given)
    if not measured:
        variables.pop("COVERAGE_PROCESS_CONFIG", None)
    command = [sys.executable, "-c", source, *arguments]
    done = subprocess.run(
        [INSTRUMENT, *command] if instrumented else command,
        env=variables,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)
