"""Traces of bodies on a Restate server: one tree, however often a body is left and begins again."""

from __future__ import annotations

from typing import Any

import pytest

from otelier.testing import SpanRecorder
from otelier.workflows import Context, entity, function, workflow
from tests.workflows.restating import RestateServer
from tests.workflows.trees import assert_trees
from tests.workflows.working import Lives, on_a_loop, opened, worker_of

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


pytestmark = pytest.mark.restate
