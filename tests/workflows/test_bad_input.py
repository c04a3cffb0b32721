"""What JSON cannot hold, and what is too large: refused where it is given, with the step or the payload by its name."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from datetime import timedelta
from typing import Any

import pytest

from otelier.errors import CodecError, EngineError, RunParked, StepError, WorkflowUseError
from otelier.workflows import Client, Context, Worker, workflow
from tests.workflows.working import (
    Lives,
    deadline,
    on_a_loop,
    opened,
    outcome,
    raises_sentence,
    run_once,
    waiting_for,
    worker_of,
)

BAD: list[tuple[str, Any, str]] = [
    ("nan", float("nan"), "nan"),
    ("infinity", [1, float("inf")], "inf"),
    ("key", {"a": {1: 2}}, "key of type int"),
    ("set", {"a": {1}}, "a set has no form"),
    ("bytes", b"x", "a bytes has no form"),
    ("object", object(), "a object has no form"),
    ("half", "\ud800", "half of a UTF-16 pair"),
    ("large", "x" * 1_000_001, "1,000,003 bytes, and 1,000,000 are the limit"),
    ("large in a place", {"small": 1, "big": ["y" * 1_200_000]}, "Most of them are at big[0]"),
]
each_bad = pytest.mark.parametrize(("value", "text"), [one[1:] for one in BAD], ids=[one[0] for one in BAD])


@workflow
async def takes(ctx: Context, value: Any) -> Any:
    return value


@each_bad
@on_a_loop
async def test_values_that_cannot_be_stored_are_refused_by_name(value: Any, text: str):
    """As input, result of a step or a run, payload, default, or input of a task: `CodecError` names it and the cause,
    and the run goes on where it can."""

    @workflow
    async def flow(ctx: Context) -> Any:
        with raises_sentence(CodecError, "the input of takes", text):
            ctx.task("shop", "takes", value)
        with raises_sentence(CodecError, "the input of takes", text):
            ctx.spawn(takes, value)
        with raises_sentence(CodecError, "the payload of signal 's'", text):
            ctx.signal.emit("s", value)
        with raises_sentence(CodecError, "the default of signal 's'", text):
            ctx.signal("s", timeout_ms=1, default=value)
        with raises_sentence(CodecError, "the result of step 'bad#2'", text):
            await ctx.step("bad", lambda: 1)
            await ctx.step("bad", lambda: value)
        return "went on"

    @workflow
    async def gives(ctx: Context) -> Any:
        return value

    async with opened(None) as engine, worker_of(engine, flow, takes, gives) as worker:
        assert await (await worker.start(flow)).result() == "went on"
        with raises_sentence(CodecError, "the input of takes", text):
            await worker.start(takes, value)
        with raises_sentence(CodecError, "the result of gives", text):
            await (await worker.start(gives)).result()


@on_a_loop
async def test_what_is_small_enough_is_stored(place: str | None, monkeypatch: pytest.MonkeyPatch):
    """A payload of almost 1 MB passes; the limit is a setting."""
    monkeypatch.setenv("OTELIER_PAYLOAD_MAX_BYTES", "2000000")

    @workflow
    async def flow(ctx: Context, text: str) -> int:
        return len(await ctx.step("big", lambda: text))

    assert await run_once(place, flow, "x" * 1_500_000) == 1_500_000
    with raises_sentence(CodecError, "2,000,000 are the limit"):
        await run_once(place, flow, "x" * 2_000_000)


LARGE = "x" * 1_500_000


@pytest.mark.parametrize("limit", [1_000, 10_000_000])
@on_a_loop
async def test_every_payload_has_the_limit_of_the_setting(limit: int, monkeypatch: pytest.MonkeyPatch):
    """Also what a client sends, what a person decides on and what a tool gives, and from the next worker on."""

    def tool() -> str:
        return "x" * 1_000 if limit == 1_000 else LARGE

    @workflow
    async def flow(ctx: Context, payload: str) -> list[Any]:
        handler = ctx.tools.register("tool", handler=tool).name
        asked = ctx.human.approval("asked", payload=payload, timeout=timedelta(0))
        return [
            (await asked).decision,
            len(await ctx.tools.handler(handler)()),
            len(await ctx.signal("sent")),
        ]

    await run_once(None, takes, "x" * 2_000)  # which reads the setting
    monkeypatch.setenv("OTELIER_PAYLOAD_MAX_BYTES", str(limit))
    given = tool()
    async with opened(None) as engine, worker_of(engine, flow, takes) as worker, deadline():
        client = Client(engine)
        if limit == 1_000:
            with raises_sentence(CodecError, "the input of takes", "1,000 are the limit"):
                await client.start("shop", "takes", given)
            handle = await worker.start(flow, "small")
            with raises_sentence(CodecError, "the payload of signal 'sent'", "1,000 are the limit"):
                await client.signal(handle.workflow_id, "sent", given)
            with raises_sentence(CodecError, "step 'tool'", "1,000 are the limit"):
                await handle.result()
        else:
            assert await (await client.start("shop", "takes", given)).result() == given
            handle = await worker.start(flow, given)
            await client.signal(handle.workflow_id, "sent", given)
            assert await handle.result() == ["expired", len(given), len(given)]


@dataclasses.dataclass
class Point:
    x: int
    tags: tuple[str, ...] = ()


@on_a_loop
async def test_the_first_run_sees_what_a_replay_sees(place: str | None):
    """Tuples become lists and a dataclass a dict where nothing is annotated, in the first run too."""
    seen: list[Any] = []

    def point() -> Point:
        return Point(1, ("a",))

    @workflow
    async def flow(ctx: Context) -> Any:
        found = [
            await ctx.step("tuple", lambda: (1, (2,))),
            await ctx.step("point", lambda: Point(1, ("a",))),
            await ctx.step("annotated", point),
            await ctx.task("shop", "takes", {"value": (1, 2)}),
            await ctx.signal("none", timeout_ms=0, default=(3,)),
        ]
        seen.append([repr(one) for one in found])
        await ctx.sleep(0)

    with Lives(5)() as lives:
        await run_once(place, flow, others=(takes,))
    assert lives.cut
    assert seen[0] == seen[1] == ["[1, [2]]", "{'x': 1, 'tags': ['a']}", "Point(x=1, tags=('a',))", "[1, 2]", "[3]"]


@on_a_loop
async def test_a_result_that_does_not_fit_its_annotation_fails(place: str | None):
    """What a step is annotated to return is held to: else a replay would see another value."""

    def wrong() -> int:
        return "text"  # type: ignore[return-value]

    @workflow
    async def flow(ctx: Context) -> Any:
        return str(await outcome(ctx.step("wrong", wrong)))

    assert "the result of step 'wrong'" in await run_once(place, flow)


@on_a_loop
async def test_what_is_yielded_is_held_to_the_same(place: str | None):
    """A piece that cannot be stored ends the run with its error."""

    @workflow
    async def flow(ctx: Context) -> Any:
        yield 1
        yield {1, 2}

    with raises_sentence(CodecError, "what flow yields", "a set has no form"):
        await run_once(place, flow)


@on_a_loop
async def test_half_of_a_pair_stops_no_other_run(place: str | None):
    """Half of a UTF-16 pair as an id, a method, a header, a comment or in an error's text: that call fails, or keeps
    it, and the engine goes on writing for all."""

    @workflow
    async def flow(ctx: Context) -> Any:
        with raises_sentence(ValueError, "as a workflow id"):
            ctx.signal.emit("s", target_workflow_id="\ud800")
        with raises_sentence(ValueError, "as a method's name"):
            getattr(ctx.entity("Cell", "k"), "\ud800")()
        with ctx.trace_span().start("\ud800"):
            pass
        return "went on"

    @workflow
    async def asks(ctx: Context) -> Any:
        return len((await ctx.human.approval("a")).comment or "")

    @workflow
    async def fails(ctx: Context) -> Any:
        raise ValueError("\ud800")

    async with opened(place) as engine, worker_of(engine, flow, asks, fails) as worker, deadline():
        assert await (await worker.start(flow, headers={"x": "\ud800", "\ud800": "x"})).result() == "went on"
        assert isinstance(await outcome((await worker.start(fails)).result()), StepError)
        asked = await worker.start(asks)
        await waiting_for(engine, asked.workflow_id, "approval a")
        await Client(engine).approve(asked.workflow_id, "a", approver="b", comment="\ud800")
        assert await asked.result() == 1


class Interruption(BaseException):
    """One of a user's own, such as that of a library for tests or for cancelling."""


