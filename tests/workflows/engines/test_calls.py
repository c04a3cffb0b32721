"""Calls: child runs, their ids, handlers that nobody has."""

from __future__ import annotations

from typing import Any

import pytest

from otelier.errors import RunExistsError
from otelier.workflows.engines.local import LocalEngine
from otelier.workflows.engines.protocol import Registry, Run, Target
from tests.workflows.engines.serving import Handlers, on_a_loop, opened, serving, step, until, waits_for


async def double(run: Run, payload: Any) -> Any:
    if payload is None:
        raise ValueError("nothing to double")
    return [await step(run, "double", payload * 2), run.parent_id, dict(run.headers)]


@on_a_loop
async def test_a_call_starts_a_run_and_gives_its_outcome(place: str | None):
    """The child has an id of its own, its parent's id and the headers that were given; a failure is a value."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        good = await run.call(Target("shop", "double"), 2, {"tenant": "a"})
        bad = await run.call(Target("shop", "double"), None, {}, run_id="given")
        return [good, bad[0], bad[1]["type"], await run.result("given") == bad, (await run.result("no"))[1]["type"]]

    target = handlers.add(flow)
    handlers.add(double, "function")
    async with opened(place) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        wanted = [[True, [4, "r", {"tenant": "a"}]], False, "ValueError", True, "UnknownRunError"]
        assert await engine.result("r", 60) == [True, wanted]
        assert {run.workflow_id: run.status for run in await engine.runs()} == {
            "r": "completed", "r.0": "completed", "given": "failed",
        }  # fmt: skip


@on_a_loop
async def test_a_run_of_the_same_id_is_taken_if_it_is_the_same(place: str | None):
    """Starting a run twice gives one run; with another input or handler it is refused, in a call as a value."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        same = await run.call(Target("shop", "double"), {"a": 1, "b": 2}, {}, run_id="one")
        return [same[0], (await run.call(Target("shop", "double"), 3, {}, run_id="one"))[1]["type"]]

    async def echo(run: Run, payload: Any) -> Any:
        return payload

    target, doubling = handlers.add(flow), handlers.add(echo, "function", "double")
    async with opened(place) as engine, serving(engine, handlers):
        assert await engine.start(doubling, {"b": 2, "a": 1}, {"a": "1"}, run_id="one") is None
        assert await engine.start(doubling, {"a": 1, "b": 2}, {"b": "2"}, run_id="one") == {"a": "1"}
        with pytest.raises(RunExistsError, match=r"'one'.*shop/double"):
            await engine.start(doubling, {"a": 1}, {}, run_id="one")
        for other in ({"a": True, "b": 2}, {"a": 1.0, "b": 2}):  # equal in Python, and not in JSON
            with pytest.raises(RunExistsError):
                await engine.start(doubling, other, {}, run_id="one")
        with pytest.raises(RunExistsError):
            await engine.start(target, {"a": 1, "b": 2}, {}, run_id="one")
        await engine.start(target, None, {}, run_id="r")
        assert await engine.result("r", 60) == [True, [True, "RunExistsError"]]
        assert handlers.lives.count("one") == 1


@on_a_loop
async def test_a_run_does_not_end_before_a_started_child_is_stored(place: str | None):
    """A child that was begun and not waited for is there when its parent has ended, and `stored` tells when."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        first = run.call(Target("shop", "double"), 1, {}, detached=True)
        first.start()
        await run.stored(first)
        assert (await engine.run(f"{run.id}.0")).parent_id == run.id
        run.call(Target("shop", "double"), 2, {}, detached=True).start()

    target = handlers.add(flow)
    handlers.add(double, "function")
    async with opened(place) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        await engine.result("r", 60)
        assert (await engine.result("r.1", 60))[1][0] == 4


@on_a_loop
async def test_a_handler_that_nobody_had_fails_after_a_grace_time(place: str | None):
    """A call of a handler that no worker has fails with what is known."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        return (await run.call(Target("shop", "triple"), 1, {}))[1]

    target = handlers.add(flow)
    handlers.add(double, "function", "away")
    async with opened(place, unknown_s=0.2) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        error = (await engine.result("r", 60))[1]
        assert error["type"] == "UnknownHandlerError"
        assert "shop/triple" in error["message"]
        assert "shop/away, shop/flow" in error["message"]


