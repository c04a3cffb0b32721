"""`retries` and `timeout_s` of handlers and steps: recorded, and the same branch in every life."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from otelier.errors import WorkflowUseError
from otelier.workflows import Client, Context, Handler, function, workflow
from tests.workflows.working import Lives, deadline, on_a_loop, opened, outcome, run_once, until, worker_of

done: Counter[str] = Counter()
"""Executions of steps, by idempotency key and attempt."""


async def _charge(ctx: Context, seconds: float = 0.0, good: int = 1, attempt: int = 1) -> int:
    done[f"{ctx.idempotency_key} {ctx.attempt}"] += 1
    await asyncio.sleep(seconds)
    if attempt < good:
        raise ValueError(attempt)
    return attempt


@function(retries=2, backoff=0.001)
async def flaky(ctx: Context, good: int) -> list[Any]:
    attempt = ctx.attempt
    first = await ctx.step("charge", lambda: _charge(ctx))
    await ctx.sleep(0.001)
    return [first, await ctx.step("charge", lambda: _charge(ctx, good=good, attempt=attempt)), ctx.attempt]


@function(timeout_s=60)
async def quick(ctx: Context) -> str:
    await ctx.step("quick", lambda: _charge(ctx))
    await ctx.sleep(0)
    return "in time"


@function(timeout_s=0.08)
async def slow(ctx: Context) -> None:
    await ctx.step("slow", lambda: _charge(ctx, 30))


@workflow
async def branches(ctx: Context) -> list[Any]:
    """Every way in which an attempt fails or takes too long, inline and called; returns the branch it took."""
    attempt = ctx.attempt
    taken: list[Any] = [
        await flaky(2),
        await ctx.task("shop", "flaky", 3),
        repr(await outcome(flaky(9))),
        repr(await outcome(ctx.task("shop", "flaky", 9))),
        await quick(),
        str(await outcome(slow())),
        str(await outcome(ctx.task("shop", "slow"))),
        await ctx.step("tried", lambda: _tried(ctx, 3), retries=2, backoff=0),
        str(await outcome(ctx.step("late", lambda: _charge(ctx, 30), timeout_s=0.005, retries=1, backoff=0))),
        await ctx.step("charge", lambda: _charge(ctx)),
    ]
    noted = await ctx.step("note", lambda: taken)
    return [noted == taken, attempt, taken]


async def _tried(ctx: Context, good: int) -> int:
    return await _charge(ctx, good=good, attempt=ctx.attempt)


TAKEN = [
    [1, 2, 2],
    [1, 3, 3],
    "ValueError(3)",
    "ValueError(3)",
    "in time",
    "function slow took longer than 0.08 s",
    "function slow took longer than 0.08 s",
    3,
    "step 'late' took longer than 0.005 s; a function that blocks goes on in its thread",
    1,
]
KEYS = {
    *("r:charge 1", "r:charge#2 1", "r:charge 2", "r:charge#2 2"),  # of each attempt of `flaky`, inline
    *("r:charge#3 1", "r:charge#4 1", "r:charge#3 2", "r:charge#4 2", "r:charge#3 3", "r:charge#4 3"),
    *("r:quick 1", "r:slow 1", "r:tried 1", "r:tried 2", "r:tried 3", "r:late 1", "r:late 2", "r:charge#5 1"),
}


@on_a_loop
async def test_ids_and_keys_are_the_same_in_all_attempts_and_of_no_other_step(place: str | None):
    """Each attempt of a handler has the step ids of the one before it, and another number; what follows counts on."""
    done.clear()
    async with opened(place) as engine, worker_of(engine, branches, flaky, quick, slow) as worker:
        assert await (await worker.start(branches, workflow_id="r")).result() == [True, 1, TAKEN]
    found = {key: count for key, count in done.items() if key.startswith("r:")}
    assert KEYS - {"r:slow 1", "r:late 1", "r:late 2"} <= found.keys() <= KEYS  # which may be late before they begin
    assert set(found.values()) == {1}


# Not on Restate, where a life that was left comes back late.
@on_a_loop
async def test_a_body_that_is_left_takes_the_same_branch(path: str | None):
    """Left after any of its results, the run takes the branches that it took before: time-outs are recorded."""
    async with opened(path) as engine, worker_of(engine, branches, flaky, quick, slow) as worker:
        after, is_over = 0, False
        while not is_over:
            run_id = f"r{after}"
            with Lives(after)(lambda one, run_id=run_id: one == run_id) as lives:
                assert await (await worker.start(branches, workflow_id=run_id)).result() == [True, 1, TAKEN]
            is_over = run_id not in lives.cut
            after += 2 if path else 1
        assert after > 20


@on_a_loop
async def test_a_handler_fails_with_its_last_error(place: str | None):
    """After `retries` more attempts the error of the last one is raised; each waits twice as long as the one before."""
    seen: list[tuple[int, int]] = []

    @workflow(retries=2, backoff=0.01)
    async def flow(ctx: Context, items: list[int]) -> None:
        items.append(ctx.attempt)
        seen.append((ctx.attempt, len(items)))
        await ctx.step("s", lambda: 1)
        raise KeyError(ctx.attempt)

    async with opened(place) as engine, worker_of(engine, flow) as worker:
        handle = await worker.start(flow, [], workflow_id="r")
        with pytest.raises(KeyError, match="3"):
            await handle.result()
        steps = (await engine.run("r")).steps
    assert seen == [(1, 1), (2, 1), (3, 1)]  # each attempt has the input as it was given
    assert [one.name for one in steps] == ["s", "sleep", "s", "sleep", "s", "otelier.end"]
    waited = [(one.end_ns or 0) - one.begin_ns for one in steps if one.name == "sleep"]
    assert waited[0] >= 10_000_000
    assert waited[1] >= 20_000_000


@on_a_loop
async def test_a_wrong_use_is_not_tried_again(place: str | None):
    """What the code does wrong it does wrong again; an input that does not fit is no attempt."""
    seen: list[int] = []

    @workflow(retries=5, backoff=60)
    async def flow(ctx: Context, number: int = 0) -> None:
        seen.append(ctx.attempt)
        await ctx.get("state")

    @workflow
    async def caller(ctx: Context) -> str:
        return str(await outcome(ctx.task("shop", "flow", "text")))

    async with opened(place) as engine, worker_of(engine, flow, caller) as worker:
        with pytest.raises(WorkflowUseError, match="has no state"):
            await (await worker.start(flow)).result()
        assert "`number` of flow" in await (await worker.start(caller)).result()
    assert seen == [1]


@on_a_loop
async def test_the_limit_of_the_outermost_handler_holds_for_all_it_calls(place: str | None):
    """A handler that is called inline has its own limit and that of its caller; whichever is first."""

    @function(timeout_s=30)
    async def inner(ctx: Context) -> None:
        await ctx.parallel(ctx.signal("never"), ctx.sleep(60))

    @workflow(timeout_s=0.05)
    async def flow(ctx: Context) -> Any:
        try:
            await inner()
        except TimeoutError as exc:
            again = await outcome(ctx.sleep(60))
            return [str(exc), str(again)]

    late = "workflow flow took longer than 0.05 s"
    assert await run_once(place, flow, others=(inner,)) == [late, late]


@on_a_loop
async def test_each_attempt_has_a_limit_of_its_own(place: str | None):
    """`timeout_s` is that of an attempt; a retry begins it anew, and the time-out is a failure as any other."""

    @workflow(timeout_s=0.05, retries=1, backoff=0)
    async def flow(ctx: Context) -> int:
        if ctx.attempt == 1:
            await ctx.signal("never")
        await ctx.sleep(0.001)
        return ctx.attempt

    assert await run_once(place, flow) == 2


@on_a_loop
async def test_a_task_that_takes_too_long_is_cancelled_in_its_own_run(place: str | None):
    """What an attempt waits for when its limit is reached is given up: tasks are cancelled, spawned children go on."""

    @workflow
    async def endless(ctx: Context) -> Any:
        return await ctx.signal("on")

    @workflow
    async def flow(ctx: Context) -> Any:
        child = ctx.spawn(endless, key="child")

        @function(timeout_s=0.02)
        async def waits(ctx: Context) -> None:
            await ctx.task("shop", "endless")

        @function(timeout_s=0.02)
        async def waits_for_child(ctx: Context) -> None:
            await child.result()

        found = [str(await outcome(waits())), str(await outcome(waits_for_child()))]
        await ctx.signal.emit("on", 1, target_workflow_id=child.workflow_id)
        return [*found, await child.result()]

    async with opened(place) as engine, worker_of(engine, flow, endless) as worker:
        found = await (await worker.start(flow, workflow_id="r")).result()
        assert found == [
            "function waits took longer than 0.02 s",
            "function waits_for_child took longer than 0.02 s",
            1,
        ]
        states = {run.workflow_id: run.status for run in await engine.runs()}
        (task,) = states.keys() - {"r", "r.child"}
        assert (states["r.child"], states[task]) in [("completed", "cancelled"), ("completed", "running")]


def test_handlers_of_this_module_are_handlers():
    """They are what the worker is given."""
    assert all(isinstance(one, Handler) for one in (branches, flaky, quick, slow))


@on_a_loop
async def test_a_run_shows_its_attempts_and_that_it_tries_again(place: str | None):
    """In a pause and in a later attempt a run is `retrying` with its last error; each step says its attempt."""
    gate = asyncio.Event()

    @workflow
    async def flow(ctx: Context, backoff: float) -> str:
        async def works() -> str:
            if ctx.attempt < 3:
                raise ValueError(f"first {ctx.attempt}\nsecond")
            await gate.wait()
            return "done"

        return await ctx.step("works", works, retries=2, backoff=backoff)

    async with opened(place) as engine, worker_of(engine, flow) as worker, deadline():
        client = Client(engine)

        async def last_is(run_id: str, kind: str, attempt: int) -> Any:
            found = await client.run(run_id)
            return found.steps and (found.steps[-1].kind, found.steps[-1].attempt) == (kind, attempt) and found

        await worker.start(flow, 600, workflow_id="pauses")
        info = await until(lambda: last_is("pauses", "sleep", 1))
        assert (info.health, info.error["message"]) == ("retrying", "first 1\nsecond")
        handle = await worker.start(flow, 0.001, workflow_id="works")
        info = await until(lambda: last_is("works", "step", 3))
        assert (info.health, info.error["message"]) == ("retrying", "first 2\nsecond")
        assert [one.attempt for one in info.steps if one.kind == "step"] == [1, 2, 3]
        assert [one.health for one in await client.runs(service="shop")] == ["retrying", "retrying"]
        gate.set()
        assert await handle.result() == "done"
        info = await client.run("works")
        assert (info.health, info.error) == ("completed", None)
