"""What JSON cannot hold, and what is too large: refused where it is given, with the step or the payload by its name."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from otelier.errors import CodecError
from otelier.workflows import Client, Context, workflow
from tests.workflows.working import Lives, deadline, on_a_loop, opened, outcome, raises_sentence, run_once, worker_of

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
async def test_what_is_small_enough_is_stored(path: str | None, monkeypatch: pytest.MonkeyPatch):
    """A payload of almost 1 MB passes; the limit is a setting."""
    monkeypatch.setenv("OTELIER_PAYLOAD_MAX_BYTES", "2000000")

    @workflow
    async def flow(ctx: Context, text: str) -> int:
        return len(await ctx.step("big", lambda: text))

    assert await run_once(path, flow, "x" * 1_500_000) == 1_500_000
    with raises_sentence(CodecError, "2,000,000 are the limit"):
        await run_once(path, flow, "x" * 2_000_000)


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
async def test_the_first_run_sees_what_a_replay_sees(path: str | None):
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
        await run_once(path, flow, others=(takes,))
    assert lives.cut
    assert seen[0] == seen[1] == ["[1, [2]]", "{'x': 1, 'tags': ['a']}", "Point(x=1, tags=('a',))", "[1, 2]", "[3]"]


@on_a_loop
async def test_a_result_that_does_not_fit_its_annotation_fails(path: str | None):
    """What a step is annotated to return is held to: else a replay would see another value."""

    def wrong() -> int:
        return "text"  # type: ignore[return-value]

    @workflow
    async def flow(ctx: Context) -> Any:
        return str(await outcome(ctx.step("wrong", wrong)))

    assert "the result of step 'wrong'" in await run_once(path, flow)


@on_a_loop
async def test_what_is_yielded_is_held_to_the_same(path: str | None):
    """A piece that cannot be stored ends the run with its error."""

    @workflow
    async def flow(ctx: Context) -> Any:
        yield 1
        yield {1, 2}

    with raises_sentence(CodecError, "what flow yields", "a set has no form"):
        await run_once(path, flow)
