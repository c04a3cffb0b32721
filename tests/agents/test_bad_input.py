"""What models, providers and tools get wrong: a clear error, or words for the model, and nothing hangs."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import decimal
import inspect
import json
import threading

import openai
import pydantic
import pytest

import otelier
from otelier import tool
from otelier.agents import TextDelta, ToolStarted
from otelier.errors import AgentError, AnswerError, ToolError, UnfinishedAnswerError


@tool
def add(a: int, b: int = 0) -> int:
    """Add two numbers."""
    return a + b


def outcome(agent, streamed, context=None):
    """The result of a run, streamed or not."""
    if not streamed:
        return agent.run("Go", context=context).wait()

    async def drain():
        stream = agent.stream("Go", context=context)
        async for _ in stream:
            pass
        return stream.result

    return asyncio.run(drain())


each_way = pytest.mark.parametrize("streamed", [False, True], ids=["run", "stream"])


@dataclasses.dataclass
class Line:
    amount: decimal.Decimal
    day: dt.date


class Login(pydantic.BaseModel):
    user: str
    password: pydantic.SecretStr


@dataclasses.dataclass
class Shop(otelier.RunContext):
    shop: str = ""


@dataclasses.dataclass
class School(otelier.RunContext):
    school: str = ""


class Mute:
    def __str__(self):
        raise LookupError


MUTE = Mute()
ITSELF: dict[str, object] = {}
ITSELF["self"] = ITSELF


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (None, "null"),
        ("", ""),
        (Line(decimal.Decimal("1.50"), dt.date(2026, 1, 2)), '{"amount":"1.50","day":"2026-01-02"}'),
        (Login(user="ann", password=pydantic.SecretStr("s3cret")), '{"user":"ann","password":"**********"}'),
        ([float("nan"), float("inf")], '["NaN","Infinity"]'),
        ({1}, "[1]"),
        ({("a", "b"): 1}, '{"a,b":1}'),
        (b"\xff\xfe", "bytes object that cannot be shown"),
        (ITSELF, "dict object that cannot be shown"),
        (MUTE, "Mute object that cannot be shown"),
        ("half \ud83d", "half \ufffd"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_results_of_all_kinds(model, otelier_spans, result, told):
    """What JSON can hold goes as JSON, text as it is, and of anything else at least the kind; the run goes on."""

    @tool
    def gives():
        return result

    model.says([("gives", {})], "I see.")
    assert model.agent(gives).run("Go").output == "I see."
    assert model.told() == [told]
    assert otelier_spans.find("execute_tool gives").status.is_ok


def test_results_are_cut_at_their_limit(model):
    """Text and JSON, results and errors, of functions and of subagents."""

    @tool(max_result_chars=4)
    def long() -> list[int]:
        return list(range(100))

    @tool(max_result_chars=9)
    def fails() -> str:
        raise ValueError("x" * 100)

    model.says([("long", {}), ("fails", {})], "I see.")
    model.agent(long, fails).run("Go").wait()
    first, second = model.told()
    assert first == "[0,1 [cut: 287 characters]"
    assert second == "Error: Va [cut: 110 characters]"
    model.says([("specialist", {"task": "talk"})], "x" * 100_001, "I see.")
    model.agent(subagents=[model.agent(name="specialist")]).run("Go").wait()
    assert model.told()[0].endswith("x [cut: 1 characters]")


def test_functions_that_give_an_awaitable(model):
    """A plain function may hand over what is awaited."""

    async def later():
        return "later"

    @tool
    def gives():
        return later()

    @tool(timeout_s=0.5)  # time enough for its thread to give what would never be awaited otherwise
    def hangs():
        return asyncio.sleep(30)

    model.says([("gives", {}), ("hangs", {})], "I see.")
    model.agent(gives, hangs).run("Go").wait()
    assert model.told() == ["later", "Error: TimeoutError: It took more than 0.5 s."]


def test_an_awaitable_that_comes_too_late(model):
    """What a thread gives when nobody waits for it any more is closed, so that Python does not warn of it."""
    release = threading.Event()

    async def later():
        return "later"

    made = later()

    @tool(timeout_s=0.05)
    def gives():
        release.wait(300)
        return made

    async def main():
        await model.agent(gives).run("Go")
        (thread,) = (one for one in threading.enumerate() if one.name == "otelier-tool-gives")
        release.set()
        await asyncio.to_thread(thread.join)
        assert inspect.getcoroutinestate(made) == inspect.CORO_CLOSED

    model.says([("gives", {})], "I see.")
    asyncio.run(main())


def test_a_function_that_yields_without_end_is_refused():
    """An asynchronous generator gives no result."""

    async def pieces():
        yield "a"

    with pytest.raises(ToolError, match="in pieces"):
        tool(pieces)


def test_an_error_without_words(model, otelier_spans):
    """An exception that cannot be made text is told by its class."""

    class BrokenError(Exception):
        def __str__(self):
            raise LookupError

    @tool
    def fails():
        raise BrokenError

    model.says([("fails", {})], "I see.")
    assert model.agent(fails).run("Go").output == "I see."
    assert model.told() == ["Error: BrokenError: "]
    assert not otelier_spans.find("execute_tool fails").status.is_ok


@each_way
@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("add", '{"a": 1', "Cannot read the arguments of tool 'add' as JSON"),
        ("add", "null", "they are of type 'NoneType'"),
        ("add", '{"a": NaN}', "a number that cannot be read"),
        ("add", "[" * 100_000, "nested too deeply"),
        ("add", "", "The arguments of tool 'add' do not fit: a: Field required"),
        ("add", {"a": "one", "b": None}, "a: Input should be a valid integer"),
        ("add", {"a": 1, "c": 2}, "c: Extra inputs are not permitted"),
        ("helper", {"task": 7}, "task: a text is needed"),
        ("helper", {}, "task: a text is needed"),
        ("subtract", {}, "There is no tool 'subtract', only 'add', 'helper'."),
        ("", {}, "There is no tool '', only"),
    ],
)
def test_calls_that_cannot_be_made(model, otelier_spans, streamed, name, arguments, told):
    """The model reads what is wrong, the call's span has failed, and the run goes on."""
    model.says([(name, arguments)], "I see.")
    result = outcome(model.agent(add, subagents=[model.agent(name="helper")]), streamed)
    assert result.output == "I see."
    assert told in model.told()[0]
    assert told in str(result.tool_calls[0].error)
    (span,) = [one for one in otelier_spans.spans if one.name.startswith("execute_tool")]
    assert not span.status.is_ok
    assert span.name == f"execute_tool {name if name in ('add', 'helper') else 'unknown'}"
    assert otelier_spans.find("invoke_agent triage").status.is_ok


