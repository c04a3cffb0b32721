"""Workers that are killed at any time: results, effects, traces and metrics of what they ran."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter, deque
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
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
CALLED, ASKED = 7, 10
"""Numbers of the ops of `order` that call another run."""


class Workers:
    """A worker and a standby, of which one is killed now and then and another one is started."""

    def __init__(self, path: Path, directory: Path, ratio: float, chance: random.Random) -> None:
        self._arguments = [
            sys.executable,
            "-m",
            "tests.workflows.programs.traced",
            str(path),
            str(directory),
            str(ratio),
        ]
        self._chance = chance
        self._programs: list[asyncio.subprocess.Process] = []
        self._starting: set[asyncio.Task[None]] = set()
        self.kills = 0

    def start(self) -> None:
        """Start what lacks, in the background."""
        while len(self._programs) + len(self._starting) < 2:
            task = asyncio.create_task(self._start())
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    async def _start(self) -> None:
        program = await asyncio.create_subprocess_exec(*self._arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
        assert program.stdout is not None
        assert await program.stdout.readline() == b"began\n"
        self._programs.append(program)

    async def are_there(self) -> None:
        """Wait until one of them is at work, at least."""
        self.start()
        while not self._programs:
            await asyncio.wait(set(self._starting), return_when=asyncio.FIRST_COMPLETED)

    async def kill_one(self) -> None:
        """Kill the one that drives, or the other."""
        is_first = len(self._programs) < 2 or self._chance.random() < 0.8
        await _killed(self._programs.pop(0 if is_first else 1))
        self.kills += 1

    async def stop(self) -> None:
        if self._starting:
            await asyncio.wait(set(self._starting))
        for program in self._programs:
            await _killed(program)


async def _killed(program: asyncio.subprocess.Process) -> None:
    if program.returncode is None:
        program.send_signal(signal.SIGKILL)
    await program.wait()
    program._transport.close()  # type: ignore[attr-defined]


async def _start(client: LocalEngine, recorder: SpanRecorder, n: int) -> None:
    """Start a run, each second one in a span."""
    run_id = f"order-{n}"
    with otelier.context(user_id=f"user-{n}"), ExitStack() as stack:
        if n % 2:
            tracer = recorder.tracer_provider.get_tracer("client")
            stack.enter_context(tracer.start_as_current_span("request"))
        headers = start_headers(None, run_id, span_name("workflow", "order"), is_client=True)
        await client.start(ORDER, {"n": n}, headers, run_id=run_id)


async def _pay(client: LocalEngine, recorder: SpanRecorder, n: int) -> None:
    with recorder.tracer_provider.get_tracer("client").start_as_current_span("pay"):
        await client.signal(f"order-{n}", "paid", sealed(f"paid {n}", get_current()))


async def _kill_at_random(
    client: LocalEngine, recorder: SpanRecorder, workers: Workers, chance: random.Random, runs: int, kills: int
) -> None:
    """Start runs two by two, which tell each other something, and pay for them, while workers are killed."""
    waiting, unpaid = deque(range(runs)), list[int]()
    while waiting or unpaid or workers.kills < kills:
        await workers.are_there()
        for _ in range(2 if waiting else 0):
            await _start(client, recorder, waiting[0])
            unpaid.append(waiting.popleft())
        for _ in range(min(len(unpaid), 1 + runs // kills)):
            await asyncio.sleep(chance.random() * 0.1)
            await _pay(client, recorder, unpaid.pop(chance.randrange(len(unpaid))))
        await asyncio.sleep(chance.random() * 0.1)
        if workers.kills < kills:
            await workers.kill_one()
    await workers.are_there()


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
    ("seed", "ratio", "runs", "kills"),
    [
        (1, 1.0, 16, 10),
        *(pytest.param(seed, ratio, 50, 30, marks=pytest.mark.slow) for seed, ratio in ((2, 0.0), (3, 0.5), (4, 1.0))),
    ],
)
@on_a_loop
async def test_each_run_is_one_tree_although_its_workers_are_killed(
    tmp_path: Path, seed: int, ratio: float, runs: int, kills: int
):
    """Runs end right, guarded effects happen once, and each trace is one tree without orphans or doubtful ids."""
    path, chance = tmp_path / "runs.db", random.Random(seed)
    (tmp_path / "effects").mkdir()
    recorder = SpanRecorder(sampler=ParentBased(TraceIdRatioBased(ratio)), clock=time.time_ns)
    otelier.init(tracer_provider=recorder.tracer_provider)
    workers = Workers(path, tmp_path, ratio, chance)
    async with opened(str(path)) as client:
        try:
            await _kill_at_random(client, recorder, workers, chance, runs, kills)
            found = await asyncio.gather(*(client.result(f"order-{n}", 240) for n in range(runs)))
        finally:
            await workers.stop()
        states = await client.states("shop")
    assert found == [[True, traced.expected(n)] for n in range(runs)]
    assert {key: state["total"] for key, state in states} == {f"k{key}": [sum(range(key, runs, 3))] for key in range(3)}
    assert Counter(os.listdir(tmp_path / "effects")) == Counter(_keys(runs))
    spans = [*spans_in(tmp_path / "spans"), *(one for one in recorder.records if one.parent_id is None)]
    _check_traces(spans, ratio, runs)
    _check_steps(spans, tmp_path, ratio, runs, kills)


def _keys(runs: int) -> list[str]:
    """Return the keys of all effects."""
    keys: list[str] = []
    for n in range(runs):
        run = f"order-{n}"
        keys += [f"{run}:{step}" for step in traced.STEPS]
        keys += [f"{run}.{CALLED}:double", f"{run}.child#1:double", f"{run}.{ASKED}:look"]
    return keys


def _check_traces(spans: list[SpanRecord], ratio: float, runs: int) -> None:
    traces = assert_trees(spans)
    if ratio == 0.0:
        assert spans == []
        return
    made = Counter(
        str(span.attributes["otelier.run.id"]) for trace in traces.values() for span in trace if _is_run(span)
    )
    if ratio == 1.0:
        assert sorted(made) == sorted({key.partition(":")[0] for key in _keys(runs)})
    for trace_spans in traces.values():
        for span in trace_spans:
            if "otelier.run.id" in span.attributes:
                assert span.attributes["user.id"] == f"user-{str(span.attributes['otelier.workflow.id'])[6:]}"


def _is_run(span: SpanRecord) -> bool:
    return span.name.startswith(("invoke_workflow", "run_function", "run_entity"))


def _check_steps(spans: list[SpanRecord], directory: Path, ratio: float, runs: int, kills: int) -> None:
    """Assert that each finished execution of a step is one span and one point, but for those a kill cut in between."""
    executions = Counter(lines_of(directory / "executions"))
    assert {line.replace(" ", ":") for line in executions} == set(_keys(runs))
    points = Counter(name for name, _ in map(json.loads, lines_of(directory / "points")))
    assert 0 <= executions.total() - points["otelier.step.duration"] <= kills
    if ratio == 1.0:
        steps = Counter(
            f"{span.attributes['otelier.run.id']} {span.name.removeprefix('run_step ')}"
            for span in spans
            if span.name.startswith("run_step")
        )
        assert 0 <= executions.total() - steps.total() <= kills
        assert 0 <= steps.total() - points["otelier.step.duration"] <= kills
        assert all(steps[step] <= count for step, count in executions.items())
        assert set(steps) == set(executions)