# Not on Restate: its object that starts runs lives in workers, so a start waits while all are away.
@on_a_loop
async def test_a_run_waits_for_a_worker_that_had_its_handler(path: str | None):
    """A run of a handler that a worker had once waits for it; one that nobody ever had fails."""
    handlers, others = Handlers(), Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        return None

    handlers.add(flow)
    handlers.add(double, "function", "away")
    async with opened(path, unknown_s=0.2) as engine:
        async with serving(engine, handlers):
            await until(engine.is_driving)
        others.add(flow)
        await engine.start(Target("shop", "away"), 4, {}, run_id="away")
        await engine.start(Target("shop", "nobody"), 4, {}, run_id="nobody")
        async with serving(engine, others):
            await engine.result("nobody", 60)
            info = await engine.run("away")
            assert (info.status, info.waiting_for) == ("waiting", "a worker with shop/away")
        async with serving(engine, handlers):
            assert (await engine.result("away", 60))[1][0] == 8


@on_a_loop
async def test_a_replay_waits_for_the_child_that_it_began(place: str | None):
    """A parent that begins again takes up its call, whether the child ended meanwhile or not."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        calls = [run.call(Target("shop", "wait"), n, {}) for n in range(2)]
        for call in calls:
            call.start()
            await run.stored(call)
        return [await call for call in calls]

    async def wait(run: Run, payload: Any) -> Any:
        return await run.signal("go", None)

    target = handlers.add(flow)
    handlers.add(wait, "function")
    async with opened(place) as engine:
        async with serving(engine, handlers):
            await engine.start(target, None, {}, run_id="r")
            await until(lambda: len(handlers.lives) == 3)
        async with serving(engine, handlers):
            if isinstance(engine, LocalEngine):  # Restate's server begins a body when there is something to tell it
                await until(lambda: len(handlers.lives) == 6)
            await engine.signal("r.0", "go", "a")
            await engine.result("r.0", 60)
        async with serving(engine, handlers):
            await engine.signal("r.1", "go", "b")
            assert await engine.result("r", 60) == [True, [[True, "a"], [True, "b"]]]


# On Restate nothing starts before a worker is registered: test_restate.py has the rest of it.
@on_a_loop
async def test_a_run_keeps_the_version_that_it_began_with(path: str | None):
    """New runs get the worker's version, open ones keep theirs; one started before any worker gets the first's."""
    handlers, newer = Handlers(), Handlers(version=2)

    async def flow(run: Run, payload: Any) -> Any:
        await run.signal("go", None)
        return run.version

    target = handlers.add(flow)
    newer.add(flow)
    async with opened(path) as engine:
        await engine.start(target, None, {}, run_id="before")
        async with serving(engine, handlers):
            await engine.start(target, None, {}, run_id="old")
            await waits_for(engine, "old")
            await waits_for(engine, "before")
        async with serving(engine, newer):
            await engine.start(target, None, {}, run_id="new")
            for run_id in ("before", "old", "new"):
                await engine.signal(run_id, "go", None)
            versions = {run_id: (await engine.result(run_id, 60))[1] for run_id in ("before", "old", "new")}
            assert versions == {"before": 1, "old": 1, "new": 2}


@on_a_loop
async def test_workers_in_memory_serve_their_own_services():
    """Two workers of one process share the engine in memory, and call each other's handlers."""
    shop, bank = Handlers("shop"), Handlers("bank")

    async def flow(run: Run, payload: Any) -> Any:
        return await run.call(Target("bank", "pay"), payload, {})

    async def pay(run: Run, payload: Any) -> Any:
        return await run.signal("ok", None)

    target = shop.add(flow)
    bank.add(pay, "function")
    async with opened(None, unknown_s=0.05) as engine, serving(engine, shop):
        await engine.start(target, 1, {}, run_id="early")
        assert (await engine.result("early", 60))[1][1]["type"] == "UnknownHandlerError"
        async with serving(engine, bank):
            await engine.start(target, 1, {}, run_id="r")
            await until(lambda: "r.0" in bank.lives)
            await engine.signal("r.0", "ok", "paid")
            assert await engine.result("r", 60) == [True, [True, "paid"]]
            with pytest.raises(Exception, match="shop twice in memory"):
                await engine.serve(Registry(shop.kinds), shop.invoke)
