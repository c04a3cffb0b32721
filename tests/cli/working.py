"""`otelier worker` with the handlers of `tests.workflows.shop`, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from otelier.cli import main
from tests.cli.children import OTELIER, environment
from tests.workflows.restating import free_port

ROOT = Path(__file__).parents[2]


def engine_of(place: Path | str) -> str:
    """Return the engine of a file, or of an address."""
    return f"file:{place}" if isinstance(place, Path) else place


@contextmanager
def working(
    place: Path | str, *arguments: str, folder: Path = ROOT, bind: str | None = None, **given: str
) -> Iterator[subprocess.Popen[str]]:
    """Run a worker on a file or an engine, in a folder with modules, until the block ends.

    It has begun to say what it serves. On Restate it listens at *bind*, by default on a port that is free.
    """
    engine = engine_of(place)
    command = [OTELIER, "worker", *(arguments or ("tests.workflows.shop",)), "--engine", engine]
    env = environment(OTELIER_WORKER_BIND=bind or f"127.0.0.1:{free_port()}", **given)
    process = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        first = process.stdout.readline()
        assert first, process.stderr.read()
        where = f"file:{place.resolve()}" if isinstance(place, Path) else place
        assert first.endswith(f"serves from {where}\n")
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command in this process that is refused, and return its one line."""
    monkeypatch.setattr(sys, "argv", ["otelier", *arguments])
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out, err.count("\n")) == (1, "", 1), err
    assert err.startswith("otelier: ")
    return err
