"""Workers of a Restate server, and the server itself, that are killed at any time: results, effects, totals."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from otelier.testing import OpenAIServer
from otelier.workflows.engines.protocol import Target
from tests.workflows import killed
from tests.workflows.nursery import Nursery, nursery
from tests.workflows.restating import RestateServer, free_port
from tests.workflows.working import on_a_loop, until

restate_engine = pytest.importorskip("otelier.workflows.engines.restate", exc_type=ImportError)
RUNS = int(os.environ.get("RESTATE_RUNS", "8"))
KILLS = int(os.environ.get("RESTATE_KILLS", "6"))
SERVER_KILLS = int(os.environ.get("RESTATE_SERVER_KILLS", "1"))
"""How much is killed: `RESTATE_RUNS=50 RESTATE_KILLS=30 RESTATE_SERVER_KILLS=5 make restate`."""


class Soak:
    """Two workers at one address, and what is killed."""

    def __init__(self, server: RestateServer, found: Nursery, effects: Path) -> None:
        self.server, self._nursery, self._effects = server, found, effects
        self.kills = self.server_kills = 0

    async def start(self) -> None:
        """Start the workers that lack."""
        while len(self._nursery.alive) < 2:
            await self._nursery.start(self.server.address, self._effects)

    async def kill_a_worker(self, chance: random.Random) -> None:
        """Kill one, and start another for it."""
        at_work = [pid for pid in self._nursery.alive if self._nursery.works(pid)]
        if at_work:
            await self._nursery.kill(chance.choice(at_work))
            self.kills += 1
        await self.start()

    async def kill_the_server(self) -> None:
        """Kill it, and start it again."""
        self.server.kill()
        self.server_kills += 1
        await asyncio.to_thread(self.server.start)

    async def kill_some(self, chance: random.Random) -> None:
        """Kill workers all the time, and the server now and then."""
        every = max(KILLS // max(SERVER_KILLS, 1), 1)
        while self.kills < KILLS or self.server_kills < SERVER_KILLS:
            await asyncio.sleep(0.2 + chance.random() * 1.2)
            await self.kill_a_worker(chance)
            if self.server_kills < SERVER_KILLS and self.kills >= every * (self.server_kills + 0.5):
                await self.kill_the_server()


@pytest.mark.restate
@pytest.mark.timeout(1200)
@on_a_loop
async def test_runs_end_right_although_workers_and_server_are_killed(restate: RestateServer, tmp_path: Path):
    """Every run ends right, each effect that its key guards happened once, and entities have exact totals."""
    effects, chance, port = tmp_path / "effects", random.Random(7), free_port()
    effects.mkdir()
    with OpenAIServer() as model:
        model.reply(killed.HELLO, times=None)
        given = {"OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": "sk-none"}
        async with nursery(killed.__name__, {**given, "OTELIER_WORKER_BIND": f"127.0.0.1:{port}"}) as found:
            soak = Soak(restate, found, effects)
            await soak.start()
            await until(lambda: all(found.works(pid) for pid in found.alive))
            engine = restate_engine.RestateEngine(restate.address, options=restate_engine.Options(again_s=60))
            started = []
            for n in range(RUNS):
                payload = {"seed": n, "most": (None, 1, 3, 5)[n % 4]}
                is_parallel = n % 2 == 0
                target = Target(killed.SERVICE, "side_by_side" if is_parallel else "branches")
                await engine.start(target, payload if is_parallel else n, {}, run_id=f"run-{n}")
                started.append(engine.result(f"run-{n}", 600))
            killer = asyncio.ensure_future(soak.kill_some(chance))
            results = await asyncio.gather(*started)
            killer.cancel()
            await asyncio.gather(killer, return_exceptions=True)
            expected = [
                [True, killed.expected_side_by_side(n) if n % 2 == 0 else killed.EXPECTED_BRANCHES] for n in range(RUNS)
            ]
            assert results == expected
            assert soak.kills >= 1
            print(f"{RUNS} runs, {soak.kills} kills of workers, {soak.server_kills} of the server")  # noqa: T201
            states = dict(await engine.states(killed.SERVICE))
            runs = await engine.runs(limit=10_000)
    assert sum(state["total"][0] for state in states.values()) == (RUNS + 1) // 2
    failed = {(run.handler, run.status) for run in runs if run.status != "completed"}
    assert failed <= {("listener", "cancelled"), ("close", "failed"), ("listener", "waiting"), ("flaky", "failed")}
    keys = {file.name for file in effects.iterdir()}
    for n in range(RUNS):
        names = killed.EFFECTS_OF["side_by_side" if n % 2 == 0 else "branches"]
        assert keys >= {f"run-{n}+{name}" for name in names}
