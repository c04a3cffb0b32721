"""Bodies whose worker is killed at any moment: equal results, each guarded effect once, the same branches."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from otelier.testing import OpenAIServer
from otelier.workflows.engines.local import LocalEngine
from otelier.workflows.engines.protocol import Target
from tests.workflows import killed
from tests.workflows.nursery import nursery, seeds
from tests.workflows.working import on_a_loop, opened, until

KILLS = 3


async def ended(client: LocalEngine, ids: list[str], path: Path, effects: Path, chance: random.Random, url: str) -> Any:
    """Wait for the results of runs, while their worker is killed some times soon after it began."""
    results = asyncio.ensure_future(asyncio.gather(*(client.result(run_id, 240) for run_id in ids)))
    kills = 0
    async with nursery(killed.__name__, {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "sk-none"}) as found:
        while not results.done():
            pid = await found.start(path, effects)
            await until(lambda pid=pid: found.works(pid))
            await asyncio.wait([results], timeout=chance.random() * 0.8 if kills < KILLS else 240)
            kills += not results.done()
            await found.kill(pid)
    return await results, kills


@pytest.mark.parametrize("seed", seeds(2))
@on_a_loop
async def test_bodies_give_equal_results_although_their_worker_is_killed(tmp_path: Path, seed: int):
    """Killed before, inside and after `parallel` and `gather` of every kind of call, and between attempts: the same
    values, each effect once, exact totals; a branch that a life took is taken by the next one, also where it was close.
    """
    path, effects, chance = tmp_path / "runs.db", tmp_path / "effects", random.Random(seed)
    effects.mkdir()
    ids = [f"run-{n}" for n in range(4)]
    async with opened(str(path)) as client:
        for n, run_id in enumerate(ids):
            payload = {"seed": n, "most": (None, 1, 3, 5)[n]}
            await client.start(Target(killed.SERVICE, "side_by_side"), payload, {}, run_id=run_id)
            await client.start(Target(killed.SERVICE, "branches"), n, {}, run_id=f"retried-{run_id}")
        every = [*ids, *(f"retried-{run_id}" for run_id in ids)]
        with OpenAIServer() as server:
            server.reply(killed.HELLO, times=None)
            results, kills = await ended(client, every, path, effects, chance, server.base_url)
        assert results[:4] == [[True, killed.expected_side_by_side(n)] for n in range(4)]
        assert results[4:] == [[True, killed.EXPECTED_BRANCHES]] * 4
        assert kills >= 1
        states = dict(await client.states(killed.SERVICE))
        runs = await client.runs(limit=1_000)
    assert states == {"0": {"total": [2]}, "1": {"total": [2]}}
    failed = {(run.handler, run.status) for run in runs if run.status != "completed"}
    assert failed <= {("listener", "cancelled"), ("close", "failed")}
    keys = {file.name for file in effects.iterdir()}
    assert keys >= {f"{run_id}+{name}" for run_id in ids for name in killed.EFFECTS_OF["side_by_side"]}
    assert keys >= {f"retried-{run_id}+{name}" for run_id in ids for name in killed.EFFECTS_OF["branches"]}
