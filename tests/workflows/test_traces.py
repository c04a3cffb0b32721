"""Traces of runs: one tree for each, in the right places and times, over each life of their bodies."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Decision, ParentBased, Sampler, SamplingResult

import otelier
from otelier.testing import SpanRecord, SpanRecorder
from otelier.testing._global_providers import as_global_providers
from otelier.testing._reset import reset
from otelier.workflows import Client, Context, Handler, Worker, _trace, entity, function, workflow
from otelier.workflows._headers import sealed, start_headers
from otelier.workflows.engines.local import LocalEngine
from otelier.workflows.engines.local._journal import cancelled_ns
from otelier.workflows.engines.protocol import Target
from tests.workflows.engines.serving import on_a_loop, opened, until
from tests.workflows.trees import assert_trees

tracer = trace.get_tracer("shop")


@pytest.fixture(params=["memory", pytest.param("restate", marks=pytest.mark.restate)])
def place(request: pytest.FixtureRequest) -> str | None:
    """Where an engine keeps its runs: in memory, or on a Restate server."""
    return request.getfixturevalue("restate").address if request.param == "restate" else None


@pytest.fixture
def recorder() -> Iterator[SpanRecorder]:
    """A recorder of the global providers whose clock is the journal's."""
    with recording(SpanRecorder(clock=time.time_ns)) as made:
        yield made


def recording(made: SpanRecorder) -> Any:
    from contextlib import contextmanager

    @contextmanager
    def use() -> Iterator[SpanRecorder]:
        with as_global_providers(made):
            otelier.init(
                tracer_provider=made.tracer_provider,
                meter_provider=made.meter_provider,
                logger_provider=made.logger_provider,
            )
            try:
                yield made
            finally:
                reset()
        assert made.open_spans == ()

    return use()


@asynccontextmanager
async def working(engine: LocalEngine, *handlers: Handler) -> AsyncIterator[Worker]:
    async with Worker("shop", modules=handlers, engine=engine) as worker:
        yield worker


async def waits(engine: LocalEngine, run_id: str, op: str) -> None:
    """Wait until a run has begun an op of that name and waits for it."""

    async def has_begun() -> bool:
        return any(step.name == op and step.end_ns is None for step in (await engine.run(run_id)).steps)

    await until(has_begun)


def plain(span: SpanRecord) -> SpanRecord:
    return replace(span, resource={})


# --- the sampled flag ------------------------------------------------------------------------------------------
class Counting(Sampler):
    """A sampler that decides in turn, and keeps what it was asked."""

    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def should_sample(self, parent_context: Any, trace_id: int, name: str, *args: Any, **kwargs: Any) -> SamplingResult:
        self.asked.append(name)
        decided = self.answers.pop(0)
        return SamplingResult(Decision.RECORD_AND_SAMPLE if decided else Decision.DROP)

    def get_description(self) -> str:
        return "counting"


@function
async def double(ctx: Context, n: int) -> int:
    return await ctx.step("double", lambda: 2 * n)


@workflow
async def order(ctx: Context, n: int) -> int:
    await ctx.step("charge", lambda: None)
    await ctx.sleep(0.001)
    return await ctx.task("shop", "double", n)


@pytest.mark.parametrize("is_sampled", [True, False])
def test_the_starter_asks_the_sampler_once(place: str | None, is_sampled: bool):
    """Where no span is current the sampler is asked once; root, waits, steps, calls and children follow its answer."""
    sampler = Counting(is_sampled)

    @on_a_loop
    async def run() -> None:
        async with opened(place) as engine, working(engine, order, double) as worker:
            assert await (await worker.start(order, 4, workflow_id="o-1")).result() == 8

    with recording(SpanRecorder(sampler=sampler)) as recorder:
        run()
        assert sampler.asked == ["invoke_workflow order"]
        found = sorted(record.name for record in recorder.records)
    expected = ["call shop/double", "invoke_workflow order", "run_function double", "run_step charge"]
    assert found == ([*expected, "run_step double", "wait_timer"] if is_sampled else [])


@pytest.mark.parametrize("is_sampled", [True, False])
@pytest.mark.parametrize("is_started_in_a_span", [True, False])
def test_a_run_is_shown_with_the_trace_of_its_spans(place: str | None, is_sampled: bool, is_started_in_a_span: bool):
    """Whoever looks at it finds them, also those of a run that it called; of one that is not sampled there are none."""
    shown: set[str | None] = set()

    @on_a_loop
    async def run() -> None:
        async with opened(place) as engine, working(engine, order, double) as worker:
            with tracer.start_as_current_span("request") if is_started_in_a_span else nullcontext():
                await (await worker.start(order, 4, workflow_id="o-1")).result()
            for one in await Client(engine).runs():
                shown.add((await Client(engine).run(one.workflow_id)).trace_id)

    with recording(SpanRecorder(sampler=ParentBased(ALWAYS_ON if is_sampled else ALWAYS_OFF))) as recorder:
        run()
        traces = {record.trace_id for record in recorder.records}
    assert shown == (traces if is_sampled else {None})
    assert len(shown) == 1


@pytest.mark.parametrize("is_sampled", [True, False])
def test_a_run_started_in_a_span_has_its_flag(place: str | None, is_sampled: bool):
    """A run that is started in a span belongs to its trace, and is sampled if that is."""
    sampler = ParentBased(ALWAYS_ON if is_sampled else ALWAYS_OFF, local_parent_sampled=ALWAYS_ON)

    @on_a_loop
    async def run() -> None:
        async with opened(place) as engine, working(engine, order, double) as worker:
            with tracer.start_as_current_span("request"):
                handle = await worker.start(order, 4)
            await handle.result()

    with recording(SpanRecorder(sampler=sampler)) as recorder:
        run()
        traces = assert_trees(recorder.records)
        assert [len(spans) for spans in traces.values()] == ([7] if is_sampled else [])


