"""Steps: done once, recorded, repeated only where that was asked for."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import sys
import threading
from typing import Any

import pytest

from otelier.errors import StepError, WorkflowUseError
from otelier.workflows import Context, workflow
from otelier.workflows.engines.local._store import ask
from tests.workflows.working import Lives, on_a_loop, opened, outcome, raises_sentence, run_once, until, worker_of

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


@on_a_loop
async def test_a_step_runs_once_and_gives_its_value(place: str | None):
    """A step gives what its function returned, and a body that begins again does not do it again."""
    done: list[str] = []

    @workflow
    async def flow(ctx: Context, order: str) -> list[Any]:
        first = await ctx.step("charge", lambda: done.append(order) or {"paid": order})
        return [first, await ctx.signal("go")]

    async with opened(place) as engine:
        async with worker_of(engine, flow) as worker:
            await worker.start(flow, "o-1", workflow_id="r")
            await until(lambda: done)
        async with worker_of(engine, flow) as worker:
            await engine.signal("r", "go", {"payload": 1})
            assert await (await worker.start(flow, "o-1", workflow_id="r")).result() == [{"paid": "o-1"}, 1]
    assert done == ["o-1"]


class _Adder:
    def __call__(self) -> str:
        return threading.current_thread().name


async def _named() -> str:
    return threading.current_thread().name


@on_a_loop
async def test_coroutine_functions_run_on_the_loop_and_others_in_threads(place: str | None):
    """An `async def` runs on the loop, also in a partial; all else in the worker's threads, with the context."""

    @workflow
    async def flow(ctx: Context) -> list[str]:
        async def with_argument(suffix: str) -> str:
            return await _named() + suffix

        return [
            await ctx.step("async", _named),
            await ctx.step("partial", functools.partial(with_argument, "!")),
            await ctx.step("plain", lambda: threading.current_thread().name),
            await ctx.step("object", _Adder()),
            await ctx.step("method", _Adder().__call__),
            await ctx.step("gives a coroutine", lambda: _named()),
        ]

    here = threading.current_thread().name
    found = await run_once(place, flow)
    assert [found[0], found[1], found[5]] == [here, f"{here}!", here]
    assert all(name.startswith("otelier-step") for name in found[2:5])


@pytest.mark.parametrize("needs", [asyncio.get_running_loop, asyncio.get_event_loop], ids=["running", "any"])
@on_a_loop
async def test_a_plain_function_that_needs_the_loop_fails_with_a_sentence(needs: Any, place: str | None):
    """A lambda that makes a task has no loop in its thread; the error tells to write `async def`."""

    @workflow
    async def flow(ctx: Context) -> str:
        await ctx.step("task", needs)
        return "never"

    with raises_sentence(WorkflowUseError, "Write `async def`"):
        await run_once(place, flow)


@on_a_loop
async def test_step_ids_count_names_and_stay_the_same_in_all_attempts(place: str | None):
    """The second step of a name is `{name}#2`; a retry has the same ids and keys, and its own attempt number.

    In a step that has `retries` it is the step's own, else the handler's.
    """
    seen: list[tuple[str | None, str, int]] = []

    @workflow(retries=1, backoff=0.0)
    async def flow(ctx: Context) -> int:
        def look(fail: bool = False) -> int:
            seen.append((ctx.step_id, ctx.idempotency_key, ctx.attempt))
            if fail and len(seen) < 4:
                raise ValueError("again")
            return ctx.attempt

        await ctx.step("a", look)
        await ctx.step("a", look, retries=1)
        await ctx.step("b", functools.partial(look, True), retries=0)
        return ctx.attempt

    async with opened(place) as engine, worker_of(engine, flow) as worker:
        assert await (await worker.start(flow, workflow_id="r")).result() == 2
    once = [("a", "r:a", 1), ("a#2", "r:a#2", 1), ("b", "r:b", 1)]
    assert seen == [*once, ("a", "r:a", 2), ("a#2", "r:a#2", 1), ("b", "r:b", 2)]


@on_a_loop
async def test_a_step_is_tried_again_as_often_as_it_may(place: str | None):
    """`retries=` does the step again with the same key, and `ctx.attempt` tells the attempts apart."""
    seen: list[tuple[str, int]] = []

    @workflow
    async def flow(ctx: Context, good: int) -> Any:
        def charge() -> str:
            seen.append((ctx.idempotency_key, ctx.attempt))
            if ctx.attempt < good:
                raise KeyError(ctx.attempt)
            return "paid"

        return await ctx.step("charge", charge, retries=2, backoff=0.001)

    async with opened(place) as engine, worker_of(engine, flow) as worker:
        assert await (await worker.start(flow, 3, workflow_id="r")).result() == "paid"
        assert seen == [("r:charge", 1), ("r:charge", 2), ("r:charge", 3)]
        with pytest.raises(KeyError, match="3"):
            await (await worker.start(flow, 4, workflow_id="q")).result()


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "in a thread"])
@on_a_loop
async def test_a_step_that_takes_too_long_is_a_timeout(place: str | None, is_async: bool, caplog: Any):
    """`timeout_s=` ends an attempt with `TimeoutError`; a thread cannot be stopped, which is said once."""
    release, left = threading.Event(), asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    @workflow
    async def flow(ctx: Context) -> str:
        try:
            await ctx.step("slow", forever if is_async else lambda: release.wait(60), timeout_s=0.01)
        except TimeoutError as exc:
            return str(exc)
        return "in time"

    with caplog.at_level(logging.WARNING, "otelier"):
        try:
            thread = "" if is_async else "; a function that blocks goes on in its thread"
            assert await run_once(place, flow) == f"step 'slow' took longer than 0.01 s{thread}"
        finally:
            release.set()
    if is_async:
        await left.wait()
    assert ("goes on in its thread" in caplog.text) is not is_async


