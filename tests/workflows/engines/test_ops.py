"""Ops: numbers, results in the order in which they were recorded, replays."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from otelier.errors import RunParked, RunStopped, WorkflowUseError
from otelier.workflows.engines.local import LocalEngine
from otelier.workflows.engines.protocol import Run
from tests.workflows.engines.serving import (
    Handlers,
    on_a_loop,
    opened,
    raises_sentence,
    serving,
    settle,
    status_is,
    step,
    until,
    waits_for,
)


@on_a_loop
async def test_a_step_that_was_recorded_is_not_computed_again(place: str | None):
    """A body that begins again gets what its steps gave, and computes only what was not recorded."""
    handlers, computed = Handlers(), list[str]()

    async def flow(run: Run, payload: Any) -> Any:
        async def body() -> Any:
            computed.append("charge")
            return {"paid": payload}

        paid = await run.step("charge", body)
        await run.signal("go", None)
        return paid

    target = handlers.add(flow)
    async with opened(place) as engine:
        async with serving(engine, handlers):
            await engine.start(target, 5, {}, run_id="r")
            await until(lambda: _op_count(engine, "r", 2))
        async with serving(engine, handlers):
            await engine.signal("r", "go", None)
            assert await engine.result("r", 60) == [True, {"paid": 5}]
    assert (computed, handlers.lives) == (["charge"], ["r", "r"])


async def _op_count(engine: Any, run_id: str, count: int) -> bool:
    return len((await engine.run(run_id)).steps) == count


@on_a_loop
async def test_ops_are_numbered_when_made_and_begun_when_waited_for(place: str | None):
    """An op that is never started is not in the journal, and has its number all the same."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        ops = [step(run, name) for name in "abc"]
        assert [op.number for op in ops] == [0, 1, 2]
        assert (run.made(), run.replaying(), ops[2].began_ns) == (3, False, None)
        await ops[2]
        assert 0 < run.began_ns <= (ops[2].began_ns or 0) <= (ops[2].ended_ns or 0)
        assert (ops[2].executions, ops[2].done(), ops[0].done()) == (1, True, False)
        return ops[2].number

    target = handlers.add(flow)
    async with opened(place) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        assert await engine.result("r", 60) == [True, 2]
        assert [one.name for one in (await engine.run("r")).steps] == ["c"]


@on_a_loop
async def test_results_are_seen_in_the_order_in_which_they_were_recorded(place: str | None):
    """`next` gives the op that was recorded first, in the first life and in each replay."""
    handlers, orders, gates = Handlers(), list[list[str]](), [asyncio.Event() for _ in range(4)]

    async def flow(run: Run, payload: Any) -> Any:
        def gated(i: int) -> Any:
            async def body() -> Any:
                await gates[i].wait()
                return i

            return run.step(f"s{i}", body)

        ops = [gated(i) for i in range(4)]
        for op in ops:
            op.start()
        orders.append([])
        left = list(ops)
        while left:
            op = await run.next(left)
            left.remove(op)
            orders[-1].append(op.name)
        await run.signal("go", None)
        return orders[-1]

    target = handlers.add(flow)
    async with opened(place) as engine:
        async with serving(engine, handlers):
            await engine.start(target, None, {}, run_id="r")
            for count, i in enumerate([2, 0, 3, 1]):
                await until(lambda count=count: orders and len(orders[-1]) == count)
                gates[i].set()
            await until(lambda: _op_count(engine, "r", 5))
        async with serving(engine, handlers):
            await engine.signal("r", "go", None)
            assert await engine.result("r", 60) == [True, ["s2", "s0", "s3", "s1"]]
    assert orders == [["s2", "s0", "s3", "s1"]] * 2


@on_a_loop
async def test_an_op_is_begun_only_if_none_of_those_asked_for_is_done(place: str | None):
    """What a `next` did not need in the first life, no replay begins."""
    handlers, begun = Handlers(), list[str]()

    async def flow(run: Run, payload: Any) -> Any:
        def told(name: str) -> Any:
            async def body() -> Any:
                begun.append(name)

            return run.step(name, body)

        first, second = told("first"), told("second")
        await first
        op = await run.next([second, first])
        return op.name

    async with opened(place) as engine:
        target = handlers.add(flow)
        async with serving(engine, handlers):
            await engine.start(target, None, {}, run_id="r")
            assert await engine.result("r", 60) == [True, "first"]
    assert begun == ["first"]


