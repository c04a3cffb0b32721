"""The blocks about models and tools on AGNT5's page of the context, run as they stand there.

`ctx.llm` is this room and `ctx.tools` a registry: what the workflows' context will hand out.
"""

from __future__ import annotations

import asyncio
import inspect
from types import SimpleNamespace

import pytest

from otelier import llm


async def summarize(ctx, text: str):
    response = await ctx.llm.generate(prompt=f"Summarize this text: {text}", model="gpt-4o-mini")

    return {"summary": response.text}


async def chat_response(ctx, messages: list):
    response = await ctx.llm.generate(
        prompt=[{"role": "system", "content": "You are a helpful assistant"}, *messages], model="gpt-4"
    )

    return {"response": response.text}


async def extract_info(ctx, text: str):
    response = await ctx.llm.generate(
        prompt=f"Extract information: {text}",
        schema={
            "type": "object",
            "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "email": {"type": "string"}},
            "required": ["name"],
        },
        model="gpt-4o-mini",
    )

    return response.object


async def stream_story(ctx, topic: str):
    async for chunk in await ctx.llm.stream(prompt=f"Write a story about {topic}", model="gpt-4o"):
        if chunk.text:
            yield chunk.text


async def agent_with_tools(ctx, query: str):
    search_tool = ctx.tools.register(
        "web_search",
        handler=perform_search,
        description="Search the web for information",
        schema={
            "type": "object",
            "properties": {"query": {"type": "string"}, "max_results": {"type": "integer"}},
        },
    )

    return await ctx.llm.generate(prompt=query, tools=[search_tool], model="gpt-4o")


async def agent_handler(ctx, query: str):
    search = ctx.tools.register("search", handler=search_web)
    calc = ctx.tools.register("calculator", handler=calculate)

    response = await ctx.llm.generate(prompt=query, tools=[search, calc], model="gpt-4o")

    if response.tool_calls:
        for tool_call in response.tool_calls:
            handler = ctx.tools.handler(tool_call.name)
            await handler(**tool_call.arguments)

    return response


called: list[tuple[str, str]] = []


async def perform_search(query: str, max_results: int = 3) -> str:
    return f"{max_results} pages about {query}"


async def search_web(query: str) -> None:
    called.append(("search", query))


async def calculate(expression: str) -> None:
    called.append(("calculator", expression))


@pytest.fixture
def use(model, monkeypatch):
    """Run a block of the page with a context, and return what it returns or yields."""
    monkeypatch.setenv("OPENAI_BASE_URL", model.server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    called.clear()

    def use(block, argument):
        ctx = SimpleNamespace(llm=llm, tools=llm.Tools())

        async def main():
            if inspect.isasyncgenfunction(block):
                return [piece async for piece in block(ctx, argument)]
            return await block(ctx, argument)

        return asyncio.run(main())

    return use


def test_simple(model, use):
    """A prompt, a text."""
    model.server.reply("Short.")
    assert use(summarize, "Long.") == {"summary": "Short."}


def test_chat(model, use):
    """Messages, a text."""
    assert use(chat_response, [{"role": "user", "content": "Hello"}])["response"]
    assert [message["role"] for message in model.sent["messages"]] == ["system", "user"]


def test_structured(model, use):
    """A schema, an object."""
    model.server.reply('{"name": "Ann", "age": 41}')
    assert use(extract_info, "Ann is 41.") == {"name": "Ann", "age": 41}


def test_streaming(model, use):
    """A generator that hands on the words as they come."""
    model.server.reply("Once upon a time")
    assert use(stream_story, "a parcel") == ["Once", " upon", " a", " time"]


def test_registration(model, use):
    """A tool with its schema."""
    (call,) = use(agent_with_tools, "Where is Rotterdam?").tool_calls
    assert (call.name, set(call.arguments)) == ("web_search", {"query", "max_results"})


def test_execution(model, use):
    """The handlers of what the model wants, found by name and called with its arguments."""
    model.server.reply(tool_calls=[("calculator", {"expression": "6*7"}), ("search", {"query": "parcels"})])
    assert len(use(agent_handler, "What is 6*7?").tool_calls) == 2
    assert called == [("calculator", "6*7"), ("search", "parcels")]