def test_values_are_not_quoted_on_spans(model, otelier_spans):
    """What a model wrote is content: the span of a call that does not fit says where, not what."""
    model.says([("add", {"a": "Rotterdam"})], [("add", '{"a": Rotterdam')], "I see.")
    model.agent(add).run("Go").wait()
    assert "Rotterdam" not in repr([(one.attributes, one.status.description) for one in otelier_spans.spans])


@each_way
def test_arguments_that_a_limit_cut(model, streamed):
    """A call that ended at the limit of tokens is not made; the model is told that it may have been cut."""
    model.server.reply(tool_calls=[("add", '{"a": 1, "b')], finish_reason="length")
    model.server.reply("I see.")
    assert outcome(model.agent(add), streamed).output == "I see."
    assert "limit of tokens" in model.told()[0]


@each_way
@pytest.mark.parametrize(
    ("message", "output"),
    [
        ({"content": None, "refusal": "I will not."}, "I will not."),
        ({"content": ""}, ""),
        ({"content": None}, ""),
        ({}, ""),
        ({"content": "One.", "tool_calls": None}, "One."),
        ({"content": "One.", "tool_calls": []}, "One."),
    ],
)
def test_refused_and_empty_answers(model, otelier_spans, streamed, message, output):
    """The words of a refusal are the output, and nothing is an empty one; `None` for usage counts as none."""
    said = {"role": "assistant", **message}
    facts = {"id": "c", "model": "gpt-4.1", "usage": None}
    if streamed:
        chunk = {**facts, "choices": [{"index": 0, "delta": said, "finish_reason": "stop"}]}
        model.server.reply(events=[chunk, "[DONE]"])
    else:
        model.server.reply(body={**facts, "choices": [{"index": 0, "message": said, "finish_reason": "stop"}]})
    result = outcome(model.agent(), streamed)
    assert result.output == output
    assert (result.usage.model_calls, result.usage.total_tokens) == (1, 0)
    assert otelier_spans.find("invoke_agent triage").status.is_ok


