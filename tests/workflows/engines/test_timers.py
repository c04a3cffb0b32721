"""Timers, and many runs that wait."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from otelier.workflows.engines.local import LocalEngine
from otelier.workflows.engines.protocol import Run
from tests.workflows.engines.serving import Handlers, on_a_loop, opened, serving, settle, status_is, until, waits_for


# The clock of a Restate server is its own machine's.
@on_a_loop
async def test_a_clock_that_jumps_is_noticed(path: str | None, monkeypatch: pytest.MonkeyPatch):
    """A sleep ends when the wall clock says so, also after it was set."""
    handlers, jump = Handlers(), [0]

    async def flow(run: Run, payload: Any) -> Any:
        await run.sleep(3600)

    target, clock = handlers.add(flow), time.time_ns
    async with opened(path) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")

        async def is_begun() -> bool:
            return len((await engine.run("r")).steps) == 1

        await until(is_begun)
        monkeypatch.setattr(time, "time_ns", lambda: clock() + jump[0])
        jump[0] = 3601 * 10**9
        assert await engine.result("r", 60) == [True, None]


@on_a_loop
async def test_a_sleep_that_is_computed_counts_from_its_begin(place: str | None):
    """A callable is asked with the time of the begin, also where the run waited for a worker before."""
    handlers, asked = Handlers(), []

    def seconds(now_ns: int) -> float:
        asked.append(now_ns)
        return 0.01

    async def flow(run: Run, payload: Any) -> Any:
        op = run.sleep(seconds)
        await op
        if payload:
            await run.signal("go", None)
        return [op.began_ns == asked[0], run.began_ns < asked[0]]

    target = handlers.add(flow)
    async with opened(place) as engine:
        early = isinstance(engine, LocalEngine)  # a Restate server takes nothing without a worker
        if early:
            await engine.start(target, None, {}, run_id="r")
        async with serving(engine, handlers):
            if not early:
                await engine.start(target, None, {}, run_id="r")
            assert await engine.result("r", 60) == [True, [True, True]]
            await engine.start(target, 1, {}, run_id="s")
            await waits_for(engine, "s")
        async with serving(engine, handlers):
            await engine.signal("s", "go", None)
            await engine.result("s", 60)
        assert len(asked) == 2 + (not early)  # on Restate a replay asks it again, and what was recorded holds


@on_a_loop
async def test_times_that_a_body_computes_otherwise_in_each_life_are_those_of_the_first(place: str | None):
    """How long a sleep, a wait and a computed sleep last is recorded, and what begins after them with it."""
    handlers, lengths, seen = Handlers(), iter([0.05, 0.06, 0.07, 0.01, 0.02, 0.03]), []

    async def child(run: Run, payload: Any) -> Any:
        return payload

    async def flow(run: Run, payload: Any) -> Any:
        waits = [run.sleep(next(lengths)), run.signal("never", next(lengths)), run.sleep(lambda _: next(lengths))]
        for op in waits:
            await op
        await run.call(called, 1, {})
        seen.append([(op.ended_ns or 0) - (op.began_ns or 0) for op in waits])
        return await run.signal("go", None)

    called, target = handlers.add(child), handlers.add(flow)
    async with opened(place) as engine:
        async with serving(engine, handlers):
            await engine.start(target, None, {}, run_id="r")
            await waits_for(engine, "r")
        async with serving(engine, handlers):
            await engine.signal("r", "go", 1)
            assert await engine.result("r", 60) == [True, 1]
    first, second = seen
    assert first == second
    assert all(length >= least * 10_000_000 for length, least in zip(first, (5, 6, 7), strict=True))


@on_a_loop
async def test_timers_that_were_dropped_leave_the_heap(path: str | None):
    """Time-outs of waits that were not needed do not pile up until their time comes."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        for _ in range(payload):
            op = run.sleep(3600)
            op.start()
            run.cancel(op)
        await run.signal("go", None)

    target = handlers.add(flow)
    async with opened(path) as engine, serving(engine, handlers):
        await engine.start(target, 3000, {}, run_id="r")
        await waits_for(engine, "r")
        (driver,) = engine._drivers
        assert len(driver.timers._heap) < 1500


@on_a_loop
async def test_no_more_than_a_number_of_bodies_replay_at_once(tmp_path: Path):
    """After a restart bodies begin in groups; each that waits makes room for the next."""
    handlers, at_once, most, gate = Handlers(), [0], [0], asyncio.Event()

    async def flow(run: Run, payload: Any) -> Any:
        if run.replaying():
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
            await gate.wait()
            at_once[0] -= 1
        return await run.signal("go", None)

    target = handlers.add(flow)
    async with opened(str(tmp_path / "runs.db"), max_replaying=7) as engine:
        async with serving(engine, handlers):
            for n in range(40):
                await engine.start(target, None, {}, run_id=f"r{n}")
            for n in range(40):
                await waits_for(engine, f"r{n}")
        async with serving(engine, handlers):
            await until(lambda: at_once[0] == 7)
            await settle()
            assert len(handlers.lives) == 47
            gate.set()
            for n in range(40):
                await engine.signal(f"r{n}", "go", n)
            found = await asyncio.gather(*(engine.result(f"r{n}", 60) for n in range(40)))
    assert found == [[True, n] for n in range(40)]
    assert most == [7]


@on_a_loop
async def test_a_run_that_is_blocked_gives_its_place_to_the_next(tmp_path: Path):
    """Bodies that are not begun at all, since they were begun too often before, hold up no replay of others."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        return "never"

    target = handlers.add(flow)
    async with opened(str(tmp_path / "runs.db"), max_replaying=1, max_lives=0) as engine:
        for number in range(3):
            await engine.start(target, None, {}, run_id=f"r{number}")
        async with serving(engine, handlers):
            for number in range(3):
                await status_is(engine, f"r{number}", "blocked")
    assert handlers.lives == []
