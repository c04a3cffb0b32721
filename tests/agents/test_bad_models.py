"""Models and providers that answer badly: an output, a message to the model, or a clear error, and no open span."""

from __future__ import annotations

import asyncio

import httpx
import openai
import pytest

import otelier
from otelier import tool
from otelier.agents import RunFinished, TextDelta
from otelier.errors import AgentLimitError, AnswerError, UnfinishedAnswerError
from otelier.interceptors import Failover


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def statuses(spans):
    """Names of the spans that failed, each with its type of error."""
    return [(span.name, span.attributes["error.type"]) for span in spans.spans if not span.status.is_ok]


READ = "otelier.errors.ToolArgumentsError"
ARGUMENTS = {
    "cut off": ('{"a": 1, "b"', "line 1, column"),
    "no JSON": ("a=1, b=2", "as JSON"),
    "fenced": ('```json\n{"a": 1, "b": 2}\n```', "as JSON"),
    "more after it": ('{"a": 1, "b": 2} and that is it', "as JSON"),
    "a byte order mark": ('\ufeff{"a": 1, "b": 2}', "as JSON"),
    "null": ("null", "object"),
    "a list": ("[1, 2]", "object"),
    "a text": ('"a"', "object"),
    "a number": ("3", "object"),
    "none": ("", "a: Field required; b: Field required"),
    "one missing": ('{"a": 1}', "b: Field required"),
    "one too many": ('{"a": 1, "b": 2, "c": 3}', "c: Extra inputs"),
    "the context": ('{"ctx": {}, "a": 1, "b": 2}', "ctx: Extra inputs"),
    "itself": ('{"self": 1, "a": 1, "b": 2}', "self: Extra inputs"),
    "a word": ('{"a": "one", "b": 2}', "a: Input should be a valid integer"),
    "a fraction": ('{"a": 1.5, "b": 2}', "a: Input should be a valid integer"),
    "no number": ('{"a": NaN, "b": 2}', "number"),
    "infinite": ('{"a": 1e999, "b": 2}', "number"),
    "nothing": ('{"a": null, "b": 2}', "a: Input should be a valid integer"),
    "a megabyte": ('{"a": "' + "x" * 1_000_000 + '", "b": 2}', "a: Input should be a valid integer"),
    "5,000 digits": ('{"a": 1' + "0" * 5_000 + ', "b": 2}', ""),
    "nested without end": ("[" * 100_000, ""),
    "objects without end": ('{"a":' * 100_000, ""),
    "half a pair": ('{"a": "\\ud800", "b": 2}', "a: Input should be"),
}


