"""The file: who drives it, who stands by, what is refused."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from otelier.errors import EngineError, RunParked
from otelier.workflows.engines.local import LocalEngine, _driver, _file, open_engine
from otelier.workflows.engines.local._store import ask
from otelier.workflows.engines.protocol import Run, Target
from tests.workflows.engines.programs import worker
from tests.workflows.engines.serving import (
    Handlers,
    on_a_loop,
    opened,
    raises_sentence,
    serving,
    settle,
    status_is,
    step,
    until,
    waits_for,
)

FLOW = Target("shop", "flow")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@on_a_loop
async def test_a_standby_takes_over_from_a_killed_driver(path: Path):
    """A second worker waits for the kernel's lock, has its runs when the first is killed, and tells of the crash."""
    async with opened(str(path)) as client, worker(path, "shop") as first:
        await client.start(FLOW, None, {}, run_id="r")
        assert await first.line("life") == "life r 0"
        async with worker(path, "shop") as second:
            await first.kill()
            assert await second.line("life") == "life r 1"
            await client.signal("r", "go", "now")
            assert await client.result("r", 60) == [True, ["now", second.program.pid]]


@on_a_loop
async def test_a_worker_that_is_stopped_tells_of_no_crash(path: Path):
    """An orderly stop is no crash: the next life of a body has nothing recovered."""
    handlers, seen = Handlers(), list[int]()

    async def flow(run: Run, payload: Any) -> Any:
        seen.append(len(run.recovered_ns))
        return await run.signal("go", None)

    handlers.add(flow)
    async with opened(str(path)) as engine:
        for count in range(3):
            async with serving(engine, handlers):
                await engine.start(FLOW, None, {}, run_id="r")
                await until(lambda count=count: len(seen) > count)
                await waits_for(engine, "r")
    assert seen == [0, 0, 0]


@on_a_loop
async def test_a_standby_is_a_client(path: Path):
    """While a worker stands by, what it is asked for is done by the driver."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        raise AssertionError("the driver runs it")

    handlers.add(flow)
    async with worker(path, "shop") as driver:
        await driver.line("drives")
        async with opened(str(path), standby_s=0.02) as engine, serving(engine, handlers):
            await engine.start(FLOW, None, {}, run_id="r")
            await engine.signal("r", "go", 5)
            assert await engine.result("r", 60) == [True, [5, driver.program.pid]]
            await engine.start(FLOW, None, {}, run_id="cancelled")
            await waits_for(engine, "cancelled")
            await engine.cancel("cancelled")
            assert (await engine.result("cancelled", 60))[1]["type"] == "RunCancelled"


@on_a_loop
async def test_a_worker_of_other_services_is_refused(path: Path):
    """A standby that could not take over what the driver does is refused with both lists and the two ways out."""
    async with worker(path, "shop") as driver:
        await driver.line("drives")
        async with worker(path, "bank") as other:
            refused = await other.line("refused")
    for part in (str(path), "shop", "bank", "one worker", "file:PATH"):
        assert part in refused


@on_a_loop
async def test_a_second_worker_of_one_process_is_refused(path: Path):
    """One process serves a file once."""
    handlers = Handlers()
    async with opened(str(path)) as one, opened(str(path)) as two, serving(one, handlers) as task:
        await until(lambda: one._drivers)
        with raises_sentence(EngineError, str(path), "twice in one process", "modules"):
            await two.serve(handlers.registry, handlers.invoke)
        assert not task.done()


@on_a_loop
async def test_the_lock_goes_with_the_driver_and_not_with_its_children(path: Path):
    """A forked child can do nothing with its parent's engine, and does not hold the file when the parent is killed."""
    async with worker(path, "shop", "fork") as driver:
        child = await driver.line("child")
        assert "forked after it was opened" in child
        assert "spawn" in await driver.line("again")
        try:
            async with worker(path, "shop") as second, opened(str(path)) as client:
                await client.start(FLOW, None, {}, run_id="r")
                await driver.line("life r")
                await driver.kill()
                assert await second.line("life") == "life r 1"
        finally:
            os.kill(int(child.split()[1]), signal.SIGKILL)


