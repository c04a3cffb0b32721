"""Clients: the environment's, one for each loop; given ones, asynchronous or not."""

from __future__ import annotations

import asyncio
import gc
import threading

import openai
import pytest

import otelier
from otelier import llm
from otelier.errors import ClientUseError
from otelier.llm import _clients


@pytest.fixture
def environment(model, monkeypatch):
    """What `AsyncOpenAI()` reads."""
    monkeypatch.setenv("OPENAI_BASE_URL", model.server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    return model


def test_without_a_client(environment):
    """The client is the environment's; all calls of a loop share it, and it is closed when the loop ends."""
    kept = []

    async def main():
        await asyncio.gather(*(llm.generate("Hello", "gpt-4.1") for _ in range(3)))
        async for _ in llm.stream("Hello", "gpt-4.1"):
            kept.append(_clients._kept[asyncio.get_running_loop()][0])
            break

    asyncio.run(main())
    asyncio.run(main())
    assert environment.server.requests[0].headers["authorization"] == "Bearer sk-from-the-environment"
    first, second = kept
    assert first is not second
    assert first.is_closed()
    assert second.is_closed()
    assert _clients._kept == {}


def test_a_loop_that_nobody_ends(environment):
    """A loop that was closed without closing its generators is forgotten when the next one makes a call."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(llm.generate("Hello", "gpt-4.1"))
    # What its owner ought to have done, so that this test leaves no connection open.
    loop.run_until_complete(_clients._kept[loop][0].close())
    loop.close()
    assert loop in _clients._kept
    asyncio.run(llm.generate("Hello", "gpt-4.1"))
    assert _clients._kept == {}
    del loop
    gc.collect()


def test_without_a_key(model):
    """What the client says about an environment without a key passes unchanged."""
    with pytest.raises(openai.OpenAIError, match="OPENAI_API_KEY"):
        asyncio.run(llm.generate("Hello", "gpt-4.1"))
    assert _clients._kept == {}


@pytest.fixture
def synchronous(model):
    """A client that is not asynchronous."""
    with openai.OpenAI(http_client=openai.DefaultHttpxClient(verify=False), **model.options) as client:
        yield client


def test_a_client_that_is_not_asynchronous(model, synchronous):
    """It works in a thread, with the context of the call, and the loop goes on meanwhile."""
    go_on = threading.Event()
    model.server.reply("One two three", when=lambda request: go_on.wait(300), times=None)

    async def main():
        ticks = 0
        with otelier.context(user_id="alice"):
            call = asyncio.create_task(llm.generate("Count.", "gpt-4.1", client=synchronous))
            while not call.done():
                await asyncio.sleep(0.001)
                ticks += 1
                if ticks == 5:
                    go_on.set()
            streamed = [chunk.text async for chunk in await llm.stream("Count.", "gpt-4.1", client=synchronous)]
        return (await call).text, "".join(streamed), ticks

    whole, streamed, ticks = asyncio.run(main())
    assert whole == streamed == "One two three"
    assert ticks >= 5
    assert model.spans.tree("user.id") == ("chat gpt-4.1 CLIENT user.id='alice'\nchat gpt-4.1 CLIENT user.id='alice'")


def test_a_synchronous_stream_left_early(model, synchronous):
    """A stream of such a client ends its span and frees its connection too."""
    model.server.reply("One two three")

    async def main():
        async with llm.stream("Count.", "gpt-4.1", client=synchronous) as stream:
            await anext(stream)

    asyncio.run(main())
    assert model.spans.tree() == "chat gpt-4.1 CLIENT"
    assert model.spans.open_spans == ()


def test_a_synchronous_stream_that_is_cancelled(model, synchronous):
    """A cancellation that meets the thread while it reads ends the stream, and the span with it."""
    model.server.reply("One two three", chunk_delay_s=0.05)

    async def read():
        async for chunk in llm.stream("Count.", "gpt-4.1", client=synchronous):
            if chunk.text:
                begun.set()

    async def main():
        reading = asyncio.create_task(read())
        await begun.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    begun = asyncio.Event()
    asyncio.run(main())
    assert [span.name for span in model.spans.spans] == ["chat gpt-4.1"]


def test_an_async_client_on_two_loops(model):
    """Its connections belong to the first loop, also when that is over: a clear error, before a call is made."""

    async def ask(client, use):
        try:
            return await use("Hello", "gpt-4.1", client=client)
        finally:
            await client.close()

    async def collect(*args, **options):
        return await llm.stream(*args, **options).collect()

    for use in (llm.generate, collect):
        http = openai.DefaultAsyncHttpxClient(verify=False)
        client = openai.AsyncOpenAI(http_client=http, **model.options)
        assert asyncio.run(ask(client, use)).text
        with pytest.raises(ClientUseError, match="second event loop"):
            asyncio.run(ask(client, use))
    assert len(model.server.requests) == 2


@pytest.mark.parametrize("client", [7, "https://api.openai.com/v1", openai.AsyncOpenAI, {"base_url": "none"}])
def test_what_is_no_client(client):
    """A clear error that says what to give."""
    with pytest.raises(TypeError, match="give a client of the openai package"):
        asyncio.run(llm.generate("Hello", "gpt-4.1", client=client))


def test_azure(model):
    """The clients of Azure are clients like others."""

    async def main():
        plain = openai.DefaultAsyncHttpxClient(verify=False)
        async with openai.AsyncAzureOpenAI(
            azure_endpoint=model.server.url, api_key="none", api_version="2024-10-21", http_client=plain
        ) as client:
            return await llm.generate("Hello", "gpt-4.1", client=client)

    assert asyncio.run(main()).text
    assert model.spans.find("chat gpt-4.1").attributes["gen_ai.provider.name"] == "azure.ai.openai"
