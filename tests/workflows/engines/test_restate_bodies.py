"""What a body on Restate meets besides what the tests of all engines look at: a busy server, and its own past."""

from __future__ import annotations

import asyncio
import gc
from typing import Any
from unittest.mock import patch

import pytest

from otelier.workflows.engines.protocol import Run, Target
from tests.workflows.engines.serving import Handlers, on_a_loop, opened, serving, step, until
from tests.workflows.restating import RestateServer

pytest.importorskip("restate", reason="the extra `restate` is not installed")

from hypercorn.config import Config

from otelier.workflows.engines.restate._ops import Step
from otelier.workflows.engines.restate._pump import Pump

pytestmark = pytest.mark.restate

_CANCELS = "SELECT id FROM sys_journal WHERE entry_type='Notification: Signal'"


async def _nothing(run: Run, payload: Any) -> Any:
    return await step(run, "a", payload)


async def _waits(run: Run, payload: Any) -> Any:
    return await run.signal("go", None)


@on_a_loop
async def test_a_called_run_that_the_server_does_not_see_yet_is_waited_for(restate: RestateServer):
    """A busy server may answer that there is no run which was stored just now: its caller asks again."""
    handlers, unseen = Handlers(), list[str]()
    called = handlers.add(_nothing)

    async def flow(run: Run, payload: Any) -> Any:
        return [await run.call(called, 1, {}), await run.result("r.0")]

    target, attach = handlers.add(flow), Pump.attach

    def attached(pump: Pump, invocation: str) -> int:
        unseen.append(invocation)
        return attach(pump, invocation if len(unseen) % 3 == 0 else nobody)

    async with opened(restate.address) as engine, serving(engine, handlers):
        await engine.start(called, 0, {}, run_id="gone")
        assert await engine.result("gone", 60) == [True, 0]
        nobody = await engine._invocation("gone")
        restate.request("PATCH", f"/invocations/{nobody}/purge")
        await until(lambda: not restate.rows(f"SELECT id FROM sys_invocation WHERE id='{nobody}'"))
        with patch.object(Pump, "attach", attached):
            await engine.start(target, None, {}, run_id="r")
            assert await engine.result("r", 60) == [True, [[True, 1], [True, 1]]]
        steps = (await engine.run("r")).steps
    assert [(one.kind, one.end_ns is None, one.error) for one in steps] == [
        ("call", False, None), ("result", False, None),
    ]  # fmt: skip
    assert len(unseen) == 6


@on_a_loop
async def test_a_body_keeps_no_step_that_has_ended(restate: RestateServer):
    """What a long body has done before takes no memory, however large its results were."""
    handlers, kept = Handlers(), list[int]()

    async def flow(run: Run, payload: Any) -> Any:
        for _ in range(20):
            await step(run, "a", "x" * 1000)
        gc.collect()
        kept.append(sum(isinstance(one, Step) for one in gc.get_objects()))

    target = handlers.add(flow)
    async with opened(restate.address) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        assert await engine.result("r", 60) == [True, None]
    assert max(kept) <= 2


