"""Models and tools of a body: `ctx.llm.generate`, `ctx.tools`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from otelier import llm
from otelier.errors import RefusalError, StepError
from otelier.workflows import function, workflow
from tests.workflows.asking import address, in_two_lives, run, server

__all__ = ["address", "server"]


class Person(BaseModel):
    name: str
    age: int


def test_a_resumed_run_pays_once(server, address, otelier_spans):
    """A second life gets the stored answer, with text, tool calls, usage and object, and the model is asked once."""
    seen: list[Any] = []

    @workflow
    async def body(ctx):
        answer = await ctx.llm.generate("Who?", model="gpt-4o", schema=Person)
        seen.append(answer)
        await ctx.signal("go")
        return answer.object

    server.reply('{"name": "Ada", "age": 36}')
    assert in_two_lives(body, address=address) == {"name": "Ada", "age": 36}
    first, second = seen
    assert first == second
    assert type(second.object) is Person
    assert second.usage.output_tokens > 0
    assert len(server.requests) == 1
    names = [span.name for span in otelier_spans.records]
    assert (names.count("chat gpt-4o"), names.count("run_step llm.generate")) == (1, 1)


def test_answers_are_numbered_where_they_are_asked_for(server, address):
    """Several are asked side by side, and each gets its own."""

    @workflow
    async def body(ctx):
        messages = [{"role": "user", "content": "one"}]
        first = ctx.llm.generate(messages, model="gpt-4o")
        messages.append({"role": "user", "content": "two"})  # of no matter to what was asked before
        second = ctx.llm.generate(messages=messages, model="gpt-4o", temperature=0)
        found = await ctx.parallel(first, second)
        return [answer.text for answer in found]

    server.reply("1", when=lambda request: request.prompt == "one")
    server.reply("2", when=lambda request: request.prompt == "two")
    assert run(body, address=address) == ["1", "2"]
    assert [len(request.messages) for request in server.requests] in ([1, 2], [2, 1])


def test_errors_come_back_as_what_can_be_caught(server, address):
    """An error whose class the handler's module knows is that class in each life; another is a `StepError`."""
    seen: list[Any] = []

    @workflow
    async def body(ctx):
        for schema in (Person, None):
            try:
                await ctx.llm.generate("Who?", model="gpt-4o", schema=schema)
            except (RefusalError, StepError) as exc:
                seen.append((type(exc).__name__, getattr(exc, "type", None)))
        await ctx.signal("go")

    server.reply(body={"choices": [{"message": {"role": "assistant", "refusal": "No."}, "finish_reason": "stop"}]})
    server.fail(401)
    in_two_lives(body, address=address)
    assert seen == [("RefusalError", None), ("StepError", "AuthenticationError")] * 2


def test_inside_a_step_it_is_a_plain_call(server, address, otelier_spans):
    """A step may ask models and call tools: it is one step, and all of it is done again if it was cut."""

    @function
    async def body(ctx):
        tools = ctx.tools
        tools.register("add", lambda a, b: a + b, "Add.", {"type": "object"})

        async def work() -> list[Any]:
            answer = await ctx.llm.generate("Say it", model="gpt-4o")
            chunks = [chunk.text async for chunk in await ctx.llm.stream("Say it", model="gpt-4o")]
            return [answer.text, "".join(chunks), await ctx.tools.handler("add")(a=1, b=2)]

        return await ctx.step("work", work)

    server.reply("Said.", times=2)
    assert run(body, address=address) == ["Said.", "Said.", 3]
    assert otelier_spans.tree() == (
        "run_function body INTERNAL\n  run_step work INTERNAL\n    chat gpt-4o CLIENT\n    chat gpt-4o CLIENT"
    )


def test_a_tool_is_called_once(server, address, otelier_spans):
    """A call of a tool is one step of its name, with its result typed as annotated; a second life calls none."""
    called: list[str] = []

    @workflow
    async def body(ctx):
        async def search(query: str) -> tuple[str, int]:
            called.append(query)
            return query, len(query)

        def shout(text: str) -> str:
            called.append(text)
            return text.upper()

        ctx.tools.register("search", search)
        ctx.tools.register("shout", handler=shout)
        search_by, shout_by = ctx.tools.handler("search"), ctx.tools.handler("shout")
        found = [await search_by(query="owls"), *await ctx.parallel(shout_by(text="a"), search_by("b"))]
        await ctx.signal("go")
        return [type(one).__name__ for one in found], found

    kinds, found = in_two_lives(body, address=address)
    assert kinds == ["tuple", "str", "tuple"]
    assert found == [["owls", 4], "A", ["b", 1]]
    assert sorted(called) == ["a", "b", "owls"]
    steps = [span for span in otelier_spans.records if span.name.startswith("run_step ")]
    assert {span.name for span in steps} == {"run_step search", "run_step shout", "run_step search#2"}
    assert {span.attributes["gen_ai.tool.name"] for span in steps} == {"search", "shout"}


def test_tools_belong_to_their_run():
    """What one run registers no other run finds, and an unknown name lists those that are there."""

    @function
    async def body(ctx, register: bool):
        if register:
            ctx.tools.register("search", handler=lambda query: query, schema={"type": "object"})
        return len(ctx.tools), ctx.tools.handler("search") is not None

    assert run(body, True) == [1, True]
    with pytest.raises(StepError, match=r"UnknownToolError: .*only none"):
        run(body, False)
    assert "search" not in llm.tools


def test_another_task_asks_nothing(server):
    """A question of another task than the body's has no place in a replay, and is refused."""

    @function
    async def body(ctx):
        async def ask() -> Any:
            return await ctx.llm.generate("Who?", model="gpt-4o")

        return await asyncio.create_task(ask())

    with pytest.raises(StepError, match="in another task"):
        run(body)
    assert server.requests == ()
