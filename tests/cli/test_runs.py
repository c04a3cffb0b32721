"""`otelier runs`, `show`, `approvals` and the verbs: runs, seen and told from outside."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from otelier.cli import _steps
from otelier.cli._commands import app
from otelier.workflows import Client
from tests.cli.children import OTELIER, run
from tests.cli.working import engine_of, refusal, working
from tests.waiting import until


class Shop:
    """A file or an engine with runs, and the commands on it."""

    def __init__(self, place: Path | str) -> None:
        self.engine = engine_of(place)
        self.client = Client(self.engine)

    def otelier(self, *arguments: str, stdin: str = "") -> Any:
        """Run a command in this process."""
        return CliRunner().invoke(app, [*arguments, "--engine", self.engine], input=stdin)

    def out(self, *arguments: str, stdin: str = "") -> str:
        """What a command prints that ends well."""
        done = self.otelier(*arguments, stdin=stdin)
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    def data(self, *arguments: str) -> Any:
        """What a command prints as JSON."""
        return json.loads(self.out(*arguments, "--json"))

    def start(self, handler: str, workflow_id: str, input: Any = None, service: str = "shop") -> None:
        asyncio.run(self.client.start(service, handler, input, workflow_id=workflow_id))

    def has(self, workflow_id: str, health: str) -> None:
        """Wait until a run has a health."""
        until(lambda: asyncio.run(self.client.run(workflow_id)).health == health, every_s=0.02)


@pytest.fixture(scope="module", params=["file", pytest.param("restate", marks=pytest.mark.restate)])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Runs of each kind, and a worker beside."""
    place: Path | str = tmp_path_factory.mktemp("runs") / "runs.db"
    if request.param == "restate":
        server = request.getfixturevalue("started_restate")
        server.empty()
        place = server.address
    with working(place):
        shop = Shop(place)
        for name in ("refund-1", "refund-2"):
            shop.start("order", name, "o-1")
            shop.has(name, "waiting approval")
        shop.start("paid", "waits")
        shop.start("broken", "breaks")
        shop.start("paid", "stops")
        shop.has("stops", "waiting")
        asyncio.run(shop.client.cancel("stops"))
        shop.start("charge", "charges", service="bank")
        for name, health in (
            *(("waits", "waiting"), ("breaks", "failed"), ("stops", "cancelled"), ("charges", "completed")),
        ):
            shop.has(name, health)
        yield shop


def ids(found: Any) -> list[str]:
    return [one["workflow_id"] for one in found]


def test_runs_that_need_somebody_come_first(shop):
    """Those that wait for a person, then the waiting ones, then the ended ones: failed, cancelled, completed."""
    assert ids(shop.data("runs")) == [
        *("refund-2", "refund-1", "waits", "breaks", "stops"),
        *("charges", "refund-2.1", "refund-1.1"),
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--status", "waiting"], ["refund-2", "refund-1", "waits"]),
        (["--health", "waiting approval"], ["refund-2", "refund-1"]),
        (["--health", "failed"], ["breaks"]),
        (["--service", "bank"], ["charges"]),
        (["--handler", "paid"], ["waits", "stops"]),
        (["--limit", "1"], ["refund-2"]),
        (["--older", "1h"], []),
        (["--older", "0s", "--handler", "charge"], ["charges"]),
    ],
)
def test_runs_are_chosen(shop, arguments, expected):
    """By status, service, health, handler and age, at most as many as are asked for."""
    assert ids(shop.data("runs", *arguments)) == expected


def test_a_list_tells_what_a_run_failed_with(shop):
    """A line for each run, and the first line of the error, without what would move the cursor."""
    shown = shop.out("runs")
    assert "waiting approval refund-1" in shown
    assert "→ RuntimeError: it broke�[2J" in shown
    assert "\x1b" not in shown


def test_filters_that_match_nothing_say_so(shop):
    """With all that was asked for, so that a wrong word is seen, and beside an empty output."""
    done = shop.otelier("runs", "--service", "nobody", "--health", "retrying", "--older", "1h")
    told = "otelier: There are no runs with health 'retrying', service 'nobody', an age of more than 1 h 0 min.\n"
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", told)
    done = shop.otelier("runs", "--service", "nobody", "--json")
    told = "otelier: There are no runs with service 'nobody'.\n"
    assert (done.exit_code, json.loads(done.stdout), done.stderr) == (0, [], told)


def test_lists_fit_80_columns(shop, monkeypatch):
    """Nothing is longer than an old terminal is wide."""
    monkeypatch.setattr(_steps, "_WIDTH", 80)
    for arguments in (["runs"], ["approvals"], ["show", "refund-1", "--tree"], ["show", "breaks"]):
        assert [line for line in shop.out(*arguments).splitlines() if len(line) > 80] == []


def test_show_cuts_no_error(shop, monkeypatch):
    """An error says at its end what to do, so it takes as many lines as it needs."""
    monkeypatch.setattr(_steps, "_WIDTH", 20)
    assert "→ RuntimeError: it broke�[2J" in " ".join(shop.out("show", "breaks").split())


