"""Workers of a Restate server, and the server itself, that are killed at any time: results, effects, totals."""

from __future__ import annotations

import asyncio
import functools
import json
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from otelier.testing import OpenAIServer
from otelier.workflows._headers import start_headers
from otelier.workflows.engines.protocol import Target
from tests.workflows import killed
from tests.workflows.nursery import KILL_SEEDS, Nursery, nursery
from tests.workflows.orders import (
    Programs,
    Requests,
    answer_questions,
    check_links,
    check_questions,
    check_results,
    check_steps,
    check_traces,
    lines_of,
    programs,
    spans_in,
)  # fmt: skip
from tests.workflows.programs import traced
from tests.workflows.restating import RestateServer, free_port
from tests.workflows.trees import assert_trees, orphans, repeated
from tests.workflows.working import until

restate_engine = pytest.importorskip("otelier.workflows.engines.restate", exc_type=ImportError)


class Soak:
    """Two workers at one address, and what is killed."""

    def __init__(self, server: RestateServer, found: Nursery, effects: Path) -> None:
        self.server, self._nursery, self._effects = server, found, effects
        self.kills = self.server_kills = 0

    async def start(self) -> None:
        """Start the workers that lack."""
        self._nursery.forget_dead()
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

    async def kill_some(self, chance: random.Random, kills: int, server_kills: int) -> None:
        """Kill workers all the time, and the server now and then."""
        while self.kills < kills or self.server_kills < server_kills:
            await asyncio.sleep(0.2 + chance.random() * 1.2)
            await self.kill_a_worker(chance)
            if self.server_kills < server_kills and self.kills * server_kills >= kills * (self.server_kills + 0.5):
                await self.kill_the_server()


@pytest.mark.restate
@pytest.mark.parametrize(
    ("runs", "kills", "server_kills"), [(6, 4, 1), pytest.param(50, 30, 5, marks=pytest.mark.slow)]
)
@pytest.mark.timeout(1200)
def test_runs_end_right_although_workers_and_server_are_killed(
    restate: RestateServer, tmp_path: Path, runs: int, kills: int, server_kills: int
):
    """Every run ends right, each effect that its key guards happened once, and entities have exact totals."""
    effects = tmp_path / "effects"
    effects.mkdir()
    asyncio.run(_side_by_side(restate, effects, runs, kills, server_kills))
    keys = {file.name for file in effects.iterdir()}
    for n in range(runs):
        names = killed.EFFECTS_OF["side_by_side" if n % 2 == 0 else "branches"]
        assert keys >= {f"run-{n}+{name}" for name in names}


async def _side_by_side(restate: RestateServer, effects: Path, runs: int, kills: int, server_kills: int) -> None:
    chance, port = random.Random(7), free_port()
    with OpenAIServer() as model:
        model.reply(killed.HELLO, times=None)
        given = {"OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": "sk-none"}
        async with nursery(killed.__name__, {**given, "OTELIER_WORKER_BIND": f"127.0.0.1:{port}"}) as found:
            soak = Soak(restate, found, effects)
            await soak.start()
            await until(lambda: all(found.works(pid) for pid in found.alive))
            engine = restate_engine.RestateEngine(restate.address, options=restate_engine.Options(again_s=60))
            started = []
            for n in range(runs):
                payload = {"seed": n, "most": (None, 1, 3, 5)[n % 4]}
                is_parallel = n % 2 == 0
                target = Target(killed.SERVICE, "side_by_side" if is_parallel else "branches")
                await engine.start(target, payload if is_parallel else n, {}, run_id=f"run-{n}")
                started.append(engine.result(f"run-{n}", 600))
            killer = asyncio.ensure_future(soak.kill_some(chance, kills, server_kills))
            results = await asyncio.gather(*started)
            killer.cancel()
            await asyncio.gather(killer, return_exceptions=True)
            expected = [
                [True, killed.expected_side_by_side(n) if n % 2 == 0 else killed.EXPECTED_BRANCHES] for n in range(runs)
            ]
            assert results == expected
            assert soak.kills >= 1
            print(f"{runs} runs, {soak.kills} kills of workers, {soak.server_kills} of the server")  # noqa: T201
            states = dict(await engine.states(killed.SERVICE))
            infos = await engine.runs(limit=10_000)
    assert sum(state["total"][0] for state in states.values()) == (runs + 1) // 2
    failed = {(run.handler, run.status) for run in infos if run.status != "completed"}
    assert failed <= {("listener", "cancelled"), ("close", "failed"), ("listener", "waiting"), ("flaky", "failed")}


