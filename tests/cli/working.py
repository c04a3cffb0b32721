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

ROOT = Path(__file__).parents[2]


@contextmanager
def working(path: Path, *arguments: str, folder: Path = ROOT) -> Iterator[subprocess.Popen[str]]:
    """Run a worker on a file, in a folder with modules, until the block ends; it has begun to say what it serves."""
    command = [OTELIER, "worker", *(arguments or ("tests.workflows.shop",)), "--engine", f"file:{path}"]
    process = subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        first = process.stdout.readline()
        assert first, process.stderr.read()
        assert first.endswith(f"serves from file:{path.resolve()}\n")
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
