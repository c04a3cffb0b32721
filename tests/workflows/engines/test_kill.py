"""Workers that are killed at any time."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from otelier.workflows.engines.local import LocalEngine
from tests.workflows.engines import killed
from tests.workflows.engines.killed import RUNS
from tests.workflows.engines.serving import on_a_loop, opened

ROOT = Path(__file__).parents[3]


async def _worker(path: Path, effects: Path) -> asyncio.subprocess.Process:
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.workflows.engines.killed", str(path), str(effects),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert program.stdout is not None
    assert await program.stdout.readline() == b"began\n"
    return program


async def _kill(program: asyncio.subprocess.Process) -> None:
    if program.returncode is None:
        program.send_signal(signal.SIGKILL)
    await program.wait()
    program._transport.close()  # type: ignore[attr-defined]


async def _kill_at_random(
    path: Path, effects: Path, chance: random.Random, most: int, results: asyncio.Future[Any]
) -> int:
    kills = 0
    while not results.done():
        program = await _worker(path, effects)
        await asyncio.wait([results], timeout=chance.random() * 0.15 if kills < most else 60)
        kills += not results.done()
        await _kill(program)
    return kills


async def _start(client: LocalEngine, chance: random.Random) -> None:
    for n in range(RUNS):
        await client.start(killed.ORDER, n, {}, run_id=f"order-{n}")
    for number in range(killed.ROUNDS):
        for n in chance.sample(range(RUNS), RUNS):
            await asyncio.sleep(chance.random() * 0.05)
            await client.signal(f"order-{n}", "paid", [n, number])


@pytest.mark.parametrize(
    ("seed", "most"),
    [(1, 10), pytest.param(2, 40, marks=pytest.mark.slow), pytest.param(3, 40, marks=pytest.mark.slow)],
)
@on_a_loop
async def test_runs_end_right_although_their_worker_is_killed(tmp_path: Path, seed: int, most: int):
    """Each run ends with the right result, each guarded effect happens once, entities have exact totals."""
    path, effects, chance = tmp_path / "runs.db", tmp_path / "effects", random.Random(seed)
    effects.mkdir()
    async with opened(str(path)) as client:
        await client.start(killed.ORDER, 0, {}, run_id="order-0")
        results = asyncio.ensure_future(asyncio.gather(*(_result(client, n) for n in range(RUNS))))
        killer = asyncio.create_task(_kill_at_random(path, effects, chance, most, results))
        await _start(client, chance)
        try:
            found, kills = await results, await killer
        except BaseException:
            killer.cancel()
            raise
        assert found == [killed.expected(n) for n in range(RUNS)]
        assert kills >= 5
        states = await client.states("shop")
    totals = {f"k{key}": {"total": killed.ROUNDS * sum(range(key, RUNS, 3))} for key in range(3)}
    assert dict(states) == totals
    made = sorted(os.listdir(effects))
    assert made == sorted(key for n in range(RUNS) for key in killed.expected_effects(n))
    with sqlite3.connect(path) as conn:
        open_ops = conn.execute("SELECT * FROM op WHERE ended IS NULL").fetchall()
        ended = conn.execute("SELECT state, count(*) FROM run GROUP BY state").fetchall()
        kept = conn.execute("SELECT * FROM signal UNION ALL SELECT n, what, run, '' FROM notice").fetchall()
    conn.close()
    assert (open_ops, ended, kept) == ([], [("completed", (1 + 2 * killed.ROUNDS) * RUNS)], [])


async def _result(client: LocalEngine, n: int) -> Any:
    while not any(run.workflow_id == f"order-{n}" for run in await client.runs(limit=100)):
        await asyncio.sleep(0.02)
    return await client.result(f"order-{n}", 240)
