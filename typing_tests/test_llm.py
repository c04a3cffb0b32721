"""What a type checker makes of `otelier.llm`; read by mypy, never run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openai import AsyncAzureOpenAI, OpenAI
from pydantic import BaseModel
from typing_extensions import assert_type

import otelier
from otelier import llm


class Contact(BaseModel):
    name: str


async def search(query: str) -> str:
    return query


tools = llm.Tools()
tool = tools.register("search", search, "Search the web", {"type": "object"})
assert_type(tool, llm.RegisteredTool)
assert_type(tools.register("search", handler=search, schema=Contact), llm.RegisteredTool)
assert_type(tools.handler("search"), Callable[..., Any])
tools.register("search", "search")  # type: ignore[arg-type]
assert_type(tools.arguments(llm.ToolCall(id="", name="search", arguments_json="{}")), dict[str, Any])


@otelier.tool
def find(query: str) -> str:
    return query


async def whole() -> None:
    # --- without a schema, with one, and with tools that may come before the object ---
    assert_type(await llm.generate("Hello", "gpt-4o"), llm.Answer[Any])
    assert_type(await llm.generate(prompt="Hello", model="gpt-4o", schema=Contact), llm.Answer[Contact])
    assert_type((await llm.generate("Hello", model="gpt-4o", schema=Contact)).object.name, str)
    assert_type(await llm.generate("Hello", "gpt-4o", schema=Contact, tools=[tool]), llm.Answer[Contact | None])
    assert_type(await llm.generate("Hello", "gpt-4o", schema={"type": "object"}, tools=tools), llm.Answer[Any])
    assert_type(await llm.generate("Hello", "gpt-4o", tools=[tool, find, {"type": "function"}]), llm.Answer[Any])
    assert_type(llm.read_message({"role": "assistant", "content": "Hello"}), llm.Answer[Any])
    await llm.generate([{"role": "user", "content": "Hello"}], "gpt-4o", client=OpenAI(), temperature=0.5)
    assert_type(await llm.generate(messages=[{"role": "user"}], model="gpt-4o", tools=None), llm.Answer[Any])
    await llm.generate("Hello")  # type: ignore[call-overload]
    await llm.generate(messages=[{"role": "user"}])  # type: ignore[call-overload]
    await llm.generate("Hello", "gpt-4o", schema=int)  # type: ignore[type-var]

    answer = await llm.generate("Hello", "gpt-4o")
    assert_type(answer.text, str)
    assert_type(answer.usage, llm.Usage | None)
    assert_type(answer.tool_calls, tuple[llm.ToolCall, ...])
    assert_type(answer.tool_calls[0].arguments, dict[str, Any])
    answer.text = "changed"  # type: ignore[misc]


async def streamed(client: AsyncAzureOpenAI) -> None:
    async for chunk in await llm.stream("Hello", "gpt-4o", client=client):
        assert_type(chunk, llm.Chunk)
        assert_type(chunk.text, str)
    async for chunk in llm.stream("Hello", "gpt-4o"):
        assert_type(chunk.finish_reason, str | None)
    async with llm.stream("Hello", "gpt-4o", schema=Contact) as stream:
        assert_type(stream, llm.AnswerStream[Contact])
        assert_type((await stream.collect()).object, Contact)
    assert_type(await llm.stream("Hello", "gpt-4o", schema=Contact, tools=tools), llm.AnswerStream[Contact | None])
