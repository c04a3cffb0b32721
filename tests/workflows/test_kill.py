"""Workers that are killed at any time: results, effects, traces and metrics of what they ran."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

import otelier
from otelier.testing import SpanEvent, SpanLink, SpanRecord, SpanRecorder
from otelier.workflows._headers import sealed, start_headers
from otelier.workflows._spans import span_name
from otelier.workflows.engines.local import LocalEngine
from otelier.workflows.engines.protocol import Target
from tests.workflows.engines.serving import on_a_loop, opened
from tests.workflows.programs import traced
from tests.workflows.trees import assert_trees

ROOT = Path(__file__).parents[2]
ORDER = Target("shop", "order")


class Workers:
    """A worker and a standby, of which one is killed now and then."""

    def __init__(self, path: Path, directory: Path, ratio: float, chance: random.Random) -> None:
        self._arguments = [sys.executable, "-m", "tests.workflows.programs.traced", str(path), str(directory), str(ratio)]
        self._chance = chance
        self._programs: list[asyncio.subprocess.Process] = []
        self.kills = 0

    async def start(self) -> None:
        while len(self._programs) < 2:
            program = await asyncio.create_subprocess_exec(*self._arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
            assert program.stdout is not None
            self._programs.append(program)
            assert await program.stdout.readline() == b"began\n"

    async def kill_one(self) -> None:
        """Kill the one that drives, or the other."""
        program = self._programs.pop(0 if self._chance.random() < 0.8 else 1)
        await _killed(program)
        self.kills += 1

    async def stop(self) -> None:
        for program in self._programs:
            await _killed(program)


async def _killed(program: asyncio.subprocess.Process) -> None:
    if program.returncode is None:
        program.send_signal(signal.SIGKILL)
    await program.wait()
    program._transport.close()  # type: ignore[attr-defined]


async def _start(client: LocalEngine, recorder: SpanRecorder) -> None:
    """Start all runs, each second one in a span."""
    tracer = recorder.tracer_provider.get_tracer("client")
    for n in range(traced.RUNS):
        run_id = f"order-{n}"

        async def start(n: int = n, run_id: str = run_id) -> None:
            headers = start_headers(None, run_id, span_name("workflow", "order"), is_client=True)
            await client.start(ORDER, {"n": n}, headers, run_id=run_id)

        with otelier.context(user_id=f"user-{n}"):
            if n % 2:
                with tracer.start_as_current_span("request"):
                    await start()
            else:
                await start()


async def _pay(client: LocalEngine, recorder: SpanRecorder, chance: random.Random) -> None:
    tracer = recorder.tracer_provider.get_tracer("client")
    for n in chance.sample(range(traced.RUNS), traced.RUNS):
        await asyncio.sleep(chance.random() * 0.3)
        with tracer.start_as_current_span("pay"):
            await client.signal(f"order-{n}", "paid", sealed(f"paid {n}", get_current()))


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def spans_in(path: Path) -> list[SpanRecord]:
    found: list[SpanRecord] = []
    for line in lines_of(path):
        given: dict[str, Any] = json.loads(line)
        given["events"] = tuple(SpanEvent(**one) for one in given["events"])
        given["links"] = tuple(SpanLink(**one) for one in given["links"])
        found.append(SpanRecord(**given))
    return found


@pytest.mark.parametrize(
    ("seed", "ratio", "kills"),
    [
        (1, 1.0, 10),
        *(pytest.param(seed, ratio, 30, marks=pytest.mark.slow) for seed, ratio in ((2, 0.0), (3, 0.5), (4, 1.0))),
    ],
)
@on_a_loop
async def test_each_run_is_one_tree_although_its_workers_are_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, ratio: float, kills: int
):
    """Runs end right, guarded effects happen once, and each trace is one tree without orphans or doubtful ids."""
    path, chance = tmp_path / "runs.db", random.Random(seed)
    (tmp_path / "effects").mkdir()
    recorder = SpanRecorder(sampler=ParentBased(TraceIdRatioBased(ratio)), clock=__import__("time").time_ns)
    otelier.init(tracer_provider=recorder.tracer_provider)
    workers = Workers(path, tmp_path, ratio, chance)
    async with opened(str(path)) as client:
        await _start(client, recorder)
        results = asyncio.ensure_future(
            asyncio.gather(*(client.result(f"order-{n}", 240) for n in range(traced.RUNS)))
        )
        paying = asyncio.create_task(_pay(client, recorder, chance))
        try:
            while not results.done():
                await workers.start()
                await asyncio.wait([results], timeout=chance.random() * 0.3 if workers.kills < kills else 60)
                if not results.done():
                    await workers.kill_one()
            found = await results
            await paying
        finally:
            await workers.stop()
            paying.cancel()
        states = await client.states("shop")
    print("kills", workers.kills)
    assert found == [[True, traced.expected(n)] for n in range(traced.RUNS)]
    assert {key: state["total"] for key, state in states} == {
        f"k{key}": sum(range(key, traced.RUNS, 3)) for key in range(3)
    }