@on_a_loop
async def test_what_is_found_is_told(place: str | None):
    """A replay tells that ops were there, when they began and ended, and how often a step was begun."""
    handlers, seen, gate = Handlers(), list[Any](), asyncio.Event()

    async def flow(run: Run, payload: Any) -> Any:
        async def cut() -> Any:
            await gate.wait()

        first = step(run, "first")
        here = [run.replaying()]
        await first
        second = run.step("cut", cut)
        second.start()
        here += [first.is_found, first.began_ns, first.ended_ns, first.executions, second.is_found, second.executions]
        here += [second.began_ns, run.began_ns, run.id, run.version, run.parent_id, dict(run.headers), run.target]
        seen.append(here)
        await second

    target = handlers.add(flow)
    async with opened(place, stop_s=0) as engine:
        async with serving(engine, handlers):
            await engine.start(target, None, {"tenant": "a"}, run_id="r")
            await until(lambda: _op_count(engine, "r", 2))
        gate.set()
        async with serving(engine, handlers):
            await engine.result("r", 60)
    first, second = seen
    assert first[0] is False
    assert second[0] is True
    assert (first[1], second[1], first[5], second[5]) == (False, True, False, True)
    # A Restate server cannot tell how often a step was begun.
    assert (first[4], second[4], first[6], second[6]) == (1, 1, 1, 2 if isinstance(engine, LocalEngine) else 1)
    assert second[2:4] == first[2:4]
    assert second[7:] == first[7:]
    assert second[9:] == ["r", 1, None, {"tenant": "a"}, target]


@on_a_loop
async def test_a_cancelled_step_ends_and_is_not_recorded(place: str | None):
    """An op that is given up ends at its next await, gives nothing, and is not begun by a replay."""
    handlers, events = Handlers(), list[str]()

    async def flow(run: Run, payload: Any) -> Any:
        async def long() -> Any:
            events.append("began")
            try:
                await asyncio.Event().wait()
            finally:
                events.append("ended")

        op, timer = run.step("long", long), run.sleep(3600)
        op.start()
        timer.start()
        await step(run, "first")
        run.cancel(op)
        run.cancel(timer)
        await run.signal("go", None)
        with pytest.raises(WorkflowUseError):
            await run.next([op, timer])
        return op.done()

    target = handlers.add(flow)
    async with opened(place) as engine:
        async with serving(engine, handlers):
            await engine.start(target, None, {}, run_id="r")
            await until(lambda: _op_count(engine, "r", 4))
            info = await engine.run("r")
            assert (info.status, info.waiting_for) == ("waiting", "signal go")
        async with serving(engine, handlers):
            await engine.signal("r", "go", None)
            assert await engine.result("r", 60) == [True, False]
    assert events == ["began", "ended"]


@on_a_loop
async def test_a_sleep_lasts_from_when_it_was_first_begun(place: str | None):
    """A restart does not begin a sleep anew, and one whose time has passed meanwhile is done at once."""
    handlers, dues = Handlers(), dict[str, list[int]]()

    async def flow(run: Run, payload: Any) -> Any:
        op = run.sleep(payload)
        op.start()
        if isinstance(engine, LocalEngine):
            dues.setdefault(run.id, []).append(op.due)  # type: ignore[attr-defined]
        await op

    target = handlers.add(flow)
    async with opened(place) as engine:
        async with serving(engine, handlers):
            await engine.start(target, 0.2, {}, run_id="short")
            await engine.start(target, 10**9, {}, run_id="long")
            await engine.start(target, -5, {}, run_id="past")
            assert await engine.result("past", 60) == [True, None]
            await until(lambda: _op_count(engine, "short", 1))
        await asyncio.sleep(0.25)
        async with serving(engine, handlers):
            assert await engine.result("short", 60) == [True, None]
            sleep = (await engine.run("short")).steps[0]
            assert sleep.end_ns is not None
            assert sleep.end_ns - sleep.begin_ns >= 0.2e9
            assert (await engine.run("long")).status == "waiting"
    assert [len(told) - len(set(told)) for run_id, told in dues.items() if run_id != "past"] == [1] * min(len(dues), 2)


