"""The command `otelier` itself."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from tests.cli.children import OTELIER, run, without


def test_help_lists_the_commands():
    """Without a command, and with `--help`, one sees what there is."""
    done = run(OTELIER, "--help")
    assert done.returncode == 0
    commands = (
        "demo",
        "doctor",
        "worker",
        "runs",
        "show",
        "approvals",
        "approve",
        "reject",
        "signal",
        "cancel",
        "resume",
    )
    assert [one for one in commands if f" {one} " not in done.stdout] == []


def test_version():
    """`otelier --version` says the installed version."""
    done = run(OTELIER, "--version")
    assert (done.returncode, done.stdout) == (0, f"otelier {version('otelier')}\n")


@pytest.mark.parametrize(
    ("blocked", "command", "line"),
    [
        ("typer", "--help", 'pip install "otelier[cli]"'),
        ("rich", "doctor", 'pip install "otelier[cli]"'),
        ("fastapi", "demo", 'pip install "otelier[demo]"'),
        ("httpx", "demo", 'pip install "otelier[demo]"'),
        ("opentelemetry.instrumentation.fastapi", "demo", 'pip install "otelier[demo]"'),
    ],
)
def test_a_missing_extra_is_one_line(blocked, command, line):
    """What is missing is named with the line that installs it; there is no traceback."""
    done = run(*without(blocked), command)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"otelier: {blocked} is not installed. Run: {line}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_output_that_cannot_be_written_is_one_line():
    """A full disk under the output is told in one line, and a closed output is none: there is no traceback."""
    for command in ("--version > /dev/full", "--help > /dev/full", "--version >&-"):
        done = run("sh", "-c", f"exec {OTELIER} {command}")
        assert "Traceback" not in done.stderr, done.stderr
        if "full" in command:
            assert (done.returncode, done.stderr) == (
                1,
                "otelier: Cannot write the output: No space left on device.\n",
            )
