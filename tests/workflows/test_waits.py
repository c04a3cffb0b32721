"""Waits: time, cron lines, signals, children, and how a cancelled run leaves them."""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
import threading
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from otelier.errors import (
    MissingExtraError,
    RunCancelled,
    RunEndedError,
    RunExistsError,
    StepError,
    UnknownHandlerError,
    UnknownRunError,
    WorkflowUseError,
)
from otelier.workflows import Context, _waits, entity, function, workflow
from otelier.workflows._waits import _until
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


@workflow
async def echo(ctx: Context, name: str = "told", times: int = 1) -> Any:
    return [await ctx.signal(name) for _ in range(times)]


@function
async def double(ctx: Context, number: int) -> int:
    return 2 * number


# --- signals -----------------------------------------------------------------------------------------------------
@on_a_loop
async def test_signals_come_oldest_first_also_those_sent_before_the_wait(place: str | None):
    """Signals are kept by name; a late one is for the next wait of that name, `None` is a payload."""

    @workflow
    async def flow(ctx: Context) -> Any:
        for payload in (1, None, {"a": [2]}):
            await ctx.signal.emit("s", payload)
        found = [await ctx.signal("other", timeout_ms=1, default={"none": True})]
        found += [await ctx.signal("s") for _ in range(3)]
        try:
            await ctx.signal("s", timeout_ms=1)
        except TimeoutError as exc:
            found.append(str(exc))
        await ctx.signal.emit("s", 4)
        return [*found, await ctx.signal("s", 60_000)]

    expected = [{"none": True}, 1, None, {"a": [2]}, "no signal 's' came within 0.001 s", 4]
    async with opened(place) as engine, worker_of(engine, flow) as worker:
        for after in range(12):
            with Lives(after)():
                assert await (await worker.start(flow)).result() == expected


@on_a_loop
async def test_an_emitted_signal_goes_to_the_root_or_to_a_named_run(place: str | None):
    """Without a target it is for the root of the tree; an unknown or ended run is an error that names it."""

    @function
    async def child(ctx: Context) -> Any:
        await ctx.signal.emit("told", "up")
        unknown: Any = await outcome(ctx.signal.emit("told", 1, "nobody"))
        ended: Any = await outcome(ctx.signal.emit("told", 1, target_workflow_id="over"))
        return [type(unknown).__name__, unknown.workflow_id, type(ended).__name__, ended.workflow_id, ended.status]

    @workflow
    async def flow(ctx: Context) -> Any:
        middle = await ctx.task("shop", "middle")
        return [await ctx.signal("told"), middle]

    @function
    async def middle(ctx: Context) -> Any:
        return await ctx.task("shop", "child")

    async with opened(place) as engine, worker_of(engine, flow, middle, child, double) as worker:
        await (await worker.start(double, 1, workflow_id="over")).result()
        found = await (await worker.start(flow)).result()
    assert found == ["up", [UnknownRunError.__name__, "nobody", RunEndedError.__name__, "over", "completed"]]


# --- time --------------------------------------------------------------------------------------------------------
@on_a_loop
async def test_times_are_finite_and_one_of_a_kind(place: str | None):
    """Negative and infinite times, and a timer with none or both of its arguments, are refused where they stand."""

    @workflow
    async def flow(ctx: Context) -> Any:
        for wrong in (-1, -0.001, float("inf"), float("nan")):
            for call in (ctx.sleep, ctx.timer, lambda ms: ctx.signal("s", timeout_ms=ms)):
                with raises_sentence(ValueError, "Cannot use", "finite number"):
                    call(wrong)
        for wrong in ("5", None, True):
            with raises_sentence(TypeError, "`seconds`"):
                ctx.sleep(wrong)  # type: ignore[arg-type]
        for given in ({}, {"delay_ms": 1, "cron": "* * * * *"}):
            with raises_sentence(TypeError, "`delay_ms=` or `cron=`"):
                ctx.timer(**given)  # type: ignore[arg-type]
        return [await ctx.sleep(0), await ctx.timer(0), await ctx.timer(delay_ms=1)]

    assert await run_once(place, flow) == [None, None, None]


