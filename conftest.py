"""What holds for every test and for every example in docs and docstrings.

No connection leaves the machine, nothing is set when a test starts, faults of otelier are raised instead of being
logged, and OpenTelemetry never logs that a token was used in a "different Context".
"""

from __future__ import annotations

import gc
import ipaddress
import logging
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from opentelemetry.context import Context, attach, detach
from sybil import Document, Example, Region, Sybil
from sybil.integration.pytest import SybilItem
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser
from sybil.parsers.rest import DocTestParser

from otelier.faults import raise_faults, run_resets
from otelier.testing import OpenAIServer, SpanRecorder
from otelier.testing._global_providers import as_global_providers

ROOT = Path(__file__).parent


# --- the network -----------------------------------------------------------------------------------------------
def _stays_here(address: Any) -> bool:
    if not isinstance(address, tuple):
        return True  # a unix socket
    try:
        return ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        return address[0] == "localhost"


def _guarded(connect: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(self: socket.socket, address: Any) -> Any:
        if not _stays_here(address):
            pytest.fail(
                f"A test connects to {address!r}; only this machine is allowed. Use `otelier.testing`'s servers."
            )
        return connect(self, address)

    return guarded


@pytest.fixture(autouse=True, scope="session")
def network_off() -> Iterator[None]:
    """Refuse connections to other machines; what C code such as gRPC opens by itself is not seen."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
        yield


# --- the garbage collector -------------------------------------------------------------------------------------
def _forget() -> None:
    """Collect what is garbage, and take the rest, which lives to the end, out of the collector's sight.

    To walk through half a million objects takes a quarter of a second, and many tests ask for a collection.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Do not look for garbage among what pytest collects: there is none."""
    gc.disable()
    try:
        return (yield)
    finally:
        _forget()
        gc.enable()


@pytest.fixture
def quiet_faults() -> Iterator[None]:
    """Let faults be logged and counted, as they are outside our own tests."""
    raise_faults(False)
    yield
    raise_faults(True)


@pytest.fixture(autouse=True, scope="module")
def collected() -> Iterator[None]:
    """What a module leaves behind is collected at its end: what was not closed fails it, and not another."""
    yield
    _forget()


# --- a clean start ---------------------------------------------------------------------------------------------
@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer's shell says about telemetry and models is not part of a test."""
    for variable in list(os.environ):
        if variable.startswith(("OTEL_", "OTELIER_", "OPENAI_")):
            monkeypatch.delenv(variable)


@pytest.fixture(autouse=True)
def empty_context() -> Iterator[None]:
    """Each test starts with nothing set, leaves nothing behind, and sees every fault of ours."""
    run_resets()
    raise_faults(True)
    token = attach(Context())
    yield
    detach(token)
    raise_faults(False)
    run_resets()


class _Detaches(logging.Handler):
    """Keeps the records that tell of a token used in another context."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        cause = record.exc_info[1] if record.exc_info else None
        told = f"{record.getMessage()} {cause}"
        if "different Context" in told and record not in self.records:
            self.records.append(record)


@pytest.fixture(autouse=True)
def foreign_detaches() -> Iterator[list[logging.LogRecord]]:
    """Fail a test in which anything logged "different Context"; one that means it empties the list."""
    handler = _Detaches()
    loggers = [logging.getLogger(), logging.getLogger("opentelemetry.context")]
    for logger in loggers:
        logger.addHandler(handler)
    yield handler.records
    for logger in loggers:
        logger.removeHandler(handler)
    assert [record.getMessage() for record in handler.records] == []


# --- docs as tests ---------------------------------------------------------------------------------------------
_left: list[dict[str, Any]] = []
"""What documents made, such as clients that they do not close: it lives as long as the tests."""


def _open_document(namespace: dict[str, Any]) -> None:
    """Give a document a context, global providers, a model and a file of runs of its own; its blocks share them.

    A worker that got more of a document's examples later begins it anew.
    """
    _left.append(dict(namespace))
    namespace["_done"] = set()
    stack = namespace["_stack"] = ExitStack()
    namespace.setdefault("__name__", "page")  # the module of what it defines
    run_resets()
    raise_faults(True)
    stack.callback(run_resets)
    stack.callback(raise_faults, False)
    stack.callback(detach, attach(Context()))
    patch = stack.enter_context(pytest.MonkeyPatch.context())
    recorder = namespace["_recorder"] = SpanRecorder()
    stack.enter_context(as_global_providers(recorder))
    server = stack.enter_context(OpenAIServer())
    patch.setenv("OPENAI_BASE_URL", server.base_url)
    patch.setenv("OPENAI_API_KEY", "sk-none")
    folder = stack.enter_context(TemporaryDirectory())
    patch.setenv("OTELIER_ENGINE", f"file:{Path(folder) / 'runs.db'}")  # the default would leave a file in the checkout


def _close_document(namespace: dict[str, Any]) -> None:
    """End what the document began; a worker that gets more of its examples later begins it anew."""
    namespace.pop("_stack").close()
    for value in namespace.values():
        if isinstance(value, TemporaryDirectory):
            value.cleanup()


class _TraceParser(CodeBlockParser):
    """A block ```trace ATTRIBUTE …` shows the spans of the blocks before it, down to the last such block."""

    def __init__(self) -> None:
        super().__init__("trace")

    def __call__(self, document: Document) -> Iterator[Region]:
        for region in self.lexers(document):
            language, *attributes = region.lexemes["arguments"].split()
            if language == self.language:
                region.parsed = (attributes, region.lexemes["source"])
                region.evaluator = self.evaluate
                yield region

    def evaluate(self, example: Example) -> None:
        attributes, shown = example.parsed
        recorder = example.namespace["_recorder"]
        assert recorder.tree(*attributes) == shown.rstrip()
        recorder.clear()


def _check_shell(example: Example) -> None:
    """Look at a shell block without running it: it parses, and our commands and files in it exist."""
    commands = "\n".join(line.removeprefix("$ ") for line in example.parsed.splitlines())
    parsed = subprocess.run(["bash", "-n"], input=commands, capture_output=True, text=True, check=False)
    assert parsed.returncode == 0, parsed.stderr
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", commands)) <= targets
    for path in re.findall(r"(?<![\w./-])(?:scripts|examples|docs|collector-config)/[\w./-]+", commands):
        assert (ROOT / path).exists(), path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Let an example find what the examples before it made, also where another worker ran those."""
    if isinstance(item, SybilItem):
        done = item.example.namespace["_done"]
        for example in item.example.document.examples():
            if example.line == item.example.line:
                break
            if example.line not in done:
                example.evaluate()
                done.add(example.line)
        done.add(item.example.line)
    return (yield)


_pages = Sybil(
    parsers=[PythonCodeBlockParser(), _TraceParser(), CodeBlockParser("shell", _check_shell)],
    patterns=["docs/*.md", "docs/**/*.md", "README.md", "CONTRIBUTING.md"],
    setup=_open_document,
    teardown=_close_document,
    fixtures=["network_off", "foreign_detaches"],
)
_docstrings = Sybil(
    parsers=[DocTestParser()],
    # `**` is one folder to `Path.match`, and a pattern is matched from the right.
    patterns=["src/*/*.py", "src/*/*/*.py", "src/*/*/*/*.py", "src/*/*/*/*/*.py"],
    setup=_open_document,
    teardown=_close_document,
    fixtures=["network_off", "foreign_detaches"],
)
pytest_collect_file = (_pages + _docstrings).pytest()
