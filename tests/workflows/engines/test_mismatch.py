"""Code that changed under an open run: the run is blocked, and never ends by it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from otelier.errors import EngineError, RunEndedError, RunParked
from otelier.workflows.engines.local import LocalEngine, _driver
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

BEFORE = ["load", "charge", "ship"]


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (["load", "pay", "ship"], ("'r'", "op 1", "step 'charge'", "step 'pay'", "ctx.version", "otelier resume")),
        (["load", "check", "charge", "ship"], ("op 1", "step 'charge'", "step 'check'")),
        (["charge", "ship"], ("op 0", "step 'load'", "step 'charge'")),
        (["load"], ("step 'charge' at op 1", "its code ended")),
        ([], ("step 'load' at op 0",)),
    ],
)
@on_a_loop
async def test_a_changed_body_blocks_its_run(place: str | None, names: list[str], parts: tuple[str, ...]):
    """A step renamed, inserted, removed or left out blocks the run, though its body catches all; mended, it goes on."""
    handlers, current, waits = Handlers(), list(BEFORE), [True]

    async def flow(run: Run, payload: Any) -> Any:
        found: list[Any] = []
        for name in current:
            try:
                found.append(await step(run, name, name))
            except BaseException:
                found.append("swallowed")
        if waits:
            await run.signal("go", None)
        return found

    target = handlers.add(flow)
    async with opened(place) as engine:
        async with serving(engine, handlers):
            await engine.start(target, None, {}, run_id="r")
            await waits_for(engine, "r")
        current[:], waits[:] = names, []
        async with serving(engine, handlers):
            await engine.resume("r")  # a Restate server lets it sleep until there is something to tell it
            await status_is(engine, "r", "blocked")
            await settle()
            info = await engine.run("r")
            assert (info.status, info.health, info.result) == ("blocked", "blocked", None)
            assert info.error is not None
            assert info.error["type"] == "ReplayError"
            assert [part for part in parts if part not in info.error["message"]] == []
            with raises_sentence(TimeoutError, "'r'"):
                await engine.result("r", 0.01)
        current[:], waits[:] = BEFORE, [True]
        async with serving(engine, handlers):
            await engine.signal("r", "go", None)
            await settle()
            if isinstance(engine, LocalEngine):
                assert (await engine.run("r")).status == "blocked"
                await engine.resume("r")
            else:
                with suppress(RunEndedError):  # the server tries again by itself, now and then
                    await engine.resume("r")
            assert await engine.result("r", 60) == [True, BEFORE]


@on_a_loop
async def test_another_kind_at_the_same_number_is_a_mismatch(place: str | None):
    """A signal in place of a sleep of the same name does not take what the sleep left."""
    handlers, kinds = Handlers(), ["sleep"]

    async def flow(run: Run, payload: Any) -> Any:
        await (run.sleep(0) if kinds else run.signal("sleep", None))
        await run.signal("go", None)

    target = handlers.add(flow)
    async with opened(place) as engine:
        async with serving(engine, handlers):
            await engine.start(target, None, {}, run_id="r")
            await waits_for(engine, "r")
        kinds.clear()
        async with serving(engine, handlers):
            await engine.resume("r")  # a Restate server lets it sleep until there is something to tell it
            await status_is(engine, "r", "blocked")


@on_a_loop
async def test_a_blocked_run_can_be_cancelled(place: str | None):
    """A blocked run ends when it is cancelled, without a body."""
    handlers, names = Handlers(), ["a"]

    async def flow(run: Run, payload: Any) -> Any:
        await step(run, names[0])
        await run.signal("go", None)

    target = handlers.add(flow)
    async with opened(place) as engine:
        async with serving(engine, handlers):
            await engine.start(target, None, {}, run_id="r")
            await waits_for(engine, "r")
        names[0] = "b"
        async with serving(engine, handlers):
            await engine.resume("r")  # a Restate server lets it sleep until there is something to tell it
            await status_is(engine, "r", "blocked")
            await engine.cancel("r")
            outcome = await engine.result("r", 60)
            assert (outcome[0], outcome[1]["type"]) == (False, "RunCancelled")
            assert (await engine.run("r")).status == "cancelled"


@on_a_loop
async def test_a_run_that_is_resumed_while_its_body_is_left_has_one_life(
    path: str | None, monkeypatch: pytest.MonkeyPatch
):
    """Resumed before the body that was blocked has ended its step, and while others replay: it is begun once."""
    monkeypatch.setattr(_driver, "_LEAVE_S", 0.01)
    handlers, begun, gate, hog = Handlers(), asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def occupies(run: Run, payload: Any) -> Any:
        await hog.wait()

    async def flow(run: Run, payload: Any) -> Any:
        async def slow() -> Any:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                await gate.wait()

        if handlers.lives.count("r") == 1:
            await run.step("slow", slow)
        await run.step("slow", _done)
        return handlers.lives.count("r")

    other, target = handlers.add(occupies), handlers.add(flow)
    async with opened(path, max_replaying=1) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        await begun.wait()
        await engine.start(other, None, {}, run_id="hog")
        await until(lambda: handlers.lives.count("hog") == 1)
        lives = engine._drivers[0].lives
        lives["hog"].stop(RunParked("The test leaves it here."))
        await until(lambda: handlers.lives.count("hog") == 2)
        first = lives["r"]
        first.block(EngineError("The test blocks it."))
        await status_is(engine, "r", "blocked")
        await engine.resume("r")
        await until(lambda: engine._drivers[0]._beginnings._queue)
        gate.set()
        await until(lambda: lives.get("r") is not first)
        await asyncio.sleep(0.05)  # as long as a life that was left waits for its next
        assert len(engine._drivers[0]._beginnings._queue) == 1
        hog.set()
        assert await engine.result("r", 60) == [True, 2]
    assert handlers.lives.count("r") == 2


async def _done() -> Any:
    return "done"
