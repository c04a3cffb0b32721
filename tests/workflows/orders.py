"""What holds of the orders that `programs.traced` runs, whoever is killed: effects, traces, metrics, paid questions."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from otelier.testing import OpenAIServer, SpanEvent, SpanLink, SpanRecord, SpanRecorder
from otelier.workflows.engines.shown import run_trace_id
from tests.workflows.nursery import Nursery, nursery
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
AGENT_STEPS = ("think", "weigh", "think#2")


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


class Programs:
    """Workers, and a client for each sampler; whoever is killed is started again."""

    def __init__(self, directory: Path, nursery: Nursery, wanted: dict[str, int], place: object) -> None:
        self.directory = directory
        self._place = place
        self.kills: Counter[str] = Counter()
        self._nursery, self._wanted = nursery, wanted
        self._kinds: dict[int, str] = {}

    async def start(self) -> None:
        """Start what lacks."""
        self._nursery.forget_dead()
        for what, count in self._wanted.items():
            for _ in range(count - [self._kinds[pid] for pid in self._nursery.alive].count(what)):
                kind, _, number = what.partition(" ")
                pid = await self._nursery.start(kind, self._place, self.directory, number)
                self._kinds[pid] = what

    def at_work(self, kind: str) -> list[int]:
        """Return the processes of a kind that are at work, the oldest first."""
        return [pid for pid in self._nursery.alive if self._kinds[pid].startswith(kind) and self._nursery.works(pid)]

    async def kill(self, *pids: int) -> None:
        """Kill some, and start others for them."""
        self.kills.update(self._kinds[pid].partition(" ")[0] for pid in pids)
        await self._nursery.kill(*pids)
        await self.start()

    def executions(self) -> int:
        """Return how many executions of steps have ended."""
        return len(lines_of(self.directory / "executions"))


@asynccontextmanager
async def programs(
    directory: Path,
    wanted: dict[str, int],
    url: str = "http://127.0.0.1:9",
    *,
    place: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Programs]:
    """Let the programs be at work until the block ends, at an engine's *place*; `None` is a file in the directory."""
    (directory / "effects").mkdir()
    given = {"OPENAI_BASE_URL": url, **(environment or {})}
    async with nursery("tests.workflows.programs.traced", given) as found:
        started = Programs(directory, found, wanted, place or directory / "runs.db")
        await started.start()
        yield started


class Requests:
    """Spans of who asks for each second order, which the samplers of the clients let through or not."""

    def __init__(self, runs: int) -> None:
        self._recorders = [
            SpanRecorder(sampler=ParentBased(TraceIdRatioBased(ratio)), clock=time.time_ns) for ratio in RATIOS
        ]
        for recorder in self._recorders:  # each counts its ids from 1: two requests would be one
            recorder.tracer_provider.id_generator = RandomIdGenerator()
        self._spans: list[Any] = []
        self.carriers: list[dict[str, str]] = []
        """Headers of the requests; none where the order is started without a span."""
        self.sampled: set[str] = set()
        """Orders that are to have spans."""
        for n in range(runs):
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


def answer_questions(server: OpenAIServer) -> None:
    """Let the model answer what the agents of orders ask."""
    server.reply(tool_calls=[("weigh", {"number": 1})], when=lambda asked: len(asked.messages) == 1, times=None)
    server.reply(traced.ANSWER, when=lambda asked: len(asked.messages) == 3, times=None)


def check_results(directory: Path, found: list[Any], states: list[tuple[str, Any]]) -> None:
    """Assert that all orders gave what they are to give, that each effect happened once, and totals are exact."""
    runs = len(found)
    decided = [result[1][14] for result in found]
    assert found == [[True, traced.expected(n, decided[n])] for n in range(runs)]
    for line in lines_of(directory / "decisions"):
        run_id, approver = line.split()
        assert decided[int(run_id[6:])] == ["approved", approver]
    assert {key: state["total"] for key, state in states} == {f"k{key}": [sum(range(key, runs, 3))] for key in range(3)}
    assert sorted(file.name for file in (directory / "effects").iterdir()) == sorted(keys_of(runs))


def check_links(spans: list[SpanRecord], sampled: set[str]) -> None:
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


def keys_of(runs: int) -> list[str]:
    """Return the keys of all effects."""
    keys: list[str] = []
    for n in range(runs):
        run = f"order-{n}"
        keys += [f"{run}:{step}" for step in traced.STEPS]
        keys += [f"{run}.{CALLED}:double", f"{run}.child#1:double", f"{run}.{ASKED}:look"]
    return keys


def check_questions(server: OpenAIServer, runs: int, again: int = 0) -> None:
    """Assert that a question was asked again by another process only, and never once the next one was asked.

    Args:
        server: Who was asked.
        runs: How many orders there were.
        again: How often a process may have begun what it had begun already, since it lost the engine's server.
    """
    asked: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for request in filter(lambda one: one.messages, server.requests):  # one that a kill cut never arrived
        asked[request.messages[0]["content"]].append((len(request.messages), request.headers["x-life"]))
    assert len(asked) == runs
    for questions in asked.values():
        assert questions == sorted(questions, key=lambda one: one[0]), questions
        assert {count for count, _ in questions} == {1, 3}
        assert max(Counter(questions).values()) <= 1 + again, questions


def check_traces(spans: list[SpanRecord], sampled: set[str], runs: int, *, is_told_late: bool = False) -> None:
    """Assert that each run that is to have spans is in one tree, with the fields of who started it."""
    traces = assert_trees(spans, is_told_late=is_told_late)
    made = {str(span.attributes["otelier.run.id"]) for trace in traces.values() for span in trace if _is_run(span)}
    assert made == {key.partition(":")[0] for key in keys_of(runs) if _order_of(key) in sampled}
    for trace_spans in traces.values():
        for span in trace_spans:
            if "otelier.workflow.id" in span.attributes:
                assert span.attributes["user.id"] == f"user-{str(span.attributes['otelier.workflow.id'])[6:]}"


def _order_of(key: str) -> str:
    return key.partition(":")[0].partition(".")[0]


def _is_run(span: SpanRecord) -> bool:
    return span.name.startswith(("invoke_workflow", "run_function", "run_entity"))


def check_steps(spans: list[SpanRecord], directory: Path, sampled: set[str], runs: int, kills: int) -> None:
    """Assert that each finished execution of a step is one span and one point, but for those a kill cut in between."""
    executions = Counter(line.replace(" ", ":") for line in lines_of(directory / "executions"))
    assert set(executions) == set(keys_of(runs))
    done = Counter(
        str(facts["otelier.step.name"]) for name, facts in read(directory / "points") if name == "otelier.step.duration"
    )
    ours = {name.partition("#")[0] for name in traced.STEPS} | {"double", "look"}
    points = sum(count for name, count in done.items() if name in ours)
    missing = executions.total() - points
    assert 0 <= missing <= 4 * kills, missing  # a few for each kill, more on a busy machine
    shown = Counter({key: count for key, count in executions.items() if _order_of(key) in sampled})
    steps = Counter(
        f"{span.attributes['otelier.run.id']}:{span.name.removeprefix('run_step ')}"
        for span in spans
        if span.name.startswith("run_step")
    )
    agents = {f"{run_id}:{name}" for run_id in sampled for name in AGENT_STEPS}
    assert set(steps) == {*shown, *agents}
    assert all(steps[step] <= count for step, count in shown.items())
    assert shown.total() - sum(steps[step] for step in shown) <= 4 * kills