@on_a_loop
async def test_each_wait_is_shown_with_its_own_end(restate: RestateServer):
    """A wait without a limit has none, although a call beside it sleeps between its questions."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        call, signal = run.call(Target("shop", "nobody"), None, {}), run.signal("go", None)
        call.start()
        signal.start()
        return [(await call)[0], await signal]

    target = handlers.add(flow)
    async with opened(restate.address, unknown_s=2.0) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        await until(lambda: restate.rows("SELECT id FROM sys_journal WHERE entry_type='Command: Sleep'"))
        assert (await engine.run("r")).waiting_for == "call shop/nobody, signal go"

        async def has_failed() -> bool:
            return (await engine.run("r")).waiting_for == "signal go"

        await until(has_failed)
        await engine.signal("r", "go", 1)
        assert await engine.result("r", 60) == [True, [False, 1]]


@on_a_loop
async def test_a_failed_call_shows_why_after_its_caller_has_ended(restate: RestateServer):
    """The end of a run takes nothing from what its last op shows."""
    handlers = Handlers()

    async def fails(run: Run, payload: Any) -> Any:
        raise ValueError("no")

    called = handlers.add(fails)

    async def flow(run: Run, payload: Any) -> Any:
        return (await run.call(called, None, {}))[0]

    target = handlers.add(flow)
    async with opened(restate.address) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        assert await engine.result("r", 60) == [True, False]

        async def over() -> bool:
            return (await engine.run("r")).status == "completed"

        await until(over)
        assert [one.error for one in (await engine.run("r")).steps] == ["ValueError: no"]


@on_a_loop
async def test_a_run_whose_caller_is_cancelled_while_it_is_stored_is_cancelled(restate: RestateServer):
    """A cancel that reaches a call in the midst of its start leaves no run that nobody knows."""
    handlers, asked, goes_on = Handlers(), asyncio.Event(), asyncio.Event()
    waits = handlers.add(_waits)

    async def flow(run: Run, payload: Any) -> Any:
        return await run.call(waits, None, {})

    target = handlers.add(flow)
    async with opened(restate.address) as engine:
        missing = engine._deployments.missing

        async def held(of: Target) -> Any:
            if of == waits:
                asked.set()
                await goes_on.wait()
            return await missing(of)

        with patch.object(engine._deployments, "missing", held):
            async with serving(engine, handlers):
                await engine.start(target, None, {}, run_id="r")
                await asked.wait()
                await engine.cancel("r")
                await until(lambda: restate.rows(_CANCELS))
                goes_on.set()
                assert (await engine.result("r", 60))[1]["type"] == "RunCancelled"
                assert (await engine.result("r.0", 60))[1]["type"] == "RunCancelled"


@on_a_loop
async def test_runs_that_a_blocked_run_called_are_cancelled_with_it(restate: RestateServer):
    """Whatever stands in its id: a blocked run has no body that could cancel them."""
    handlers, names, run_id = Handlers(), ["a"], 'r"1%\\_'
    waits = handlers.add(_waits)

    async def flow(run: Run, payload: Any) -> Any:
        await step(run, names[0])
        return await run.call(waits, None, {})

    target = handlers.add(flow)
    async with opened(restate.address, inactivity_s=0.2) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id=run_id)
        await until(lambda: len(restate.rows("SELECT id FROM sys_invocation WHERE status='suspended'")) == 2)
        names[0] = "b"
        await engine.signal(run_id, "go", None)
        (at,) = restate.rows("SELECT id FROM sys_invocation WHERE target_handler_name='flow'")
        restate.request("PATCH", f"/invocations/{at['id']}/pause")
        restate.request("PATCH", f"/invocations/{at['id']}/resume")

        async def is_blocked() -> bool:
            return (await engine.run(run_id)).status == "blocked"

        await until(is_blocked)
        await engine.cancel(run_id)
        assert (await engine.result(f"{run_id}.1", 60))[1]["type"] == "RunCancelled"


@on_a_loop
async def test_a_step_goes_on_however_many_requests_its_connection_takes(
    restate: RestateServer, monkeypatch: pytest.MonkeyPatch
):
    """Hypercorn ends a connection after so many requests, in the midst of others; the worker's has no such limit."""
    monkeypatch.setattr(Config, "keep_alive_max_requests", 10)  # of 1,000
    handlers, begun, goes_on = Handlers(), list[str](), asyncio.Event()
    quick = handlers.add(_nothing)

    async def slow(run: Run, payload: Any) -> Any:
        async def body() -> Any:
            begun.append(run.id)
            await goes_on.wait()
            return 1

        return await run.step("slow", body)

    target = handlers.add(slow)
    async with opened(restate.address) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        await until(lambda: begun)
        for number in range(40):
            await engine.start(quick, number, {}, run_id=f"q-{number}")
            assert await engine.result(f"q-{number}", 60) == [True, number]
        goes_on.set()
        assert await engine.result("r", 60) == [True, 1]
    assert begun == ["r"]
