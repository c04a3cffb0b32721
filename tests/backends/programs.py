"""Starting a program, waiting for it, ending it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "collector-config"
# Read here, because tests see no OTELIER_ variable.
PROGRAMS = Path(os.environ.get("OTELIER_BACKENDS") or ROOT / "build" / "backends").resolve()
START_S = 30.0


def program(name: str) -> str:
    """Return the path of a backend's program, or skip the test with what to do."""
    found = shutil.which(name, path=f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"there is no program `{name}` in {PROGRAMS} or on PATH: run `make backends` first, which needs Go")
    return found


def environment(**variables: str) -> dict[str, str]:
    """The environment without what the developer's shell says about telemetry, our programs first on the path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "OTELIER_", "OPENAI_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
    return {**kept, "PATH": path, **variables}


def eventually(look: Callable[[], Any], what: str, *, within_s: float = START_S) -> Any:
    """Return the first true value *look* gives; a refused connection counts as not yet."""
    deadline_s = time.monotonic() + within_s
    while True:
        try:
            if found := look():
                return found
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline_s:
            pytest.fail(f"{what} did not happen within {within_s:.0f} s")
        time.sleep(0.1)


def answers(url: str) -> Callable[[], bool]:
    return lambda: httpx.get(url).status_code == 200


@contextmanager
def running(
    command: list[str],
    *,
    folder: Path,
    env: Mapping[str, str],
    name: str,
    stop: signal.Signals = signal.SIGINT,
    patience_s: float = 20.0,
) -> Iterator[None]:
    """Run *command* until the block ends; when the block fails, show what it said.

    It is stopped by *stop*, and killed when it is still there after *patience_s* seconds.
    """
    log = folder / f"{name}.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=sink, stderr=subprocess.STDOUT)
    try:
        yield
    except BaseException:
        sys.stderr.write(f"--- {name} said:\n{log.read_text()[-4000:]}\n")
        raise
    finally:
        process.send_signal(stop)
        try:
            process.wait(timeout=patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
