"""Tools that run at once, runs that they delegate, and what is left when one of them ends the others."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import openai
import pytest
from opentelemetry.trace import StatusCode

import otelier
from otelier import tool
from otelier.errors import AgentUseError
from otelier.interceptors import Interceptor, InterceptResult, Phase, StopExecution


class Meter:
    """How many were inside at once."""

    def __init__(self):
        self.inside = self.most = 0
        self.lock = threading.Lock()

    def __enter__(self):
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)

    def __exit__(self, *exc):
        with self.lock:
            self.inside -= 1


def named(spans, name):
    """All spans of that name."""
    return [span for span in spans.records if span.name == name]


def until(condition):
    """Wait until *condition* holds."""
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


async def awaited(run):
    """The result of a run, in a coroutine."""
    return await run


async def drain(stream):
    """The events of a stream, all of them."""
    async with stream:
        return [event async for event in stream]


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_calls_at_once_are_bounded(model, kind):
    """As many as `max_parallel_tools`, and no more, run at any time; all of them run, and keep their order."""
    meter, pair = Meter(), threading.Barrier(2, timeout=300)

    @tool
    def plain(number: int) -> int:
        with meter:
            pair.wait()  # passes only where two are inside
            return number

    @tool
    async def later(number: int) -> int:
        with meter:
            await asyncio.to_thread(pair.wait)
            return number

    used = plain if kind == "plain" else later
    model.says([(used.name, {"number": number}) for number in range(8)], "Done.")
    model.agent(used, max_parallel_tools=2).run("Go").wait()
    assert meter.most == 2
    assert model.told() == [str(number) for number in range(8)]


@pytest.mark.parametrize("client", ["plain", "async"])
@pytest.mark.parametrize("streamed", [False, True], ids=["run", "stream"])
def test_more_delegating_tools_than_places_end(model, otelier_spans, client, streamed):
    """Plain tools that each wait for a subagent with a plain tool give their places up meanwhile."""

    @tool
    def leaf() -> str:
        return "leaf"

    async def main():
        plain = openai.DefaultAsyncHttpxClient(verify=False)
        async with openai.AsyncOpenAI(base_url=model.server.base_url, api_key="sk-none", http_client=plain) as own:
            used = model.client if client == "plain" else own
            specialist = model.agent(leaf, name="specialist", client=used)

            @tool
            def delegate(number: int) -> str:
                return specialist.run(f"task {number}").output

            agent = model.agent(delegate, name="orchestrator", max_parallel_tools=2, client=used)
            if streamed:
                return (await drain(agent.stream("Go")))[-1].result
            return await agent.run("Go")

    many = 16
    model.server.reply(tool_calls=[("delegate", {"number": number}) for number in range(many)])
    model.server.reply("Done.", when=lambda request: request.answers_tool and len(request.messages) > many)
    model.server.reply(tool_calls=[("leaf", {})], when=lambda request: not request.answers_tool, times=many)
    model.server.reply("Leaf.", times=many)
    result = asyncio.run(main())
    assert (result.output, [call.result for call in result.tool_calls]) == ("Done.", ["Leaf."] * many)
    assert result.usage.model_calls == 2 + 2 * many
    assert len(named(otelier_spans, "invoke_agent specialist")) == many


def test_a_tool_that_waits_for_several_runs_keeps_one_place(model):
    """Its place is free while it waits in threads of its own, and taken once when it goes on: none is lost."""
    specialist = model.agent(name="specialist")
    meter = Meter()

    @tool
    def fan_out() -> str:
        def ask(number):
            return context.copy().run(lambda: specialist.run(f"task {number}").output)

        context = copy_context()
        with ThreadPoolExecutor(3) as pool:
            said = list(pool.map(ask, range(3)))
        with meter:
            return f"{len(said)}"

    @tool
    def after() -> str:
        with meter:
            return "after"

    model.server.reply(tool_calls=[("fan_out", {}), ("fan_out", {})])
    model.server.reply(tool_calls=[("after", {}), ("after", {})], when=lambda request: request.answers_tool)
    model.server.reply("Done.", when=lambda request: request.answers_tool)
    model.server.reply("Leaf.", times=6)
    result = model.agent(fan_out, after, max_parallel_tools=1).run("Go").wait()
    assert [call.result for call in result.tool_calls] == ["3", "3", "after", "after"]
    assert meter.most == 1


def test_a_tool_that_delegated_takes_its_place_again(model):
    """What it does after the run that it waited for is bounded as before: its place is not left for good."""
    specialist = model.agent(name="specialist")
    meter = Meter()

    @tool
    def delegates(number: int) -> str:
        said = specialist.run(f"task {number}").output
        with meter:
            time.sleep(0.02)  # long enough for the others, whose runs are over by then
            return said

    many = 6
    model.server.reply(tool_calls=[("delegates", {"number": number}) for number in range(many)])
    model.server.reply("Done.", when=lambda request: request.answers_tool)
    model.server.reply("Leaf.", times=many)
    result = model.agent(delegates, max_parallel_tools=1).run("Go").wait()
    assert [call.result for call in result.tool_calls] == ["Leaf."] * many
    assert meter.most == 1


def test_a_tool_that_delegates_again_before_its_place_is_free(model):
    """While it waits for a place after one run it may wait for another: the place then goes to other tools."""
    first_is_over, second_began, late_ran = threading.Event(), threading.Event(), threading.Event()
    in_time = []

    class Steps(Interceptor):
        async def intercept(self, phase, context):
            if phase is Phase.POST_RUN and context.task == "first":
                first_is_over.set()
            elif phase is Phase.PRE_RUN and context.task == "second":
                second_began.set()
                in_time.append(await asyncio.to_thread(late_ran.wait, 5))

    class Later(Interceptor):
        async def intercept(self, phase, context):
            if phase is Phase.PRE_ACT and context.tool_name == "late":
                await asyncio.to_thread(second_began.wait, 30)

    specialist = model.agent(name="specialist", interceptors=[Steps()])

    @tool
    def delegates() -> str:
        def ask_first():
            return copies[0].run(lambda: specialist.run("first").output)

        def ask_second():
            first_is_over.wait(30)
            time.sleep(0.05)  # for the run to end, and its place to be asked for
            return copies[1].run(lambda: specialist.run("second").output)

        copies = copy_context(), copy_context()
        with ThreadPoolExecutor(2) as pool:
            return "".join(asked.result() for asked in (pool.submit(ask_first), pool.submit(ask_second)))

    @tool
    def holds() -> str:
        second_began.wait(30)
        time.sleep(0.05)  # for the late one to stand in the line
        return ""

    @tool
    def late() -> str:
        late_ran.set()
        return ""

    model.server.reply(tool_calls=[("delegates", {}), ("holds", {}), ("late", {})])
    model.server.reply("Done.", when=lambda request: request.answers_tool)
    model.server.reply("Leaf.", times=2)
    agent = model.agent(delegates, holds, late, interceptors=[Later()], max_parallel_tools=1)
    assert asyncio.run(asyncio.wait_for(agent.run("Go"), 30)).output == "Done."
    assert in_time == [True]


def test_a_model_that_calls_one_tool_at_a_time(model):
    """Nothing asks for parallel calls; the turns just follow each other."""

    @tool
    def step(number: int) -> int:
        return number

    model.says([("step", {"number": 1})], [("step", {"number": 2})], "Done.")
    assert model.agent(step).run("Go").output == "Done."
    assert all("parallel_tool_calls" not in request.asked for request in model.server.requests)


def test_who_waits_as_well_and_is_cancelled_cancels_nobody(model):
    """A run that two wait for goes on when one of them is cancelled."""
    started, release = threading.Event(), threading.Event()

    @tool
    async def waits() -> str:
        started.set()
        await asyncio.to_thread(release.wait, 30)
        return "done"

    async def main():
        run = model.agent(waits).run("Go")

        async def wait():
            return await run

        first, second = asyncio.ensure_future(wait()), asyncio.ensure_future(wait())
        await asyncio.to_thread(started.wait, 30)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        release.set()
        return (await first).output, (await run).output

    model.says([("waits", {})], "Done.")
    assert asyncio.run(main()) == ("Done.", "Done.")


def test_a_tool_whose_own_work_was_cancelled(model, otelier_spans):
    """A cancellation that is not the run's is an error of the tool like others: the run goes on."""

    @tool
    async def loses() -> str:
        task = asyncio.ensure_future(asyncio.Event().wait())
        task.cancel()
        await task
        return ""

    model.says([("loses", {})], "I see.")
    result = model.agent(loses).run("Go").wait()
    assert result.output == "I see."
    assert model.told() == ["Error: CancelledError: "]
    assert isinstance(result.tool_calls[0].error, asyncio.CancelledError)
    assert not otelier_spans.find("execute_tool loses").status.is_ok