@pytest.mark.parametrize(("arguments", "said"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments(model, otelier_spans, arguments, said):
    """What cannot be read, or does not fit, is told to the model without quoting it; the run goes on."""
    model.says([("add", arguments)], "I see.")
    result = model.agent(add).run("1+2?").wait()
    assert result.output == "I see."
    (told,) = model.told()
    assert told.startswith("Error: ToolArgumentsError: ")
    assert said in told
    assert len(told) < 400
    assert statuses(otelier_spans) == [("execute_tool add", READ)]


@pytest.mark.parametrize("name", ["subtract", "", "ADD", "functions.add", "add\n", "x" * 10_000, "\ud800"])
def test_tools_that_are_not_there(model, otelier_spans, name):
    """The model is told which there are; no span is named after what it made up."""
    model.says([(name, {"a": 1, "b": 2})], "I see.")
    assert model.agent(add).run("1+2?").output == "I see."
    (told,) = model.told()
    assert "'add'" in told
    assert statuses(otelier_spans) == [("execute_tool unknown", "unknown_tool")]


def body(message, finish_reason="stop", **more):
    """A whole answer."""
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return {"id": "c-1", "object": "chat.completion", "created": 1, "model": "gpt-4.1", "choices": [choice], **more}


def call(**more):
    return {"id": "call-1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}, **more}


SAYS = {"role": "assistant", "content": "Three."}
ODD_ANSWERS = {
    "nothing": (body({"role": "assistant", "content": None}), ""),
    "empty": (body({"role": "assistant", "content": ""}), ""),
    "no content": (body({"role": "assistant"}), ""),
    "no message": (body(None), ""),
    "a refusal": (body({"role": "assistant", "content": None, "refusal": "I will not."}), "I will not."),
    "filtered": (body({"role": "assistant", "content": "Thr"}, "content_filter"), "Thr"),
    "cut": (body({"role": "assistant", "content": "Thr"}, "length"), "Thr"),
    "parts": (body({"role": "assistant", "content": [{"type": "text", "text": "Three."}]}), "Three."),
    "no calls": (body({**SAYS, "tool_calls": []}), "Three."),
    "calls of no kind": (body({**SAYS, "tool_calls": "add"}), "Three."),
    "no usage": (body(SAYS, usage=None), "Three."),
    "usage of no kind": (body(SAYS, usage="much"), "Three."),
    "usage in words": (body(SAYS, usage={"prompt_tokens": "many", "completion_tokens": None}), "Three."),
    "half a pair": (body({"role": "assistant", "content": "Three \ud83d"}), "Three \ud83d"),
}


@pytest.mark.parametrize(("answer", "output"), ODD_ANSWERS.values(), ids=ODD_ANSWERS)
def test_odd_answers(model, otelier_spans, answer, output):
    """What there is of an answer is the output."""
    model.server.reply(body=answer)
    result = model.agent(add).run("1+2?").wait()
    assert (result.output, result.usage.total_tokens) == (output, 0)
    assert statuses(otelier_spans) == []


@pytest.mark.parametrize(
    "answer", [{}, "hello", [1], body(SAYS, choices=[]), body(SAYS, choices=None)],
    ids=["nothing in it", "text", "a list", "no choices", "null"],
)  # fmt: skip
def test_answers_that_are_none(model, otelier_spans, answer):
    """A clear error instead of an empty output: the address may be wrong."""
    model.server.reply(body=answer)
    with pytest.raises(AnswerError, match="base_url"):
        model.agent(add).run("1+2?").wait()
    assert ("invoke_agent triage", "otelier.errors.AnswerError") in statuses(otelier_spans)


def test_a_page_in_place_of_an_answer(model):
    """A proxy's page of HTML is no answer, streamed or not."""
    agent = otelier.Agent("triage", "html", client=model.client)
    with pytest.raises(AnswerError):
        agent.run("1+2?").wait()
    with pytest.raises(AnswerError):
        asyncio.run(events_of(agent))


ODD_CALLS = {
    "without an id": ([{key: value for key, value in call().items() if key != "id"}], ["3"]),
    "two of one id": ([call(), call()], ["3", "3"]),
    "three hundred": ([call(id=f"call-{number}") for number in range(300)], ["3"] * 300),
    "one good, one bad": ([call(), call(id="call-2", function={"name": "add", "arguments": "{"})], ["3", "Error: "]),
    "without arguments": ([call(function={"name": "add", "arguments": None})], ["Error: ToolArgumentsError: "]),
    "without a name": ([call(function={"name": None, "arguments": "{}"})], ["Error: UnknownToolError: "]),
    "without a function": ([{"id": "call-1", "type": "function"}], ["Error: UnknownToolError: "]),
    "half a pair": ([call(function={"name": "add", "arguments": '{"a": "\ud83d"}'})], ["Error: ToolArgumentsError: "]),
}


@pytest.mark.parametrize(("calls", "told"), ODD_CALLS.values(), ids=ODD_CALLS)
def test_odd_calls(model, calls, told):
    """Each call gets its answer, whatever the others are, and the conversation can go on."""
    model.server.reply(body=body({"role": "assistant", "content": "Hm \ud83d", "tool_calls": calls}, "tool_calls"))
    model.says("I see.")
    result = model.agent(add, max_calls_per_answer=300).run("1+2?").wait()
    assert result.output == "I see."
    assert [is_told.startswith(expected) for is_told, expected in zip(model.told(), told)] == [True] * len(calls)
    assert [one.result for one in result.tool_calls] == model.told()


async def events_of(agent):
    async with agent.stream("1+2?") as events:
        return [event async for event in events]


def chunk(delta, finish_reason=None):
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4.1", "choices": [choice]}


def piece(index, id=None, name=None, arguments=None):
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {"index": index, **({"id": id} if id else {}), "type": "function", "function": function}


END = [chunk({}, "tool_calls"), "[DONE]"]
WHOLE = '{"a": 1, "b": 2}'
ODD_STREAMS = {
    "pieces": [piece(0, "x", "add", ""), piece(0, None, None, '{"a": 1'), piece(0, None, None, ', "b": 2}')],
    "no index": [{key: value for key, value in piece(0, "x", "add", WHOLE).items() if key != "index"}],
    "a gap": [piece(5, "x", "add", WHOLE)],
    "the name in each piece": [piece(0, "x", "add", '{"a": 1,'), piece(0, "x", "add", '"b": 2}')],
}


@pytest.mark.parametrize("pieces", ODD_STREAMS.values(), ids=ODD_STREAMS)
def test_odd_pieces_of_calls(model, pieces):
    """One call is one call, however a provider cuts it into pieces."""
    model.server.reply(events=[*(chunk({"tool_calls": [one]}) for one in pieces), *END])
    model.says("Three.")
    events = asyncio.run(events_of(model.agent(add)))
    assert [one.result for one in events[-1].result.tool_calls] == ["3"]
    assert events[-1].result.output == "Three."


CUT = {
    "nothing": [],
    "only its end": ["[DONE]"],
    "words": [chunk({"content": "Thr"}), chunk({"content": "ee"})],
    "words and an end": [chunk({"content": "Thr"}), "[DONE]"],
    "a call": [chunk({"tool_calls": [piece(0, "x", "add", '{"a": 1')]})],
    "a whole call": [chunk({"tool_calls": [piece(0, "x", "add", WHOLE)]}), "[DONE]"],
}


@pytest.mark.parametrize("events", CUT.values(), ids=CUT)
def test_streams_that_end_too_early(model, otelier_spans, events):
    """What came before the cut is not taken for the answer, nor for a call: an error says so."""
    model.server.reply(events=events)
    with pytest.raises(UnfinishedAnswerError, match="ended before the answer did"):
        asyncio.run(events_of(model.agent(add)))
    assert ("invoke_agent triage", "otelier.errors.UnfinishedAnswerError") in statuses(otelier_spans)
    assert otelier_spans.open_spans == ()


FAULTS = {
    "stream-drop": (openai.APIConnectionError, httpx.HTTPError),  # by the client's release
    "stream-error": openai.APIError, "stream-invalid-json": ValueError,
    "error-400": openai.BadRequestError, "error-401": openai.AuthenticationError, "error-429": openai.RateLimitError,
    "error-500": openai.InternalServerError,
}  # fmt: skip


@pytest.mark.parametrize(("name", "error"), FAULTS.items(), ids=FAULTS)
def test_faults_of_the_provider(model, otelier_spans, name, error):
    """The client's own exception is raised where events are read, in mid-stream too; every span has ended as failed."""
    with pytest.raises(error):
        asyncio.run(events_of(otelier.Agent("triage", name, client=model.client)))
    assert {name for name, _ in statuses(otelier_spans)} == {f"chat {name}", "invoke_agent triage"}
    assert otelier_spans.open_spans == ()


@pytest.mark.parametrize("name", ["stream-drop", "stream-error", "stream-invalid-json", "error-500", "html"])
def test_failing_over_in_mid_stream(model, name):
    """Another model is asked the same; the output is its answer alone."""
    agent = otelier.Agent("triage", name, client=model.client, interceptors=[Failover("gpt-4.1")])
    model.server.reply("Three.", when=lambda request: request.model == "gpt-4.1")
    events = asyncio.run(events_of(agent))
    assert isinstance(events[-1], RunFinished)
    assert events[-1].result.output == "Three."
    assert "".join(event.text for event in events if isinstance(event, TextDelta)).endswith("Three.")


def test_a_model_that_loops_through_agents(model, otelier_spans):
    """Agents that call each other in a circle, by a model that never ends, do not multiply: all end at the first."""
    agents = {}

    @tool
    async def again(ctx: otelier.RunContext) -> str:
        return (await agents["triage"].run("again", context=ctx)).output

    agents["triage"] = model.agent(again, max_steps=4, max_depth=3)
    model.server.reply(tool_calls=[("again", {})], times=None)
    with pytest.raises(AgentLimitError, match="max_steps=4"):
        agents["triage"].run("Go").wait()
    # Three runs that ask once on the way down, and the deepest that asks four times.
    assert len(model.server.requests) == 7
    assert otelier_spans.open_spans == ()
