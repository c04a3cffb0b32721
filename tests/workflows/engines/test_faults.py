"""Faults of the store: no outcome, bodies left, and all goes on from the last commit."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from otelier.errors import EngineError
from otelier.workflows.engines.local import LocalEngine
from otelier.workflows.engines.local._store import FileStore
from otelier.workflows.engines.protocol import Run, Target
from tests.workflows.engines.serving import DEADLINE_S, Handlers, on_a_loop, opened, serving, until, waits_for

FLOW = Target("shop", "flow")
COUNTED: list[str] = []


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Places of the faults that were counted."""
    COUNTED.clear()
    monkeypatch.setattr("otelier.workflows.engines.local._driver.count_fault", COUNTED.append)
    return COUNTED


async def limit_pages(engine: LocalEngine, more: int | None) -> None:
    """Let the file grow by so many pages; `None` takes the limit away."""

    def job(tx: Any) -> None:
        pages = tx.conn.execute("PRAGMA page_count").fetchone()[0]
        tx.conn.execute(f"PRAGMA max_page_count={pages + more if more is not None else 2**30}")

    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    engine._store.submit(asyncio.get_running_loop(), lambda *_: done.set_result(None), job)
    await done


async def flow(run: Run, payload: Any) -> Any:
    found: list[Any] = []
    for number in range(20):

        async def body(number: int = number) -> Any:
            return [number, "x" * 500]

        try:
            found.append((await run.step(f"s{number}", body))[0])
        except Exception:
            found.append("an Exception")
    await run.signal("go", None)
    return found


@on_a_loop
async def test_a_disk_that_fills_up_ends_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """While a disk is full bodies are left, once told; when it has space again all runs end right."""
    handlers = Handlers()
    handlers.add(flow)
    with caplog.at_level(logging.ERROR, "otelier"):
        async with opened(str(tmp_path / "runs.db"), retry_s=0.05) as engine, serving(engine, handlers):
            await engine.start(FLOW, None, {}, run_id="before")
            await waits_for(engine, "before")
            await limit_pages(engine, 10)
            runs = ["before"]
            with pytest.raises(EngineError, match=r"runs\.db.*full"):
                await _start_many(engine, runs)
            await until(lambda: caplog.records)
            # A fresh connection has no limit: the disk has space again.
            for run_id in runs:
                await until(lambda run_id=run_id: _signalled(engine, run_id))
            outcomes = await asyncio.gather(*(engine.result(run_id, 60) for run_id in runs))
            assert outcomes == [[True, list(range(20))]] * len(runs)
    (record,) = caplog.records
    assert str(tmp_path / "runs.db") in record.getMessage()
    assert set(COUNTED) == {"workflows.store"}


async def _start_many(engine: LocalEngine, runs: list[str]) -> None:
    while True:
        await engine.start(FLOW, None, {}, run_id=f"r{len(runs)}")
        runs.append(f"r{len(runs)}")


async def _signalled(engine: LocalEngine, run_id: str) -> bool:
    try:
        await engine.signal(run_id, "go", None)
    except EngineError:
        return False
    return True


@on_a_loop
async def test_a_file_that_is_locked_for_too_long_parks_the_bodies(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Another program that keeps the file locked delays the runs, and none of their steps fails."""
    path, handlers = tmp_path / "runs.db", Handlers()
    handlers.add(flow)
    with caplog.at_level(logging.ERROR, "otelier"):
        async with opened(str(path), retry_s=0.05, busy_s=0.05) as engine, serving(engine, handlers):
            await engine.start(FLOW, None, {}, run_id="r")
            await waits_for(engine, "r")
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(EngineError, match="locked"):
                await engine.start(FLOW, None, {}, run_id="refused")
            await until(lambda: len(COUNTED) > 2)
            other.execute("COMMIT")
            other.close()
            await until(lambda: _signalled(engine, "r"))
            assert await engine.result("r", 60) == [True, list(range(20))]
    assert len(caplog.records) == 1


@on_a_loop
async def test_a_fault_while_a_step_runs_is_no_outcome_of_it(tmp_path: Path):
    """A step that ends while nothing can be written is begun again, and told as that."""
    path, handlers, gate, seen = tmp_path / "runs.db", Handlers(), asyncio.Event(), list[int]()

    async def one(run: Run, payload: Any) -> Any:
        async def body() -> Any:
            await gate.wait()
            return "done"

        op = run.step("slow", body)
        op.start()
        seen.append(op.executions)
        return [await op, len(run.recovered_ns)]

    target = handlers.add(one)
    async with opened(str(path), retry_s=0.05, busy_s=0.05) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")

        async def is_begun() -> bool:
            return len((await engine.run("r")).steps) == 1

        await until(is_begun)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        gate.set()
        await until(lambda: COUNTED)
        other.execute("COMMIT")
        other.close()
        assert await engine.result("r", 60) == [True, ["done", 1]]
    assert seen == [1, 2]


@on_a_loop
async def test_faults_of_the_store_are_no_failed_lives(tmp_path: Path):
    """A body that a fault of the store left again and again is not blocked for it, as one that ends its process is."""
    path, handlers = tmp_path / "runs.db", Handlers()
    handlers.add(flow)
    async with opened(str(path), retry_s=0.01, max_lives=2) as engine:
        await engine.start(FLOW, None, {}, run_id="r")
        conn = sqlite3.connect(path, isolation_level=None)
        for what in ("INSERT", "UPDATE"):
            conn.execute(
                f"CREATE TRIGGER full_{what} BEFORE {what} ON op WHEN NEW.seq IS NOT NULL"
                " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
            )
        async with serving(engine, handlers):
            await until(lambda: len(COUNTED) > 5)
            assert (await engine.run("r")).status != "blocked"
            for what in ("INSERT", "UPDATE"):
                conn.execute(f"DROP TRIGGER full_{what}")
            conn.close()
            await until(lambda: _signalled(engine, "r"))
            assert await engine.result("r", 60) == [True, list(range(20))]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows deletes and moves no open file")
@pytest.mark.parametrize("lost", [["runs.db", "runs.db-wal", "runs.db-shm"], ["runs.db-wal"], ["runs.db-shm"]])
@on_a_loop
async def test_a_file_that_is_taken_away_is_told(lost: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Where the file, or a part of it, is taken from under its driver, nothing is written to what nobody will read: it
    is told at once, clients are refused, and once it is back its runs go on."""
    handlers, away = Handlers(), tmp_path / "away"
    away.mkdir()
    handlers.add(flow)
    with caplog.at_level(logging.ERROR, "otelier"):
        async with opened(str(tmp_path / "runs.db"), retry_s=0.05) as engine, serving(engine, handlers):
            await engine.start(FLOW, None, {}, run_id="r")
            await waits_for(engine, "r")
            with patch.object(FileStore, "repair"):  # it does not begin anew before the parts are back
                for name in lost:
                    (tmp_path / name).rename(away / name)
                await until(lambda: caplog.records)
                with pytest.raises(EngineError, match=r"deleted, moved or replaced"):
                    await engine.signal("r", "go", None)
                for name in lost:
                    (away / name).replace(tmp_path / name)
            await until(lambda: _signalled(engine, "r"))
            assert await engine.result("r", 60) == [True, list(range(20))]
    assert "deleted, moved or replaced" in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="Windows deletes and moves no open file")
