"""The commands in processes of their own, as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BESIDE = Path(sys.executable).parent
OTELIER = str(BESIDE / "otelier")
INSTRUMENT = str(BESIDE / "opentelemetry-instrument")


def environment(**given: str) -> dict[str, str]:
    """This process's environment less what says something about telemetry, with what is *given*."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL", "OPENAI", "FORCE_COLOR"))}
    return {**kept, **given}


def run(*command: str, timeout_s: float = 300, **given: str) -> subprocess.CompletedProcess[str]:
    """Run *command* to its end."""
    return subprocess.run(command, env=environment(**given), capture_output=True, text=True, timeout=timeout_s)


def without(*modules: str) -> tuple[str, ...]:
    """The command `otelier` in an environment where *modules* are not installed."""
    blocked = "".join(f"sys.modules[{module!r}] = None; " for module in modules)
    return sys.executable, "-c", f"import sys; {blocked}from otelier.cli import main; main()"


_RECORDING_DEMO = """
import json, sys
from otelier.cli import main
from otelier.cli.demo import _run

run, path = _run.run, sys.argv.pop()


def record(steps):
    outcome = run(steps)
    with open(path, "w", encoding="utf-8") as out:
        json.dump([dict(headers) for headers in outcome.model_requests], out)
    return outcome


_run.run = record
main()
"""


def demo_recording(model_requests: Path, *options: str) -> tuple[str, ...]:
    """The command `otelier demo`, which also writes the headers that the model's host received to a file."""
    return sys.executable, "-c", _RECORDING_DEMO, "demo", *options, str(model_requests)
