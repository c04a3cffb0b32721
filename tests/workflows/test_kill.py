"""Workers, standbys and clients that are killed at any time: results, effects, traces, metrics and paid questions."""

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
from otelier.workflows.engines.local import LocalEngine
from otelier.workflows.engines.protocol import Target
from tests.workflows.engines.serving import opened, until
from tests.workflows.nursery import KILL_SEEDS, seeds
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
from tests.workflows.programs.traced import RATIOS
from tests.workflows.trees import assert_trees

RUNS, KILLS = 50, 30


async def _kill_some(found: Programs, chance: random.Random) -> None:
    """Kill the older worker, which drives, or the other, or both, or a client."""
    await until(lambda: len(found.at_work("worker")) == 2 and found.at_work("client"))
    first, second = found.at_work("worker")
    clients = found.at_work("client")
    choices = [(first,)] * 4 + [(second,)] * 2 + [(first, second)] * 2 + [(chance.choice(clients),)] * 2
    await found.kill(*chance.choice(choices))


async def _kill_at_random(found: Programs, chance: random.Random) -> None:
    """Let the clients start orders, and kill somebody again and again while they are worked at."""
    wanted, directory = 0, found.directory
    while found.kills.total() < KILLS or wanted < RUNS:
        # A body that is begun ten times without a new record is blocked: some of the work is done before each kill.
        done = found.executions() + chance.randrange(1, 12)
        wanted = min(RUNS, wanted + 2)
        (directory / "wanted.new").write_text(str(wanted))
        (directory / "wanted.new").replace(directory / "wanted")
        if wanted < RUNS:
            await until(lambda done=done: found.executions() >= done)
        await asyncio.sleep(chance.random() * 0.1)
        await _kill_some(found, chance)


async def _ran(directory: Path, server: OpenAIServer, seed: int) -> tuple[list[Any], list[tuple[str, Any]], set[str]]:
    """Return the results of all orders, the states of all entities, and the orders that are to have spans."""
    requests = Requests(RUNS)
    (directory / "requests").write_text(json.dumps(requests.carriers))
    (directory / "wanted").write_text("0")
    wanted = {"worker": 2, **{f"client {number}": 1 for number in range(len(RATIOS))}}
    async with opened(str(directory / "runs.db")) as client:
        await client.runs()  # makes the file
        async with programs(directory, wanted, server.base_url) as found:
            await _kill_at_random(found, random.Random(seed))
            await until(functools.partial(_all_started, client))
            results = await asyncio.gather(*(client.result(f"order-{n}", 600) for n in range(RUNS)))
            await until(functools.partial(_all_ended, client))
        with (directory / "spans").open("a", encoding="utf-8") as file:
            file.writelines(f"\n{json.dumps(asdict(span))}\n" for span in requests.ended())
        assert found.kills.total() >= KILLS
        return results, await client.states("shop"), requests.sampled


async def _all_started(client: LocalEngine) -> bool:
    return sum(run.handler == "order" for run in await client.runs(limit=10_000)) == RUNS


async def _all_ended(client: LocalEngine) -> bool:
    return {run.status for run in await client.runs(limit=10_000)} == {"completed"}


@pytest.mark.parametrize("seed", seeds(1, KILL_SEEDS // 2))
@pytest.mark.timeout(1800)  # thirty times the start of a process, and whatever else the machine has to do
def test_orders_end_right_and_are_one_tree_each_whoever_is_killed(tmp_path: Path, seed: int):
    """Fifty runs with every kind of call, two workers and three clients killed thirty times: right results, guarded
    effects once, exact totals, one tree for each trace without orphans or doubtful ids, no paid question twice."""
    with OpenAIServer() as server:
        answer_questions(server)
        found, states, sampled = asyncio.run(_ran(tmp_path, server, seed))
        check_questions(server, RUNS)
    check_results(tmp_path, found, states)
    spans = spans_in(tmp_path / "spans")
    check_traces(spans, sampled, RUNS)
    check_steps(spans, tmp_path, sampled, RUNS, KILLS)
    check_links(spans, sampled)


def test_what_a_killed_worker_had_exported_hangs_under_what_follows(tmp_path: Path):
    """A step that a kill cut is one span from its first begin, with both executions below it; its run is recovered."""

    async def run() -> None:
        async with opened(str(tmp_path / "runs.db")) as client, programs(tmp_path, {"worker": 1}) as found:
            await client.start(Target("shop", "held"), None, start_headers(None, "o-1", "held"), run_id="o-1")
            for life in (1, 2):
                await until(lambda life=life: len(lines_of(tmp_path / "held")) == life)
                await until(lambda life=life: len(lines_of(tmp_path / "spans")) == life)
                if life == 1:
                    await until(functools.partial(_has_begun, client))
                    await found.kill(*found.at_work("worker"))
            (tmp_path / "go").touch()
            assert await client.result("o-1", 600) == [True, None]

    asyncio.run(run())
    (spans,) = assert_trees(spans_in(tmp_path / "spans")).values()
    found = {span.name: span for span in spans}
    step, around, root = found["run_step hold"], found["around"], found["invoke_workflow held"]
    assert len(spans) == 5
    assert step.attributes["otelier.step.executions"] == 2
    assert found["work 1"].parent_id == found["work 2"].parent_id == step.span_id
    assert (step.parent_id, around.parent_id, root.parent_id) == (around.span_id, root.span_id, None)
    assert step.start_ns <= found["work 1"].start_ns
    (recovered,) = root.events
    assert recovered.name == "otelier.workflow.recovered"
    assert found["work 1"].end_ns < recovered.time_ns < found["work 2"].start_ns


async def _has_begun(client: LocalEngine) -> bool:
    return bool((await client.run("o-1")).steps)