@on_a_loop
async def test_a_coroutine_that_comes_too_late_is_closed(place: str | None):
    """A coroutine that a step's thread gives after the step timed out is never run, and closed."""
    release = threading.Event()
    given: list[Any] = []

    async def never() -> None:
        raise AssertionError("must not run")

    def slow() -> Any:
        release.wait(60)
        given.append(never())
        return given[0]

    @workflow
    async def flow(ctx: Context) -> str:
        try:
            await ctx.step("slow", slow, timeout_s=0.01)
        except TimeoutError:
            return "too late"
        return "in time"

    try:
        assert await run_once(place, flow) == "too late"
    finally:
        release.set()
    await until(lambda: given and inspect.getcoroutinestate(given[0]) == inspect.CORO_CLOSED)


@on_a_loop
async def test_a_timed_out_attempt_is_tried_again(place: str | None):
    """A time-out counts as a failure of the attempt, and `retries=` follows."""

    @workflow
    async def flow(ctx: Context) -> int:
        async def slow_once() -> int:
            if ctx.attempt == 1:
                await asyncio.Event().wait()
            return ctx.attempt

        return await ctx.step("slow", slow_once, timeout_s=0.05, retries=1, backoff=0)

    assert await run_once(place, flow) == 2


class ShopError(Exception):
    """Makeable from its arguments."""


class TwoFacts(Exception):
    """Not makeable: it takes more than it keeps."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")


def _raise(error: BaseException) -> Any:
    raise error


def _elsewhere() -> Exception:
    class Elsewhere(Exception):
        """Does not stand in a module."""

    return Elsewhere("gone")


ERRORS = [
    (ValueError("no stock", 3), ValueError, ["no stock", 3]),
    (KeyError("sku"), KeyError, ["sku"]),
    (FileNotFoundError(2, "No such file", "a.txt"), FileNotFoundError, [2, "No such file"]),
    (ShopError("declined"), ShopError, ["declined"]),
    (TwoFacts(1, "x"), StepError, ["1 x"]),
    (_elsewhere(), StepError, ["gone"]),
    (ValueError({1, 2}), StepError, ["{1, 2}"]),
    (ExceptionGroup("several", [ValueError(1)]), StepError, ["several (1 sub-exception)"]),
    (asyncio.CancelledError(), StepError, [""]),
]


@pytest.mark.parametrize(("error", "kind", "args"), ERRORS, ids=lambda value: getattr(value, "__name__", None))
@on_a_loop
async def test_errors_are_values_that_a_replay_sees_alike(place: str | None, error: Exception, kind: Any, args: Any):
    """An error comes back as its class where that is known and can be made, else as `StepError`; first run and replay
    take the same branch."""
    branches: list[Any] = []

    @workflow
    async def flow(ctx: Context) -> Any:
        async def fail() -> None:
            raise error

        branch: Any = None
        try:
            await ctx.step("fail", fail)
        except Exception as exc:
            branch = [type(exc).__name__, list(exc.args), getattr(exc, "type", None)]
        branches.append(branch)
        await ctx.sleep(0)
        return branch

    with Lives(1)() as lives:
        found = await run_once(place, flow)
    assert lives.cut
    assert branches[0] == branches[1] == found
    assert found == [kind.__name__, args, type(error).__qualname__ if kind is StepError else None]


@on_a_loop
async def test_the_cause_of_an_error_is_known_in_the_first_run(place: str | None):
    """`__cause__` is the error itself where the step was executed in this life."""

    @workflow
    async def flow(ctx: Context) -> Any:
        try:
            await ctx.step("fail", lambda: _raise(TwoFacts(1, "x")))
        except StepError as exc:
            return [exc.type, exc.message, type(exc.__cause__).__name__]

    assert await run_once(place, flow) == ["TwoFacts", "1 x", "TwoFacts"]


@on_a_loop
async def test_calls_inside_a_step_are_refused(place: str | None):
    """A step is done as a whole: steps, tasks, waits, children, entities and handlers are refused in it."""

    @workflow
    async def other(ctx: Context) -> int:
        return 1

    @workflow
    async def flow(ctx: Context) -> list[str]:
        calls: dict[str, Any] = {
            "ctx.step('in')": lambda: ctx.step("in", lambda: 1),
            "ctx.task('shop', 'other')": lambda: ctx.task("shop", "other"),
            "ctx.spawn(other)": lambda: ctx.spawn(other),
            "ctx.sleep": lambda: ctx.sleep(1),
            "ctx.timer": lambda: ctx.timer(1),
            "ctx.signal('s')": lambda: ctx.signal("s"),
            "ctx.signal.emit('s')": lambda: ctx.signal.emit("s"),
            "ctx.parallel": lambda: ctx.parallel(),
            "ctx.gather": lambda: ctx.gather(),
            "ctx.entity('Counter', ...).add": lambda: ctx.entity("Counter", "k").add(1),
            "other(...)": lambda: other(),
            "other(...) ": lambda: other(ctx),
        }
        kept = []

        def try_all() -> list[str]:
            found = []
            for what, call in calls.items():
                with raises_sentence(WorkflowUseError, what.strip(), "inside a step"):
                    call()
                found.append(what)
            return found

        async def async_try_all() -> list[str]:
            return try_all()

        kept += await ctx.step("thread", try_all)
        kept += await ctx.step("loop", async_try_all)
        assert len(kept) == 2 * len(calls)
        return kept

    await run_once(place, flow, others=(other,))


@on_a_loop
async def test_facts_can_be_read_inside_a_step(place: str | None):
    """Properties and headers are plain reads there."""

    @workflow
    async def flow(ctx: Context) -> Any:
        def look() -> list[Any]:
            return [ctx.run_id, ctx.step_id, ctx.component_type, ctx.version, dict(ctx.headers()), ctx.replaying]

        assert ctx.step_id is None
        with raises_sentence(WorkflowUseError, "`ctx.idempotency_key` belongs to a step"):
            _ = ctx.idempotency_key
        return await ctx.step("look", look)

    async with opened(place) as engine, worker_of(engine, flow) as worker:
        handle = await worker.start(flow, workflow_id="r", headers={"X-Request": "7"})
        assert await handle.result() == ["r", "look", "workflow", 1, {"x-request": "7"}, False]


@on_a_loop
async def test_a_step_that_awaits_what_is_cancelled_fails(place: str | None, monkeypatch: pytest.MonkeyPatch):
    """A `CancelledError` of something that the step waited for is its failure, and does not end the run's life."""

    @workflow
    async def flow(ctx: Context) -> Any:
        async def cancelled() -> None:
            task = asyncio.ensure_future(asyncio.sleep(60))
            asyncio.get_running_loop().call_soon(task.cancel)
            await task

        return [type(await outcome(ctx.step("c", cancelled))).__name__]

    assert await run_once(place, flow) == ["StepError"]