# --- spans that a body starts itself ---------------------------------------------------------------------------
@workflow
async def with_spans(ctx: Context) -> None:
    with tracer.start_as_current_span("before"):
        await ctx.step("first", lambda: None)
    for _ in range(2):
        with tracer.start_as_current_span("between"):
            pass
    with tracer.start_as_current_span("around"):
        await ctx.step("second", lambda: None)
        await ctx.signal("go")
        await ctx.step("third", lambda: None)
    with tracer.start_as_current_span("after"):
        pass


@on_a_loop
async def test_spans_of_a_body_go_out_once_over_its_lives(place: str | None, recorder: SpanRecorder):
    """A span that the body starts has one id in each life, and is exported by the one that ends it."""
    async with opened(place) as engine:
        async with working(engine, with_spans) as worker:
            await worker.start(with_spans, workflow_id="o-1")
            await waits(engine, "o-1", "go")
        first = {span.name for span in recorder.records}
        for _ in range(2):
            async with working(engine, with_spans):
                await waits(engine, "o-1", "go")
        assert {span.name for span in recorder.records} == first
        async with working(engine, with_spans):
            await engine.signal("o-1", "go", sealed(None, get_current()))
            assert (await engine.result("o-1", 60))[0]
    assert first == {"before", "between", "run_step first", "run_step second"}
    names = sorted(span.name for span in recorder.records)
    assert names == sorted(
        [*first, "between", "around", "after", "run_step third", "wait_signal go", "invoke_workflow with_spans"]
    )
    (spans,) = assert_trees(recorder.records).values()
    by_name = {span.name: span for span in spans}
    around = by_name["around"].span_id
    assert {by_name[name].parent_id for name in ("run_step second", "wait_signal go", "run_step third")} == {around}
    # Its start is the recorded time of what came before it, which an earlier life has seen.
    assert by_name["around"].start_ns <= by_name["run_step second"].start_ns


@workflow
async def side_by_side(ctx: Context) -> None:
    async def work() -> None:
        await GATES["work"].wait()

    await ctx.parallel(ctx.signal("go"), ctx.step("work", work))


GATES: dict[str, asyncio.Event] = {}


@on_a_loop
async def test_a_wait_that_a_killed_life_did_not_see_the_end_of_has_its_span(recorder: SpanRecorder, tmp_path: Path):
    """A kill between the record of a wait's end and its span leaves that to the next life, also beside a step."""
    GATES["work"] = asyncio.Event()
    async with opened(str(tmp_path / "runs.db"), stop_s=0.05) as engine:
        async with working(engine, side_by_side) as worker:
            await worker.start(side_by_side, workflow_id="o-1")
            await waits(engine, "o-1", "go")
            await waits(engine, "o-1", "work")
        journal = sqlite3.connect(tmp_path / "runs.db")
        with journal:  # as its life recorded it, before it was killed
            journal.execute("UPDATE op SET ended=?, seq=0, value='{}' WHERE name='go'", (time.time_ns(),))
        journal.close()
        async with working(engine, side_by_side):
            await waits(engine, "o-1", "work")
            GATES["work"].set()
            assert (await engine.result("o-1", 60))[0]
    assert sorted(span.name for span in recorder.records) == [
        "invoke_workflow side_by_side",
        "run_step work",
        "wait_signal go",
    ]
    (waited,) = recorder.metrics()["otelier.wait.duration"]
    assert waited["count"] == 1


@workflow
async def out_of_order(ctx: Context) -> None:
    async def work() -> None:
        await GATES["work"].wait()

    later = ctx.step("work", work)
    sooner = ctx.signal("go")
    with tracer.start_as_current_span("sooner"):
        await sooner
    await later


@on_a_loop
async def test_a_bodys_span_goes_out_once_also_where_calls_are_awaited_in_another_order(recorder: SpanRecorder):
    """What a life had done before its last call began is silent in the next one, whatever their numbers are."""
    GATES["work"] = asyncio.Event()
    async with opened(None, stop_s=0.05) as engine:
        async with working(engine, out_of_order) as worker:
            await worker.start(out_of_order, workflow_id="o-1")
            await engine.signal("o-1", "go", sealed(None, get_current()))
            await waits(engine, "o-1", "work")
        assert [span.name for span in recorder.records] == ["wait_signal go", "sooner"]
        async with working(engine, out_of_order):
            GATES["work"].set()
            assert (await engine.result("o-1", 60))[0]
    names = [span.name for span in recorder.records]
    assert names == ["wait_signal go", "sooner", "run_step work", "invoke_workflow out_of_order"]


@on_a_loop
async def test_ids_of_a_bodys_spans_are_those_of_its_run(recorder: SpanRecorder):
    """The same run has the same ids wherever it runs; another one has others."""
    found: list[dict[str, list[str]]] = []
    for run_id in ("o-1", "o-1", "o-2"):
        async with opened(None) as engine, working(engine, with_spans) as worker:
            await engine_signal(engine, await worker.start(with_spans, workflow_id=run_id))
        found.append({name: [s.span_id for s in recorder.records if s.name == name] for name in ("before", "between")})
        recorder.clear()
    assert found[0] == found[1]
    assert len(set(found[0]["between"])) == 2
    assert not set(found[0]["between"]) & set(found[2]["between"])


