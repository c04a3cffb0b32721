"""Beside logfire, whose providers stand for others, have no hash, and get something else to stand for."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.beside.conftest import PROGRAMS
from tests.programs import environment

pytestmark = pytest.mark.beside


@pytest.mark.parametrize(
    "steps",
    [["logfire", "otelier"], ["otelier", "logfire"], ["logfire", "otelier", "logfire", "otelier"]],
    ids=["logfire first", "otelier first", "both again"],
)
def test_every_signal_carries_the_fields(folder, steps):
    """In whatever order both are switched on, spans and log records carry user and agent, and nothing fails."""
    command = [str(folder / "env/bin/python"), str(PROGRAMS / "logfire_shop.py"), *steps]
    variables = environment(PYTHONPATH=str(folder / "installed/otelier"), LOGFIRE_IGNORE_NO_CONFIG="1")
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [[["u-1", "agent"]] * 3, True]
    assert "otelier failed" not in done.stderr
