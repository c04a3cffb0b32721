"""Traces of bodies on a Restate server: one tree, however often a body is left and begins again."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry.context import get_current

from otelier.errors import RunEndedError
from otelier.testing import SpanRecorder
from otelier.workflows import Context, Handler, _trace, entity, function, workflow
from otelier.workflows._headers import sealed
from tests.workflows.restating import RestateServer
from tests.workflows.test_traces import recording
from tests.workflows.trees import assert_trees
from tests.workflows.working import Lives, on_a_loop, opened, status_is, until, waiting_for, worker_of

pytest.importorskip("restate", reason="the extra `restate` is not installed")
from otelier.workflows.engines.restate import _pump, _run

total = entity("Total")


@total.write
async def add(ctx: Context, by: int) -> int:
    ctx.set("total", await ctx.get("total", 0) + by)
    return by


@function
async def double(ctx: Context, number: int) -> int:
    return await ctx.step("double", lambda: number * 2)


@workflow
async def order(ctx: Context, number: int) -> Any:
    first = await ctx.step("first", lambda: number)
    found = await ctx.parallel(
        ctx.task("shop", "double", {"number": first}), ctx.sleep(0.01), ctx.entity("Total", "t").add(1)
    )
    return [*found, await ctx.signal("go"), await ctx.step("last", lambda: "done")]


def test_a_trace_is_one_tree_however_often_its_bodies_are_left(restate: RestateServer, otelier_spans: SpanRecorder):
    """Each op has one span, in one tree with the request that started the run, wherever a life of a body ends."""

    @on_a_loop
    async def run() -> None:
        async with opened(restate.address, inactivity_s=0.5) as engine:
            for after in range(6):
                with Lives(after)() as lives:
                    async with worker_of(engine, order, double, add) as worker:
                        with tracer.start_as_current_span(f"request {after}"):
                            handle = await worker.start(order, 4, workflow_id=f"order-{after}")
                        await engine.signal(f"order-{after}", "go", {"payload": after})
                        assert await handle.result() == [8, None, 1, after, "done"]
                assert lives.cut

    tracer = otelier_spans.tracer_provider.get_tracer("web")
    run()
    traces = assert_trees(otelier_spans.records)
    assert len(traces) == 6
    wanted = ["call shop/Total.add", "call shop/double", "invoke_workflow order", "run_entity Total.add"]
    wanted += ["run_function double", "run_step double", "run_step first", "run_step last", "wait_signal go"]
    wanted += ["wait_timer"]
    for spans in traces.values():
        names = [span.name for span in spans if not span.name.startswith(("request", "resume_"))]
        assert sorted(names) == sorted(wanted)


@workflow
async def patient(ctx: Context) -> Any:
    await ctx.step("before", lambda: None)
    said = await ctx.signal("go")
    await ctx.step("after", lambda: None)
    return said


def test_a_wait_that_was_not_long_and_is_told_late_leaves_the_runs_span_whole(
    restate: RestateServer, monkeypatch: pytest.MonkeyPatch
):
    """A signal that was sent in time and comes late, as one of another machine or over a server that was away: the
    run's span, which was closed meanwhile, goes out again to its end, with how the run ended.
    """
    monkeypatch.setattr(_trace, "LONG_WAIT_NS", 300_000_000)
    monkeypatch.setattr(_run, "_LATE_NS", 0)

    @on_a_loop
    async def run() -> None:
        async with opened(restate.address) as engine, worker_of(engine, patient) as worker:
            handle = await worker.start(patient, workflow_id="o-1")
            await until(lambda: [span for span in recorder.records if span.name == "invoke_workflow patient"])
            (waiting,) = [step for step in (await engine.run("o-1")).steps if step.end_ns is None]
            sent = {"name": "go", "payload": sealed("now", get_current()), "at": waiting.begin_ns}
            await engine._server.ask("o-1", "signal", sent)
            assert await handle.result(60) == "now"

    with recording(SpanRecorder(clock=time.time_ns)) as recorder:
        run()
    (spans,) = assert_trees(recorder.records, is_told_late=True).values()
    roots = [span for span in recorder.records if span.name == "invoke_workflow patient"]
    assert [span.attributes["otelier.run.state"] for span in roots] == ["waiting", "completed"]
    assert {span.name: span.parent_id for span in spans} == {
        "invoke_workflow patient": None,
        **dict.fromkeys(["run_step before", "wait_signal go", "run_step after"], roots[0].span_id),
    }


def test_a_life_that_begins_late_in_a_wait_hears_of_its_end_before_it_is_long(
    restate: RestateServer, monkeypatch: pytest.MonkeyPatch
):
    """Where a worker was away for long, or the server, the wait may have ended meanwhile: the run's span is not closed
    before the body could be told.
    """
    monkeypatch.setattr(_trace, "LONG_WAIT_NS", 300_000_000)
    monkeypatch.setattr(_run, "_LATE_NS", 600_000_000_000)
    monkeypatch.setattr(_pump.Pump, "close_input", lambda self: None)  # it is not suspended: another life begins
    lives: list[str] = []

    @workflow(name="patient")
    async def waiting(ctx: Context) -> Any:
        lives.append(ctx.run_id)
        return await ctx.signal("go")

    @on_a_loop
    async def run() -> None:
        async with opened(restate.address, stop_s=0.05) as engine:
            async with worker_of(engine, waiting) as worker:
                await worker.start(waiting, workflow_id="o-1")
                await waiting_for(engine, "o-1", "signal go")
            (found,) = (await engine.run("o-1")).steps
            await until(lambda: time.time_ns() > found.begin_ns + 300_000_000)
            begun = len(lives)
            async with worker_of(engine, waiting):
                await until(lambda: len(lives) > begun)
                sent = {"name": "go", "payload": sealed("now", get_current()), "at": found.begin_ns}
                await engine._server.ask("o-1", "signal", sent)
                assert await engine.result("o-1", 60) == [True, "now"]

    with recording(SpanRecorder(clock=time.time_ns)) as recorder:
        run()
    assert_trees(recorder.records)
    (root,) = [span for span in recorder.records if span.name == "invoke_workflow patient"]
    assert root.attributes["otelier.run.state"] == "completed"


def test_a_timer_that_is_told_late_closes_no_span(restate: RestateServer, monkeypatch: pytest.MonkeyPatch):
    """How long a timer takes follows from its begin: one that is told late has closed nothing meanwhile."""
    monkeypatch.setattr(_trace, "LONG_WAIT_NS", 50_000_000)
    monkeypatch.setattr(_run, "_LATE_NS", 0)
    sleep = _pump.Pump.sleep
    monkeypatch.setattr(_pump.Pump, "sleep", lambda self, milliseconds, name="": sleep(self, milliseconds + 400, name))

    @workflow
    async def short(ctx: Context) -> None:
        await ctx.sleep(0.02)

    @on_a_loop
    async def run() -> None:
        async with opened(restate.address) as engine, worker_of(engine, short) as worker:
            await (await worker.start(short, workflow_id="o-1")).result()

    with recording(SpanRecorder(clock=time.time_ns)) as recorder:
        run()
    assert_trees(recorder.records)
    (root,) = [span for span in recorder.records if span.name == "invoke_workflow short"]
    assert root.attributes["otelier.run.state"] == "completed"


@workflow
async def hurried(ctx: Context) -> None:
    await ctx.step("first", lambda: None)
    await asyncio.wait_for(ctx.signal("go"), 0.01)


@on_a_loop
async def test_a_wait_that_was_cut_from_outside_is_told_where_it_blocks(restate: RestateServer):
    """The server keeps no record of what cut a wait: a run that was left right after it is blocked, and says why."""
    async with opened(restate.address) as engine:
        with Lives(1)() as lives:
            async with worker_of(engine, hurried) as worker:
                await worker.start(hurried, workflow_id="o-1")
                await status_is(engine, "o-1", "blocked")
                info = await engine.run("o-1")
                await engine.cancel("o-1")
        assert lives.cut
    for part in ("waits for", "go", "asyncio.timeout", "timeout_s="):
        assert part in info.error["message"]


def _invoice(first: str) -> Handler:
    @workflow(name="invoice")
    async def made(ctx: Context) -> None:
        await ctx.step(first, lambda: None)
        await ctx.signal("go")
        await ctx.step("after", lambda: None)

    return made


def test_a_run_that_was_blocked_has_one_span(restate: RestateServer):
    """When it was blocked is not recorded: the span of the run is open meanwhile, and goes out once, at its end."""

    @on_a_loop
    async def run() -> None:
        async with opened(restate.address, stop_s=0.05) as engine:
            async with worker_of(engine, _invoice("charge")) as worker:
                await worker.start(worker._host.handlers["shop", "invoice"], workflow_id="o-1")
                await waiting_for(engine, "o-1", "signal go")
            async with worker_of(engine, _invoice("bill")):
                await engine.signal("o-1", "go", sealed(None, get_current()))
                await status_is(engine, "o-1", "blocked")
            assert not [span for span in recorder.records if span.name == "invoke_workflow invoice"]
            async with worker_of(engine, _invoice("charge")):
                with suppress(RunEndedError):  # the server tries again by itself, now and then
                    await engine.resume("o-1")
                assert (await engine.result("o-1", 60))[0]

    with recording(SpanRecorder(clock=time.time_ns)) as recorder:
        run()
    (spans,) = assert_trees(recorder.records).values()
    (root,) = [span for span in recorder.records if span.name == "invoke_workflow invoice"]
    assert root.attributes["otelier.run.state"] == "completed"
    assert {span.name: span.parent_id for span in spans} == {
        root.name: None,
        **dict.fromkeys(["run_step charge", "wait_signal go", "run_step after"], root.span_id),
    }


pytestmark = pytest.mark.restate
