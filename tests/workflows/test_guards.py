"""What a replay would not repeat is refused: clocks around waits, foreign tasks, calls that nobody awaits."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from typing import Any

import pytest

from otelier.errors import ReplayError, WorkflowUseError
from otelier.workflows import Context, workflow
from tests.workflows.working import Lives, on_a_loop, opened, outcome, raises_sentence, run_once, worker_of

CLOCKS = ["wait_for"] if sys.version_info < (3, 11) else ["wait_for", "timeout", "task group"]


async def _cut(clock: str, call: Any) -> Any:
    """Await *call* as users do who know asyncio's clocks."""
    if clock == "wait_for":
        return await asyncio.wait_for(call, 0.01)
    if clock == "timeout":
        async with asyncio.timeout(0.01):  # type: ignore[attr-defined]
            return await call

    async def fails() -> None:
        await asyncio.sleep(0.01)
        raise KeyError("beside")

    async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined]
        group.create_task(fails())
        return await call


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("kind", ["step", "signal", "sleep", "parallel", "task"])
@on_a_loop
async def test_clocks_around_a_wait_are_refused_with_a_sentence(place: str | None, clock: str, kind: str):
    """`asyncio.timeout`, `wait_for` and a task group that cut a wait raise `ReplayError`, which names `timeout_s=`."""

    @workflow
    async def endless(ctx: Context) -> Any:
        await ctx.signal("never")

    @workflow
    async def flow(ctx: Context) -> Any:
        calls = {
            "step": lambda: ctx.step("slow", _forever),
            "signal": lambda: ctx.signal("never"),
            "sleep": lambda: ctx.sleep(3600),
            "parallel": lambda: ctx.parallel(ctx.sleep(3600), ctx.signal("never")),
            "task": lambda: ctx.task("shop", "endless"),
        }
        try:
            await _cut(clock, calls[kind]())
        except BaseException as exc:
            found: Any = exc
            for one in getattr(exc, "exceptions", ()):
                found = one if isinstance(one, ReplayError) else found
            await ctx.sleep(0)
            raise found from None

    with raises_sentence(ReplayError, "cancelled from outside", "`asyncio.timeout`", "`timeout_s=`"):
        await run_once(place, flow, others=(endless,))


def _fail(error: Exception) -> None:
    raise error


async def _forever() -> None:
    await asyncio.Event().wait()


@on_a_loop
async def test_a_cut_wait_is_cut_in_a_replay_too(place: str | None):
    """A body that caught the `ReplayError` and is left afterwards takes the same branch again."""
    branches: list[str] = []

    @workflow
    async def flow(ctx: Context) -> Any:
        found = await outcome(_cut("wait_for", ctx.step("slow", _forever)))
        branches.append(type(found).__name__)
        await ctx.sleep(0)
        await ctx.sleep(0)
        return branches

    with Lives(0)() as lives:
        assert await run_once(place, flow) == ["ReplayError", "ReplayError"]
    assert lives.cut


@on_a_loop
async def test_a_cut_wait_is_cut_in_a_replay_after_the_time_limit_too(place: str | None):
    """A body that caught the `ReplayError`, and was ended by its `timeout_s` later, takes the same branch again."""
    branches: list[str] = []

    @workflow(timeout_s=0.5, retries=1, backoff=0.0)
    async def flow(ctx: Context) -> Any:
        if ctx.attempt == 1:
            found = await outcome(_cut("wait_for", ctx.step("slow", _forever)))
            branches.append(type(found).__name__)
            await ctx.step("after", lambda: None)
            await ctx.signal("never")
        await ctx.sleep(0)
        return branches

    with Lives(3)() as lives:  # after the step, the limit and the pause
        assert await run_once(place, flow) == ["ReplayError", "ReplayError"]
    assert lives.cut


@on_a_loop
async def test_a_clock_that_does_not_strike_does_no_harm(place: str | None):
    """A wait that ends in time is as good as one without a clock; clocks inside a step are the step's own."""

    @workflow
    async def flow(ctx: Context) -> Any:
        async def own() -> str:
            try:
                await asyncio.wait_for(asyncio.Event().wait(), 0.001)
            except asyncio.TimeoutError:
                return "own"
            return "never"

        return await asyncio.wait_for(ctx.step("own", own), 60)

    assert await run_once(place, flow) == "own"


