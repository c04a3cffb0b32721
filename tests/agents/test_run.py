"""`Agent.run`: the loop between model and tools, its spans, its errors and its limits."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import warnings

import openai
import pytest

import otelier
from otelier import tool
from otelier.agents import _execute
from otelier.errors import AgentLimitError, AgentUseError, AnswerError, ClientUseError, ToolError
from otelier.identity import agent_id_for
from otelier.interceptors import StopExecution
from otelier.testing import SpanRecorder


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def test_tools_are_called_until_the_model_answers(model, otelier_spans):
    """The whole of a run: what it says, what it used, what it called, and its trace."""
    model.says([("add", {"a": 1, "b": 2})], [("add", {"a": 3, "b": 4})], "Seven.")
    agent = model.agent(add, instructions="You add.", version="2")
    result = agent.run("What is 1+2+4?").wait()
    assert result.output == "Seven."
    assert [(call.name, call.arguments, call.result, call.error) for call in result.tool_calls] == [
        ("add", {"a": 1, "b": 2}, "3", None),
        ("add", {"a": 3, "b": 4}, "7", None),
    ]
    assert (result.usage.model_calls, result.usage.input_tokens, result.usage.output_tokens) == (3, 30, 15)
    assert [message["role"] for message in result.messages] == [
        "system", "user", "assistant", "tool", "assistant", "tool", "assistant",
    ]  # fmt: skip
    assert otelier_spans.tree() == (
        "invoke_agent triage INTERNAL\n"
        "  chat gpt-4.1 CLIENT\n"
        "  execute_tool add INTERNAL\n"
        "  chat gpt-4.1 CLIENT\n"
        "  execute_tool add INTERNAL\n"
        "  chat gpt-4.1 CLIENT"
    )


def test_attributes_of_the_spans(model, otelier_spans):
    """Those of the conventions, the agent's identity, and no tokens but on the calls of the model."""
    model.says([("add", {"a": 1, "b": 2})], "Three.")
    result = model.agent(add, version="2").run("1+2?").wait()
    identity = {
        "gen_ai.agent.name": "triage",
        "otelier.agent.id": agent_id_for("triage"),
        "otelier.agent.source": "agent",
        "otelier.agent.depth": 0,
    }
    main = {"gen_ai.main_agent.name", "deployment.environment.name"}
    run = {key: value for key, value in otelier_spans.find("invoke_agent triage").attributes.items() if key not in main}
    assert run == {
        **identity,
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.request.model": "gpt-4.1",
        "gen_ai.response.finish_reasons": ("stop",),
        "otelier.agent.version": "2",
    }
    call = {key: value for key, value in otelier_spans.find("execute_tool add").attributes.items() if key not in main}
    assert call == {
        **identity,
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "add",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.description": "Add two numbers.",
        "gen_ai.tool.call.id": result.tool_calls[0].id,
    }


def test_spans_go_where_otelier_was_told(model, otelier_spans):
    """`init(tracer_provider=)` is for runs and tools as well as for the calls of the model."""
    own = SpanRecorder()
    otelier.init(tracer_provider=own.tracer_provider)
    model.says([("add", {"a": 1, "b": 2})], "Three.")
    model.agent(add).run("1+2?").wait()
    assert [span.name for span in own.records] == [
        "chat gpt-4.1", "execute_tool add", "chat gpt-4.1", "invoke_agent triage",
    ]  # fmt: skip
    assert otelier_spans.records == ()


def test_content_only_when_asked_for(model, otelier_spans, capture_content):
    """Query, answer, arguments and results pass the one gate."""
    capture_content("SPAN_ONLY")
    model.says([("add", {"a": 1, "b": 2})], "Three.")
    model.agent(add, instructions="Add.").run("1+2?").wait()
    call = otelier_spans.find("execute_tool add").attributes
    assert json.loads(call["gen_ai.tool.call.arguments"]) == {"a": 1, "b": 2}
    assert json.loads(call["gen_ai.tool.call.result"]) == {"result": "3"}
    run = otelier_spans.find("invoke_agent triage").attributes
    assert json.loads(run["gen_ai.input.messages"])[0]["parts"][0]["content"] == "1+2?"
    assert json.loads(run["gen_ai.output.messages"])[0]["parts"][0]["content"] == "Three."