@on_a_loop
async def test_wrong_arguments_of_a_step_are_refused_at_once(place: str | None):
    """A step needs a name, a function, and finite times; what is given instead is named."""

    @workflow
    async def flow(ctx: Context) -> None:
        with raises_sentence(TypeError, "ctx.step('a') was given a int", "give the function itself"):
            ctx.step("a", 5)  # type: ignore[arg-type]
        coroutine = _named()
        with raises_sentence(TypeError, "given a coroutine"):
            ctx.step("a", coroutine)  # type: ignore[arg-type]
        coroutine.close()
        for name in ("", "a\n", "x" * 257):
            with raises_sentence(ValueError, "a step's name", "printable"):
                ctx.step(name, _named)
        with raises_sentence(TypeError, "Cannot use a int as a step's name"):
            ctx.step(1, _named)  # type: ignore[arg-type]
        for number in (-1, float("nan"), float("inf")):
            with raises_sentence(ValueError, "Cannot use", "timeout_s"):
                ctx.step("a", _named, timeout_s=number)
            with raises_sentence(ValueError, "Cannot use", "backoff"):
                ctx.step("a", _named, backoff=number)
        with raises_sentence(TypeError, "retries"):
            ctx.step("a", _named, retries=1.5)  # type: ignore[arg-type]
        with raises_sentence(ValueError, "retries"):
            ctx.step("a", _named, retries=-1)

    await run_once(place, flow)


@on_a_loop
async def test_each_attempt_waits_twice_as_long_as_the_one_before(place: str | None):
    """`backoff=` is the first wait in seconds, and it doubles."""

    def fails() -> None:
        raise ValueError("no")

    @workflow
    async def flow(ctx: Context) -> Any:
        return str(await outcome(ctx.step("fails", fails, retries=3, backoff=0.001)))

    async with opened(place) as engine, worker_of(engine, flow) as worker:
        assert await (await worker.start(flow)).result() == "no"
        sleeps = await ask(
            engine._store,
            lambda tx: tx.conn.execute("SELECT due - began FROM op WHERE kind='sleep' ORDER BY n").fetchall(),
        )
    assert [round(ns / 1e6) for (ns,) in sleeps] == [1, 2, 4]
