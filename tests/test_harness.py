"""What `conftest.py` does for every test, tried on itself, and that every test can fail."""

from __future__ import annotations

import ast
import contextvars
import logging
import os
import socket
from pathlib import Path

import pytest
from opentelemetry.context import Context, attach, detach

from otelier.faults import report_fault


def test_no_connection_leaves_the_machine():
    """An address of the documentation's own is refused before anything is sent, whatever the code catches."""
    with socket.socket() as client, pytest.raises(pytest.fail.Exception, match="only this machine"):
        client.connect(("192.0.2.1", 80))


def test_loopback_is_allowed():
    """Servers of a test's own are reached."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=5) as client,
    ):
        assert client.getpeername() == server.getsockname()


def test_a_fault_is_raised():
    """What a user would find in the log fails the test that causes it."""
    with pytest.raises(KeyError):
        report_fault("tests.harness", KeyError("x"))


def test_a_foreign_detach_is_seen(foreign_detaches):
    """OpenTelemetry logs a token of another context; the record is caught with its cause."""
    token = contextvars.copy_context().run(attach, Context())
    detach(token)
    assert [record.name for record in foreign_detaches] == ["opentelemetry.context"]
    logging.getLogger("app").error("Token was created in a different Context")
    assert len(foreign_detaches) == 2
    foreign_detaches.clear()


def test_the_shells_environment_is_not_part_of_a_test():
    """No variable of telemetry or of models is set when a test starts."""
    assert [name for name in os.environ if name.startswith(("OTEL_", "OTELIER_", "OPENAI_"))] == []


# --- tests that can fail ---------------------------------------------------------------------------------------
CHECKS = {"raises", "warns", "fail", "assert_outcomes", "fnmatch_lines"}
"""Calls of pytest's that fail a test."""


def test_every_test_can_fail():
    """Each test asserts something, by itself or by a function of the tests that it calls."""
    functions: list[tuple[str, set[str], bool]] = []
    """Name of each function, names of what it calls, and whether it asserts by itself."""
    for path in Path(__file__).parent.rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                nodes = list(ast.walk(function))
                called = [node.func for node in nodes if isinstance(node, ast.Call)]
                names = {one.attr if isinstance(one, ast.Attribute) else getattr(one, "id", "") for one in called}
                functions.append((function.name, names, any(isinstance(node, ast.Assert) for node in nodes)))
    checks: set[str] = set()
    found = CHECKS | {name for name, _, asserts in functions if asserts}
    while found != checks:
        checks = found
        found = checks | {name for name, names, _ in functions if names & checks}
    tests = [one for one in functions if one[0].startswith("test_")]
    assert len(tests) > 1_000
    assert [name for name, names, asserts in tests if not asserts and not names & checks] == []