def test_a_tool_that_was_given_up_delegates_no_more(model, otelier_spans):
    """Its thread goes on after the timeout, but what it asks for then does not run; nor does what it had asked for."""
    specialist = model.agent(name="specialist")
    told, go_on, over, begun = [], threading.Event(), threading.Event(), threading.Event()

    @tool(timeout_s=0.05)
    def late() -> str:
        go_on.wait(300)
        run = specialist.run("too late")
        try:
            return run.output
        except AgentUseError as error:
            told.append(str(error))
            with pytest.raises(AgentUseError):
                _ = run.output
            return ""
        finally:
            over.set()

    @tool
    async def hangs() -> str:
        begun.set()
        await asyncio.Event().wait()
        return ""

    sleeper = model.agent(hangs, name="sleeper")
    ended = threading.Event()

    @tool(timeout_s=0.5)
    def asks() -> str:
        try:
            return sleeper.run("wait").output
        finally:
            ended.set()

    model.says([("late", {})], "Too late.")
    assert model.agent(late).run("Go").output == "Too late."
    go_on.set()
    assert over.wait(300)
    assert "given up" in told[0]

    model.says([("asks", {})])
    model.server.reply(tool_calls=[("hangs", {})], when=lambda request: not request.answers_tool)
    model.server.reply("Too late.", when=lambda request: request.answers_tool)
    assert model.agent(asks).run("Go").output == "Too late."
    assert model.told()[0].startswith("Error: TimeoutError")
    assert ended.wait(300)
    assert otelier_spans.open_spans == ()