@on_a_loop
async def test_a_sleep_goes_on_over_a_restart(place: str | None):
    """A sleep ends when it was to end, also if the worker was away meanwhile."""

    @workflow
    async def flow(ctx: Context) -> str:
        await ctx.sleep(0.3)
        return "slept"

    async with opened(place) as engine:
        async with worker_of(engine, flow) as worker:
            await worker.start(flow, workflow_id="r")
            await waiting_for(engine, "r", "until")
        async with worker_of(engine, flow) as worker:
            assert await (await worker.start(flow, workflow_id="r")).result() == "slept"
        (sleep, _) = (await engine.run("r")).steps
    assert 0.3 <= ((sleep.end_ns or 0) - sleep.begin_ns) / 1e9 < 30


BERLIN = ZoneInfo("Europe/Berlin")
CRONS = [
    # line, zone, now in that zone, the next time in UTC
    ("0 0 * * *", "UTC", "2026-11-16T10:00:00", "2026-11-17T00:00:00"),
    ("0 0 * * *", "Europe/Berlin", "2026-11-16T10:00:00", "2026-11-16T23:00:00"),
    ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00", "2026-03-29T01:00:00"),  # 02:30 is left out that night
    ("0 4 * * *", "Europe/Berlin", "2026-03-28T12:00:00", "2026-03-29T02:00:00"),
    ("0 4 * * *", "Europe/Berlin", "2026-10-24T12:00:00", "2026-10-25T03:00:00"),  # 02:30 is there twice
    ("0 12 29 2 *", "UTC", "2026-01-01T00:00:00", "2028-02-29T12:00:00"),
]


@pytest.mark.parametrize(("line", "zone", "now", "then"), CRONS)
def test_cron_lines_are_read_in_their_time_zone(line: str, zone: str, now: str, then: str):
    """The next time that a line names, also over the nights in which clocks are set."""
    pytest.importorskip("croniter")
    at = dt.datetime.fromisoformat(now).replace(tzinfo=ZoneInfo(zone))
    found = at.timestamp() + _until(line, zone, int(at.timestamp() * 1e9))
    assert dt.datetime.fromtimestamp(found, dt.timezone.utc).replace(tzinfo=None).isoformat() == then


@on_a_loop
async def test_wrong_cron_lines_are_refused(place: str | None):
    """A line that cannot be read, one of no day, an unknown zone: `ValueError` with what to write instead."""
    pytest.importorskip("croniter")

    @workflow
    async def flow(ctx: Context) -> None:
        for line in ("", "every day", "* * * *", "61 * * * *", "0 0 31 2 *"):
            with raises_sentence(ValueError, "Cannot read cron=", "five fields"):
                ctx.timer(cron=line)
        for zone in ("Mars/Olympus", "", "../etc/passwd"):
            with raises_sentence(ValueError, "Cannot read tz=", "Europe/Berlin"):
                ctx.timer(cron="* * * * *", tz=zone)

    await run_once(place, flow)


@on_a_loop
async def test_a_cron_line_is_waited_for_by_the_time_that_is_recorded(
    place: str | None, monkeypatch: pytest.MonkeyPatch
):
    """The next time is recorded, so a replay waits for the same one, whatever the line names then."""
    pytest.importorskip("croniter")

    @workflow
    async def flow(ctx: Context) -> None:
        lives.append(ctx.attempt)
        await ctx.timer(cron="0 0 1 1 *")

    lives = list[int]()
    waits = list[str | None]()
    async with opened(place) as engine:
        async with worker_of(engine, flow) as worker:
            await worker.start(flow, workflow_id="r")
            await waiting_for(engine, "r", "until")
            waits.append((await engine.run("r")).waiting_for)
        monkeypatch.setattr(_waits, "_until", lambda cron, tz, now_ns: 0.01)
        async with worker_of(engine, flow):
            await engine.resume("r")  # a Restate server lets it sleep until there is something to tell it
            await until(lambda: len(lives) > 1)
            await waiting_for(engine, "r", "until")
            waits.append((await engine.run("r")).waiting_for)
    first, second = waits
    assert first == second


@on_a_loop
async def test_a_cron_line_without_the_extra_names_the_install_line(place: str | None, monkeypatch: Any):
    """Where croniter is not installed the error says how to install it."""
    monkeypatch.setitem(sys.modules, "croniter", None)

    @workflow
    async def flow(ctx: Context) -> None:
        with raises_sentence(MissingExtraError, "pip install 'otelier[workflows]'"):
            ctx.timer(cron="0 0 * * *")

    await run_once(place, flow)


