"""Entities: one writer per key, reads beside it, state saved with the outcome."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from otelier.errors import WorkflowUseError
from otelier.workflows.engines.local import LocalEngine
from otelier.workflows.engines.protocol import Run, Target
from tests.workflows.engines.serving import Handlers, on_a_loop, opened, serving, status_is, step, waits_for


def counter(handlers: Handlers) -> tuple[Target, Target]:
    """Add an entity that counts, slowly, and can be read."""

    async def add(run: Run, payload: Any) -> Any:
        before = await run.get("n") or 0
        await step(run, "between")
        run.put({"n": before + payload})
        assert await run.get("n") == before + payload
        return before + payload

    async def get(run: Run, payload: Any) -> Any:
        return await run.get("n")

    return handlers.add(add, "write", "Counter.add"), handlers.add(get, "read", "Counter.get")


@on_a_loop
async def test_writes_of_one_key_run_one_after_the_other(place: str | None):
    """Writes see what the ones before them saved, in the order in which they were started; other keys run beside."""
    handlers = Handlers()
    add, get = counter(handlers)
    async with opened(place) as engine, serving(engine, handlers):
        for n in range(30):
            target = Target("shop", "Counter.add", f"k{n % 2}")
            await engine.start(target, 1, {}, run_id=f"add-{n}")
        outcomes = await asyncio.gather(*(engine.result(f"add-{n}", 60) for n in range(30)))
        assert outcomes == [[True, n // 2 + 1] for n in range(30)]
        await engine.start(Target("shop", get.handler, "k1"), None, {}, run_id="get")
        assert await engine.result("get", 60) == [True, 15]
        assert await engine.states("shop") == [("k0", {"n": 15}), ("k1", {"n": 15})]
        assert add.key == "k"


@on_a_loop
async def test_a_read_waits_for_nobody_and_sees_what_was_saved(place: str | None):
    """A read beside a write that goes on sees the state before it, again in its replay, and changes nothing."""
    handlers, seen = Handlers(), list[Any]()
    add, get = counter(handlers)

    async def slow(run: Run, payload: Any) -> Any:
        run.put({"n": 100})
        await run.signal("go", None)

    async def watch(run: Run, payload: Any) -> Any:
        seen.append(await run.get("n"))
        with pytest.raises(WorkflowUseError, match=r"Counter\.watch"):
            run.put({"n": 0})
        await run.signal("go", None)
        return await run.get("n")

    slowly, watching = handlers.add(slow, "write", "Counter.slow"), handlers.add(watch, "read", "Counter.watch")
    async with opened(place) as engine:
        async with serving(engine, handlers):
            await engine.start(add, 1, {}, run_id="add")
            await engine.result("add", 60)
            await engine.start(slowly, None, {}, run_id="slow")
            await engine.start(add, 1, {}, run_id="queued")
            await engine.start(watching, None, {}, run_id="watch")
            await engine.start(get, None, {}, run_id="get")
            assert await engine.result("get", 60) == [True, 1]
            await waits_for(engine, "watch")
            info = await engine.run("queued")
            assert (info.status, info.waiting_for) == ("waiting", "its turn")
        async with serving(engine, handlers):
            await engine.signal("slow", "go", None)
            assert await engine.result("queued", 60) == [True, 101]
        async with serving(engine, handlers):
            await engine.signal("watch", "go", None)
            assert await engine.result("watch", 60) == [True, 1]
    # A Restate server lets a read sleep until something comes for it.
    assert seen == ([1, 1, 1] if isinstance(engine, LocalEngine) else [1, 1])


@on_a_loop
async def test_a_write_that_raises_saves_nothing(place: str | None):
    """State is saved with a success or never; `None` removes a value."""
    handlers = Handlers()
    add, _ = counter(handlers)

    async def fail(run: Run, payload: Any) -> Any:
        run.put({"n": 100})
        raise ValueError("no")

    async def clear(run: Run, payload: Any) -> Any:
        run.put({"n": None, "m": 2})

    failing, clearing = handlers.add(fail, "write", "Counter.fail"), handlers.add(clear, "write", "Counter.clear")
    async with opened(place) as engine, serving(engine, handlers):
        for run_id, target in (("a", add), ("b", failing), ("c", add)):
            await engine.start(target, 1, {}, run_id=run_id)
        assert await engine.result("c", 60) == [True, 2]
        assert (await engine.result("b", 60))[1]["type"] == "ValueError"
        await engine.start(clearing, None, {}, run_id="d")
        await engine.result("d", 60)
        assert await engine.states("shop") == [("k", {"m": 2})]


@on_a_loop
async def test_a_queued_write_can_be_cancelled(place: str | None):
    """A write that waits for its turn ends when it is cancelled, and those after it move up."""
    handlers = Handlers()
    add, _ = counter(handlers)

    async def slow(run: Run, payload: Any) -> Any:
        await run.signal("go", None)

    slowly = handlers.add(slow, "write", "Counter.slow")
    async with opened(place) as engine, serving(engine, handlers):
        for run_id, target in (("a", slowly), ("b", add), ("c", add)):
            await engine.start(target, 1, {}, run_id=run_id)
        await engine.cancel("b")
        assert (await engine.result("b", 60))[0] is False
        await engine.cancel("a")
        assert await engine.result("c", 60) == [True, 1]


@on_a_loop
async def test_a_blocked_write_keeps_its_turn(place: str | None):
    """Writes wait behind a blocked one, whose reads still hold, until it is resumed."""
    handlers, names = Handlers(), ["old"]
    add, _ = counter(handlers)

    async def change(run: Run, payload: Any) -> Any:
        before = await run.get("n")
        await step(run, names[0])
        await run.signal("go", None)
        run.put({"n": 10})
        return before

    changing = handlers.add(change, "write", "Counter.change")
    async with opened(place) as engine:
        async with serving(engine, handlers):
            await engine.start(changing, None, {}, run_id="a")
            await engine.start(add, 1, {}, run_id="b")
            await waits_for(engine, "a")
        names[0] = "new"
        async with serving(engine, handlers):
            await engine.resume("a")  # a Restate server lets it sleep until there is something to tell it
            await status_is(engine, "a", "blocked")
            assert (await engine.run("b")).status == "waiting"
        names[0] = "old"
        async with serving(engine, handlers):
            await engine.resume("a")
            await engine.signal("a", "go", None)
            assert await engine.result("a", 60) == [True, None]
            assert await engine.result("b", 60) == [True, 11]


@on_a_loop
async def test_state_belongs_to_entities(place: str | None):
    """A workflow has no state of a key."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        with pytest.raises(WorkflowUseError, match="shop/flow"):
            await run.get("n")
        with pytest.raises(WorkflowUseError, match="shop/flow"):
            run.put({})

    target = handlers.add(flow)
    async with opened(place) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        assert await engine.result("r", 60) == [True, None]