def test_calls_of_one_turn_run_at_once(model):
    """Two tools that wait for each other both end, plain and async, and their results keep the model's order."""
    met = threading.Barrier(2, timeout=300)

    @tool
    def left() -> str:
        met.wait()
        return "left"

    @tool
    async def right() -> str:
        await asyncio.to_thread(met.wait)
        return "right"

    model.says([("left", {}), ("right", {})], "Both.")
    assert model.agent(left, right).run("Go").output == "Both."
    assert model.told() == ["left", "right"]


def test_64_delegating_tools_end(model, otelier_spans):
    """Plain tools that each wait for a subagent with a plain tool: more of them than there are places."""

    @tool
    def leaf() -> str:
        return "leaf"

    specialist = model.agent(leaf, name="specialist")

    @tool
    def delegate(number: int) -> str:
        return specialist.run(f"task {number}").output

    model.server.reply(tool_calls=[("delegate", {"number": number}) for number in range(64)])
    model.server.reply("Done.", when=lambda request: request.answers_tool and len(request.messages) > 60)
    model.server.reply(tool_calls=[("leaf", {})], when=lambda request: not request.answers_tool, times=64)
    model.server.reply("Leaf.", times=64)
    result = model.agent(delegate, name="orchestrator", max_parallel_tools=4).run("Go").wait()
    assert (result.output, [call.result for call in result.tool_calls]) == ("Done.", ["Leaf."] * 64)
    assert result.usage.model_calls == 2 + 128


ARGUMENTS = "otelier.errors.ToolArgumentsError"


@pytest.mark.parametrize(
    ("name", "arguments", "said", "error_type"),
    [
        ("add", "{broken", "as JSON: Expecting property name", ARGUMENTS),
        ("add", "[1]", "they are of type 'list'", ARGUMENTS),
        ("add", {"a": "x", "b": 1}, "The arguments of tool 'add' do not fit: a: Input should be", ARGUMENTS),
        ("add", {"a": 1, "b": 1, "c": 1}, "c: Extra inputs are not permitted", ARGUMENTS),
        ("nothing", {}, "There is no tool 'nothing', only 'add', 'fail', 'odd', 'cut'.", "unknown_tool"),
        ("fail", {}, "Error: KeyError: '[REDACTED:api-key]'", "KeyError"),
        ("odd", {}, "", None),
        ("cut", {}, "xxxxx [cut: 95 characters]", None),
    ],
)
def test_what_goes_wrong_with_a_tool_is_told_to_the_model(model, otelier_spans, name, arguments, said, error_type):
    """Arguments that do not fit, unknown names, raising tools, odd results: model and span are told."""

    @tool
    def fail() -> str:
        raise KeyError("sk-proj-abcdef0123456789")

    @tool
    def odd() -> object:
        itself: list[object] = [object()]
        itself.append(itself)
        return itself

    @tool(max_result_chars=5)
    def cut() -> str:
        return "x" * 100

    model.says([(name, arguments)], "I see.")
    result = model.agent(add, fail, odd, cut).run("Go").wait()
    assert result.output == "I see."
    assert said in model.told()[0]
    called = "unknown" if name == "nothing" else name
    span = otelier_spans.find(f"execute_tool {called}")
    assert span.attributes.get("error.type") == error_type
    assert span.status.is_ok is (error_type is None)
    assert "sk-proj" not in repr((span.attributes, span.status.description))
    assert otelier_spans.find("invoke_agent triage").status.is_ok


def test_a_tool_that_takes_too_long(model, otelier_spans):
    """The model is told after `timeout_s`, for plain and async tools; the run goes on."""
    release = threading.Event()
    cancelled = []

    @tool(timeout_s=0.05)
    def slow() -> str:
        release.wait(300)
        return ""

    @tool(timeout_s=0.05)
    async def slower() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)
        return ""

    model.says([("slow", {}), ("slower", {})], "Too slow.")
    result = model.agent(slow, slower).run("Go").wait()
    release.set()
    assert [call.result for call in result.tool_calls] == ["Error: TimeoutError: It took more than 0.05 s."] * 2
    assert cancelled == [True]
    assert otelier_spans.find("execute_tool slow").attributes["error.type"] == "TimeoutError"


