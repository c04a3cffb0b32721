"""Workers, standbys and clients that are killed at any time: results, effects, traces, metrics and paid questions."""

from __future__ import annotations

import asyncio
import functools
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from otelier.testing import OpenAIServer, SpanEvent, SpanLink, SpanRecord, SpanRecorder
from otelier.workflows._headers import start_headers
from otelier.workflows.engines.local import LocalEngine
from otelier.workflows.engines.protocol import Target
from otelier.workflows.engines.shown import run_trace_id
from tests.workflows.engines.serving import opened, until
from tests.workflows.nursery import KILL_SEEDS, Nursery, nursery, seeds
from tests.workflows.programs import traced
from tests.workflows.programs.traced import RATIOS
from tests.workflows.trees import assert_trees

KINDS = {
    "invoke_workflow": "CONSUMER",
    "wait_signal": "CONSUMER",
    "wait_approval": "CONSUMER",
    "wait_timer": "INTERNAL",
    "run_": "INTERNAL",
    "resume_": "INTERNAL",
    "call ": "PRODUCER",
    "emit_signal": "PRODUCER",
}
"""Kinds of spans, by how their names begin."""
CALLED, ASKED = 7, 9
"""Numbers of the ops of `order` that call another run."""
RUNS, KILLS = 50, 30
AGENT_STEPS = ("think", "weigh", "think#2")


class Programs:
    """Two workers, of which one stands by, and a client for each sampler; whoever is killed is started again."""

    def __init__(self, directory: Path, nursery: Nursery, wanted: dict[str, int]) -> None:
        self.directory = directory
        self.kills: Counter[str] = Counter()
        self._nursery, self._wanted = nursery, wanted
        self._kinds: dict[int, str] = {}

    async def start(self) -> None:
        """Start what lacks."""
        for what, count in self._wanted.items():
            for _ in range(count - [self._kinds[pid] for pid in self._nursery.alive].count(what)):
                kind, _, number = what.partition(" ")
                pid = await self._nursery.start(kind, self.directory / "runs.db", self.directory, number)
                self._kinds[pid] = what

    def at_work(self, kind: str) -> list[int]:
        """Return the processes of a kind that are at work, the oldest first."""
        return [pid for pid in self._nursery.alive if self._kinds[pid].startswith(kind) and self._nursery.works(pid)]

    async def kill(self, *pids: int) -> None:
        """Kill some, and start others for them."""
        self.kills.update(self._kinds[pid].partition(" ")[0] for pid in pids)
        await self._nursery.kill(*pids)
        await self.start()

    async def kill_some(self, chance: random.Random) -> None:
        """Kill the older worker, which drives, or the other, or both, or a client."""
        await until(lambda: len(self.at_work("worker")) == 2 and self.at_work("client"))
        first, second = self.at_work("worker")
        clients = self.at_work("client")
        choices = [(first,)] * 4 + [(second,)] * 2 + [(first, second)] * 2 + [(chance.choice(clients),)] * 2
        await self.kill(*chance.choice(choices))

    def executions(self) -> int:
        """Return how many executions of steps have ended."""
        return len(lines_of(self.directory / "executions"))


@asynccontextmanager
async def programs(directory: Path, wanted: dict[str, int], url: str = "http://127.0.0.1:9") -> AsyncIterator[Programs]:
    """Let the programs be at work until the block ends."""
    (directory / "effects").mkdir()
    async with nursery("tests.workflows.programs.traced", {"OPENAI_BASE_URL": url}) as found:
        started = Programs(directory, found, wanted)
        await started.start()
        yield started


