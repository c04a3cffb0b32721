"""Workers that are killed at any time: results, effects, traces and metrics of what they ran."""

from __future__ import annotations

import asyncio
import functools
import json
import random
import signal
import sys
import time
from collections import Counter, defaultdict, deque
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.context import get_current
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

import otelier
from otelier.testing import SpanEvent, SpanLink, SpanRecord, SpanRecorder
from otelier.workflows._headers import sealed, start_headers
from otelier.workflows._trace import span_name
from otelier.workflows.engines.local import LocalEngine
from otelier.workflows.engines.protocol import Target
from tests.workflows.engines.serving import opened, until
from tests.workflows.programs import traced
from tests.workflows.trees import assert_trees

ROOT = Path(__file__).parents[2]
ORDER = Target("shop", "order")
KINDS = {
    "invoke_workflow": "CONSUMER",
    "wait_signal": "CONSUMER",
    "wait_timer": "INTERNAL",
    "run_": "INTERNAL",
    "resume_": "INTERNAL",
    "call ": "PRODUCER",
    "emit_signal": "PRODUCER",
}
CALLED, ASKED = 7, 10
"""Numbers of the ops of `order` that call another run."""


class Workers:
    """A worker and a standby, of which one is killed now and then and another one is started."""

    def __init__(self, path: Path, directory: Path, ratio: float, chance: random.Random, count: int = 2) -> None:
        self._arguments = [
            sys.executable,
            "-m",
            "tests.workflows.programs.traced",
            str(path),
            str(directory),
            str(ratio),
        ]
        self._chance, self._directory = chance, directory
        self._count = count
        self._programs: list[asyncio.subprocess.Process] = []
        self._starting: set[asyncio.Task[None]] = set()
        self.kills = 0

    def start(self) -> None:
        """Start what lacks, in the background."""
        while len(self._programs) + len(self._starting) < self._count:
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

    def executions(self) -> int:
        """Return how many executions of steps have ended."""
        return len(lines_of(self._directory / "executions"))

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
        # A body that is begun ten times without a new record is blocked: some of the work is done before each kill.
        done = workers.executions() + (chance.randrange(1, 12) if waiting else chance.randrange(3) if unpaid else 0)
        for _ in range(2 if waiting else 0):
            await _start(client, recorder, waiting[0])
            unpaid.append(waiting.popleft())
        for _ in range(min(len(unpaid), 1 + runs // kills)):
            await asyncio.sleep(chance.random() * 0.1)
            await _pay(client, recorder, unpaid.pop(chance.randrange(len(unpaid))))
        while workers.executions() < done:
            await asyncio.sleep(0.005)
            await workers.are_there()
        await asyncio.sleep(chance.random() * 0.05)
        if workers.kills < kills:
            await workers.kill_one()
    await workers.are_there()


async def _ran(
    directory: Path, recorder: SpanRecorder, chance: random.Random, ratio: float, runs: int, kills: int
) -> tuple[list[Any], list[tuple[str, Any]]]:
    """Return the results of all runs, and the states of all entities."""
    path = directory / "runs.db"
    workers = Workers(path, directory, ratio, chance)
    async with opened(str(path)) as client:
        try:
            await _kill_at_random(client, recorder, workers, chance, runs, kills)
            results = await asyncio.gather(*(client.result(f"order-{n}", 600) for n in range(runs)))
        finally:
            await workers.stop()
        return results, await client.states("shop")


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
@pytest.mark.timeout(1800)  # thirty times the start of a process, and whatever else the machine has to do
def test_each_run_is_one_tree_although_its_workers_are_killed(
    tmp_path: Path, seed: int, ratio: float, runs: int, kills: int
):
    """Runs end right, guarded effects happen once, and each trace is one tree without orphans or doubtful ids."""
    (tmp_path / "effects").mkdir()
    recorder = SpanRecorder(sampler=ParentBased(TraceIdRatioBased(ratio)), clock=time.time_ns)
    otelier.init(tracer_provider=recorder.tracer_provider)
    found, states = asyncio.run(_ran(tmp_path, recorder, random.Random(seed), ratio, runs, kills))
    assert found == [[True, traced.expected(n)] for n in range(runs)]
    assert {key: state["total"] for key, state in states} == {f"k{key}": [sum(range(key, runs, 3))] for key in range(3)}
    assert sorted(file.name for file in (tmp_path / "effects").iterdir()) == sorted(_keys(runs))
    spans = [*spans_in(tmp_path / "spans"), *(one for one in recorder.records if one.parent_id is None)]
    _check_traces(spans, ratio, runs)
    _check_steps(spans, tmp_path, ratio, runs, kills)
    if ratio == 1.0:
        _check_links(spans, runs)


def _check_links(spans: list[SpanRecord], runs: int) -> None:
    """Assert that each wait for a signal links to the span that sent it, in whatever process; and kinds of spans."""
    by_id = {span.span_id: span for span in spans}
    waited: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for span in by_id.values():
        if span.name.startswith("wait_signal"):
            (link,) = span.links
            sender = by_id[link.span_id]
            assert sender.trace_id == link.trace_id
            waited[span.name].append((str(span.attributes["otelier.run.id"]), _sent_by(sender)))
        kind = next((kind for start, kind in KINDS.items() if span.name.startswith(start)), None)
        assert kind in {None, span.kind}, span
    assert sorted(waited["wait_signal told"]) == sorted((f"order-{n}", f"order-{n ^ 1}") for n in range(runs))
    assert sorted(waited["wait_signal paid"]) == sorted((f"order-{n}", "pay") for n in range(runs))


def _sent_by(sender: SpanRecord) -> str:
    return str(sender.attributes["otelier.run.id"]) if sender.name == "emit_signal told" else sender.name


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


def test_what_a_killed_worker_had_exported_hangs_under_what_follows(tmp_path: Path):
    """A step that a kill cut is one span from its first begin, with both executions below it; its run is recovered."""
    (tmp_path / "effects").mkdir()

    async def run() -> None:
        workers = Workers(tmp_path / "runs.db", tmp_path, 1.0, random.Random(1), count=1)
        async with opened(str(tmp_path / "runs.db")) as client:
            await client.start(Target("shop", "held"), None, start_headers(None, "o-1", "held"), run_id="o-1")
            try:
                for life in (1, 2):
                    await workers.are_there()
                    await until(lambda life=life: len(lines_of(tmp_path / "held")) == life)
                    await until(lambda life=life: len(lines_of(tmp_path / "spans")) == life)
                    if life == 1:
                        await until(functools.partial(_has_begun, client))
                        await workers.kill_one()
                (tmp_path / "go").touch()
                assert await client.result("o-1", 600) == [True, None]
            finally:
                await workers.stop()

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