def test_the_providers_exception_passes_unchanged(model, otelier_spans):
    """A failed call of the model raises what the client raises, through the run's span."""
    model.server.fail(401)
    with pytest.raises(openai.AuthenticationError):
        model.agent().run("Hello").wait()
    run = otelier_spans.find("invoke_agent triage")
    assert run.attributes["error.type"] == "openai.AuthenticationError"
    assert not run.status.is_ok


def test_a_model_that_loops_is_stopped(model, otelier_spans):
    """One step is one answer; after `max_steps` of them the run fails, saying what to do."""
    model.server.reply(tool_calls=[("add", {"a": 1, "b": 1})], times=None)
    with pytest.raises(AgentLimitError, match="max_steps=3") as caught:
        model.agent(add, max_steps=3).run("Go").wait()
    assert caught.value.limit == "max_steps"
    assert len(model.server.requests) == 3


def test_agents_that_delegate_in_a_circle_are_stopped(model):
    """The depth limit reaches the model as an error of the deepest delegation, and every run ends."""
    agents = {}

    @tool
    async def again() -> str:
        return (await agents["triage"].run("again")).output

    agents["triage"] = model.agent(again, max_depth=2)
    model.says([("again", {})], [("again", {})], [("again", {})], "Enough.", "Two.", "One.")
    assert agents["triage"].run("Go").output == "One."
    assert "max_depth=2" in model.told(3)[0]


def test_refusals_and_empty_answers(model):
    """What the model refuses with is the output, an empty answer is an empty one, and no answer at all is an error."""
    answer = {
        "id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4.1",
        "choices": [
            {"index": 0, "finish_reason": "stop",
             "message": {"role": "assistant", "content": None, "refusal": "I will not."}}
        ],
    }  # fmt: skip
    model.server.reply(body=answer)
    assert model.agent().run("Go").output == "I will not."
    model.server.reply("")
    assert model.agent().run("Go").output == ""
    model.server.reply(body={**answer, "choices": []})
    with pytest.raises(AnswerError, match="no choice"):
        model.agent().run("Go").wait()


def test_output_on_a_loop_names_await(model):
    """Reading `.output` where it would block its own loop is refused; awaiting twice gives the same result."""

    async def main():
        run = model.agent().run("Hello")
        with pytest.raises(AgentUseError, match=r"await agent\.run"):
            _ = run.output
        first = await run
        assert await run is first
        assert run.output == first.output

    asyncio.run(main())
    assert len(model.server.requests) == 1


def test_a_run_whose_output_was_refused_does_not_warn(model):
    """Who asked for its output where it cannot be had was told so, and needs no warning besides."""

    async def main():
        with pytest.raises(AgentUseError):
            _ = model.agent().run("Hello").output

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        asyncio.run(main())
        gc.collect()
    assert [one for one in seen if "never awaited" in str(one.message)] == []
    assert model.server.requests == ()


def test_a_run_that_never_ran_warns_with_its_line(model):
    """Neither awaited nor read: the warning points at the line that made it."""
    agent = model.agent()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        agent.run("Hello")
        gc.collect()
    (warning,) = [one for one in seen if "never awaited" in str(one.message)]
    assert (warning.filename, "triage" in str(warning.message)) == (__file__, True)
    assert model.server.requests == ()


def test_an_async_client_on_two_loops_is_a_clear_error(model):
    """Its connections belong to the first loop."""

    async def ask(agent, close):
        try:
            return (await agent.run("Hello")).output
        finally:
            if close:
                await client.close()

    plain = openai.DefaultAsyncHttpxClient(verify=False)
    client = openai.AsyncOpenAI(base_url=model.server.base_url, api_key="sk-none", http_client=plain)
    agent = model.agent(client=client)
    assert asyncio.run(ask(agent, True))
    with pytest.raises(ClientUseError, match="second event loop"):
        asyncio.run(ask(agent, False))