async def engine_signal(engine: LocalEngine, handle: Any) -> None:
    await engine.signal(handle.workflow_id, "go", sealed(None, get_current()))
    await handle.result(60)


@workflow
async def with_work(ctx: Context) -> None:
    async def charge() -> None:
        with tracer.start_as_current_span("work"):
            pass

    await ctx.step("charge", charge)
    await ctx.step("charge", charge)


@on_a_loop
async def test_spans_inside_steps_are_as_ever(place: str | None, recorder: SpanRecorder):
    """What a step starts has ids of the provider's, and hangs under the step."""
    async with opened(place) as engine, working(engine, with_work) as worker:
        await (await worker.start(with_work)).result()
    (spans,) = assert_trees(recorder.records).values()
    steps = {span.span_id for span in spans if span.name.startswith("run_step")}
    works = [span for span in spans if span.name == "work"]
    assert {span.parent_id for span in works} == steps
    assert len({span.span_id for span in works}) == 2


class Refusing(Sampler):
    """A sampler that takes all but spans of one name."""

    def should_sample(self, parent_context: Any, trace_id: int, name: str, *args: Any, **kwargs: Any) -> SamplingResult:
        return SamplingResult(Decision.DROP if name == "around" else Decision.RECORD_AND_SAMPLE)

    def get_description(self) -> str:
        return "refusing"


def test_a_bodys_span_that_is_not_sampled_is_no_parent(place: str | None):
    """What is done inside a span that the sampler refuses hangs under the run, and is no orphan."""

    @on_a_loop
    async def run() -> None:
        async with opened(place) as engine, working(engine, with_spans) as worker:
            await engine_signal(engine, await worker.start(with_spans))

    with recording(SpanRecorder(sampler=Refusing(), clock=time.time_ns)) as recorder:
        run()
        (spans,) = assert_trees(recorder.records).values()
        assert "run_step third" in [span.name for span in spans]


# --- long waits ------------------------------------------------------------------------------------------------
@workflow
async def patient(ctx: Context) -> str:
    await ctx.step("before", lambda: None)
    said = await ctx.signal("go")
    await ctx.step("after", lambda: None)
    await ctx.signal("again")
    await ctx.step("last", lambda: None)
    return said


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a wait be long after 50 ms."""
    monkeypatch.setattr(_trace, "LONG_WAIT_NS", 50_000_000)


@pytest.mark.usefixtures("soon")
@on_a_loop
async def test_a_run_that_waits_long_is_seen_while_it_waits(place: str | None, recorder: SpanRecorder):
    """The run's span ends where the wait began; what follows hangs under a span of its own, and so on."""
    async with opened(place) as engine, working(engine, patient) as worker:
        handle = await worker.start(patient, workflow_id="o-1")
        await until(lambda: any(span.name == "invoke_workflow patient" for span in recorder.records))
        (root,) = [span for span in recorder.records if span.name == "invoke_workflow patient"]
        assert root.attributes["otelier.run.state"] == "waiting"
        assert_trees(recorder.records)
        await engine.signal("o-1", "go", sealed("now", get_current()))
        await until(lambda: any(span.name == "resume_workflow patient" for span in recorder.records))
        assert_trees(recorder.records)
        await engine.signal("o-1", "again", sealed(None, get_current()))
        assert await handle.result(60) == "now"
    (spans,) = assert_trees(recorder.records).values()
    waited = {span.name: span for span in spans if span.name.startswith("wait_")}
    resumed = [span for span in spans if span.name == "resume_workflow patient"]
    assert [span.attributes["otelier.run.state"] for span in resumed] == ["waiting", "completed"]
    assert {span.parent_id for span in resumed} == {root.span_id}
    assert root.end_ns == waited["wait_signal go"].start_ns
    assert resumed[0].start_ns == waited["wait_signal go"].end_ns
    assert waited["wait_signal go"].parent_id == root.span_id
    assert waited["wait_signal again"].parent_id == resumed[0].span_id
    parents = {span.name: span.parent_id for span in spans}
    assert parents["run_step before"] == root.span_id
    assert parents["run_step after"] == resumed[0].span_id
    assert parents["run_step last"] == resumed[1].span_id


@pytest.mark.usefixtures("soon")
@on_a_loop
async def test_lives_that_wait_long_export_the_same_bytes(recorder: SpanRecorder):
    """Each life that finds the run waiting exports the same span again; the last one has the outcome."""
    async with opened(None) as engine:
        roots: list[SpanRecord] = []
        async with working(engine, patient) as worker:
            await worker.start(patient, workflow_id="o-1")
            await until(lambda: _named(recorder, "invoke_workflow"))
        for _ in range(2):
            roots += _named(recorder, "invoke_workflow")
            recorder.clear()
            async with working(engine, patient):
                await until(lambda: _named(recorder, "invoke_workflow"))
        roots += _named(recorder, "invoke_workflow")
        assert len(roots) == 3
        assert len({repr(plain(root)) for root in roots}) == 1
        recorder.clear()
        async with working(engine, patient):
            await engine.signal("o-1", "go", sealed("now", get_current()))
            await engine.signal("o-1", "again", sealed(None, get_current()))
            await engine.result("o-1", 60)
    assert [plain(span) for span in _named(recorder, "invoke_workflow")] in ([], [plain(roots[0])])
    assert [span.attributes["otelier.run.state"] for span in _named(recorder, "resume_workflow")][-1] == "completed"


