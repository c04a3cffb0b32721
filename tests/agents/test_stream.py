"""`Agent.stream`: events as soon as they are known, with the phases, spans and errors of `run`."""

from __future__ import annotations

import asyncio
import gc
import threading

import openai
import pytest

from otelier import tool
from otelier.agents import RunFinished, TextDelta, ToolFinished, ToolStarted
from otelier.errors import AgentUseError
from otelier.interceptors import Interceptor, InterceptResult, Phase


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def test_events_of_a_run_with_a_subagent(model, otelier_spans):
    """Text piece by piece, tools when they start and end, and the results of both runs, each with its agent."""
    specialist = model.agent(add, name="specialist")
    agent = model.agent(name="orchestrator", subagents=[specialist])
    model.says([("specialist", {"task": "1+2"})], [("add", {"a": 1, "b": 2})], "It is 3.", "Three it is.")

    async def main():
        stream = agent.stream("1+2?")
        return [event async for event in stream], stream.result

    events, result = asyncio.run(main())
    told = [(type(event).__name__, event.agent, event.depth) for event in events]
    assert told == [
        ("ToolStarted", "orchestrator", 0),
        ("ToolStarted", "specialist", 1),
        ("ToolFinished", "specialist", 1),
        *[("TextDelta", "specialist", 1)] * 3,
        ("RunFinished", "specialist", 1),
        ("ToolFinished", "orchestrator", 0),
        *[("TextDelta", "orchestrator", 0)] * 3,
        ("RunFinished", "orchestrator", 0),
    ]
    assert "".join(one.text for one in events if isinstance(one, TextDelta) and not one.depth) == "Three it is."
    assert (events[0].name, events[0].arguments) == ("specialist", {"task": "1+2"})
    assert [one.call.result for one in events if isinstance(one, ToolFinished)] == ["3", "It is 3."]
    assert isinstance(events[-1], RunFinished)
    assert events[-1].result is result
    assert (result.output, result.usage.model_calls, result.usage.total_tokens) == ("Three it is.", 4, 60)
    assert otelier_spans.find("invoke_agent specialist").attributes["otelier.agent.parent.name"] == "orchestrator"


def test_run_and_stream_have_the_same_phases_and_spans(model, otelier_spans):
    """Whatever interceptors and tracing see of a run they see of a stream."""

    class Notes(Interceptor):
        async def intercept(self, phase, context):
            noted.append((phase, context.agent.name, context.tool_name))
            return InterceptResult.continue_()

    seen = []
    for streamed in (False, True):
        noted: list = []
        otelier_spans.clear()
        specialist = model.agent(add, name="specialist", interceptors=[Notes()])
        agent = model.agent(name="orchestrator", subagents=[specialist], interceptors=[Notes()])
        model.says([("specialist", {"task": "1+2"})], [("add", {"a": 1, "b": 2})], "It is 3.", "Three.")
        if streamed:
            asyncio.run(_drain(agent.stream("1+2?")))
        else:
            agent.run("1+2?").wait()
        seen.append((noted, otelier_spans.tree("gen_ai.agent.name", "otelier.agent.depth")))
    assert seen[0] == seen[1]
    assert [phase for phase, agent, _ in seen[0][0] if agent == "specialist"] == [
        Phase.PRE_RUN, Phase.PRE_THINK, Phase.POST_THINK, Phase.PRE_ACT, Phase.POST_ACT, Phase.PRE_THINK,
        Phase.POST_THINK, Phase.POST_RUN,
    ]  # fmt: skip


async def _drain(stream):
    return [event async for event in stream]


@pytest.mark.parametrize("ending", ["break", "close", "block", "drop", "cancel"])
def test_a_stream_that_is_left_ends_its_run(model, otelier_spans, ending):
    """Broken off, closed, left as a block, dropped or cancelled: the run ends, and so does every span of it."""
    release = threading.Event()

    @tool
    def waits() -> str:
        release.wait(300)
        return ""

    async def main():
        stream = model.agent(waits).stream("Go")
        if ending == "block":
            async with stream:
                assert isinstance(await anext(stream), ToolStarted)
        elif ending == "break":
            async for event in stream:
                assert isinstance(event, ToolStarted)
                break
            del stream
        elif ending == "cancel":
            reader = asyncio.ensure_future(_drain(stream))
            del stream
            await asyncio.to_thread(_until, lambda: len(model.server.requests) == 1)
            reader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reader
            del reader
        else:
            await anext(stream)
            if ending == "close":
                await stream.aclose()
            del stream
        gc.collect()
        for _ in range(1000):
            if not otelier_spans.open_spans:
                break
            await asyncio.sleep(0.01)
        assert otelier_spans.open_spans == ()

    model.says([("waits", {})])
    asyncio.run(main())
    release.set()