@on_a_loop
async def test_a_body_that_ends_its_process_is_blocked(path: Path):
    """A run whose body was begun ten times without a new record is left alone, and others go on."""
    async with opened(str(path)) as client:
        await client.start(Target("shop", "crash"), None, {}, run_id="crash")
        crashes = 0
        while (await client.run("crash")).status != "blocked":
            async with worker(path, "shop") as child:

                async def ended_or_blocked(child: Any = child) -> bool:
                    return child.program.returncode is not None or (await client.run("crash")).status == "blocked"

                await until(ended_or_blocked)
                crashes += child.program.returncode == 7
        assert crashes == 10
        info = await client.run("crash")
        assert info.error is not None
        assert "10 times" in info.error["message"]
        await client.start(FLOW, None, {}, run_id="r")
        await client.signal("r", "go", None)
        async with worker(path, "shop"):
            assert (await client.result("r", 60))[0] is True


@on_a_loop
async def test_a_client_that_finds_no_driver_says_so_once(path: Path, caplog: pytest.LogCaptureFixture):
    """Who waits for a result that nobody works at is told, once, with the file's whole name."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        return "done"

    handlers.add(flow)
    with caplog.at_level(logging.WARNING, "otelier"):
        async with opened(str(path)) as engine, opened(str(path)) as other:
            await engine.start(FLOW, None, {}, run_id="r")
            waiting = [asyncio.create_task(engine.result("r", 60)) for _ in range(2)]
            await until(lambda: caplog.records)
            async with serving(other, handlers):
                assert await asyncio.gather(*waiting) == [[True, "done"]] * 2
    (record,) = caplog.records
    assert str(path) in record.getMessage()


def make_unusable(path: Path, how: str) -> None:
    """Put something at *path* that is no journal for us."""
    if how in {"newer", "foreign"}:
        conn = sqlite3.connect(path, isolation_level=None)
        conn.execute("PRAGMA user_version=99" if how == "newer" else "CREATE TABLE theirs(x)")
        conn.close()
    elif how == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"SQLite format 3\0" + b"x" * 5000 if how == "damaged" else b"hello" * 1000)


def beginning(path: Path) -> bytes:
    """Return what stands in a file behind SQLite's header, which says how it was opened last."""
    return path.read_bytes()[100:] if path.is_file() else b""


@pytest.mark.parametrize("how", ["foreign", "newer", "damaged", "not ours", "folder"])
@on_a_loop
async def test_a_file_that_cannot_be_used_is_refused(path: Path, how: str):
    """A file of another program, of a newer otelier or a damaged one is refused with its name and a way out."""
    if how == "newer":
        async with opened(str(path)) as engine:
            await engine.runs()
    make_unusable(path, how)
    before = beginning(path)
    wanted = {"newer": "format 99", "foreign": "another program", "folder": "may not write"}.get(how, "damaged")
    async with opened(str(path)) as engine:
        with raises_sentence(EngineError, str(path), wanted):
            await engine.start(FLOW, None, {}, run_id="r")
        with raises_sentence(EngineError, str(path)):
            await engine.serve(Handlers().registry, Handlers().invoke)
    assert how == "newer" or beginning(path) == before


@on_a_loop
async def test_a_file_that_was_made_on_a_full_disk_is_made_later(path: Path, monkeypatch: pytest.MonkeyPatch):
    """Tables are made all or none: what could not be written whole is not taken for another program's file."""
    connect = sqlite3.connect

    def on_a_full_disk(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        conn = connect(*args, **kwargs)
        conn.execute("PRAGMA max_page_count=4")
        return conn

    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, "connect", on_a_full_disk)
        async with opened(str(path)) as engine:
            with raises_sentence(EngineError, "full", "Make room there"):
                await engine.runs()
    async with opened(str(path)) as engine:
        assert await engine.runs() == []


