"""Cancelling a run: what its body sees, and what it reaches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from otelier.errors import RunCancelled, RunEndedError, UnknownRunError
from otelier.workflows.engines.local import LocalEngine
from otelier.workflows.engines.local import _changes as changes
from otelier.workflows.engines.protocol import Op, Run, Target
from tests.workflows.engines.serving import (
    Handlers,
    on_a_loop,
    opened,
    serving,
    settle,
    step,
    until,
    waits_for,
)
from tests.workflows.restating import RestateServer


async def _long() -> None:
    await asyncio.Event().wait()


WAITS: dict[str, Callable[[Run], Op]] = {
    "sleep": lambda run: run.sleep(3600),
    "signal": lambda run: run.signal("go", None),
    "step": lambda run: run.step("long", _long),
    "call": lambda run: run.call(Target("shop", "wait"), None, {}),
    "result": lambda run: run.result("other"),
    "unknown": lambda run: run.call(Target("elsewhere", "wait"), None, {}),
}


async def wait(run: Run, payload: Any) -> Any:
    await run.signal("go", None)


@pytest.mark.parametrize("kind", WAITS)
@on_a_loop
async def test_cancel_reaches_each_wait(place: str | None, kind: str):
    """A cancelled run leaves any wait at once; its body sees it, whatever it catches, and its outcome is fixed."""
    handlers, seen = Handlers(), list[str]()

    async def flow(run: Run, payload: Any) -> Any:
        try:
            await WAITS[kind](run)
        except Exception:
            seen.append("an Exception")
        except RunCancelled:
            seen.append("cancelled")
            with pytest.raises(RunCancelled):
                await step(run, "more")
        return "swallowed"

    target, waiting = handlers.add(flow), handlers.add(wait)
    async with opened(place) as engine, serving(engine, handlers):
        await engine.start(waiting, None, {}, run_id="other")
        await engine.start(target, None, {}, run_id="r")

        async def waits() -> bool:
            return len((await engine.run("r")).steps) == 1

        async def children_have_ended() -> bool:
            return {run.status for run in await engine.runs() if run.parent_id} <= {"cancelled"}

        await until(waits)
        await engine.cancel("r")
        outcome = await engine.result("r", 60)
        assert (outcome[0], outcome[1]["type"]) == (False, "RunCancelled")
        assert seen == ["cancelled"]
        assert (await engine.run("r")).status == "cancelled"
        await until(children_have_ended)
        await engine.cancel("r")
        with pytest.raises(RunEndedError, match="cancelled"):
            await engine.resume("r")
        with pytest.raises(UnknownRunError):
            await engine.cancel("nobody")


@on_a_loop
async def test_cancel_reaches_called_runs_and_no_detached_ones(place: str | None):
    """Runs that a cancelled run called are cancelled, also theirs; one that it only began goes on."""
    handlers = Handlers()

    async def flow(run: Run, depth: Any) -> Any:
        if depth:
            run.call(Target("shop", "wait"), None, {}, detached=True).start()
            await run.call(Target("shop", "flow"), depth - 1, {})
        await run.signal("go", None)

    target = handlers.add(flow)
    handlers.add(wait)
    async with opened(place) as engine, serving(engine, handlers):
        await engine.start(target, 2, {}, run_id="r")

        async def all_wait() -> bool:
            runs = await engine.runs()
            return len(runs) == 5 and all(run.status == "waiting" for run in runs)

        await until(all_wait)
        await engine.cancel("r")
        for run_id in ("r", "r.1", "r.1.1"):
            assert (await engine.result(run_id, 60))[0] is False
        statuses = {run.workflow_id: run.status for run in await engine.runs()}
        assert statuses == {
            "r": "cancelled", "r.1": "cancelled", "r.1.1": "cancelled", "r.0": "waiting", "r.1.0": "waiting",
        }  # fmt: skip


@on_a_loop
async def test_a_body_is_left_after_its_steps_have_ended(place: str | None):
    """A step that cleans up when it is cancelled ends before the body sees that."""
    handlers, events, gate = Handlers(), list[str](), asyncio.Event()

    async def flow(run: Run, payload: Any) -> Any:
        async def long() -> Any:
            try:
                events.append("began")
                await asyncio.Event().wait()
            finally:
                await gate.wait()
                events.append("step ended")

        try:
            await run.step("long", long)
        finally:
            events.append("body left")

    target = handlers.add(flow)
    async with opened(place) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        await until(lambda: events)
        await engine.cancel("r")
        if isinstance(engine, LocalEngine):
            await until(lambda: engine._drivers[0].lives["r"].stopped)
        await settle()
        assert events == ["began"]
        gate.set()
        await engine.result("r", 60)
    assert events == ["began", "step ended", "body left"]


@on_a_loop
async def test_what_a_cancelled_run_still_calls_does_nothing(path: str | None):
    """A call that is stored after its caller was cancelled is a cancelled run, which does no step."""
    handlers, done = Handlers(), list[str]()

    async def child(run: Run, payload: Any) -> Any:
        async def work() -> Any:
            done.append("work")

        return await run.step("work", work)

    async def flow(run: Run, payload: Any) -> Any:
        engine._store.submit(None, None, changes.cancel_run, "r")
        run.call(target_of_child, None, {}).start()
        await run.signal("never", None)

    target, target_of_child = handlers.add(flow), handlers.add(child)
    async with opened(path) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        await engine.result("r", 60)
        assert (await engine.result("r.0", 60))[0] is False
        assert (await engine.run("r.0")).status == "cancelled"
    assert done == []


# On Restate such a body hears of it at its next op: what the server says is read while it waits for one.
@on_a_loop
async def test_a_body_that_waits_for_something_else_is_left(path: str | None):
    """Cancel also reaches a body that waits for what is not of the engine."""
    handlers, begun = Handlers(), asyncio.Event()

    async def flow(run: Run, payload: Any) -> Any:
        begun.set()
        await asyncio.Event().wait()

    target = handlers.add(flow)
    async with opened(path) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        await begun.wait()
        await engine.cancel("r")
        assert (await engine.result("r", 60))[1]["type"] == "RunCancelled"


@on_a_loop
async def test_a_cancelled_call_is_done_when_its_run_has_ended(place: str | None):
    """Giving up a call cancels the run that it called, and its value tells that; a caller may go on."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        call = run.call(Target("shop", "wait"), None, {})
        call.start()
        await run.stored(call)
        run.cancel(call)
        return (await call)[1]["type"]

    target = handlers.add(flow)
    handlers.add(wait)
    async with opened(place) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        assert await engine.result("r", 60) == [True, "RunCancelled"]
        assert (await engine.run("r.0")).status == "cancelled"


