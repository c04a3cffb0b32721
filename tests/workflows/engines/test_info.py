"""Runs as they are shown."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from otelier.codec import error_to_json
from otelier.workflows.engines.local import LocalEngine
from otelier.workflows.engines.local._info import list_runs
from otelier.workflows.engines.protocol import Run, Target
from tests.workflows.engines.serving import Handlers, on_a_loop, opened, serving, status_is, step, until, waits_for


@on_a_loop
async def test_a_run_shows_its_steps_and_what_it_waits_for(place: str | None):
    """Steps have kind, attempt, times and the first line of an error; a wait says for what and until when."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        await step(run, "good", [True, 1])
        await step(run, "bad", [False, error_to_json(ValueError("first\nsecond"))])
        await run.signal("go", 3600)
        return "done"

    target = handlers.add(flow)
    async with opened(place) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")

        async def waits() -> Any:
            info = await engine.run("r")
            return info if len(info.steps) == 3 else None

        info = await until(waits)
        assert info.waiting_for.startswith("signal go until 20")
        assert (info.status, info.health, info.service, info.handler, info.version) == (
            "waiting", "waiting", "shop", "flow", 1,
        )  # fmt: skip
        assert [(one.kind, one.name, one.attempt, one.error) for one in info.steps] == [
            ("step", "good", 1, None), ("step", "bad", 1, "ValueError: first"), ("signal", "go", 1, None),
        ]  # fmt: skip
        assert [one.end_ns is None for one in info.steps] == [False, False, True]
        await engine.signal("r", "go", None)
        await engine.result("r", 60)
        info = await engine.run("r")
        assert (info.status, info.result, info.error, info.waiting_for) == ("completed", "done", None, None)
        assert info.end_ns is not None
        assert info.begin_ns < info.end_ns
        assert info.begin <= info.steps[0].begin <= info.steps[0].end <= info.end


@on_a_loop
async def test_runs_are_listed_by_status_and_service(place: str | None):
    """A list has open runs first, by their health, without steps, and is filtered by status and service."""
    handlers, gate = Handlers(), asyncio.Event()

    async def flow(run: Run, payload: Any) -> Any:
        async def body() -> Any:
            await gate.wait()

        if payload == "fail":
            raise ValueError("no")
        if payload == "wait":
            await run.signal("go", None)
        if payload == "work":
            await run.step("work", body)

    target = handlers.add(flow)
    async with opened(place) as engine, serving(engine, handlers):
        for payload in ("end", "fail", "wait", "work"):
            await engine.start(target, payload, {}, run_id=payload)
        away = ["away"] if isinstance(engine, LocalEngine) else []  # a Restate server refuses what nobody has
        for run_id in away:
            await engine.start(Target("bank", "flow"), None, {}, run_id=run_id)
        await engine.result("fail", 60)
        await waits_for(engine, "wait")
        await status_is(engine, "work", "running")

        async def listed(**given: Any) -> list[str]:
            return [run.workflow_id for run in await engine.runs(**given)]

        assert await listed() == [*away, "wait", "work", "fail", "end"]
        assert await listed(limit=4) == [*away, "wait", "work", "fail", "end"][:4]
        assert await listed(limit=2) == [*away, "wait", "work"][:2]
        assert await listed(status="completed") == ["end"]
        assert await listed(status="failed") == ["fail"]
        assert await listed(status="running") == ["work"]
        assert await listed(status="waiting") == [*away, "wait"]
        assert await listed(status="waiting", service="shop") == ["wait"]
        assert (await engine.run("fail")).error == {
            "type": "ValueError", "module": "builtins", "message": "no", "args": ["no"],
        }  # fmt: skip
        gate.set()


@pytest.mark.parametrize("status", ["failed", "blocked", "cancelled", "running", "waiting"])
def test_lists_of_few_runs_do_not_read_the_many_that_succeeded(
    status: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A list of runs that failed, are blocked or are open takes as long beside many finished runs as beside none."""
    asked: list[str] = []
    connect = sqlite3.connect

    def told(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        conn = connect(*args, **kwargs)
        conn.set_trace_callback(asked.append)
        return conn

    async def look() -> None:
        async with opened(str(tmp_path / "runs.db")) as engine:
            assert await engine.runs(status=status) == []

    monkeypatch.setattr(sqlite3, "connect", told)
    asyncio.run(look())
    monkeypatch.undo()
    with closing(connect(tmp_path / "runs.db")) as conn:
        (sql,) = (one for one in asked if one.startswith("SELECT run.n, id"))
        plan = [row[3] for row in conn.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert plan[0].startswith(("SEARCH run USING INDEX run_odd", "SCAN run USING INDEX run_open"))


@on_a_loop
async def test_a_step_that_is_begun_again_shows_as_retrying(place: str | None):
    """A step whose execution was cut is shown with its executions while it goes on."""
    handlers, gate = Handlers(), asyncio.Event()

    async def flow(run: Run, payload: Any) -> Any:
        async def body() -> Any:
            await gate.wait()

        await run.step("work", body)

    target = handlers.add(flow)
    async with opened(place, stop_s=0) as engine:
        async with serving(engine, handlers):
            await engine.start(target, None, {}, run_id="r")
            await status_is(engine, "r", "running")
            await until(lambda: _attempt(engine, 1))
        async with serving(engine, handlers):
            await until(lambda: _attempt(engine, 2))
            assert (await engine.run("r")).health == "retrying"
            gate.set()
            await engine.result("r", 60)


async def _attempt(engine: Any, wanted: int) -> bool:
    steps = (await engine.run("r")).steps
    return bool(steps) and (steps[0].attempt, steps[0].executions) == (1, wanted)


@on_a_loop
async def test_a_run_that_ends_while_runs_are_listed_is_listed_once(tmp_path: Path):
    """Open and ended runs are two questions: what ends between them is shown as ended, and is no second run."""
    handlers, path = Handlers(), str(tmp_path / "runs.db")

    async def flow(run: Run, payload: Any) -> Any:
        return await run.signal("go", None)

    async with opened(path) as engine, serving(engine, handlers):
        await engine.start(handlers.add(flow), None, {}, run_id="r")

    class Between:
        """A connection on which the run ends after the first question."""

        asked = 0

        def execute(self, sql: str, given: Any) -> Any:
            self.asked += 1
            if self.asked == 2:
                conn.execute("UPDATE run SET state='completed', ended=2, outcome='[true,1]'")
            return conn.execute(sql, given)

    with closing(sqlite3.connect(path)) as conn:
        found = list_runs(Between(), None, None, 10)  # type: ignore[arg-type]
    assert [(run.workflow_id, run.status) for run in found] == [("r", "completed")]
