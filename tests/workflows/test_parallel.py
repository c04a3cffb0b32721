"""Several calls side by side: `ctx.parallel` and `ctx.gather`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from otelier.errors import StepError, WorkflowUseError
from otelier.workflows import Context, entity, function, workflow
from tests.workflows.working import (
    Lives,
    on_a_loop,
    opened,
    outcome,
    raises_sentence,
    run_once,
    status_is,
    until,
    waiting_for,
    worker_of,
)

cart = entity("Cart")


@cart.write
async def add(ctx: Context, by: int) -> int:
    total = await ctx.get("total", 0) + by
    ctx.set("total", total)
    return total


@function
async def double(ctx: Context, number: int) -> int:
    await ctx.sleep(0.001 * number)
    return await ctx.step("double", lambda: number * 2)


@workflow
async def listener(ctx: Context) -> Any:
    return await ctx.signal("told")


@workflow
async def everything(ctx: Context, most: int | None = None) -> Any:
    """Every kind of call, side by side."""

    async def step() -> str:
        await asyncio.sleep(0.01)
        return "stepped"

    heard = ctx.spawn(listener, key="heard")
    child = ctx.spawn(double, 7)
    found: Any = await ctx.parallel(
        ctx.step("loop", step, timeout_s=60),
        ctx.step("thread", lambda: "threaded", retries=1),
        ctx.task("shop", "double", {"number": 4}),
        ctx.entity("Cart", "c").add(1),
        ctx.signal("go"),
        ctx.signal("never", timeout_ms=5, default="late"),
        ctx.sleep(0.002),
        ctx.timer(delay_ms=3),
        child.result(),
        ctx.signal.emit("told", [1], target_workflow_id=heard.workflow_id),
        ctx.parallel(ctx.step("in", step), ctx.gather(x=ctx.task("shop", "double", 1), y=ctx.sleep(0))),
        max_concurrency=most,
        timeout_s=60,
    )
    named = await ctx.gather(
        max_concurrency=most,
        heard=heard.result(),
        again=child.result(timeout_s=60),
        cart=ctx.entity("Cart", "c").add(2),
    )
    return [found, named]


EVERYTHING = [
    ["stepped", "threaded", 8, 1, {"payload": 1}, "late", None, None, 14, None, ["stepped", {"x": 2, "y": None}]],
    {"heard": [1], "again": 14, "cart": 3},
]
OTHERS = (double, listener, add)


@pytest.mark.parametrize("most", [None, 1, 3])
@on_a_loop
async def test_values_come_in_order_whatever_the_calls_are(place: str | None, most: int | None):
    """`parallel` gives values in the order of its calls, `gather` by name, with any `max_concurrency`."""
    async with opened(place) as engine, worker_of(engine, everything, *OTHERS) as worker:
        handle = await worker.start(everything, most, workflow_id="r")
        await engine.signal("r", "go", {"payload": {"payload": 1}})
        assert await handle.result() == EVERYTHING


@pytest.mark.parametrize("most", [None, 2])
@on_a_loop
async def test_a_body_that_is_left_after_any_result_ends_alike(place: str | None, most: int | None):
    """Left after each of its results in turn, before, inside and after `parallel`, the run has the same result."""
    async with opened(place) as engine, worker_of(engine, everything, *OTHERS) as worker:
        after, is_over = 0, False
        while not is_over:
            with Lives(after)() as lives:
                handle = await worker.start(everything, most, workflow_id=f"r{after}")
                await engine.signal(handle.workflow_id, "go", {"payload": {"payload": 1}})
                found, named = await handle.result()
            total = 3 * after + 1
            assert [[*found[:3], *found[4:]], named["heard"]] == [EVERYTHING[0][:3] + EVERYTHING[0][4:], [1]]
            assert [found[3], named["cart"]] == [total, total + 2]
            is_over = handle.workflow_id not in lives.cut
            after += 1
        assert after > 15


@on_a_loop
async def test_max_concurrency_bounds_what_goes_on_at_once(place: str | None):
    """No more calls than that are begun and not over, and they begin in their order."""
    going: set[int] = set()
    most, begun = 0, list[int]()

    @workflow
    async def flow(ctx: Context) -> Any:
        def made(number: int) -> Any:
            async def body() -> int:
                nonlocal most
                going.add(number)
                begun.append(number)
                most = max(most, len(going))
                await asyncio.sleep(0.002)
                going.discard(number)
                return number

            return body

        return await ctx.parallel(*(ctx.step("s", made(i)) for i in range(9)), max_concurrency=3)

    assert await run_once(place, flow) == list(range(9))
    assert (most, begun) == (3, list(range(9)))


@on_a_loop
async def test_after_a_failure_nothing_more_begins_and_what_runs_ends(place: str | None):
    """The failure waits for running steps, cancels tasks, begins nothing more; all causes are raised together."""
    begun, release = list[str](), asyncio.Event()

    @function
    async def endless(ctx: Context) -> None:
        begun.append("task")
        await ctx.signal("never")

    @workflow
    async def flow(ctx: Context) -> Any:
        async def fails() -> None:
            begun.append("fails")
            await release.wait()
            raise ValueError("first")

        async def slower(text: str = "slow") -> str:
            begun.append(text)
            await release.wait()
            await asyncio.sleep(0.01)
            raise KeyError(text)

        async def ends() -> str:
            begun.append("ends")
            await release.wait()
            await asyncio.sleep(0.02)
            begun.append("ended")
            return "fine"

        calls = [
            ctx.step("slow", slower, retries=3),
            ctx.step("fails", fails),
            ctx.step("ends", ends),
            ctx.task("shop", "endless"),
            ctx.signal("never"),
            ctx.sleep(3600),
            ctx.parallel(ctx.signal("nested"), ctx.step("nested", ends)),
            ctx.step("later", slower),
        ]
        try:
            await ctx.parallel(*calls, max_concurrency=7)
        except Exception as exc:
            group: Any = exc
            return [type(exc).__name__, str(exc), [repr(one) for one in group.exceptions]]

    async with opened(place) as engine, worker_of(engine, flow, endless) as worker:
        handle = await worker.start(flow, workflow_id="r")
        await until(lambda: len(begun) >= 5)
        release.set()
        kind, text, causes = await handle.result()
        assert (kind, causes) == ("ExceptionGroup", ["ValueError('first')", "KeyError('slow')"])
        assert text.startswith("several calls failed side by side: ValueError: first; KeyError: 'slow'")
        assert sorted(begun) == ["ended", "ended", "ends", "ends", "fails", "slow", "task"]
        children = [run for run in await engine.runs() if run.handler == "endless"]
        assert [run.status for run in children] == ["cancelled"]


@on_a_loop
async def test_one_failure_is_raised_as_it_is(place: str | None):
    """A single cause needs no group."""

    @workflow
    async def flow(ctx: Context) -> Any:
        def fails() -> None:
            raise ValueError("alone")

        await ctx.gather(a=ctx.step("a", fails), b=ctx.sleep(3600))

    with pytest.raises(ValueError, match="alone"):
        await run_once(place, flow)


@on_a_loop
async def test_failures_can_stand_among_the_values(place: str | None):
    """With `return_exceptions=True` each call ends by itself, and its error stands at its place."""

    @workflow
    async def flow(ctx: Context) -> Any:
        def fails() -> None:
            raise ValueError("no")

        found = await ctx.parallel(
            ctx.step("a", fails),
            ctx.task("shop", "double", 2),
            ctx.task("shop", "double", "two"),
            ctx.signal("s", timeout_ms=1),
            return_exceptions=True,
            max_concurrency=1,
        )
        return [one if isinstance(one, int) else type(one).__name__ for one in found]

    assert await run_once(place, flow, others=(double,)) == ["ValueError", 4, "CodecError", "TimeoutError"]


@pytest.mark.parametrize("partial", [False, True], ids=["raised", "among the values"])
@on_a_loop
async def test_a_time_limit_cuts_all_that_goes_on(place: str | None, partial: bool):
    """`timeout_s=` cancels steps, tasks and waits; with `return_exceptions=True` what was done is kept."""
    cancelled: list[str] = []

    @function
    async def endless(ctx: Context) -> None:
        await ctx.signal("never")

    @workflow
    async def flow(ctx: Context) -> Any:
        async def forever() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.append("step")

        calls = [ctx.step("fast", lambda: 1), ctx.step("slow", forever), ctx.task("shop", "endless"), ctx.sleep(3600)]
        try:
            found = await ctx.parallel(*calls, timeout_s=0.2, return_exceptions=partial)
        except TimeoutError as exc:
            return str(exc)
        return [one if one == 1 else str(one) for one in found]

    async with opened(place) as engine, worker_of(engine, flow, endless) as worker:
        late = "ctx.parallel took longer than 0.2 s"
        found = await (await worker.start(flow)).result()
        assert found == ([1, late, late, late] if partial else late)
        assert cancelled == ["step"]
        (child,) = [run.workflow_id for run in await engine.runs() if run.handler == "endless"]
        await status_is(engine, child, "cancelled")


@on_a_loop
async def test_spawned_children_outlive_a_failure_beside_them(place: str | None):
    """A child that was spawned is not cancelled because a call beside its `result()` failed, or took too long."""

    @workflow
    async def flow(ctx: Context) -> Any:
        def fails() -> None:
            raise ValueError("no")

        child = ctx.spawn(listener, key="child")
        first = await outcome(ctx.parallel(child.result(), ctx.step("a", fails)))
        second = await outcome(ctx.parallel(child.result(), timeout_s=0.01))
        third = await outcome(child.result(timeout_s=0.01))
        await ctx.signal.emit("told", "hello", target_workflow_id=child.workflow_id)
        return [repr(first), type(second).__name__, str(third), await child.result()]

    async with opened(place) as engine, worker_of(engine, flow, listener) as worker:
        found = await (await worker.start(flow, workflow_id="r")).result()
    assert found == ["ValueError('no')", "TimeoutError", "r.child took longer than 0.01 s", "hello"]


@on_a_loop
async def test_a_failure_is_raised_alike_in_a_replay(place: str | None):
    """Which failures were there, and which calls ended, is what the first life saw, wherever it is left."""

    @workflow
    async def flow(ctx: Context) -> Any:
        async def fails(seconds: float) -> None:
            await asyncio.sleep(seconds)
            raise ValueError(seconds)

        first = await outcome(
            ctx.parallel(
                *(ctx.step(f"s{i}", lambda i=i: fails(0.003 * ((i * 7) % 5))) for i in range(5)),
                ctx.task("shop", "double", 3),
                ctx.signal("never"),
            )
        )
        causes = [repr(one) for one in getattr(first, "exceptions", (first,))]
        noted = await ctx.step("note", lambda: causes)
        return [causes == noted, len(causes)]

    async with opened(place) as engine, worker_of(engine, flow, double) as worker:
        after, is_over = 0, False
        while not is_over:
            with Lives(after)() as lives:
                handle = await worker.start(flow, workflow_id=f"r{after}")
                assert (await handle.result())[0]
            is_over = handle.workflow_id not in lives.cut
            after += 1
        assert after > 5


@on_a_loop
async def test_wrong_arguments_are_refused(place: str | None):
    """`parallel` takes calls, each once, and a `max_concurrency` of 1 or more."""

    @workflow
    async def flow(ctx: Context) -> Any:
        def one() -> int:
            return 1

        call = ctx.step("a", one)
        with raises_sentence(TypeError, "ctx.parallel was given a int", "without `await`"):
            ctx.parallel(call, 5)  # type: ignore[arg-type]
        with raises_sentence(WorkflowUseError, "one call twice"):
            ctx.parallel(call, call)
        for most, kind in ((0, ValueError), (-1, ValueError), (1.5, TypeError)):
            with raises_sentence(kind, "max_concurrency"):
                ctx.gather(a=call, max_concurrency=most)  # type: ignore[arg-type]
        with raises_sentence(ValueError, "timeout_s"):
            ctx.parallel(call, timeout_s=-1)
        with raises_sentence(ValueError, "10,001 calls", "10,000 are the limit"):
            ctx.parallel(*[ctx.sleep(0) for _ in range(10_001)])
        assert await call == await call == 1
        with raises_sentence(WorkflowUseError, "ctx.step('a')", "waited for already"):
            ctx.parallel(call)
        shared = ctx.step("b", one)
        both = ctx.parallel(shared)
        await shared
        with raises_sentence(WorkflowUseError, "waited for twice"):
            await both
        return [await ctx.parallel(), await ctx.gather()]

    assert await run_once(place, flow) == [[], {}]


@on_a_loop
async def test_one_signal_is_waited_for_in_one_place(place: str | None):
    """A second wait for a signal of the same name is refused while the first is open."""

    @workflow
    async def flow(ctx: Context) -> Any:
        first = ctx.signal("s", timeout_ms=1, default=1)
        with raises_sentence(WorkflowUseError, "'s' twice at once"):
            ctx.signal("s")
        await first
        return await ctx.signal("s", timeout_ms=1, default=2)

    assert await run_once(place, flow) == 2


@on_a_loop
async def test_many_calls_side_by_side(place: str | None):
    """A thousand steps side by side give a thousand values."""

    @workflow
    async def flow(ctx: Context) -> int:
        async def one() -> int:
            return 1

        return sum(await ctx.parallel(*(ctx.step("s", one) for _ in range(1_000)), max_concurrency=100))

    assert await run_once(place, flow) == 1_000


@on_a_loop
async def test_calls_may_be_awaited_by_gather(place: str | None):
    """`asyncio.gather` may await calls that the body made; which failed first is the same in a replay."""
    seen: list[Any] = []

    @workflow
    async def flow(ctx: Context) -> Any:
        async def fails(text: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            raise ValueError(text)

        values = await asyncio.gather(ctx.step("a", lambda: 1), ctx.sleep(0), ctx.task("shop", "double", 2))
        calls = [ctx.step("slow", lambda: fails("slow", 0.03)), ctx.step("fast", lambda: fails("fast", 0.0))]
        try:
            await asyncio.gather(*calls)
        except ValueError as exc:
            seen.append(str(exc))
        await ctx.sleep(0.1)
        return [values, seen[-1]]

    async with opened(place) as engine, worker_of(engine, flow, double) as worker:
        for after in (2, 4, 5, 6):
            with Lives(after)() as lives:
                handle = await worker.start(flow, workflow_id=f"r{after}")
                assert await handle.result() == [[1, None, 4], "fast"]
            assert after == 6 or handle.workflow_id in lives.cut
    assert set(seen) == {"fast"}


@on_a_loop
async def test_waits_of_a_stopped_run_end_in_gather_too(place: str | None):
    """A cancelled run ends whatever awaits its calls."""

    @workflow
    async def flow(ctx: Context) -> Any:
        return await asyncio.gather(ctx.signal("a"), ctx.signal("b"))

    async with opened(place) as engine, worker_of(engine, flow) as worker:
        handle = await worker.start(flow, workflow_id="r")
        await waiting_for(engine, "r", "signal")
        await engine.cancel("r")
        with pytest.raises(StepError, match="cancelled"):
            await handle.result()