@each_way
@pytest.mark.parametrize("reason", ["length", "content_filter", "stop"])
def test_a_text_that_was_cut(model, streamed, reason):
    """It is the output as far as it came, and the result says why it ended."""
    model.server.reply("On its", finish_reason=reason)
    result = outcome(model.agent(), streamed)
    assert (result.output, result.finish_reason) == ("On its", reason)


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": None}, "<html>Sign in</html>"])
def test_no_answer_at_all(model, otelier_spans, body):
    """What holds no choice, such as a proxy's page, ends the run with an error that says what to look at."""
    model.server.reply(body=body)
    with pytest.raises(AnswerError, match="base_url"):
        model.agent().run("Go").wait()
    assert otelier_spans.find("invoke_agent triage").attributes["error.type"] == "otelier.errors.AnswerError"


@pytest.mark.parametrize("ending", ["drop", "error", "invalid_json", "silent"])
def test_a_stream_that_breaks(model, otelier_spans, ending):
    """What came is told, no tool is called, and the run ends with the client's error, or ours where it has none."""
    calls = [{"index": 0, "id": "a", "function": {"name": "add", "arguments": '{"a": 1}'}}]
    if ending == "silent":
        events = [{"content": "One"}, {"content": " two"}, {"tool_calls": calls}]
        model.server.reply(events=[{"id": "c", "choices": [{"index": 0, "delta": delta}]} for delta in events])
    else:
        model.server.break_stream(ending, after=3, text="One two three four")

    async def main():
        told = []
        try:
            async for event in model.agent(add).stream("Go"):
                told.append(event)  # noqa: PERF401 -- what came before the error counts
        except Exception as error:  # the client's own, httpx's or json's
            return told, error
        raise AssertionError("the run ended well")

    told, error = asyncio.run(main())
    assert "".join(event.text for event in told if isinstance(event, TextDelta)) == "One two"
    assert not any(isinstance(event, ToolStarted) for event in told)
    if ending == "error":
        assert isinstance(error, openai.APIError)
    assert isinstance(error, UnfinishedAnswerError) is (ending == "silent")
    run = otelier_spans.find("invoke_agent triage")
    assert not run.status.is_ok
    assert otelier_spans.open_spans == ()


@each_way
def test_a_context_that_a_tool_did_not_ask_for(model, otelier_spans, streamed):
    """The developer's mistake ends the run, and those around it, with an error that names both classes."""

    @tool
    def sell(ctx: Shop) -> str:
        return ctx.shop

    @tool
    async def waits() -> str:
        await asyncio.Event().wait()
        return ""

    specialist = model.agent(sell, name="seller")
    agent = model.agent(waits, subagents=[specialist])
    model.says([("waits", {}), ("seller", {"task": "sell"})], [("sell", {})])

    with pytest.raises(ToolError, match="'sell' asks for a Shop, but the run's context is a School"):
        outcome(agent, streamed, context=School())
    failed = {one.name for one in otelier_spans.spans if not one.status.is_ok}
    assert failed == {
        "execute_tool sell", "invoke_agent seller", "execute_tool seller", "invoke_agent triage",
    }  # fmt: skip
    assert otelier_spans.find("execute_tool waits").attributes["otelier.cancelled"] is True