@on_a_loop
async def test_calls_in_a_foreign_task_or_thread_are_refused(place: str | None):
    """Calls are made in the body's own task: elsewhere their order would be that of the clock."""

    @workflow
    async def other(ctx: Context) -> int:
        return 1

    @workflow
    async def flow(ctx: Context) -> Any:
        calls = [
            lambda: ctx.step("a", lambda: 1),
            lambda: ctx.sleep(1),
            lambda: ctx.signal("s"),
            lambda: ctx.task("shop", "other"),
            lambda: ctx.spawn(other),
            lambda: ctx.parallel(),
            lambda: other(),
        ]

        async def elsewhere() -> int:
            for call in calls:
                with raises_sentence(WorkflowUseError, "another task", "`ctx.parallel`", "`ctx.spawn`"):
                    call()
            return len(calls)

        refused: list[BaseException] = []

        def in_thread() -> None:
            try:
                ctx.step("a", lambda: 1)
            except BaseException as exc:
                refused.append(exc)

        assert await asyncio.create_task(elsewhere()) == 7
        thread = threading.Thread(target=in_thread)
        thread.start()
        thread.join()
        return [type(one).__name__ for one in refused]

    assert await run_once(place, flow, others=(other,)) == ["WorkflowUseError"]


@on_a_loop
async def test_one_call_is_waited_for_in_one_place(place: str | None):
    """Two waits for one call at once are refused; one after the other they give the same value, or error."""

    @workflow
    async def flow(ctx: Context) -> Any:
        call = ctx.step("a", lambda: {"x": 1})
        waits = [asyncio.ensure_future(call), asyncio.ensure_future(call)]
        found = await asyncio.gather(*waits, return_exceptions=True)
        failing = ctx.step("b", lambda: _fail(IndexError("b")))
        errors = [await outcome(failing), await outcome(failing)]
        assert errors[0] is errors[1]
        return [found[0], str(found[1]), type(errors[0]).__name__, await call]

    value, refusal, error, again = await run_once(place, flow)
    assert (value, again, error) == ({"x": 1}, {"x": 1}, "IndexError")
    assert refusal == "ctx.step('a') is waited for twice at once: wait for it in one place."


@on_a_loop
async def test_calls_that_are_never_awaited_warn(place: str | None, caplog: pytest.LogCaptureFixture):
    """A forgotten `await` is told once for each handler, and names the call."""

    @workflow
    async def flow(ctx: Context) -> None:
        await ctx.parallel(ctx.sleep(0))
        ctx.gather(a=ctx.step("forgotten", lambda: 1))

    with caplog.at_level(logging.WARNING, "otelier"):
        await run_once(place, flow)
    told = [record.getMessage() for record in caplog.records if "never waited for" in record.getMessage()]
    assert told == ["ctx.gather in flow was never waited for, and nothing of it was done. Write `await` before it."]


@on_a_loop
async def test_what_failed_is_told_alone(place: str | None, caplog: pytest.LogCaptureFixture):
    """A call that was not waited for because the body failed on its way there is not told to lack an `await`."""

    @workflow
    async def flow(ctx: Context) -> None:
        await ctx.parallel(ctx.signal("paid"), ctx.signal("paid"))

    with caplog.at_level(logging.WARNING, "otelier"), pytest.raises(WorkflowUseError, match="'paid' twice at once"):
        await run_once(place, flow)
    assert [record.getMessage() for record in caplog.records if "never waited for" in record.getMessage()] == []


@on_a_loop
async def test_a_call_of_another_run_is_refused(place: str | None):
    """A context that a body kept for later belongs to a run that has ended."""
    kept: list[Any] = []

    @workflow
    async def first(ctx: Context) -> None:
        kept.append(ctx)

    @workflow
    async def second(ctx: Context) -> None:
        with raises_sentence(WorkflowUseError, "another task than the body of first"):
            kept[0].step("late", lambda: 1)

    async with opened(place) as engine, worker_of(engine, first, second) as worker:
        await (await worker.start(first)).result()
        await (await worker.start(second)).result()