def _until(condition):
    waiting = threading.Event()
    for _ in range(3000):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("it did not happen")


def test_an_error_is_raised_where_events_are_read(model, otelier_spans):
    """What came before is told; then the client's own exception comes, and again for who asks for the result."""
    model.server.break_stream("error", after=3)

    async def main():
        stream, told = model.agent().stream("Hello"), []
        with pytest.raises(AgentUseError, match="not over"):
            _ = stream.result

        async def read():
            async for event in stream:
                told.append(event.text)  # noqa: PERF401 -- what came before the error counts

        with pytest.raises(openai.APIError):
            await read()
        with pytest.raises(openai.APIError):
            _ = stream.result
        return told

    assert asyncio.run(main()) == ["Hello!", " How"]
    assert not otelier_spans.find("invoke_agent triage").status.is_ok


def test_a_stream_that_was_closed_first_does_not_begin(model):
    """It gives no event, and asks no model."""

    async def main():
        async with model.agent().stream("Hello") as events:
            pass
        return await _drain(events)

    assert asyncio.run(main()) == []
    assert model.server.requests == ()


@pytest.mark.parametrize("phase", [Phase.PRE_RUN, Phase.POST_THINK, Phase.POST_ACT, Phase.POST_RUN])
def test_an_error_right_behind_an_event_is_not_lost(model, otelier_spans, phase):
    """A run that fails in the same step as its last event fails its stream too, once, for whoever reads."""

    class Fails(Interceptor):
        async def intercept(self, at, context):
            if at is phase:
                raise ConnectionError("gone")

    async def main():
        model.says([("add", {"a": 1, "b": 2})], "Three.")
        stream = model.agent(add, interceptors=[Fails()]).stream("1+2?")
        with pytest.raises(ConnectionError, match="gone"):
            await _drain(stream)
        assert await _drain(stream) == []
        model.server.clear()
        model.says([("add", {"a": 1, "b": 2})], "Three.")
        readers = model.agent(add, interceptors=[Fails()]).stream("1+2?")
        ends = await asyncio.gather(_drain(readers), _drain(readers), return_exceptions=True)
        assert [type(end) for end in ends].count(ConnectionError) == 1

    asyncio.run(main())
    assert otelier_spans.open_spans == ()


def test_an_error_in_a_stream_that_was_left(model, otelier_spans):
    """What nobody asked for any more stands on the span, and does not reach the loop's handler of lost exceptions."""

    class Fails(Interceptor):
        async def intercept(self, phase, context):
            if phase is Phase.POST_RUN:
                raise ConnectionError("gone")

    lost = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, told: lost.append(told))
        async with model.agent(interceptors=[Fails()]).stream("Hello") as events:
            await anext(events)
            for _ in range(3000):
                if not otelier_spans.open_spans:
                    break
                await asyncio.sleep(0.01)
        del events
        gc.collect()

    asyncio.run(main())
    assert lost == []
    assert not otelier_spans.find("invoke_agent triage").status.is_ok


def test_an_async_client_streams(model):
    """The usual client, with tool calls that come in pieces."""
    model.says([("add", {"a": 1, "b": 2}), ("add", {"a": 3, "b": 4})], "Three and seven.")

    async def main():
        plain = openai.DefaultAsyncHttpxClient(verify=False)
        async with openai.AsyncOpenAI(
            base_url=model.server.base_url, api_key="sk-none", http_client=plain
        ) as client:  # fmt: skip
            return await _drain(model.agent(add, client=client).stream("Go"))

    events = asyncio.run(main())
    assert events[-1].result.output == "Three and seven."
    assert [call.result for call in events[-1].result.tool_calls] == ["3", "7"]