@pytest.mark.parametrize("streamed", [False, True], ids=["run", "stream"])
def test_a_stop_ends_all_siblings(model, waiting, otelier_spans, streamed):
    """Plain, async and delegating tools that run beside one that stops: their spans end, and the run is no error."""

    @tool
    async def stops() -> str:
        for _ in range(4):
            await asyncio.to_thread(waiting.started.acquire)
        raise StopExecution("That is all.")

    others = [model.agent(waiting.waits, name="other")]
    agent = model.agent(waiting.plain, waiting.waits, waiting.delegates, stops, subagents=others)
    calls = [("plain", {}), ("waits", {}), ("delegates", {}), ("other", {"task": "wait"}), ("stops", {})]
    model.server.reply(tool_calls=calls)
    model.server.reply(tool_calls=[("waits", {})], times=2)

    async def main():
        if streamed:
            result = (await drain(agent.stream("Go")))[-1].result
        else:
            result = await agent.run("Go")
        assert otelier_spans.open_spans == ()
        return result

    assert asyncio.run(main()).output == "That is all."
    assert otelier_spans.find("invoke_agent triage").status.is_ok
    assert otelier_spans.find("execute_tool stops").status.is_ok


@pytest.mark.parametrize("streamed", [False, True], ids=["run", "stream"])
def test_cancelled_while_the_model_is_asked(model, otelier_spans, streamed):
    """A run that is cancelled between question and answer leaves no span open, with a client of its loop."""
    model.server.reply("Too late.", delay_s=0 if streamed else 30, chunk_delay_s=30 if streamed else 0)

    async def main():
        plain = openai.DefaultAsyncHttpxClient(verify=False)
        async with openai.AsyncOpenAI(base_url=model.server.base_url, api_key="sk-none", http_client=plain) as own:
            agent = model.agent(client=own)
            task = asyncio.ensure_future(drain(agent.stream("Go")) if streamed else awaited(agent.run("Go")))
            await asyncio.to_thread(until, lambda: model.server.requests)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert otelier_spans.open_spans == ()

    asyncio.run(main())
    for name in ("invoke_agent triage", "chat gpt-4.1"):
        span = otelier_spans.find(name)
        assert span.status.status_code is StatusCode.UNSET
        assert span.attributes["otelier.cancelled"] is True
    assert [point for point in otelier_spans.metric_points if "error.type" in point.attributes] == []