@on_a_loop
async def test_a_cancel_that_comes_while_nobody_serves_is_kept(place: str | None):
    """A run that is cancelled while its worker is away is cancelled when its body begins again."""
    handlers, seen = Handlers(), list[str]()

    async def flow(run: Run, payload: Any) -> Any:
        seen.append(await step(run, "a", "step"))
        try:
            await run.signal("go", None)
        except RunCancelled:
            seen.append("cancelled")
            raise

    target = handlers.add(flow)
    async with opened(place) as engine:
        async with serving(engine, handlers):
            await engine.start(target, None, {}, run_id="r")
            await waits_for(engine, "r")
        await engine.cancel("r")
        async with serving(engine, handlers):
            assert (await engine.result("r", 60))[1]["type"] == "RunCancelled"
    assert seen == ["step", "step", "cancelled"]


@pytest.mark.restate
@on_a_loop
async def test_a_run_that_is_being_started_is_known_although_who_calls_it_is_cancelled(
    restate: RestateServer, monkeypatch: pytest.MonkeyPatch
):
    """A cancel takes the question with it: a called run ends cancelled, a detached one goes on, and both are known."""
    from otelier.workflows.engines.restate._deployments import Deployments  # an extra

    handlers, asked, gate = Handlers(), list[str](), asyncio.Event()

    async def flow(run: Run, payload: Any) -> Any:
        detached = run.call(Target("shop", "wait"), None, {}, detached=True)
        detached.start()
        await run.call(Target("shop", "wait"), None, {})

    target = handlers.add(flow)
    handlers.add(wait)
    missing = Deployments.missing

    async def held(self: Any, target: Target) -> Any:
        if target.handler == "wait":
            asked.append(target.handler)
            await gate.wait()
        return await missing(self, target)

    monkeypatch.setattr(Deployments, "missing", held)
    starts = "target_service_name='otelier.run' AND target_handler_name='start' AND status<>'completed'"
    async with opened(restate.address) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        await until(lambda: len(asked) == 2)
        await engine.cancel("r")

        def cancels() -> list[Any]:
            found = [row["id"] for row in restate.rows(f"SELECT id FROM sys_invocation WHERE {starts}")]
            rows = restate.rows("SELECT id, entry_type FROM sys_journal WHERE entry_type LIKE '%Signal%'")
            return [row for row in rows if row["id"] in found]

        await until(lambda: len(cancels()) == 2)
        gate.set()
        assert (await engine.result("r", 60))[0] is False

        async def are_all_known() -> bool:
            statuses = {run.workflow_id: run.status for run in await engine.runs()}
            return statuses == {"r": "cancelled", "r.0": "waiting", "r.1": "cancelled"}

        await until(are_all_known)