# --- children ----------------------------------------------------------------------------------------------------
@on_a_loop
async def test_children_have_ids_by_key_or_by_number(place: str | None):
    """A child's id is `{run}.{key}`, else `{run}.{handler}#{n}`; a key that is used again is the same child."""

    @workflow
    async def flow(ctx: Context) -> Any:
        handles = [ctx.spawn(double, 1), ctx.spawn(double, number=2), ctx.spawn(double, 3, key="three")]
        same = ctx.spawn(double, 3, key="three")
        other = ctx.spawn(double, 4, key="three")
        error: Any = await outcome(other.result())
        results = [await one.result(60) for one in [*handles, same]]
        again = await handles[0].result()
        return [[one.workflow_id for one in [*handles, same]], results, again, type(error).__name__, error.workflow_id]

    ids = ["r.double#1", "r.double#2", "r.three", "r.three"]
    async with opened(place) as engine, worker_of(engine, flow, double) as worker:
        found = await (await worker.start(flow, workflow_id="r")).result()
        assert found == [ids, [2, 4, 6, 6], 2, RunExistsError.__name__, "r.three"]
        children = await engine.runs()
    assert {run.workflow_id: run.parent_id for run in children} == {"r": None, **dict.fromkeys(ids, "r")}


@on_a_loop
async def test_a_run_does_not_end_before_its_children_are_stored(place: str | None):
    """A child that nobody waited for is there when the run has ended, and goes on without it."""

    @workflow
    async def flow(ctx: Context, fails: bool) -> None:
        ctx.spawn(echo, key="child")
        if fails:
            raise ValueError("after")

    async with opened(place) as engine, worker_of(engine, flow, echo) as worker:
        for fails in (False, True):
            handle = await worker.start(flow, fails, workflow_id=f"r{fails}")
            assert repr(await outcome(handle.result())) == ("ValueError('after')" if fails else "None")
            await waiting_for(engine, f"r{fails}.child", "signal told")
            await engine.signal(f"r{fails}.child", "told", {"payload": 5})
            assert await engine.result(f"r{fails}.child", 60) == [True, [5]]


@on_a_loop
async def test_cancelling_reaches_called_tasks_and_not_spawned_children(place: str | None):
    """What a run called is cancelled with it, what it spawned is not."""

    @workflow
    async def flow(ctx: Context) -> None:
        ctx.spawn(echo, key="spawned")
        await ctx.task("shop", "echo", {"name": "never"})

    async with opened(place) as engine, worker_of(engine, flow, echo) as worker:
        handle = await worker.start(flow, workflow_id="r")
        await until(lambda: _count(engine, 3))
        await waiting_for(engine, "r.spawned", "signal told")
        await engine.cancel("r")
        error: Any = await outcome(handle.result())
        assert (error.type, "cancelled" in str(error)) == (RunCancelled.__name__, True)
        (called,) = {run.workflow_id for run in await engine.runs()} - {"r", "r.spawned"}
        await status_is(engine, called, "cancelled")
        assert (await engine.run("r.spawned")).status == "waiting"


async def _count(engine: Any, count: int) -> bool:
    return len(await engine.runs()) == count


@on_a_loop
async def test_a_task_for_an_unknown_handler_fails_after_a_grace_time(place: str | None):
    """The failure names the service and the handler, and those that are known."""

    @workflow
    async def flow(ctx: Context) -> Any:
        calls = [ctx.task("shop", "nothing"), ctx.task("elsewhere", "double"), ctx.entity("Nobody", "k").act(1)]
        found: list[Any] = [await outcome(call) for call in calls]
        return [[type(one).__name__, one.service, one.handler, "shop/double" in str(one)] for one in found]

    assert await run_once(place, flow, others=(double,)) == [
        [UnknownHandlerError.__name__, "shop", "nothing", True],
        [UnknownHandlerError.__name__, "elsewhere", "double", True],
        [UnknownHandlerError.__name__, "shop", "Nobody.act", True],
    ]


@on_a_loop
async def test_only_handlers_are_spawned(place: str | None):
    """A plain function, an entity's method, arguments that do not fit: refused where they stand."""
    add = entity("T").write(_add)

    @workflow
    async def flow(ctx: Context) -> None:
        for wrong in (_add, add, "double"):
            with raises_sentence(TypeError, "ctx.spawn was given", "`@workflow` or `@function`"):
                ctx.spawn(wrong)  # type: ignore[arg-type]
        with raises_sentence(TypeError, "Cannot call function double"):
            ctx.spawn(double)
        with raises_sentence(ValueError, "`key`"):
            ctx.spawn(double, 1, key="")
        with raises_sentence(ValueError, "timeout_s"):
            ctx.spawn(double, 1).result(timeout_s=-1)
        for wrong_name in ((1, "double"), ("shop", None), ("", "double")):
            with raises_sentence((TypeError, ValueError), "Cannot use"):  # type: ignore[arg-type]
                ctx.task(*wrong_name)  # type: ignore[arg-type]

    await run_once(place, flow, others=(double,))