@on_a_loop
async def test_a_wait_that_is_over_is_told_once(place: str | None, recorder: SpanRecorder):
    """A life that finds a wait over neither exports nor measures it again."""

    @workflow
    async def waited(ctx: Context) -> Any:
        await ctx.timer(delay_ms=1)
        return [await ctx.signal("first"), await ctx.signal("second")]

    async with opened(place) as engine:
        async with working(engine, waited) as worker:
            await worker.start(waited, workflow_id="o-1")
            await engine.signal("o-1", "first", sealed(1, get_current()))
            await waits(engine, "o-1", "second")
        async with working(engine, waited):
            await engine.signal("o-1", "second", sealed(2, get_current()))
            assert await engine.result("o-1", 60) == [True, [1, 2]]
    names = sorted(span.name for span in recorder.records if span.name.startswith("wait_"))
    assert names == ["wait_signal first", "wait_signal second", "wait_timer"]
    counts = {p["attributes"]["otelier.wait.kind"]: p["count"] for p in recorder.metrics()["otelier.wait.duration"]}
    assert counts == {"timer": 1, "signal": 2}


@workflow
async def held_up(ctx: Context) -> None:
    await GATES["work"].wait()
    await ctx.signal("go")


@pytest.mark.usefixtures("soon")
@on_a_loop
async def test_a_wait_that_is_not_recorded_closes_no_span(
    recorder: SpanRecorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """While the begin of a wait cannot be written it is in no span: the next life finds another begin."""
    monkeypatch.setattr("otelier.workflows.engines.local._driver.count_fault", lambda _: None)
    path, lives = tmp_path / "runs.db", list[int]()
    other = sqlite3.connect(path, isolation_level=None)

    @workflow
    async def held(ctx: Context) -> Any:
        await ctx.step("before", lambda: None)
        if not lives:
            other.execute("BEGIN IMMEDIATE")
        lives.append(1)
        return await ctx.signal("go")

    async with opened(str(path), busy_s=0.5, retry_s=0.01) as engine, working(engine, held) as worker:
        handle = await worker.start(held, workflow_id="o-1")
        await until(lambda: lives)
        first = engine._drivers[0].lives["o-1"]
        await until(lambda: first.stopped)
        assert _named(recorder, "invoke_workflow") == []
        other.execute("COMMIT")
        other.close()
        (root,) = await until(lambda: _named(recorder, "invoke_workflow"))
        await engine.signal("o-1", "go", sealed("now", get_current()))
        assert await handle.result(60) == "now"
    assert_trees(recorder.records)
    (wait,) = _named(recorder, "wait_signal")
    assert root.end_ns == wait.start_ns


@pytest.mark.usefixtures("soon")
@on_a_loop
async def test_a_crash_in_a_long_wait_is_told_on_the_wait(recorder: SpanRecorder, tmp_path: Path):
    """No span of the run is open then: the span of the wait has the event."""
    async with opened(str(tmp_path / "runs.db")) as engine:
        async with working(engine, patient) as worker:
            await worker.start(patient, workflow_id="o-1")
            await until(lambda: _named(recorder, "invoke_workflow"))
        journal = sqlite3.connect(tmp_path / "runs.db")
        with journal:  # as a worker leaves it that was killed
            journal.execute("UPDATE handler SET current=1")
        journal.close()
        async with working(engine, patient):
            await engine.signal("o-1", "go", sealed(None, get_current()))
            await engine.signal("o-1", "again", sealed(None, get_current()))
            await engine.result("o-1", 60)
    (spans,) = assert_trees(recorder.records).values()
    events = {span.name: [event.name for event in span.events] for span in spans if span.events}
    assert events == {"wait_signal go": ["otelier.workflow.recovered"]}


def _named(recorder: SpanRecorder, start: str) -> list[SpanRecord]:
    return [span for span in recorder.records if span.name.startswith(start)]


@workflow
async def waits_for(ctx: Context, kind: str) -> None:
    with tracer.start_as_current_span("around"):
        await ctx.step("before", lambda: None)
    if kind == "signal":
        await ctx.signal("go")
    elif kind == "timer":
        await ctx.sleep(600)
    elif kind == "approval":
        await ctx.human.approval("refund")
    elif kind == "call":
        await ctx.task("shop", "listens")
    elif kind == "spawned":
        await ctx.spawn(listens).result(timeout_s=600)
    elif kind == "entity":
        await ctx.entity("Stock", "k").listen()
    elif kind == "parallel":
        await ctx.parallel(ctx.signal("go"), ctx.sleep(600), ctx.task("shop", "listens"), ctx.step("in", lambda: None))


@function
async def listens(ctx: Context) -> None:
    await ctx.step("listen", lambda: None)
    await ctx.signal("go")


@pytest.mark.parametrize("kind", ["signal", "timer", "approval", "call", "spawned", "entity", "parallel"])
@pytest.mark.usefixtures("soon")
@on_a_loop
async def test_while_a_run_waits_every_span_has_its_parent(place: str | None, recorder: SpanRecorder, kind: str):
    """Whatever a run waits for, for long: what it has exported is a tree, and so is that of those it waits for."""
    runs = 2 if kind in {"call", "spawned", "entity", "parallel"} else 1
    async with opened(place) as engine:
        for life in range(2):
            async with working(engine, waits_for, listens, listen) as worker:
                with tracer.start_as_current_span("request") if not life else nullcontext():
                    await worker.start(waits_for, kind, workflow_id="o-1")
                await until(lambda: len({span.span_id for span in recorder.records if _is_waiting(span)}) == runs)
                (spans,) = assert_trees(recorder.records).values()
    names = {span.name for span in spans}
    assert names >= {"request", "invoke_workflow waits_for", "around", "run_step before"}
    assert {"run_function listens", "run_entity Stock.listen"} & names or runs == 1


def _is_waiting(span: SpanRecord) -> bool:
    return span.attributes.get("otelier.run.state") == "waiting"


@workflow
async def busy(ctx: Context) -> None:
    async def work() -> None:
        await asyncio.sleep(0.2)

    await ctx.step("long", work)
    await ctx.parallel(ctx.step("longer", work), ctx.sleep(0.1))


@pytest.mark.usefixtures("soon")
@on_a_loop
async def test_a_step_is_no_wait(place: str | None, recorder: SpanRecorder):
    """A run whose steps take long goes on, and has one span."""
    async with opened(place) as engine, working(engine, busy) as worker:
        await (await worker.start(busy)).result(60)
    assert len(_named(recorder, "invoke_workflow")) == 1
    assert _named(recorder, "resume_workflow") == []


@workflow
async def limited(ctx: Context) -> str:
    try:
        await asking(ctx)
    except TimeoutError:
        await ctx.step("give up", lambda: None)
    return "late"


@function(timeout_s=0.2)
async def asking(ctx: Context) -> None:
    await ctx.signal("never")


stock = entity("Stock")


@stock.write
async def take(ctx: Context, n: int) -> int:
    await ctx.sleep(0.1)
    ctx.set("total", n)
    return await ctx.step("count", lambda: n)


@stock.write
async def listen(ctx: Context) -> None:
    await ctx.signal("go")


@workflow
async def asks_stock(ctx: Context) -> int:
    return await ctx.entity("Stock", "k").take(3)


@pytest.mark.usefixtures("soon")
@on_a_loop
async def test_what_a_time_limit_ends_is_a_wait_too(place: str | None, recorder: SpanRecorder):
    """After a wait that only a time limit ended the run goes on in a span of its own."""
    async with opened(place) as engine, working(engine, limited, asking) as worker:
        assert await (await worker.start(limited)).result(60) == "late"
    (spans,) = assert_trees(recorder.records).values()
    parents = {span.name: span.parent_id for span in spans}
    (resumed,) = _named(recorder, "resume_workflow")
    assert parents["run_step give up"] == resumed.span_id


@pytest.mark.usefixtures("soon")
@on_a_loop
async def test_methods_of_entities_wait_long_too(place: str | None, recorder: SpanRecorder):
    """An entity's method goes on in `resume_function`."""
    async with opened(place) as engine, working(engine, asks_stock, take) as worker:
        assert await (await worker.start(asks_stock)).result(60) == 3
    (spans,) = assert_trees(recorder.records).values()
    parents = {span.name: span.parent_id for span in spans}
    (resumed,) = _named(recorder, "resume_function Stock.take")
    assert parents["run_step count"] == resumed.span_id
    assert _named(recorder, "resume_workflow asks_stock")


# --- blocked runs -----------------------------------------------------------------------------------------------
def invoice(first: str) -> Handler:
    @workflow(name="invoice")
    async def made(ctx: Context) -> None:
        await ctx.step(first, lambda: None)
        await ctx.signal("go")
        with tracer.start_as_current_span("around"):
            await ctx.step("after", lambda: None)

    return made


async def has_status(engine: LocalEngine, run_id: str, status: str) -> None:
    async def has() -> bool:
        return (await engine.run(run_id)).status == status

    await until(has)


@on_a_loop
async def test_a_blocked_run_is_seen_while_it_is_blocked(recorder: SpanRecorder):
    """The run's span ends when the run is blocked; what follows is below a span from when it was resumed."""
    async with opened(None) as engine:
        async with working(engine, invoice("charge")) as worker:
            await worker.start(worker._host.handlers["shop", "invoice"], workflow_id="o-1")
            await waits(engine, "o-1", "go")
        for blocked in (1, 2):  # the first fix is none
            async with working(engine, invoice("bill")):
                await (engine.resume("o-1") if blocked == 2 else asyncio.sleep(0))
                await has_status(engine, "o-1", "blocked")
                await until(lambda blocked=blocked: len(_blocked(recorder)) == blocked)
            assert_trees(recorder.records)
        await engine.resume("o-1")
        async with working(engine, invoice("charge")):
            await engine.signal("o-1", "go", sealed(None, get_current()))
            await engine.result("o-1", 60)
    (spans,) = assert_trees(recorder.records).values()
    root, step, wait, again, last, around, after = sorted(spans, key=lambda span: (span.start_ns, -span.end_ns))
    assert [span.name.partition(" ")[0] for span in (root, step, wait, again, last, around, after)] == [
        *("invoke_workflow", "run_step", "wait_signal", "resume_workflow", "resume_workflow", "around", "run_step")
    ]
    states = [span.attributes["otelier.run.state"] for span in (root, again, last)]
    assert states == ["blocked", "blocked", "completed"]
    assert {span.parent_id for span in (step, wait, again, last)} == {root.span_id}
    assert (around.parent_id, after.parent_id) == (last.span_id, around.span_id)
    assert root.end_ns < again.start_ns < again.end_ns < last.start_ns
    assert {span.status for span in spans} == {"UNSET"}


def _blocked(recorder: SpanRecorder) -> set[str]:
    return {span.span_id for span in recorder.records if span.attributes.get("otelier.run.state") == "blocked"}


@pytest.mark.usefixtures("soon")
@on_a_loop
async def test_a_run_that_is_blocked_after_a_long_wait_has_its_spans_once(recorder: SpanRecorder):
    """The span that the wait has closed already has the same bytes whoever exports it, whatever blocked the run."""
    async with opened(None) as engine:
        async with working(engine, invoice("charge")) as worker:
            await worker.start(worker._host.handlers["shop", "invoice"], workflow_id="o-1")
            await until(lambda: _named(recorder, "invoke_workflow"))
        async with working(engine, invoice("bill")):
            await has_status(engine, "o-1", "blocked")
        await engine.resume("o-1")
        for _ in range(2):
            async with working(engine, invoice("charge")):
                await until(lambda: _named(recorder, "resume_workflow"))
        async with working(engine, invoice("charge")):
            await engine.signal("o-1", "go", sealed(None, get_current()))
            await engine.result("o-1", 60)
    (spans,) = assert_trees(recorder.records).values()
    states = [span.attributes["otelier.run.state"] for span in spans if "resume" in span.name or "invoke" in span.name]
    assert states == ["waiting", "waiting", "completed"]


# --- ends ------------------------------------------------------------------------------------------------------
@on_a_loop
async def test_a_cancelled_run_has_its_span(place: str | None, recorder: SpanRecorder):
    """What a cancelled run has exported has its parent; the run's span says what ended it."""
    async with opened(place) as engine, working(engine, patient) as worker:
        handle = await worker.start(patient, workflow_id="o-1")
        await waits(engine, "o-1", "go")
        await engine.cancel("o-1")
        with pytest.raises(Exception, match="cancelled"):
            await handle.result(60)
    (spans,) = assert_trees(recorder.records).values()
    (root,) = _named(recorder, "invoke_workflow")
    assert (root.attributes["otelier.run.state"], root.status) == ("cancelled", "UNSET")
    assert len(spans) == 2


@pytest.mark.usefixtures("soon")
@on_a_loop
async def test_a_run_that_is_cancelled_while_it_waits_long_says_so(place: str | None, recorder: SpanRecorder):
    """The span of the wait is out already, so one more says what ended the run."""
    async with opened(place) as engine, working(engine, patient) as worker:
        await worker.start(patient, workflow_id="o-1")
        await until(lambda: _named(recorder, "invoke_workflow"))
        await engine.cancel("o-1")
        await engine.result("o-1", 60)
    assert_trees(recorder.records)
    (resumed,) = _named(recorder, "resume_workflow")
    assert resumed.attributes["otelier.run.state"] == "cancelled"


@workflow
async def cleans_up(ctx: Context, has_to: bool) -> None:
    try:
        await ctx.signal("go")
    finally:
        if has_to:
            with tracer.start_as_current_span("clean up"):
                pass


@pytest.mark.parametrize("has_to", [True, False])
@on_a_loop
async def test_a_cancelled_run_ends_when_it_was_cancelled(recorder: SpanRecorder, has_to: bool):
    """As recorded, so that a life after a kill exports the same; later only if its body still did something."""
    async with opened(None) as engine, working(engine, cleans_up) as worker:
        await worker.start(cleans_up, has_to, workflow_id="o-1")
        await waits(engine, "o-1", "go")
        await engine.cancel("o-1")
        at_ns = engine._store.read(cancelled_ns, "o-1")
        await engine.result("o-1", 60)
    assert_trees(recorder.records)
    (root,) = _named(recorder, "invoke_workflow")
    assert (root.end_ns > at_ns) if has_to else (root.end_ns == at_ns)


@workflow
async def asks_twice(ctx: Context) -> None:
    await ctx.parallel(ctx.signal("one"), ctx.signal("two"))


@on_a_loop
async def test_a_run_that_is_cancelled_without_a_worker_has_its_span(place: str | None, recorder: SpanRecorder):
    """The next life is told at the first of its open waits, before it has begun the others again."""
    async with opened(place) as engine:
        async with working(engine, asks_twice) as worker:
            await worker.start(asks_twice, workflow_id="o-1")
            await waits(engine, "o-1", "two")
        await engine.cancel("o-1")
        async with working(engine, asks_twice):
            await engine.result("o-1", 60)
    assert [span.attributes["otelier.run.state"] for span in recorder.records] == ["cancelled"]


@workflow
async def failing(ctx: Context) -> None:
    def charge() -> None:
        raise ValueError("card 4242 was refused")

    await ctx.step("charge", charge)


@on_a_loop
async def test_a_failed_run_says_so(place: str | None, recorder: SpanRecorder):
    """The step and the run have the error's class; its message only where content may be."""
    async with opened(place) as engine, working(engine, failing) as worker:
        with pytest.raises(ValueError, match="4242"):
            await (await worker.start(failing)).result(60)
    for start in ("invoke_workflow", "run_step"):
        (span,) = _named(recorder, start)
        assert (span.status, span.attributes["error.type"], span.status_message) == (
            "ERROR",
            "ValueError",
            "ValueError",
        )
    (root,) = _named(recorder, "invoke_workflow")
    assert root.attributes["otelier.run.state"] == "failed"


@workflow
async def slow(ctx: Context) -> int:
    started = asyncio.Event()

    async def work() -> int:
        started.set()
        if ctx._body.run.recovered_ns or WORKED:
            return 3
        WORKED.append(1)
        await asyncio.Event().wait()
        return 0

    return await ctx.step("work", work)


WORKED: list[int] = []


@on_a_loop
async def test_a_step_that_the_worker_leaves_is_not_exported(recorder: SpanRecorder):
    """A step that a stopping worker cuts is executed again: only that execution is a span and a point."""
    WORKED.clear()
    async with opened(None, stop_s=0.05) as engine:
        async with working(engine, slow) as worker:
            await worker.start(slow, workflow_id="o-1")
            await until(lambda: WORKED)
        assert recorder.records == ()
        async with working(engine, slow):
            assert (await engine.result("o-1", 60)) == [True, 3]
    assert_trees(recorder.records)
    (step,) = _named(recorder, "run_step")
    assert step.attributes["otelier.step.executions"] == 2
    assert [point["count"] for point in recorder.metrics()["otelier.step.duration"]] == [1]


# --- metrics ---------------------------------------------------------------------------------------------------
@on_a_loop
async def test_steps_of_one_name_are_one_on_metrics(place: str | None, recorder: SpanRecorder):
    """The number that tells them apart stands on spans alone: a body may have thousands of them."""

    @workflow
    async def often(ctx: Context) -> list[int]:
        return [await ctx.step("charge", lambda number=number: number) for number in range(3)]

    async with opened(place) as engine, working(engine, often) as worker:
        assert await (await worker.start(often)).result() == [0, 1, 2]
    assert [span.name for span in _named(recorder, "run_step")] == [f"run_step charge{n}" for n in ("", "#2", "#3")]
    (point,) = recorder.metrics()["otelier.step.duration"]
    assert (point["attributes"]["otelier.step.name"], point["count"]) == ("charge", 3)


@on_a_loop
async def test_steps_and_waits_are_measured_once(recorder: SpanRecorder):
    """Executions and waits are counted in the life that did them, bodies while they are in the process."""
    async with opened(None) as engine:
        for _ in range(2):
            async with working(engine, with_spans) as worker:
                await worker.start(with_spans, workflow_id="o-1")
                await waits(engine, "o-1", "go")
                (active,) = recorder.metrics()["otelier.workflow.active"]
                assert active == {"attributes": {"otelier.handler": "with_spans"}, "value": 1}
        async with working(engine, with_spans):
            await engine.signal("o-1", "go", sealed(None, get_current()))
            await engine.result("o-1", 60)
    metrics = recorder.metrics()
    assert {point["attributes"]["otelier.step.name"]: point["count"] for point in metrics["otelier.step.duration"]} == {
        "first": 1,
        "second": 1,
        "third": 1,
    }
    (waited,) = metrics["otelier.wait.duration"]
    assert waited["count"] == 1
    assert waited["attributes"] == {
        "otelier.handler": "with_spans",
        "otelier.wait.kind": "signal",
        "otelier.wait.outcome": "received",
    }
    assert [point["value"] for point in metrics["otelier.workflow.active"]] == [0]


@workflow
async def impatient(ctx: Context) -> None:
    await ctx.signal("never", timeout_ms=1, default=None)
    await ctx.sleep(0.001)


@on_a_loop
async def test_outcomes_of_waits(place: str | None, recorder: SpanRecorder):
    """A wait that timed out is no error; a timer elapses."""
    async with opened(place) as engine, working(engine, impatient) as worker:
        await (await worker.start(impatient)).result(60)
    points = recorder.metrics()["otelier.wait.duration"]
    kinds = {(p["attributes"]["otelier.wait.kind"], p["attributes"]["otelier.wait.outcome"]) for p in points}
    assert kinds == {("signal", "timed_out"), ("timer", "elapsed")}
    assert {span.status for span in _named(recorder, "wait_")} == {"UNSET"}


# --- fields, links, content ------------------------------------------------------------------------------------
@workflow
async def logging_order(ctx: Context) -> None:
    await ctx.signal("go")
    logging.getLogger("shop").warning("paid")
    await ctx.step("charge", lambda: None)
    await ctx.task("shop", "double", 2)


FIELDS = {
    "user.id": "alice",
    "user.roles": ("admin",),
    "gen_ai.agent.name": "triage",
    "session.id": "s-1",
    "otelier.tenant.id": "acme",
    "otelier.workflow.id": "job-7",
}


def test_the_fields_come_back(place: str | None, otelier_spans: SpanRecorder):
    """Spans and logs of a resumed run have user, agent, session, tenant and workflow of who started it."""

    @on_a_loop
    async def run() -> None:
        async with opened(place) as engine:
            async with working(engine, logging_order, double) as worker:
                with otelier.context(
                    user_id="alice", user_role="admin", agent="triage", session_id="s-1", tenant_id="acme",
                    workflow_id="job-7",
                ):  # fmt: skip
                    await worker.start(logging_order, workflow_id="o-1")
                await waits(engine, "o-1", "go")
            otelier_spans.clear()
            async with working(engine, logging_order, double):
                await engine.signal("o-1", "go", sealed(None, get_current()))
                await engine.result("o-1", 60)

    run()
    (log,) = [entry for entry in otelier_spans.logs if entry.body == "paid"]
    assert len(otelier_spans.records) == 6
    for attributes in (log.attributes, *(span.attributes for span in otelier_spans.records)):
        for key in ("user.id", "gen_ai.agent.name", "session.id", "otelier.workflow.id"):
            assert attributes[key] == FIELDS[key], (key, attributes)
        assert "acme" in attributes.values()
        assert attributes["otelier.run.id"].startswith("o-1")


@on_a_loop
async def test_the_workflow_id_is_the_root_runs_where_the_caller_has_none(place: str | None, recorder: SpanRecorder):
    """`otelier.workflow.id` is the same in the whole tree of runs, `otelier.run.id` is each run's own."""
    async with opened(place) as engine, working(engine, order, double) as worker:
        await (await worker.start(order, 4, workflow_id="o-1")).result()
    assert {span.attributes["otelier.workflow.id"] for span in recorder.records} == {"o-1"}
    assert {span.attributes["otelier.run.id"] for span in recorder.records} == {"o-1", "o-1.2"}


@on_a_loop
async def test_runs_of_clients_and_links_of_waits(place: str | None, recorder: SpanRecorder):
    """A run that a client starts is CONSUMER; a wait links to the span that sent the signal."""
    async with opened(place) as engine, working(engine, with_spans):
        headers = start_headers(None, "o-1", "invoke_workflow with_spans", is_client=True)
        await engine.start(Target("shop", "with_spans"), None, headers, run_id="o-1")
        with tracer.start_as_current_span("pay") as paying:
            await engine.signal("o-1", "go", sealed(None, get_current()))
        await engine.result("o-1", 60)
    (root,) = _named(recorder, "invoke_workflow")
    (waited,) = _named(recorder, "wait_signal")
    assert (root.kind, waited.kind) == ("CONSUMER", "CONSUMER")
    assert [link.span_id for link in waited.links] == [f"{paying.get_span_context().span_id:016x}"]


@pytest.mark.parametrize("is_started_in_a_span", [True, False])
@on_a_loop
async def test_a_second_start_links_to_the_run(place: str | None, recorder: SpanRecorder, is_started_in_a_span: bool):
    """The span that starts a run which exists already has a link to it; the run's own span is the first caller's."""
    async with opened(place) as engine, working(engine, with_spans) as worker:
        with tracer.start_as_current_span("first") if is_started_in_a_span else nullcontext():
            await worker.start(with_spans, workflow_id="o-1")
            await worker.start(with_spans, workflow_id="o-1")
        with tracer.start_as_current_span("second"):
            handle = await worker.start(with_spans, workflow_id="o-1")
        with tracer.start_as_current_span("third"):
            await Client(engine).start("shop", "with_spans", workflow_id="o-1")
        await engine_signal(engine, handle)
    (root,) = _named(recorder, "invoke_workflow")
    links = {span.name: [(link.trace_id, link.span_id) for link in span.links] for span in recorder.records}
    assert links["second"] == links["third"] == [(root.trace_id, root.span_id)]
    assert links.get("first", []) == links["invoke_workflow with_spans"] == []


@workflow
async def content(ctx: Context, card: str) -> str:
    await ctx.signal.emit("go", {"to": "bob", "password": "hunter2"}, target_workflow_id="o-1")
    await ctx.signal("go")
    return await ctx.step("charge", lambda: "charged")


@pytest.mark.parametrize("mode", ["SPAN_ONLY", "NO_CONTENT"])
def test_content_is_on_spans_only_behind_the_gate(place: str | None, mode: str, monkeypatch: pytest.MonkeyPatch):
    """Inputs, results and payloads stand on spans where that is switched on, redacted; else nowhere."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", mode)

    @on_a_loop
    async def run() -> None:
        async with opened(place) as engine, working(engine, content) as worker:
            assert await (await worker.start(content, "4242", workflow_id="o-1")).result() == "charged"

    with recording(SpanRecorder()) as recorder:
        run()
        seen = " ".join(repr(span.attributes) for span in recorder.records)
        assert "hunter2" not in seen
        (root,) = _named(recorder, "invoke_workflow")
        (step,) = _named(recorder, "run_step")
        signals = [*_named(recorder, "emit_signal"), *_named(recorder, "wait_signal")]
        if mode == "NO_CONTENT":
            assert [word for word in ("bob", "4242", "charged") if word in seen] == []
        else:
            assert root.attributes["otelier.run.input"] == '{"card":"4242"}'
            assert root.attributes["otelier.run.result"] == step.attributes["otelier.step.result"] == '"charged"'
            assert all('"bob"' in span.attributes["otelier.signal.payload"] for span in signals)
            assert len(signals) == 2


# --- recorders -------------------------------------------------------------------------------------------------
@workflow
async def shown(ctx: Context) -> None:
    with tracer.start_as_current_span("prepare"):
        await ctx.step("first", lambda: tracer.start_span("work").end())
    await ctx.sleep(0.001)
    await ctx.step("second", lambda: tracer.start_span("work").end())
    await ctx.task("shop", "double", 2)


def test_a_recorder_shows_runs_in_their_order(place: str | None, otelier_spans: SpanRecorder):
    """Times of the journal are those of the recorder's clock: the tree is in the order in which things were done."""

    @on_a_loop
    async def run() -> None:
        async with opened(place) as engine, working(engine, shown, double) as worker:
            await (await worker.start(shown)).result()

    trees: list[str] = []
    for _ in range(2):
        run()
        trees.append(otelier_spans.tree())
        assert_trees(otelier_spans.records)
        otelier_spans.clear()
    assert trees[0] == trees[1]
    assert trees[0].splitlines() == [
        "invoke_workflow shown INTERNAL",
        "  prepare INTERNAL",
        "    run_step first INTERNAL",
        "      work INTERNAL",
        "  wait_timer INTERNAL",
        "  run_step second INTERNAL",
        "    work INTERNAL",
        "  call shop/double PRODUCER",
        "    run_function double INTERNAL",
        "      run_step double INTERNAL",
    ]