@pytest.mark.parametrize("kind", [Interruption, asyncio.CancelledError, GeneratorExit, RunParked])
@on_a_loop
async def test_what_is_no_exception_fails_what_raises_it(place: str | None, kind: type[BaseException]):
    """A `BaseException` that nobody else than the code raised is an outcome as any: no step hangs, no body begins
    again and again."""

    def blocks() -> None:
        raise kind("stop")

    async def waits() -> None:
        raise kind("stop")

    @workflow
    async def steps(ctx: Context) -> Any:
        return [str(await outcome(ctx.step("bad", one))) for one in (blocks, waits)]

    @workflow
    async def body(ctx: Context) -> None:
        await ctx.step("before", lambda: 1)
        raise kind("stop")

    if kind is asyncio.CancelledError and sys.version_info < (3, 11):
        pytest.skip("a task does not tell who was cancelled, so the body begins again until it is blocked")
    async with opened(place) as engine, worker_of(engine, steps, body) as worker, deadline():
        in_thread, on_loop = await (await worker.start(steps)).result()
        assert kind.__name__ in in_thread
        assert on_loop == f"{kind.__name__}: stop"
        with raises_sentence(StepError, f"{kind.__name__}: stop"):
            await (await worker.start(body)).result()


class Unspeakable(Exception):
    """One whose text cannot be made."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@on_a_loop
async def test_a_failure_without_a_text_is_shown_beside_others():
    """Where the text of one of several failures cannot be made, the group says what it can."""

    def fails() -> None:
        raise Unspeakable

    @workflow
    async def flow(ctx: Context) -> Any:
        return str(await outcome(ctx.parallel(ctx.step("a", fails), ctx.step("b", fails))))

    assert "Unspeakable: ; Unspeakable: " in await run_once(None, flow)


@on_a_loop
async def test_numbers_that_no_float_holds_are_refused():
    """As a time a `ValueError`, as a metric a warning: never an `OverflowError`."""

    @workflow
    async def flow(ctx: Context) -> Any:
        with raises_sentence(ValueError, "so large a number as `seconds`"):
            ctx.sleep(10**400)
        ctx.metrics().increment("orders", 10**400)
        with raises_sentence(TypeError, "Cannot use a int as `tz`"):
            ctx.timer(cron="0 0 * * *", tz=5)  # type: ignore[arg-type]
        return "went on"

    async with opened(None) as engine, worker_of(engine, flow) as worker:
        assert await (await worker.start(flow)).result() == "went on"
        with raises_sentence(TypeError, "a str as `headers`"):
            await worker.start(flow, headers="x: y")  # type: ignore[arg-type]


@on_a_loop
async def test_a_run_with_a_long_id_is_reached():
    """The id of a child begins with its parent's, so it may be longer than a name: clients take it."""

    @workflow
    async def child(ctx: Context) -> Any:
        return await ctx.signal("go")

    @workflow
    async def parent(ctx: Context) -> Any:
        return await ctx.spawn(child, key="k" * 200).result()

    async with opened(None) as engine, worker_of(engine, parent, child) as worker, deadline():
        started, client = await worker.start(parent, workflow_id="p" * 200), Client(engine)
        below = f"{started.workflow_id}.{'k' * 200}"
        await waiting_for(engine, started.workflow_id, "call shop/child")
        assert (await client.run(below)).workflow_id == below
        await client.signal(below, "go", 1)
        assert await started.result() == 1


@on_a_loop
async def test_what_a_worker_and_a_client_are_made_of_is_checked():
    """A text instead of a list of modules, an engine that is none, a file whose name cannot be one: told at once."""
    with raises_sentence(WorkflowUseError, "'json' as `modules`"):
        async with Worker("shop", modules="json", engine="memory:"):
            pass
    for make in (Client, lambda engine: Worker("shop", engine=engine)):
        with raises_sentence(TypeError, "a int as `engine`"):
            make(5)
    for name in ("file:\ud800", "file:a\0b", "file:~nobody-of-that-name/runs.db"):
        with raises_sentence(EngineError, "Cannot keep runs in"):
            Client(name)


@on_a_loop
async def test_a_handler_is_no_name_of_a_service():
    """`ctx.task(handler)` is refused with both ways to call it."""

    @workflow
    async def flow(ctx: Context) -> None:
        ctx.task(takes, 1)  # type: ignore[arg-type, call-arg]

    with raises_sentence(TypeError, "ctx.task was given the handler 'takes'", "`ctx.task('SERVICE', 'takes', input)`"):
        await flow()