def lines_of(path: Path) -> list[str]:
    """Return the lines that were appended; what a kill cut is none."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [line for line in text.split("\n")[:-1] if line]


def spans_in(path: Path) -> list[SpanRecord]:
    found: list[SpanRecord] = []
    for given in read(path):
        given["events"] = tuple(SpanEvent(**one) for one in given["events"])
        given["links"] = tuple(SpanLink(**one) for one in given["links"])
        found.append(SpanRecord(**given))
    return found


def read(path: Path) -> list[Any]:
    """Return what was appended as JSON; a line that a kill cut was not exported."""
    found: list[Any] = []
    for line in lines_of(path):
        try:
            found.append(json.loads(line))
        except ValueError:
            pass
    return found


class Requests:
    """Spans of who asks for each second order, which the samplers of the clients let through or not."""

    def __init__(self) -> None:
        self._recorders = [
            SpanRecorder(sampler=ParentBased(TraceIdRatioBased(ratio)), clock=time.time_ns) for ratio in RATIOS
        ]
        self._spans: list[Any] = []
        self.carriers: list[dict[str, str]] = []
        """Headers of the requests; none where the order is started without a span."""
        self.sampled: set[str] = set()
        """Orders that are to have spans."""
        for n in range(RUNS):
            self._ask_for(n)

    def _ask_for(self, n: int) -> None:
        recorder, run_id, carrier = self._recorders[traced.client_of(n)], f"order-{n}", dict[str, str]()
        if n % 2:
            span = recorder.tracer_provider.get_tracer("web").start_span("request", context=Context())
            TraceContextTextMapPropagator().inject(carrier, set_span_in_context(span, Context()))
            self._spans.append(span)
            is_sampled = span.get_span_context().trace_flags.sampled
        else:
            sampler = TraceIdRatioBased(RATIOS[traced.client_of(n)])
            is_sampled = sampler.should_sample(None, run_trace_id(run_id), "").decision.is_sampled()
        self.carriers.append(carrier)
        if is_sampled:
            self.sampled.add(run_id)

    def ended(self) -> list[SpanRecord]:
        """End the spans, and return them."""
        for span in self._spans:
            span.end()
        return [one for recorder in self._recorders for one in recorder.records]


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
        await found.kill_some(chance)


async def _ran(directory: Path, server: OpenAIServer, seed: int) -> tuple[list[Any], list[tuple[str, Any]], set[str]]:
    """Return the results of all orders, the states of all entities, and the orders that are to have spans."""
    requests = Requests()
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
        server.reply(tool_calls=[("weigh", {"number": 1})], when=lambda asked: len(asked.messages) == 1, times=None)
        server.reply(traced.ANSWER, when=lambda asked: len(asked.messages) == 3, times=None)
        found, states, sampled = asyncio.run(_ran(tmp_path, server, seed))
        _check_questions(server)
    decided = [result[1][14] for result in found]
    assert found == [[True, traced.expected(n, decided[n])] for n in range(RUNS)]
    for line in lines_of(tmp_path / "decisions"):
        run_id, approver = line.split()
        assert decided[int(run_id[6:])] == ["approved", approver]
    assert {key: state["total"] for key, state in states} == {f"k{key}": [sum(range(key, RUNS, 3))] for key in range(3)}
    assert sorted(file.name for file in (tmp_path / "effects").iterdir()) == sorted(_keys())
    spans = spans_in(tmp_path / "spans")
    _check_traces(spans, sampled)
    _check_steps(spans, tmp_path, sampled)
    _check_links(spans, sampled)


def _check_links(spans: list[SpanRecord], sampled: set[str]) -> None:
    """Assert that each wait for a signal links to the span that sent it, in whatever process; and kinds of spans."""
    known = {span.span_id: span for span in spans}
    for span in known.values():
        kind = next((kind for start, kind in KINDS.items() if span.name.startswith(start)), span.kind)
        assert kind == span.kind, span
        if span.name.startswith("wait_signal"):
            (link,) = span.links
            run_id = str(span.attributes["otelier.run.id"])
            is_told = span.name.endswith("told")
            sender = (
                f"emit_signal {'told' if is_told else 'paid'}",
                f"order-{int(run_id[6:]) ^ 1}" if is_told else run_id,
            )
            found = known.get(link.span_id)
            if found is not None:
                assert (found.name, found.attributes["otelier.run.id"], found.trace_id) == (*sender, link.trace_id)
            else:  # not sampled, or of a client that was killed
                assert not is_told or sender[1] not in sampled


def _keys() -> list[str]:
    """Return the keys of all effects."""
    keys: list[str] = []
    for n in range(RUNS):
        run = f"order-{n}"
        keys += [f"{run}:{step}" for step in traced.STEPS]
        keys += [f"{run}.{CALLED}:double", f"{run}.child#1:double", f"{run}.{ASKED}:look"]
    return keys


def _check_questions(server: OpenAIServer) -> None:
    """Assert that a question was asked again by another process only, and never once the next one was asked."""
    asked: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for request in filter(lambda one: one.messages, server.requests):  # one that a kill cut never arrived
        asked[request.messages[0]["content"]].append((len(request.messages), request.headers["x-life"]))
    assert len(asked) == RUNS
    for questions in asked.values():
        assert questions == sorted(questions, key=lambda one: one[0]), questions
        assert {count for count, _ in questions} == {1, 3}
        assert max(Counter(questions).values()) == 1, questions


def _check_traces(spans: list[SpanRecord], sampled: set[str]) -> None:
    traces = assert_trees(spans)
    made = {str(span.attributes["otelier.run.id"]) for trace in traces.values() for span in trace if _is_run(span)}
    assert made == {key.partition(":")[0] for key in _keys() if _order_of(key) in sampled}
    for trace_spans in traces.values():
        for span in trace_spans:
            if "otelier.workflow.id" in span.attributes:
                assert span.attributes["user.id"] == f"user-{str(span.attributes['otelier.workflow.id'])[6:]}"


def _order_of(key: str) -> str:
    return key.partition(":")[0].partition(".")[0]


def _is_run(span: SpanRecord) -> bool:
    return span.name.startswith(("invoke_workflow", "run_function", "run_entity"))


def _check_steps(spans: list[SpanRecord], directory: Path, sampled: set[str]) -> None:
    """Assert that each finished execution of a step is one span and one point, but for those a kill cut in between."""
    executions = Counter(line.replace(" ", ":") for line in lines_of(directory / "executions"))
    assert set(executions) == set(_keys())
    done = Counter(
        str(facts["otelier.step.name"]) for name, facts in read(directory / "points") if name == "otelier.step.duration"
    )
    ours = {name.partition("#")[0] for name in traced.STEPS} | {"double", "look"}
    points = sum(count for name, count in done.items() if name in ours)
    assert 0 <= executions.total() - points <= 2 * KILLS
    shown = Counter({key: count for key, count in executions.items() if _order_of(key) in sampled})
    steps = Counter(
        f"{span.attributes['otelier.run.id']}:{span.name.removeprefix('run_step ')}"
        for span in spans
        if span.name.startswith("run_step")
    )
    agents = {f"{run_id}:{name}" for run_id in sampled for name in AGENT_STEPS}
    assert set(steps) == {*shown, *agents}
    assert all(steps[step] <= count for step, count in shown.items())
    assert shown.total() - sum(steps[step] for step in shown) <= 2 * KILLS


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