def test_subagents_below_each_other_are_stopped(model, otelier_spans):
    """A chain that is deeper than `max_depth` allows: the one above is told, and every run ends."""
    deepest = model.agent(name="c", max_depth=1)
    middle = model.agent(name="b", subagents=[deepest])
    model.says([("b", {"task": "go"})], [("c", {"task": "go"})], "Too deep.", "Done.")
    assert model.agent(name="a", subagents=[middle]).run("Go").output == "Done."
    assert "max_depth=1" in model.told(2)[0]
    assert otelier_spans.find("invoke_agent c").attributes["error.type"] == "otelier.errors.AgentLimitError"


@pytest.mark.parametrize("limit", [{"max_steps": 0}, {"max_depth": -1}, {"max_parallel_tools": 0}])
def test_limits_that_let_nothing_happen_are_refused(model, limit):
    """A limiter without a place would wait for ever."""
    with pytest.raises(AgentError, match=next(iter(limit))):
        model.agent(**limit)


def test_a_conversation_without_messages(model):
    """An interceptor that leaves nothing to ask gets a clear error."""

    class Forget(otelier.interceptors.Interceptor):
        async def intercept(self, phase, context):
            return otelier.interceptors.InterceptResult.modify_messages([])

    with pytest.raises(TypeError, match="list of messages"):
        model.agent(interceptors=[Forget()]).run("Go").wait()


def test_messages_go_back_as_providers_take_them(model):
    """A call's message has no content, an empty one an empty text, and what a provider added is sent again."""
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "add", "arguments": '{"a": 1}'},
        "extra": {"sign": "x"},
    }
    message = {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "Hm."}
    model.server.reply(body={"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]})
    model.server.reply("")
    result = model.agent(add).run("Go").wait()
    assert json.loads(json.dumps(model.server.requests[-1].messages[1])) == message
    assert result.messages[-1] == {"role": "assistant", "content": ""}


def test_names_and_descriptions_on_spans_are_bounded(model, otelier_spans):
    """Halves of characters, which no exporter can carry, are replaced, and long texts cut; lines stay."""
    odd, long = "1\ud800", "Adds.\n" + "x" * 2_000
    told = {"otelier.agent.version": "1\ufffd", "gen_ai.agent.description": long[:1024] + " [cut: 982 characters]"}
    described = tool(name="add", description=long)(add.__wrapped__)
    model.says([("add", {"a": 1, "b": 2}), ("below", {"task": "t"})], "Below.", "Done.")
    below = model.agent(name="below", version=odd, description=long)
    model.agent(described, subagents=[below]).run("Go").wait()
    run = otelier_spans.find("invoke_agent below")
    assert {name: run.attributes[name] for name in told} == told
    for name in ("add", "below"):
        attributes = otelier_spans.find(f"execute_tool {name}").attributes
        assert attributes["gen_ai.tool.description"] == told["gen_ai.agent.description"]
    sent = model.server.requests[0].body["tools"]
    assert [one["function"]["description"] for one in sent] == [long, long]


def test_a_models_odd_name_stands_cleaned_on_span_and_point(model, otelier_spans):
    """The client may refuse it; what is told of the run can be exported all the same."""
    with pytest.raises(UnicodeEncodeError):
        model.agent(name="a", model="gpt\ud800").run("Go").wait()
    assert otelier_spans.find("invoke_agent a").attributes["gen_ai.request.model"] == "gpt\ufffd"
    (point,) = otelier_spans.metrics()["gen_ai.invoke_agent.duration"]
    assert point["attributes"]["gen_ai.request.model"] == "gpt\ufffd"