def test_a_run_that_is_closed_in_another_context(model, otelier_spans):
    """A run that is closed in the middle, where somebody else is served, ends and leaves that context alone."""

    class Waits(Interceptor):
        async def intercept(self, phase, context):
            await asyncio.Event().wait()

    async def begun():
        otelier.set_context(user_id="alice")
        steps = model.agent(interceptors=[Waits()]).run("Go")
        steps.send(None)
        return steps

    async def main():
        steps = await asyncio.create_task(begun())
        otelier.set_context(user_id="bob")
        steps.close()
        return otelier.get_context().user_id

    assert asyncio.run(main()) == "bob"
    assert [span.attributes["user.id"] for span in otelier_spans.spans] == ["alice"]


def test_a_stop_of_a_subagent_is_its_result(model):
    """What an interceptor of the subagent says is what the parent's model is told; the parent's run goes on."""

    class Closed(Interceptor):
        async def intercept(self, phase, context):
            return InterceptResult.stop("We are closed.") if phase is Phase.PRE_RUN else None

    specialist = model.agent(name="specialist", interceptors=[Closed()])
    model.says([("specialist", {"task": "open"})], "They are closed.")
    assert model.agent(subagents=[specialist]).run("Go").output == "They are closed."
    assert model.told() == ["We are closed."]


def test_agents_of_one_name(model, otelier_spans):
    """They are one agent to telemetry, and two to themselves: lineage, usage and results do not mix."""

    @tool
    def mine() -> str:
        return "mine"

    inner = model.agent(mine, instructions="inner")
    outer = model.agent(subagents=[inner], instructions="outer")
    model.says([("triage", {"task": "look"})], [("mine", {})], "Found.", "Done.")
    result = outer.run("Go").wait()
    assert (result.output, result.usage.model_calls) == ("Done.", 4)
    assert [call.name for call in result.tool_calls] == ["triage"]
    first, second = sorted(
        named(otelier_spans, "invoke_agent triage"), key=lambda span: span.attributes["otelier.agent.depth"]
    )
    assert second.attributes["otelier.agent.parent.name"] == "triage"
    assert second.attributes["otelier.agent.id"] == first.attributes["otelier.agent.id"]
    assert "otelier.agent.parent.name" not in first.attributes


def test_usage_of_runs_at_once(model):
    """Each run counts its own answers and those it delegated, with cached and reasoning tokens; none another's."""
    specialist = model.agent(name="specialist")
    agent = model.agent(subagents=[specialist])
    usage = {"input_tokens": 10, "output_tokens": 5, "cached_tokens": 4, "reasoning_tokens": 2}
    first = lambda request: not request.answers_tool and "delegate" in request.prompt  # noqa: E731
    model.server.reply(tool_calls=[("specialist", {"task": "look"})], usage=usage, when=first, times=None)
    model.server.reply("Done.", usage=usage, times=None)

    async def main():
        return await asyncio.gather(*(agent.run("delegate" if number % 2 else "alone") for number in range(10)))

    for number, result in enumerate(asyncio.run(main())):
        answers = 3 if number % 2 else 1
        used = result.usage
        assert (used.model_calls, used.input_tokens, used.output_tokens) == (answers, 10 * answers, 5 * answers)
        assert (used.cached_tokens, used.reasoning_tokens) == (4 * answers, 2 * answers)