def test_show_has_a_line_for_each_step_and_attempt(shop):
    """Bars for what was done and waited for, each failed attempt with its error, and what the run waits for."""
    shown = shop.out("show", "refund-1", "--tree")
    lines = shown.splitlines()
    assert lines[0] == "refund-1  waiting approval"
    assert lines[1].startswith("shop/order, version 1, began 20")
    starts = [line.split("█")[0].split("░")[0].split("  ")[0].rstrip() for line in lines[2:]]
    assert starts[0] == "✓ charge"
    assert starts[1] == "✓ call shop/ship"
    assert any(line.startswith("✗   load") for line in lines)
    assert "    → ValueError: no truck" in lines
    assert any(line.startswith("✓   load, attempt 2") for line in lines)
    assert any(line.startswith("… approval refund") for line in lines)
    assert lines[-1].startswith("waits for approval refund until 20")
    assert "ship" not in "".join(line for line in shop.out("show", "waits").splitlines())


def test_show_tells_how_a_run_ended(shop):
    """Its result, or what it failed with."""
    assert shop.out("show", "charges").endswith('→ "charged"\n')
    assert "→ RuntimeError: it broke" in shop.out("show", "breaks")


def test_show_as_json_has_the_steps(shop):
    """Names, kinds, times and errors, and the runs that it called where those are asked for."""
    found = shop.data("show", "refund-1", "--tree")
    assert (found["workflow_id"], found["health"]) == ("refund-1", "waiting approval")
    assert [(one["name"], one["kind"]) for one in found["steps"]] == [
        *(("charge", "step"), ("shop/ship", "call"), ("refund", "approval")),
    ]
    (child,) = found["children"]
    assert [one["error"] for one in child["steps"] if one["kind"] == "step"] == ["ValueError: no truck", None]
    assert "children" not in shop.data("show", "refund-1")


def test_approvals_lists_what_is_asked_for(shop):
    """With its payload, deadline and roles, as lines and as JSON."""
    found = shop.data("approvals")
    assert sorted(ids(found)) == ["refund-1", "refund-2"]
    assert {(one["name"], *one["required_roles"]) for one in found} == {("refund", "admin")}
    shown = shop.out("approvals")
    assert "shop/order, expires in 1 h 59 min, needs admin" in shown
    assert '{"order": "o-1"}' in shown


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["runs", "--health", "nice"], ["'nice'", "waiting approval"]),
        (["runs", "--status", "lost"], ["'lost'", "blocked"]),
        (["runs", "--older", "soon"], ["'soon'", "1h"]),
        (["runs", "--older", "9" * 400 + "d"], ["as a time"]),
        (["runs", "--limit", "0"], ["0", "10,000"]),
        (["runs", "--service", "x" * 300], ["a service's name"]),
        (["show", "nope"], ["There is no run 'nope'"]),
        (["show", "a\x1b[2Jb"], ["printable"]),
        (["signal", "r", "--name", "paid", "--payload", "paid"], ["--payload", "quotes"]),
        (["signal", "r", "--name", "otelier.approval/0/x"], ["Client.approve"]),
        (["signal", "r", "--name", "x", "--payload", f'"{"x" * 99_999}"' + " " * 10], ["There is no run 'r'"]),
        (["approve", "-", "--name", "refund"], ["no workflow id"]),
        (["approve", "r", "--name", ""], ["an approval's name"]),
        (["approve", "r", "--name", "x", "--comment", "x" * 10_001], ["10,000"]),
        (["cancel", *map(str, range(10_001))], ["10,000"]),
    ],
)
def test_bad_input_is_one_line(shop, arguments, parts, monkeypatch, capsys):
    """What is wrong is told in a line, with exit code 1 and no traceback."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    told = refusal(monkeypatch, capsys, *arguments, "--engine", shop.engine)
    assert "\x1b" not in told
    assert [part for part in parts if part not in told] == []


@pytest.mark.parametrize(
    ("engine", "parts"),
    [
        ("memory:", ["file:PATH", "--engine"]),
        ("file:nowhere/runs.db", ["nowhere/runs.db", "no such file"]),
        ("file:/", ["There are no runs in /: that is a folder"]),
        ("elsewhere", ["'elsewhere'"]),
        (f"file:{__file__}", ["not a database"]),
    ],
)
def test_an_engine_that_cannot_be_looked_at_is_one_line(engine, parts, tmp_path, monkeypatch, capsys):
    """No file is made by looking for one."""
    monkeypatch.chdir(tmp_path)
    told = refusal(monkeypatch, capsys, "runs", "--engine", engine)
    assert [part for part in parts if part not in told] == []
    assert list(tmp_path.iterdir()) == []


def test_the_engine_is_that_of_the_environment(shop):
    """`OTELIER_ENGINE` stands for `--engine`."""
    done = run(OTELIER, "approvals", OTELIER_ENGINE=shop.engine)
    assert (done.returncode, done.stderr) == (0, "")
    assert "refund-1  refund" in done.stdout
