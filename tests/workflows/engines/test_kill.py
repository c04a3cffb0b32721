"""Workers that are killed at any time."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from otelier.workflows.engines.local import LocalEngine
from tests.workflows.engines import killed
from tests.workflows.engines.killed import RUNS
from tests.workflows.engines.serving import on_a_loop, opened, until
from tests.workflows.nursery import Nursery, nursery, seeds


async def _kill_at_random(
    found: Nursery, path: Path, effects: Path, chance: random.Random, most: int, results: asyncio.Future[Any]
) -> int:
    kills = 0
    while not results.done():
        pid = await found.start(path, effects)
        await until(lambda pid=pid: found.works(pid))
        await asyncio.wait([results], timeout=chance.random() * 0.15 if kills < most else None)
        kills += not results.done()
        await found.kill(pid)
    return kills


async def _start(client: LocalEngine, chance: random.Random) -> None:
    for n in range(RUNS):
        await client.start(killed.ORDER, n, {}, run_id=f"order-{n}")
    for number in range(killed.ROUNDS):
        for n in chance.sample(range(RUNS), RUNS):
            await asyncio.sleep(chance.random() * 0.05)
            await client.signal(f"order-{n}", "paid", [n, number])


@pytest.mark.parametrize("seed", seeds(1))
@on_a_loop
async def test_runs_end_right_although_their_worker_is_killed(tmp_path: Path, seed: int):
    """Each run ends with the right result, each guarded effect happens once, entities have exact totals."""
    most = 40 if seed else 10
    path, effects, chance = tmp_path / "runs.db", tmp_path / "effects", random.Random(seed)
    effects.mkdir()
    async with opened(str(path)) as client, nursery(killed.__name__) as found:
        await client.start(killed.ORDER, 0, {}, run_id="order-0")
        results = asyncio.ensure_future(asyncio.gather(*(_result(client, n) for n in range(RUNS))))
        killer = asyncio.create_task(_kill_at_random(found, path, effects, chance, most, results))
        await _start(client, chance)
        try:
            outcomes, kills = await results, await killer
        except BaseException:
            killer.cancel()
            raise
        assert outcomes == [killed.expected(n) for n in range(RUNS)]
        assert kills >= 5
        states = await client.states("shop")
    totals = {f"k{key}": {"total": killed.ROUNDS * sum(range(key, RUNS, 3))} for key in range(3)}
    assert dict(states) == totals
    made = sorted(one.name for one in effects.iterdir())
    assert made == sorted(key for n in range(RUNS) for key in killed.expected_effects(n))
    with sqlite3.connect(path) as conn:
        open_ops = conn.execute("SELECT * FROM op WHERE ended IS NULL").fetchall()
        ended = conn.execute("SELECT state, count(*) FROM run GROUP BY state").fetchall()
        kept = conn.execute("SELECT * FROM signal UNION ALL SELECT n, what, run, '' FROM notice").fetchall()
    conn.close()
    assert (open_ops, ended, kept) == ([], [("completed", (1 + 2 * killed.ROUNDS) * RUNS)], [])


async def _result(client: LocalEngine, n: int) -> Any:
    await until(lambda: _is_started(client, f"order-{n}"))
    return await client.result(f"order-{n}", 240)


async def _is_started(client: LocalEngine, run_id: str) -> bool:
    return any(run.workflow_id == run_id for run in await client.runs(limit=100))