class Orders:
    """The orders of `programs.traced` on a server: two workers at one address, three clients, and who is killed."""

    def __init__(self, server: RestateServer, directory: Path, runs: int, kills: int, server_kills: int) -> None:
        self.server, self.directory = server, directory
        self.runs, self.kills, self.server_kills = runs, kills, server_kills
        self.server_killed = 0
        self.requests = Requests(runs)
        (directory / "requests").write_text(json.dumps(self.requests.carriers))
        self._want(0)

    def _want(self, orders: int) -> None:
        (self.directory / "wanted.new").write_text(str(orders))
        (self.directory / "wanted.new").replace(self.directory / "wanted")

    async def kill_some(self, found: Programs, chance: random.Random) -> None:
        """Let the clients start orders, and kill somebody again and again while they are worked at."""
        wanted = 0
        while found.kills.total() < self.kills or self.server_killed < self.server_kills or wanted < self.runs:
            wanted = min(self.runs, wanted + 1 + self.runs // self.kills)
            self._want(wanted)
            await asyncio.sleep(chance.random() * 1.2)
            await self._kill(found, chance)
            if self.server_killed * self.kills < found.kills.total() * self.server_kills:
                self.server.kill()
                self.server_killed += 1
                await asyncio.sleep(chance.random() * 0.5)
                await asyncio.to_thread(self.server.start)
                await found.start()

    async def _kill(self, found: Programs, chance: random.Random) -> None:
        await until(lambda: found.at_work("worker") and found.at_work("client"))
        workers, clients = found.at_work("worker"), found.at_work("client")
        one = [(chance.choice(workers),)] * 6
        await found.kill(*chance.choice([*one, tuple(workers), (chance.choice(clients),)]))

    async def run(self, seed: int, url: str) -> tuple[list[Any], list[tuple[str, Any]]]:
        """Return the results of all, and the states of all entities."""
        wanted = {"worker": 2, **{f"client {number}": 1 for number in range(len(traced.RATIOS))}}
        environment = {"OTELIER_WORKER_BIND": f"127.0.0.1:{free_port()}"}
        engine = restate_engine.RestateEngine(self.server.address, options=restate_engine.Options(again_s=60))
        place = self.server.address
        async with programs(self.directory, wanted, url, place=place, environment=environment) as found:
            await self.kill_some(found, random.Random(seed))
            await until(functools.partial(self._all_started, engine))
            results = await asyncio.gather(*(engine.result(f"order-{n}", 600) for n in range(self.runs)))
            await until(functools.partial(self._all_ended, engine))
            self.killed = dict(found.kills)
        with (self.directory / "spans").open("a", encoding="utf-8") as file:
            file.writelines(f"\n{json.dumps(asdict(span))}\n" for span in self.requests.ended())
        return results, await engine.states("shop")

    async def _all_started(self, engine: Any) -> bool:
        return sum(run.handler == "order" for run in await engine.runs(limit=10_000)) == self.runs

    async def _all_ended(self, engine: Any) -> bool:
        return {run.status for run in await engine.runs(limit=10_000)} == {"completed"}


@pytest.mark.restate
@pytest.mark.parametrize(
    ("runs", "kills", "server_kills", "seed"),
    [(6, 4, 1, 0), *(pytest.param(50, 30, 5, seed, marks=pytest.mark.slow) for seed in range(KILL_SEEDS // 4))],
)
@pytest.mark.timeout(1800)
def test_orders_end_right_and_are_one_tree_each_whoever_is_killed(
    restate: RestateServer, tmp_path: Path, runs: int, kills: int, server_kills: int, seed: int
):
    """Runs with every kind of call, of two workers that share a service, while these, their clients and the server are
    killed: right results, guarded effects once, exact totals, one tree for each trace, ids as the journal has them.
    """
    orders = Orders(restate, tmp_path, runs, kills, server_kills)
    with OpenAIServer() as model:
        answer_questions(model)
        found, states = asyncio.run(orders.run(seed, model.base_url))
        spans = spans_in(tmp_path / "spans")
        right = sum(result[0] for result in found)
        print(  # noqa: T201
            f"seed {seed}: {runs} runs, {right} ended well; killed {orders.killed}, the server {orders.server_killed} "
            f"times; {len(spans)} spans, {len(orphans(spans))} orphans, repeated ids: {dict(repeated(spans))}"
        )
        check_results(tmp_path, found, states)
        check_questions(model, runs, server_kills)
    sampled = orders.requests.sampled
    check_traces(spans, sampled, runs, is_told_late=True)
    check_steps(spans, tmp_path, sampled, runs, kills + server_kills)
    check_links(spans, sampled)


@pytest.mark.restate
def test_what_a_killed_worker_had_exported_hangs_under_what_follows(restate: RestateServer, tmp_path: Path):
    """A step that a kill cut is one span, with what both executions did below it; its run is recovered."""

    async def run() -> None:
        environment = {"OTELIER_WORKER_BIND": f"127.0.0.1:{free_port()}"}
        engine = restate_engine.RestateEngine(restate.address)
        async with programs(tmp_path, {"worker": 1}, place=restate.address, environment=environment) as found:
            await until(lambda: found.at_work("worker"))
            await engine.start(Target("shop", "held"), None, start_headers(None, "o-1", "held"), run_id="o-1")
            for life in (1, 2):
                await until(lambda life=life: len(lines_of(tmp_path / "held")) == life)
                await until(lambda life=life: len(lines_of(tmp_path / "spans")) == life)
                if life == 1:
                    await found.kill(*found.at_work("worker"))
            (tmp_path / "go").touch()
            assert await engine.result("o-1", 600) == [True, None]

    asyncio.run(run())
    (spans,) = assert_trees(spans_in(tmp_path / "spans")).values()
    found = {span.name: span for span in spans}
    step, around, root = found["run_step hold"], found["around"], found["invoke_workflow held"]
    assert len(spans) == 5
    assert found["work 1"].parent_id == found["work 2"].parent_id == step.span_id
    assert (step.parent_id, around.parent_id, root.parent_id) == (around.span_id, root.span_id, None)
    (recovered,) = root.events
    assert recovered.name == "otelier.workflow.recovered"
    assert found["work 1"].end_ns < recovered.time_ns < found["work 2"].start_ns