@on_a_loop
async def test_a_read_only_file_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch):
    """A file that may not be written is refused with its name, to clients and to workers; later it is as it was."""
    async with opened(str(path)) as engine:
        await engine.start(FLOW, None, {}, run_id="before")
    connect = sqlite3.connect
    with monkeypatch.context() as patched:  # root may write whatever its modes say

        def read_only(database: Path, **how: Any) -> sqlite3.Connection:
            return connect(f"{database.as_uri()}?mode=ro", uri=True, **how)

        patched.setattr(sqlite3, "connect", read_only)
        async with opened(str(path)) as engine:
            with raises_sentence(EngineError, str(path), "readonly", "may not write it. Give it the right"):
                await engine.start(FLOW, None, {}, run_id="r")
            with raises_sentence(EngineError, str(path), "may not write it. Give it the right"):
                await engine.serve(Handlers().registry, Handlers().invoke)
    async with opened(str(path)) as engine:
        assert [run.workflow_id for run in await engine.runs()] == ["before"]


def damage(path: Path) -> bytes:
    """Overwrite all pages but the first, and return what was there."""
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    return whole


def restore(path: Path, whole: bytes) -> None:
    """Put a copy back."""
    path.write_bytes(whole)


@on_a_loop
async def test_a_file_that_was_damaged_after_it_was_written_is_refused(path: Path):
    """Pages that are no more what SQLite wrote are told as damage, with the file's name and what to do."""
    async with opened(str(path)) as engine:
        for number in range(50):
            await engine.start(FLOW, "x" * 1000, {}, run_id=f"r{number}")
    whole = damage(path)
    async with opened(str(path)) as engine:
        with raises_sentence(EngineError, str(path), "damaged", "restore a copy"):
            await engine.runs()
        with raises_sentence(EngineError, str(path), "damaged", "restore a copy"):
            await engine.serve(Handlers().registry, Handlers().invoke)
    restore(path, whole)
    async with opened(str(path)) as engine:
        assert len(await engine.runs()) == 50


@on_a_loop
async def test_a_result_that_was_damaged_blocks_its_run_alone(path: Path):
    """A body never sees what is no JSON, whatever it catches: its run is blocked, names the step, and goes on when it
    was restored; others run."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        try:
            first = await step(run, "first", [1])
        except Exception as exc:
            return repr(exc)
        return [first, await run.signal("go", None)]

    handlers.add(flow)
    async with opened(str(path)) as engine:
        async with serving(engine, handlers):
            await engine.start(FLOW, None, {}, run_id="r")
            await waits_for(engine, "r")
        with sqlite3.connect(path) as conn:
            conn.execute("UPDATE op SET value='[1' WHERE n=0")
        async with serving(engine, handlers):
            await status_is(engine, "r", "blocked")
            message = ((await engine.run("r")).error or {})["message"]
            assert "the result of step 'first' at op 0 is no JSON" in message
            assert "Restore a copy, or cancel the run" in message
            await engine.start(FLOW, None, {}, run_id="other")
            await waits_for(engine, "other")
            conn.execute("UPDATE op SET value='[1]' WHERE n=0")
            conn.commit()
            conn.close()
            for run_id in ("r", "other"):
                await engine.resume(run_id)
                await engine.signal(run_id, "go", 2)
                assert await engine.result(run_id, 60) == [True, [[1], 2]]


@pytest.mark.parametrize(
    ("kind", "is_refused"),
    [("ext4", False), ("overlay", False), ("tmpfs", False), ("nfs4", True), ("cifs", True), ("fuse.sshfs", True),
     ("9p", True), ("virtiofs", True)],
)  # fmt: skip
def test_network_file_systems_are_refused(tmp_path: Path, kind: str, is_refused: bool):
    """A file on a file system that other machines share is refused, by the mount that is nearest to it."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 8:1 / / rw shared:1 - ext4 /dev/sda rw\n"
        f"2 1 0:5 / /data\\040here rw - {kind} host:/x rw\n"
        "3 1 0:6 / /data rw - nfs host:/y rw\n",
        encoding="utf-8",
    )
    path = Path("/data here/deep/runs.db")
    if is_refused:
        with raises_sentence(EngineError, str(path), kind, "restate://"):
            _file.refuse_remote(path, mounts)
    else:
        _file.refuse_remote(path, mounts)
    _file.refuse_remote(Path("/home/runs.db"), mounts)
    assert _file.file_system(path, tmp_path / "none") == ""


