"""`--watch`, the link to a run's trace, and lists in terminals, narrow and without colours, and in pipes that close."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from rich.cells import cell_len

from otelier.cli import _steps
from otelier.cli.runs import _watch
from otelier.workflows import Client, Worker
from tests.cli.children import OTELIER, environment, run
from tests.cli.test_runs import Shop
from tests.workflows.restating import free_port
from tests.workflows.shop import order, paid, ship
from tests.workflows.working import until

REFUND = "a-refund-with-a-rather-long-workflow-id"


@pytest.fixture(scope="module", params=["file", pytest.param("restate", marks=pytest.mark.restate)])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A run that waits for a decision, one for a signal, and one that has ended; nobody drives them."""
    place: Path | str = tmp_path_factory.mktemp("watch") / "runs.db"
    if request.param == "restate":
        server = request.getfixturevalue("started_restate")
        server.empty()
        place = server.address
    shop = Shop(place)

    async def fill() -> None:
        async with Worker("shop", modules=[order, paid, ship], engine=shop.engine) as worker:
            for name in ("waits", "ends"):
                await worker.start(paid, workflow_id=name)
            await shop.client.signal("ends", "paid")
            await (await worker.start(paid, workflow_id="ends")).result(60)
            await worker.start(order, "o-1", workflow_id=REFUND)
            await waits_for(shop.client, REFUND)

    async def waits_for(client: Client, run_id: str) -> None:
        async def asks() -> bool:
            return (await client.run(run_id)).health == "waiting approval"

        await until(asks)

    with patch.dict(os.environ, {"OTELIER_WORKER_BIND": f"127.0.0.1:{free_port()}"}):
        asyncio.run(fill())
    return shop


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C after the third look, and no time between them."""
    times = iter(range(2))

    def sleep(_: float) -> None:
        if next(times, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(_watch.time, "sleep", sleep)


# --- watching --------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("looks")
@pytest.mark.parametrize("command", [["runs"], ["approvals"], ["show", "waits"]])
def test_what_is_watched_in_a_pipe_is_printed_anew(shop, command):
    """Each look is what the command prints without it, after an empty line; Ctrl-C ends it without a word."""
    done = shop.otelier(*command, "--watch")
    assert (done.exit_code, done.stderr) == (0, "")
    pages = done.stdout.split("\n\n")
    assert len(pages) == 3
    first = shop.out(*command)[:16]
    assert all(page.startswith(first) for page in pages)


@pytest.mark.usefixtures("looks")
def test_json_that_is_watched_is_one_document_for_each_look(shop):
    """They can be read one after the other."""
    text, found, decoder = shop.otelier("runs", "--json", "--watch").stdout, [], json.JSONDecoder()
    while text := text.strip():
        one, end = decoder.raw_decode(text)
        found.append(one)
        text = text[end:]
    assert len(found) == 3
    assert found[0] == shop.data("runs")


@pytest.mark.usefixtures("looks")
def test_watching_a_run_ends_with_it(shop):
    """There is nothing more to see."""
    assert shop.out("show", "ends", "--watch") == shop.out("show", "ends")


class Terminal:
    """A command in a terminal."""

    def __init__(self, columns: int, *command: str, **given: str) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 20, columns, 0, 0))
        kept = {name: value for name, value in environment(**given).items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [OTELIER, *command],
            env={"TERM": "xterm-256color", **kept},
            **dict.fromkeys(("stdin", "stdout", "stderr"), theirs),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self._ours = ours
        self.text = ""

    def until(self, text: str, times: int = 1) -> None:
        """Read until *text* was shown so often."""
        while self.text.count(text) < times:
            assert self._read(), self.text

    def _read(self) -> bool:
        try:
            read = os.read(self._ours, 65_536)
        except OSError:  # how Linux tells the end
            return False
        self.text += read.decode()
        return bool(read)

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def end(self) -> int:
        """Read to the end, and return the exit code."""
        while self._read():
            pass
        return self.process.wait()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@contextmanager
def terminal(columns: int, *command: str, **given: str) -> Iterator[Terminal]:
    made = Terminal(columns, *command, **given)
    try:
        yield made
    finally:
        made.close()


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


def test_a_terminal_is_redrawn_in_place(shop):
    """Each picture is written over the former one, the cursor is hidden and comes back, and Ctrl-C is no error."""
    with terminal(60, "runs", "--watch", "--engine", shop.engine) as shown:
        shown.until("Ctrl-C ends it.", times=2)
        shown.type("\x03")
        assert shown.end() == 0
    assert "\x1b[?25l" in shown.text
    assert shown.text.rindex("\x1b[?25h") > shown.text.rindex("Ctrl-C ends it.")
    _, second = plain(shown.text.replace("\x1b[2K", "\x00")).split("\x00", 1)
    assert "waiting approval" in second
    assert "Traceback" not in shown.text
    assert "Aborted" not in shown.text


# --- narrow, plain, closed -------------------------------------------------------------------------------------
@pytest.mark.parametrize("columns", [60, 40])
@pytest.mark.parametrize("command", [["runs"], ["approvals"], ["show", "waits"], ["show", "REFUND", "--tree"]])
def test_lists_fit_narrow_terminals(shop, command, columns, monkeypatch):
    """No line is longer than the terminal is wide; ids are not cut, since people copy them."""
    monkeypatch.setattr(_steps, "_WIDTH", columns)
    lines = shop.out(*(one.replace("REFUND", REFUND) for one in command)).splitlines()
    if columns == 60:
        assert [line for line in lines if cell_len(line) > columns] == []
    if "waits" not in command:
        assert REFUND in "\n".join(lines)


def test_without_colours(shop):
    """`NO_COLOR` leaves no colour in a terminal."""
    with terminal(80, "runs", "--engine", shop.engine, NO_COLOR="1") as shown:
        assert shown.end() == 0
    assert "waiting approval" in shown.text
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", shown.text)
    with terminal(80, "runs", "--engine", shop.engine) as shown:
        assert shown.end() == 0
    assert re.search(r"\x1b\[[0-9;]*3[0-9]", shown.text)


@pytest.mark.parametrize("command", [["runs"], ["runs", "--json"], ["approvals", "--watch"]])
def test_a_pipe_that_closes_ends_a_command_quietly(shop, command):
    """Such as by `| head -1`."""
    done = run("bash", "-c", f'"{OTELIER}" {" ".join(command)} --engine "{shop.engine}" | head -c 1')
    assert (len(done.stdout), done.stderr) == (1, "")


@pytest.mark.parametrize("command", [["runs"], ["approvals"], ["show", REFUND, "--tree"]])
def test_a_terminal_of_60_columns_wraps_no_line(shop, command):
    """In a terminal, which tells its own width."""
    with terminal(60, *command, "--engine", shop.engine) as shown:
        assert shown.end() == 0
    lines = plain(shown.text).replace("\r", "\n").split("\n")
    assert any(REFUND in line for line in lines)
    assert [line for line in lines if cell_len(line) > 60] == []


# --- the link to the trace -------------------------------------------------------------------------------------
def test_show_links_to_the_trace(shop, monkeypatch):
    """`OTELIER_TRACE_URL` with the id that its spans have; without it there is no link, and the id is in the JSON."""
    assert "http" not in shop.out("show", "waits")
    found: Any = shop.data("show", "waits")
    assert (len(found["trace_id"]), found["trace_url"]) == (32, None)
    monkeypatch.setenv("OTELIER_TRACE_URL", "http://localhost:16686/trace/{trace_id}")
    link = f"http://localhost:16686/trace/{found['trace_id']}"
    assert link in shop.out("show", "waits").splitlines()
    assert shop.data("show", "waits")["trace_url"] == link


def test_a_link_without_a_place_for_the_trace_is_refused(shop, monkeypatch):
    """With what it is to look like."""
    monkeypatch.setenv("OTELIER_TRACE_URL", "http://localhost:16686")
    done = shop.otelier("show", "waits")
    assert "{trace_id}" in str(done.exception)
