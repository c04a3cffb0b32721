"""What the doctor says of the runs of the engine."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from otelier.cli.doctor._findings import Finding
from otelier.cli.doctor._workflows import workflows
from otelier.workflows import Client, Worker
from otelier.workflows.engines.local import attendance
from tests.cli.children import run
from tests.cli.working import ROOT, working
from tests.waiting import until
from tests.workflows.shop import paid


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that `OTELIER_ENGINE` names, which is not there yet."""
    path = tmp_path / "runs.db"
    monkeypatch.setenv("OTELIER_ENGINE", f"file:{path}")
    return path


@pytest.fixture
def asking(kept: Path) -> Path:
    """A file with a run that waits for a decision, and nobody who drives it."""
    with working(kept):
        client = Client(f"file:{kept}")
        asyncio.run(client.start("shop", "order", "o-1", workflow_id="secret-customer"))
        until(lambda: asyncio.run(client.run("secret-customer")).health == "waiting approval")
    return kept


def told() -> list[str]:
    return [finding.what for finding in workflows()]


def warnings() -> list[Finding]:
    return [finding for finding in workflows() if finding.severity in ("warning", "error")]


def change(path: Path, sql: str, *args: Any) -> None:
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute(sql, args)


def test_without_a_file_nothing_is_wrong_and_none_is_made(kept, tmp_path, monkeypatch):
    """There may be no workflows at all; those in memory are out of reach."""
    (finding,) = workflows()
    assert (finding.severity, list(tmp_path.iterdir())) == ("note", [])
    assert str(kept) in finding.what
    monkeypatch.setenv("OTELIER_ENGINE", "memory:")
    assert told() == ["runs are kept in memory"]
    monkeypatch.delenv("OTELIER_ENGINE")
    monkeypatch.chdir(tmp_path)
    assert told() == []


@pytest.mark.parametrize("engine", ["elsewhere", f"file:{ROOT}", f"file:{__file__}"])
def test_an_engine_that_cannot_be_used_is_an_error(engine, monkeypatch):
    """With the reason and the name of the variable."""
    monkeypatch.setenv("OTELIER_ENGINE", engine)
    (finding,) = workflows()
    assert finding.severity == "error"
    assert finding.why
    assert "OTELIER_ENGINE" in str(finding.do)


def test_who_drives_and_who_stands_by(kept):
    """By process, so that they can be found; with the number of open runs there is no warning."""
    with working(kept) as driver:
        assert told()[:2] == [
            f"runs are kept in file:{kept.resolve()}",
            f"the worker of process {driver.pid} drives the runs; none stands by",
        ]
        with working(kept) as other:
            until(lambda: f"; process {other.pid} stands by" in told()[1])
    assert told()[1] == "no worker drives the runs"
    assert not warnings()


def test_open_runs_without_a_worker_are_a_warning(asking):
    """With what stands still, the oldest decision that is waited for, and no id of a run."""
    found = list(workflows())
    shown = [finding.what for finding in found]
    assert shown[1] == "no worker drives the runs, and 1 run is open"
    assert shown[2:4] == [
        "open runs: 1 waiting approval",
        "they were started by code of these versions: 1 of version 1",
    ]
    assert shown[4].startswith("1 decision is waited for, the oldest for ")
    assert "; the next expires in " in shown[4]
    assert shown[5] == "no recorded time is ahead of the clock"
    assert "secret-customer" not in str(found)
    assert [finding.do for finding in warnings()] == ["Start one: otelier worker MODULE"]


def test_blocked_runs_are_a_warning(asking):
    """With the commands that show why, and let them go on."""
    change(asking, "UPDATE run SET state='blocked' WHERE id='secret-customer'")
    _, finding = warnings()
    assert finding.what == "1 run is blocked"
    assert "otelier runs --health blocked" in str(finding.do)


def test_a_clock_that_was_set_back_is_a_warning(asking):
    """Recorded times that are to come say that waits end late."""
    change(asking, "UPDATE run SET began=began+3600*1000000000 WHERE id='secret-customer'")
    finding = warnings()[-1]
    assert finding.what.startswith("recorded times are ")
    assert finding.what.endswith("ahead of this machine's clock")


_LOOK = """
import pathlib, sys
from otelier.workflows.engines.local import attendance
print(attendance(pathlib.Path(sys.argv[1])))
"""


def test_a_diagnosis_keeps_the_lock_of_a_worker_in_this_process(kept):
    """Looking at the lock does not give it back, which would let another process drive the file as well."""

    async def serve() -> str:
        async with Worker("shop", modules=[paid], engine=f"file:{kept}"):
            assert attendance(kept.resolve()).is_driven
            return (await asyncio.to_thread(run, sys.executable, "-c", _LOOK, str(kept.resolve()))).stdout

    told = asyncio.run(serve())
    assert told.startswith("Attendance(is_driven=True"), told