@on_a_loop
async def test_an_engine_is_one_per_process_and_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Who asks for an address gets the engine that is open there; other words are refused."""
    monkeypatch.chdir(tmp_path)
    one = open_engine("file:deep/runs.db")
    assert one is open_engine(f"file:{tmp_path}/deep/../deep/runs.db")
    assert open_engine("memory:") is open_engine("memory:") is not one
    await one.close()
    await one.close()
    with raises_sentence(EngineError, "closed"):
        await one.runs()
    again = open_engine("file:deep/runs.db")
    assert again is not one
    await again.close()
    await open_engine("memory:").close()
    for address in ("sqlite:x", "file:", "memory:x", "runs.db"):
        with raises_sentence(EngineError, repr(address), "memory:", "file:PATH"):
            open_engine(address)


@on_a_loop
async def test_a_file_that_is_locked_for_a_moment_is_waited_for(path: Path):
    """Another program's transaction delays a client, and fails nothing."""
    async with opened(str(path)) as engine:
        await engine.runs()
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        started = asyncio.create_task(engine.start(FLOW, None, {}, run_id="r"))
        done, _ = await asyncio.wait([started], timeout=0.05)
        assert not done
        other.execute("COMMIT")
        other.close()
        await started
        assert (await engine.run("r")).workflow_id == "r"