@on_a_loop
async def test_a_body_that_swallows_what_stops_it_yields_no_outcome(place: str | None):
    """A life that was stopped ends its run in no way, and further calls in it raise again."""
    handlers, raised = Handlers(), list[str]()

    async def flow(run: Run, payload: Any) -> Any:
        for _ in range(3):
            try:
                await run.signal("go", None)
            except RunParked:
                raised.append("parked")
        return "swallowed"

    target = handlers.add(flow)
    async with opened(place) as engine:
        async with serving(engine, handlers):
            await engine.start(target, None, {}, run_id="r")
            await until(lambda: _op_count(engine, "r", 1))
        assert raised == ["parked"] * 3
        assert (await engine.run("r")).status in {"waiting", "running"}


@on_a_loop
async def test_a_foreign_cancellation_of_a_wait_is_left_to_the_caller(place: str | None):
    """A wait that somebody else cancels raises `CancelledError`, and the op stays begun."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        op = run.signal("go", None)
        waiting = asyncio.ensure_future(run.next([op]))
        await settle()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return await op

    target = handlers.add(flow)
    async with opened(place) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        await until(lambda: _op_count(engine, "r", 1))
        await engine.signal("r", "go", 7)
        assert await engine.result("r", 60) == [True, 7]


@on_a_loop
async def test_a_step_runs_in_the_context_of_who_starts_it(place: str | None):
    """A step's task has the context variables of its body; a body does not see those of who started its run."""
    from contextvars import ContextVar

    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        before = tenant.get()
        tenant.set("alice")

        async def body() -> Any:
            return [tenant.get(), asyncio.current_task() is task]

        task = asyncio.current_task()
        return [before, *(await run.step("look", body))]

    target = handlers.add(flow)
    async with opened(place) as engine, serving(engine, handlers):
        await settle()
        tenant.set("starter")
        await engine.start(target, None, {}, run_id="r")
        assert await engine.result("r", 60) == [True, ["nobody", "alice", False]]


@on_a_loop
async def test_two_waits_for_one_op_are_both_told(place: str | None):
    """Tasks of a body may wait for ops that its own task made."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        one, two = step(run, "a", 1), step(run, "b", 2)

        async def wait(op: Any) -> Any:
            return await op

        return await asyncio.gather(wait(one), wait(two), wait(one))

    target = handlers.add(flow)
    async with opened(place) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        assert await engine.result("r", 60) == [True, [1, 2, 1]]


# Restate tries it again by itself, and shows it as `retrying`: see test_restate.py.
@on_a_loop
async def test_a_step_that_raises_blocks_its_run(path: str | None):
    """A fault of ours is no outcome: the run is blocked with what happened, and resumes."""
    handlers, faults = Handlers(), [OSError("ours")]

    async def flow(run: Run, payload: Any) -> Any:
        async def body() -> Any:
            if faults:
                raise faults.pop()
            return "mended"

        try:
            return await run.step("work", body)
        except RunStopped:
            return "swallowed"

    target = handlers.add(flow)
    async with opened(path) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")

        async def is_blocked() -> bool:
            return (await engine.run("r")).status == "blocked"

        await until(is_blocked)
        info = await engine.run("r")
        assert info.error is not None
        assert "OSError" in info.error["message"]
        await engine.resume("r")
        assert await engine.result("r", 60) == [True, "mended"]
        with raises_sentence(Exception, "cannot be resumed", "completed"):
            await engine.resume("r")


@on_a_loop
async def test_a_step_that_is_given_up_before_it_begins_is_over(place: str | None):
    """A task that is cancelled before its first turn never runs: its run can be cancelled, and is not waited for."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        op = run.step("never", asyncio.Event().wait)  # type: ignore[arg-type]
        op.start()
        run.cancel(op)
        await run.signal("go", None)

    target = handlers.add(flow)
    async with opened(place) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        await waits_for(engine, "r")
        await engine.cancel("r")
        await status_is(engine, "r", "cancelled")