def test_cancelling_a_run_leaves_no_span_open(model, waiting, otelier_spans):
    """A run cancelled in the middle of plain, async and delegated tools ends every span."""

    async def main():
        run = asyncio.ensure_future(model.agent(waiting.plain, waiting.waits, waiting.delegates).run("Go"))
        for _ in range(3):
            await asyncio.to_thread(waiting.started.acquire)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert otelier_spans.open_spans == ()

    model.says([("plain", {}), ("waits", {}), ("delegates", {})], [("waits", {})])
    asyncio.run(main())
    assert [one.name for one in otelier_spans.spans if not one.status.is_ok] == []
    left = sorted(one.name for one in otelier_spans.spans if one.attributes.get("otelier.cancelled"))
    assert left == [
        "execute_tool delegates", "execute_tool plain", "execute_tool waits", "execute_tool waits",
        "invoke_agent specialist", "invoke_agent triage",
    ]  # fmt: skip
    assert [point for point in otelier_spans.metric_points if "error.type" in point.attributes] == []


def test_a_tool_that_stops_the_run_cancels_its_siblings(model, otelier_spans):
    """`StopExecution` ends the run with its response; what ran beside it is cancelled, and nothing is an error."""

    @tool
    async def stops() -> str:
        raise StopExecution("That is all.", reason="quota")

    @tool
    async def waits() -> str:
        await asyncio.Event().wait()
        return ""

    model.says([("waits", {}), ("stops", {})])
    result = model.agent(waits, stops).run("Go").wait()
    assert result.output == "That is all."
    run = otelier_spans.find("invoke_agent triage")
    assert (run.attributes["otelier.agent.stop.phase"], run.attributes["otelier.agent.stop.reason"]) == ("act", "quota")
    assert run.status.is_ok
    assert otelier_spans.open_spans == ()


def test_bad_arguments_of_an_agent(model):
    """Clear errors when it is made."""
    with pytest.raises(ToolError, match="two tools named 'add'"):
        model.agent(add, add)
    with pytest.raises(ToolError, match="Cannot offer an object of type int"):
        model.agent(7)
    with pytest.raises(ToolError, match="takes agents"):
        model.agent(subagents=[add])
    with pytest.raises(TypeError, match="not a int"):
        model.agent().run("Hello", context=7)
    with pytest.raises(otelier.errors.AgentError, match="needs a name"):
        model.agent(name="")


def test_a_run_is_a_coroutine(model, otelier_spans):
    """`asyncio.run`, `create_task` and `gather` take it as it is; a second reader gets the same result."""

    async def main():
        task = asyncio.create_task(model.agent().run("Hello"))
        first, (second, third) = await task, await asyncio.gather(*(model.agent().run("Hello") for _ in range(2)))
        run = model.agent().run("Hello")
        assert await asyncio.create_task(run) is await run
        return [first.output, second.output, third.output]

    model.says(*["Hi."] * 5)
    assert asyncio.run(main()) == ["Hi."] * 3
    assert asyncio.run(model.agent().run("Hello")).output == "Hi."
    assert [span.name for span in otelier_spans.spans].count("invoke_agent triage") == 5


def test_a_task_that_is_cancelled_before_it_begins(model, otelier_spans):
    """It never ran, has no span, and warns of nothing: it was meant to end."""

    async def main():
        task = asyncio.create_task(model.agent().run("Hello"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()
    assert otelier_spans.spans == ()


@pytest.mark.parametrize("place", ["fingerprint_of", "run_content"])
def test_a_fault_costs_what_a_run_tells(model, otelier_spans, monkeypatch, quiet_faults, caplog, place):
    """A fault of ours in what a run's span tells costs that alone: the run goes on as it would."""

    def broken(*_args):
        raise LookupError

    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "span_only")
    otelier.init(app="shop", tracer_provider=otelier_spans.tracer_provider)
    monkeypatch.setattr(_execute, place, broken)
    model.says("Done.")
    assert model.agent(instructions="You bill.").run("Go").output == "Done."
    assert "otelier failed in agents." in caplog.text
    assert otelier_spans.find("invoke_agent triage").attributes["gen_ai.agent.name"] == "triage"


def test_what_a_run_took(model):
    """Tokens and calls of a run can be read of it, which waits for its end."""
    model.says("Done.")
    run = model.agent().run("Go")
    assert (run.usage.model_calls, run.usage.input_tokens) == (1, 10)