@on_a_loop
async def test_an_engine_is_used_from_several_loops(path: Path):
    """Results and starts work on any event loop of the process."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        return payload

    handlers.add(flow)
    async with opened(str(path)) as engine, serving(engine, handlers):

        async def elsewhere(n: int) -> Any:
            await engine.start(FLOW, n, {}, run_id=f"r{n}")
            return await engine.result(f"r{n}", 60)

        found = await asyncio.gather(*(asyncio.to_thread(lambda n=n: asyncio.run(elsewhere(n))) for n in range(4)))
        assert found == [[True, n] for n in range(4)]


@pytest.mark.parametrize(("stop_s", "executions"), [(600.0, 1), (0.0, 2)])
@on_a_loop
async def test_steps_get_time_to_end_when_the_worker_stops(path: Path, stop_s: float, executions: int):
    """A stop begins nothing, records what running steps give, and leaves a step that takes too long."""
    handlers, begun, gate = Handlers(), list[str](), asyncio.Event()

    async def flow(run: Run, payload: Any) -> Any:
        async def slow() -> Any:
            begun.append(f"slow of {run.id}")
            await gate.wait()

        async def quick() -> Any:
            begun.append(f"quick of {run.id}")

        await run.step("slow", slow)
        await run.step("quick", quick)

    handlers.add(flow)
    async with opened(str(path), stop_s=stop_s) as engine:
        async with serving(engine, handlers) as task:
            await engine.start(FLOW, None, {}, run_id="r")
            await until(lambda: begun)
            task.cancel()
            await settle()
            await engine.start(FLOW, None, {}, run_id="late")
            asyncio.get_running_loop().call_later(0.02, gate.set)
            await asyncio.gather(task, return_exceptions=True)
        assert begun == ["slow of r"]
        assert [run.status for run in await engine.runs()] == ["waiting", "waiting"]
        async with serving(engine, handlers):
            assert await engine.result("r", 60) == [True, None]
            assert await engine.result("late", 60) == [True, None]
    assert [begun.count(f"{name} of r") for name in ("slow", "quick")] == [executions, 1]


@on_a_loop
async def test_finished_trees_are_deleted_after_a_time(tmp_path: Path):
    """Trees that ended long ago go, with what they recorded; those with an open run stay."""
    path, handlers = tmp_path / "runs.db", Handlers()

    async def parent(run: Run, wait: Any) -> Any:
        child = run.call(FLOW, wait, {}, detached=True)
        child.start()
        await run.stored(child)

    async def flow(run: Run, wait: Any) -> Any:
        if wait:
            await run.signal("go", None)
        await run.sleep(0)

    target = handlers.add(parent)
    handlers.add(flow)
    async with opened(str(path)) as engine, serving(engine, handlers):
        await engine.start(target, False, {}, run_id="ended")
        await engine.start(target, True, {}, run_id="open")
        for run_id in ("ended", "ended.0", "open"):
            await engine.result(run_id, 60)
        await status_is(engine, "open.0", "waiting")
    async with opened(str(path), retention_s=0) as engine, serving(engine, handlers):

        async def are_deleted() -> bool:
            return {run.workflow_id for run in await engine.runs()} == {"open", "open.0"}

        await until(are_deleted)
    conn = sqlite3.connect(path)
    assert conn.execute("SELECT count(*) FROM op WHERE run NOT IN (SELECT n FROM run)").fetchone() == (0,)
    conn.close()


@on_a_loop
async def test_a_life_that_ended_in_a_wait_is_no_failed_one(path: Path, monkeypatch: pytest.MonkeyPatch):
    """A run that is left again and again while it waits is not blocked for it: its body went as far as it could."""
    monkeypatch.setattr(_driver, "_LEAVE_S", 0.01)
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        return await run.signal("go", None)

    handlers.add(flow)
    async with opened(str(path), max_lives=2) as engine, serving(engine, handlers):
        await engine.start(FLOW, None, {}, run_id="r")
        for life in range(1, 6):
            await until(lambda life=life: len(handlers.lives) == life)
            await waits_for(engine, "r")
            await settle()
            engine._drivers[0].lives["r"].stop(RunParked("The test leaves it here."))
        await engine.signal("r", "go", 1)
        assert await engine.result("r", 60) == [True, 1]


@on_a_loop
async def test_a_run_that_was_begun_too_often_begins_anew_when_it_is_resumed(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    """After its code was mended it is resumed, and counted from the first life again."""
    monkeypatch.setattr(_driver, "_LEAVE_S", 0.01)
    handlers, is_mended = Handlers(), asyncio.Event()

    async def flow(run: Run, payload: Any) -> Any:
        await is_mended.wait()
        return "mended"

    handlers.add(flow)
    async with opened(str(path), max_lives=2) as engine, serving(engine, handlers):
        await engine.start(FLOW, None, {}, run_id="r")
        for life in range(1, 3):
            await until(lambda life=life: len(handlers.lives) == life)
            engine._drivers[0].lives["r"].stop(RunParked("The test leaves it here."))
        await status_is(engine, "r", "blocked")
        is_mended.set()
        await engine.resume("r")
        assert await engine.result("r", 60) == [True, "mended"]
    assert len(handlers.lives) == 3


@pytest.mark.parametrize(("given", "pragma"), [("FULL", 2), ("NORMAL", 1)])
@on_a_loop
async def test_commits_are_written_through_to_the_disk(path: Path, given: Any, pragma: int):
    """`FULL` is what a file is opened with, and `NORMAL` where it is asked for: SQLite is told, on each connection."""
    engine = LocalEngine(str(path)) if given == "FULL" else LocalEngine(str(path), synchronous=given)
    try:
        found = await ask(engine._store, lambda tx: tx.conn.execute("PRAGMA synchronous").fetchone())
        assert found == (pragma,)
        assert engine._store.read(lambda conn: conn.execute("PRAGMA journal_mode").fetchone()) == ("wal",)
    finally:
        await engine.close()
