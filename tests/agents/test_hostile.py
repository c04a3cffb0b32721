"""Odd answers, odd defaults, deep nesting: each costs its own call, and no run."""

from __future__ import annotations

import json
import math

import pytest

from otelier import tool
from otelier.interceptors import Interceptor, InterceptResult, Phase


class Sees(Interceptor):
    """Looks at everything, and keeps nothing."""

    async def intercept(self, phase, context):
        json.dumps([context.messages, context.tool_args, context.model_response])


@tool
def take(value: object = None) -> str:
    """Take anything."""
    return "taken"


def body(message, finish_reason="tool_calls"):
    choice = {"index": 0, "message": {"role": "assistant", "content": None, **message}, "finish_reason": finish_reason}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


def asked(*calls, **extra):
    """An answer that asks for calls."""
    return body({"tool_calls": list(calls), **extra})


def call(arguments="{}", **options):
    return {"id": "call-1", "type": "function", "function": {"name": "take", "arguments": arguments}, **options}


def deep(levels):
    return '{"value": ' + "[" * levels + "]" * levels + "}"


def nested(levels):
    found = []
    for _ in range(levels):
        found = [found]
    return found


ANSWERS = {
    "an id with half a pair": asked(call(id="call-\ud83d")),
    "a name with half a pair": asked(call(function={"name": "take\ud83d", "arguments": "{}"})),
    "arguments with half a pair": asked(call('{"value": "\\ud83d"}')),
    "no ids": asked({**call(), "id": None}, {**call(), "id": None}),
    "480 levels": asked(call(deep(480))),
    "100,000 levels": asked(call(deep(100_000))),
    "no number": asked(call('{"value": NaN}')),
    "a number without end": asked(call('{"value": 1e999}')),
    "something of its own that is no number": asked(call(), score=math.nan),
    "something of its own with half a pair": asked(call(), note="\ud83d"),
    "something of its own, 300 levels": asked(call(), note=nested(300)),
    "parts": asked(call(), content=[{"type": "text", "text": "Hm"}]),
}


@pytest.mark.parametrize("content", ["NO_CONTENT", "SPAN_AND_EVENT"])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_hostile_answer_ends_no_run(model, otelier_spans, capture_content, answer, content):
    """Calls are made or told why not, the conversation goes on, and what is written on spans is strict JSON."""
    capture_content(content)
    model.server.reply(body=answer)
    model.says("Done.")
    result = model.agent(take, interceptors=[Sees()]).run("Go").wait()
    assert result.output == "Done."
    asked_for = next(one for one in result.messages if one.get("tool_calls"))["tool_calls"]
    assert [one["id"] for one in asked_for] == [one.id for one in result.tool_calls]
    assert len({one.id for one in result.tool_calls}) == len(asked_for)
    for span in otelier_spans.spans:
        for value in span.attributes.values():
            if isinstance(value, str) and value[:1] in "[{":
                json.loads(value, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))


def test_arguments_of_480_levels_reach_the_tool(model):
    """With an interceptor as without."""
    got = []

    @tool(name="take")
    def takes(value: object) -> str:
        got.append(value)
        return ""

    model.says([("take", deep(480))], "Done.")
    model.agent(takes, interceptors=[Sees()]).run("Go").wait()
    assert json.dumps(got[0]) == "[" * 480 + "]" * 480


DEFAULTS = {
    "infinity": (math.inf, {}),
    "no number": (math.nan, {}),
    "within a list": ([1, -math.inf], {}),
    "within a dict": ({"a": {"b": math.nan}}, {}),
    "half a pair": ("\ud83d", {"default": "\ufffd"}),
    "a number": (1.5, {"default": 1.5}),
}


@pytest.mark.parametrize(("default", "told"), DEFAULTS.values(), ids=DEFAULTS)
def test_defaults_that_json_does_not_have(model, default, told):
    """The model is not told of them, the function has them, and the request can be made."""
    got = []

    @tool
    def buy(most: object = default, default: int = 1) -> str:
        """Buy."""
        got.append(most)
        return "bought"

    model.says([("buy", {})], "Done.")
    assert model.agent(buy).run("Go").output == "Done."
    assert got[0] is default
    properties = model.server.requests[0].body["tools"][0]["function"]["parameters"]["properties"]
    assert properties == {"most": told, "default": {"default": 1, "type": "integer"}}


def test_no_number_among_changed_arguments(model, otelier_spans, capture_content):
    """What an interceptor makes of arguments is written as strict JSON, too."""
    capture_content("SPAN_ONLY")

    class Changes(Interceptor):
        async def intercept(self, phase, context):
            return InterceptResult.modify_args({"value": math.nan}) if phase is Phase.PRE_ACT else None

    model.says([("take", {})], "Done.")
    model.agent(take, interceptors=[Changes()]).run("Go").wait()
    text = otelier_spans.find("execute_tool take").attributes["gen_ai.tool.call.arguments"]
    json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))


@pytest.mark.parametrize("content", ["NO_CONTENT", "SPAN_ONLY"])
def test_a_result_that_opens_lists_without_end(model, otelier_spans, capture_content, content):
    """It is told as the text that it is."""
    capture_content(content)

    @tool
    def opens() -> str:
        return "[" * 100_000

    model.says([("opens", {})], "Done.")
    assert model.agent(opens).run("Go").output == "Done."
    assert model.told() == ["[" * 100_000]