@on_a_loop
async def test_a_client_writes_to_the_file_that_is_there(tmp_path: Path):
    """A client whose file was replaced is told so once, and what it asks for then stands in the new one."""
    path = tmp_path / "runs.db"
    async with opened(str(path)) as client:
        await client.start(FLOW, None, {}, run_id="r")
        for ending in ("", "-wal", "-shm"):
            (tmp_path / f"runs.db{ending}").unlink()
        with pytest.raises(EngineError, match=r"deleted, moved or replaced"):
            await client.start(FLOW, None, {}, run_id="lost")
        await client.start(FLOW, None, {}, run_id="kept")
        async with opened(str(path)) as other:
            assert [run.workflow_id for run in await other.runs()] == ["kept"]
            assert [run.workflow_id for run in await client.runs()] == ["kept"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows gives a file no second name here")
@on_a_loop
async def test_a_file_with_two_names_is_refused(tmp_path: Path):
    """A hard link would have a lock of its own, so two processes would drive one file: it is refused under both names,
    while symbolic links are one file."""
    path = tmp_path / "runs.db"
    async with opened(str(path)) as engine:
        await engine.start(FLOW, None, {}, run_id="r")
    (tmp_path / "link.db").symlink_to(path)
    (tmp_path / "hard.db").hardlink_to(path)
    for name in ("runs.db", "link.db", "hard.db"):
        async with opened(str(tmp_path / name)) as engine:
            with pytest.raises(EngineError, match="has 2 names"):
                await engine.start(FLOW, None, {}, run_id="other")
    (tmp_path / "hard.db").unlink()
    async with opened(str(tmp_path / "link.db")) as engine:
        assert [run.workflow_id for run in await engine.runs()] == ["r"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows deletes no open file")
@pytest.mark.parametrize("is_taken", [False, True])
@on_a_loop
async def test_a_driver_whose_lock_is_deleted_takes_it_anew_or_stops(is_taken: bool, tmp_path: Path):
    """Where somebody deletes the lock's file, its driver makes it again; where another process was faster, this one
    stops and says so: two never go on side by side."""
    handlers, lock = Handlers(), tmp_path / "runs.db.lock"
    handlers.add(flow)
    other: asyncio.subprocess.Process | None = None
    async with opened(str(tmp_path / "runs.db")) as engine:
        serving_ = asyncio.create_task(engine.serve(handlers.registry, handlers.invoke))
        await engine.start(FLOW, None, {}, run_id="r")
        await waits_for(engine, "r")
        try:
            if is_taken:
                taken = tmp_path / "taken"
                other = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", TAKES, str(taken), stdout=subprocess.PIPE
                )
                assert other.stdout is not None
                await other.stdout.readline()
                taken.replace(lock)
                with pytest.raises(EngineError, match="another process took it"):
                    await asyncio.wait_for(serving_, DEADLINE_S)
            else:
                lock.unlink()
                await until(lock.exists)
                await until(lambda: _signalled(engine, "r"))
                assert await engine.result("r", 60) == [True, list(range(20))]
        finally:
            serving_.cancel()
            if other is not None:
                other.kill()
                await other.communicate()


TAKES = """
import fcntl, sys, time
file = open(sys.argv[1], "a+b")
fcntl.lockf(file, fcntl.LOCK_EX)
print("taken", flush=True)
time.sleep(600)
"""
