"""Entities: state by key, one writer at a time, saved with the success of a method or never."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from otelier.errors import CodecError, WorkflowUseError
from otelier.workflows import Client, Context, entity, function, workflow
from tests.workflows.working import Lives, on_a_loop, opened, outcome, raises_sentence, run_once, worker_of

box = entity("Box")


@box.write
async def put(ctx: Context, key: str, value: Any) -> Any:
    before = await ctx.get(key, "none")
    ctx.set(key, value)
    return [before, await ctx.get(key)]


@box.write
async def drop(ctx: Context, key: str) -> Any:
    ctx.delete(key)
    ctx.delete("never there")
    return await ctx.get(key, "gone")


@box.write
async def put_and_fail(ctx: Context, key: str, value: Any) -> None:
    ctx.set(key, value)
    await ctx.step("fail", lambda: 1)
    raise ValueError("not saved")


@box.read
async def show(ctx: Context, key: str) -> Any:
    return await ctx.get(key, "none")


@box.write
async def add(ctx: Context, by: int) -> int:
    total = await ctx.get("total", 0)
    await ctx.step("look", lambda: None)
    ctx.set("total", total + by)
    return total + by


@box.write
async def lent(ctx: Context) -> Any:
    items = await ctx.get("items", [])
    items.append(1)
    first = await ctx.get("items", [])
    ctx.set("items", items)
    items.append(2)
    return [first, await ctx.get("items")]


@box.read
async def wrong_read(ctx: Context) -> list[str]:
    for call in (lambda: ctx.set("a", 1), lambda: ctx.delete("a")):
        with raises_sentence(WorkflowUseError, "stands in Box.wrong_read, which only reads", "`write`"):
            call()
    return ["refused"]


BOX = (put, drop, put_and_fail, show, add, lent, wrong_read)


@on_a_loop
async def test_state_is_got_set_and_deleted(place: str | None):
    """A value that was set is got in the same method and in later ones, `None` too; a default where there is none."""

    @workflow
    async def flow(ctx: Context, after: int) -> Any:
        one, other = ctx.entity("Box", f"one {after}"), ctx.entity("Box", f"other {after}")
        found = [await one.put("a", {"x": (1, 2)}), await one.put("a", None), await one.put("a", 3)]
        found += [await other.show("a"), await one.show("a"), await one.drop("a"), await one.show(key="a")]
        return found

    expected = [["none", {"x": [1, 2]}], [{"x": [1, 2]}, None], [None, 3], "none", 3, "gone", "none"]
    for after in (0, 3, 8):
        with Lives(after)():
            found = await run_once(place, flow, after, others=BOX)
        assert found == expected


@on_a_loop
async def test_a_value_that_was_got_is_a_copy(place: str | None):
    """Changing what was got, or what was set, changes no state."""

    @workflow
    async def flow(ctx: Context) -> Any:
        return [await ctx.entity("Box", "k").lent(), await ctx.entity("Box", "k").show("items")]

    assert await run_once(place, flow, others=BOX) == [[[], [1]], [1]]


@on_a_loop
async def test_a_method_that_raises_saves_nothing(place: str | None):
    """State and outcome are one: a failed write leaves the state as it was."""

    @workflow
    async def flow(ctx: Context) -> Any:
        one = ctx.entity("Box", "k")
        await one.put("a", 1)
        return [repr(await outcome(one.put_and_fail("a", 2))), await one.show("a"), await one.wrong_read()]

    with Lives(2)():
        assert await run_once(place, flow, others=BOX) == ["ValueError('not saved')", 1, ["refused"]]


@on_a_loop
async def test_state_outside_of_entities_is_refused(place: str | None):
    """A workflow has no state; neither has a step or a foreign task of an entity."""
    place = entity("Place")

    @place.write
    async def odd(ctx: Context) -> Any:
        def inside() -> None:
            with raises_sentence(WorkflowUseError, "ctx.set('a') stands inside a step"):
                ctx.set("a", 1)
            with raises_sentence(WorkflowUseError, "ctx.get('a') stands inside a step"):
                ctx.get("a")

        async def foreign() -> None:
            with raises_sentence(WorkflowUseError, "another task"):
                ctx.set("a", 1)

        await ctx.step("inside", inside)
        await asyncio.create_task(foreign())
        both = await asyncio.gather(ctx.get("a"), ctx.get("b", 2))
        for wrong, kind in ((1, TypeError), ("", ValueError)):
            with raises_sentence(kind, "a key of state"):
                ctx.set(wrong, 1)  # type: ignore[arg-type]
        for value, text in (
            (float("nan"), "nan"),
            ({1}, "a set"),
            ({1: 1}, "type int"),
            ("x" * 1_000_001, "1,000,003"),
        ):
            with raises_sentence(CodecError, "the state 'a'", text):
                ctx.set("a", value)
        return both

    @workflow
    async def flow(ctx: Context) -> Any:
        for what, call in (
            ("ctx.get('a')", lambda: ctx.get("a")),
            ("ctx.set('a')", lambda: ctx.set("a", 1)),
            ("ctx.delete('a')", lambda: ctx.delete("a")),
        ):
            with raises_sentence(
                WorkflowUseError, what, "the workflow flow, which has no state", "`ctx.entity(type, key)`"
            ):
                call()
        return await ctx.entity("Place", "k").odd()

    assert await run_once(place, flow, others=(odd,)) == [None, 2]


@on_a_loop
async def test_a_write_that_would_wait_for_itself_is_refused_with_the_chain(place: str | None):
    """A write that reaches its own key again, through calls, is refused; another key is another writer."""
    loop = entity("Loop")

    @loop.write
    async def enter(ctx: Context, depth: int) -> Any:
        if depth == 0:
            return await refused(ctx, 0)
        return await ctx.task("shop", "again", depth - 1)

    @loop.write
    async def direct(ctx: Context) -> Any:
        return [await refused(ctx, 0), await ctx.entity("Loop", "l").other(), await again(ctx, 0)]

    @loop.write
    async def other(ctx: Context) -> Any:
        return await refused(ctx, 0)

    @function
    async def again(ctx: Context, depth: int) -> Any:
        return await refused(ctx, depth)

    @workflow
    async def flow(ctx: Context) -> Any:
        return [await ctx.entity("Loop", "k").enter(1), await ctx.entity("Loop", "k").direct()]

    async def refused(ctx: Context, depth: int) -> str:
        with pytest.raises(WorkflowUseError) as caught:
            ctx.entity("Loop", "k").enter(depth)
        return str(caught.value)

    found = await run_once(place, flow, others=(enter, direct, other, again))
    assert "Loop.enter of 'k' would wait for itself: Loop('k') -> Loop('k')." in found[0]
    assert "Loop('k') -> Loop('k')" in found[1][0]
    assert "Loop('k') -> Loop('l') -> Loop('k')" in found[1][1]
    assert "Loop('k') -> Loop('k')" in found[1][2]


@on_a_loop
async def test_a_hundred_concurrent_adds_are_exact(place: str | None):
    """One writer at a time for each key: no add is lost, and each sees the one before it."""

    @workflow
    async def flow(ctx: Context, number: int) -> list[int]:
        one = ctx.entity("Box", "k")
        return await ctx.parallel(*(one.add(1) for _ in range(10)))

    async with opened(place) as engine, worker_of(engine, flow, *BOX) as worker:
        handles = [await worker.start(flow, number) for number in range(10)]
        seen = [total for handle in handles for total in await handle.result()]
        assert sorted(seen) == list(range(1, 101))
        assert await engine.states("shop") == [("k", {"total": [100]})]


@on_a_loop
async def test_reads_queue_behind_nothing(place: str | None):
    """A read sees the state last saved, also while a write goes on."""
    slow = entity("Slow")

    @slow.write
    async def write(ctx: Context) -> int:
        ctx.set("a", 1)
        await ctx.signal("on")
        return 1

    @slow.read
    async def look(ctx: Context) -> Any:
        return await ctx.get("a", 0)

    @workflow
    async def flow(ctx: Context) -> Any:
        one = ctx.entity("Slow", "k")

        async def on(run_id: str) -> None:
            await ctx.signal.emit("on", target_workflow_id=run_id)

        found: Any = await ctx.parallel(one.look(), one.look())
        late = await outcome(ctx.parallel(one.write(), timeout_s=0.05))
        return [found, type(late).__name__, await one.look()]

    assert await run_once(place, flow, others=(write, look)) == [[0, 0], "TimeoutError", 0]


@on_a_loop
async def test_a_method_called_as_a_function_is_refused(place: str | None):
    """A method has a key: it is called by `ctx.entity`, in a run and outside of one."""

    @workflow
    async def flow(ctx: Context) -> None:
        for call in (lambda: add(1), lambda: add(ctx, 1)):
            with raises_sentence(
                WorkflowUseError, "Box.add was called in the body of flow", "ctx.entity('Box', key).add"
            ):
                call()

    await run_once(place, flow, others=BOX)
    with pytest.raises(WorkflowUseError, match="has a key, and was called outside of a run"):
        await add(1)


@on_a_loop
async def test_wrong_types_keys_and_arguments_are_refused(place: str | None):
    """A type and a key are text; arguments fit the method where it is known."""

    @workflow
    async def flow(ctx: Context) -> Any:
        with raises_sentence(ValueError, "an entity's type"):
            ctx.entity("", "k")
        with raises_sentence(ValueError, "an entity's key"):
            ctx.entity("Box", "")
        with raises_sentence(TypeError, "Cannot call write Box.add"):
            ctx.entity("Box", "k").add()
        with raises_sentence(CodecError, "the input of Box.put"):
            ctx.entity("Box", "k").put("a", {1, 2})
        return await ctx.entity("Box", 7).add(1)  # type: ignore[arg-type]

    assert await run_once(place, flow, others=BOX) == 1


@on_a_loop
async def test_a_method_started_by_its_name_is_refused(place: str | None):
    """Without a key there is no state: the run fails or is not begun, whoever started it, and all others go on."""

    @workflow
    async def flow(ctx: Context) -> str:
        with raises_sentence(WorkflowUseError, "Box.put was started without a key", "ctx.entity('Box', key).put"):
            await ctx.task("shop", "Box.put", {"key": "a", "value": 1})
        with raises_sentence(ValueError, "'otelier.approvals'"):
            await ctx.task("otelier.approvals", "Approvals.ask", {})
        return "went on"

    async with opened(place) as engine, worker_of(engine, put, show, flow) as worker:
        for name, given in (("Box.put", {"key": "a", "value": 1}), ("Box.show", "a")):
            with raises_sentence(WorkflowUseError, f"{name} was started without a key"):
                await (await Client(engine).start("shop", name, given)).result(60)
        assert await (await worker.start(flow)).result(60) == "went on"