async def _add(ctx: Context) -> None: ...


# --- cancel ------------------------------------------------------------------------------------------------------
KINDS = ["signal", "sleep", "timer", "task", "child", "entity", "approval", "parallel", "gather", "limited", "retried"]
KINDS += ["step", "thread", "foreign"]


def _skip_foreign(kind: str, place: str | None) -> None:
    if kind == "foreign" and place is not None and place.startswith("restate:"):
        pytest.skip("a Restate server reaches a body in what it asks of the context only")


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_a_cancelled_run_leaves_every_kind_of_wait(place: str | None, kind: str):
    """Cancel reaches each wait past `except Exception`, and a thread once it has ended; further calls raise again."""
    _skip_foreign(kind, place)
    seen: list[str] = []
    begun, entered, release = asyncio.Event(), threading.Event(), threading.Event()
    store = entity("Store")

    @store.write
    async def act(ctx: Context) -> None:
        await ctx.signal("never")

    @workflow
    async def flow(ctx: Context) -> Any:
        async def forever() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                seen.append("step left")

        def fails() -> None:
            raise ValueError

        def blocks() -> None:
            entered.set()
            release.wait(60)
            seen.append("thread left")

        calls: dict[str, Any] = {
            "signal": lambda: ctx.signal("never"),
            "sleep": lambda: ctx.sleep(3600),
            "timer": lambda: ctx.timer(3_600_000),
            "task": lambda: ctx.task("shop", "echo"),
            "child": lambda: ctx.spawn(echo).result(),
            "entity": lambda: ctx.entity("Store", "k").act(),
            "approval": lambda: ctx.human.approval("refund"),
            "gather": lambda: ctx.gather(a=ctx.signal("a"), b=ctx.parallel(ctx.sleep(3600), ctx.task("shop", "echo"))),
            "limited": lambda: ctx.step("s", forever, timeout_s=3600),
            "retried": lambda: ctx.step("s", fails, retries=1, backoff=3600),
            "parallel": lambda: ctx.parallel(ctx.signal("a"), ctx.step("s", forever), ctx.sleep(3600)),
            "step": lambda: ctx.step("s", forever),
            "thread": lambda: ctx.step("s", blocks),
            "foreign": lambda: asyncio.Event().wait(),
        }
        await ctx.step("begin", lambda: 1)
        call = calls[kind]()
        begun.set()
        try:
            while True:
                try:
                    await call
                except Exception as exc:
                    seen.append(f"caught {exc!r}")
        except BaseException as exc:
            seen.append(type(exc).__name__)
            raise
        finally:
            for further in (lambda: ctx.step("undo", lambda: 1), lambda: ctx.sleep(0)):
                try:
                    await further()
                except BaseException as exc:
                    seen.append(type(exc).__name__)

    async with opened(place) as engine, worker_of(engine, flow, echo, act) as worker:
        handle = await worker.start(flow, workflow_id="r")
        await begun.wait()
        await asyncio.sleep(0.05)  # any moment will do
        await until(lambda: kind != "thread" or entered.is_set())
        await engine.cancel("r")
        if kind == "thread":
            await asyncio.sleep(0.05)  # and here
            assert seen == []
            release.set()
        with pytest.raises(StepError, match="was cancelled"):
            await handle.result()
        assert (await engine.run("r")).status == "cancelled"
    first = "CancelledError" if kind == "foreign" else "RunCancelled"
    left = ["step left"] if kind in {"step", "parallel", "limited"} else []
    left += ["thread left"] if kind == "thread" else []
    assert seen == [*left, first, "RunCancelled", "RunCancelled"]


@on_a_loop
async def test_two_waits_for_a_name_beside_each_other_are_refused(place: str | None):
    """Which of two waits gets the next signal would be nobody's order."""

    @workflow
    async def flow(ctx: Context) -> Any:
        first = ctx.signal("s")
        with raises_sentence(WorkflowUseError, "'s' twice at once", "names of their own"):
            ctx.signal("s")
        await ctx.signal.emit("s", 1)
        return await first

    assert await run_once(place, flow) == 1
