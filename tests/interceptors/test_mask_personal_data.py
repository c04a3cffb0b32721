"""`MaskPersonalData`: what the model is sent, and what stays as it is."""

from __future__ import annotations

import asyncio
import copy
import json
import threading

import pytest

import otelier
from otelier import RunContext, tool
from otelier.interceptors import InterceptContext, Interceptor, InterceptResult, MaskPersonalData, Phase

SAID = "I am bob@example.com, card 4111 1111 1111 1111, phone +49 30 1234567, key sk-proj-abcdef0123456789."
MASKED = "I am [REDACTED:email], card [REDACTED:card], phone [REDACTED:phone], key [REDACTED:api-key]."


@tool
def look_up(ctx: RunContext) -> str:
    """Look up the user."""
    return f"{ctx.query.split()[2]} is ann@example.com"


def test_the_model_sees_masked_texts(model, finish):
    """E-mail, card, phone and secrets in the question and the instructions; tools still know what was asked."""
    model.says([("look_up", {})], "Done.")
    agent = model.agent(look_up, instructions="Write to help@example.com.", interceptors=[MaskPersonalData()])
    result = finish(agent, SAID)
    for request in model.server.requests:
        assert [one["content"] for one in request.messages[:2]] == ["Write to [REDACTED:email].", MASKED]
    assert model.told() == ["bob@example.com, is ann@example.com"]
    assert result.context.query == SAID
    assert result.messages[1]["content"] == MASKED
    assert agent.instructions == "Write to help@example.com."


def test_results_of_tools_when_asked_for(model, finish):
    """They are masked before the model sees them."""
    model.says([("look_up", {})], "Done.")
    finish(model.agent(look_up, interceptors=[MaskPersonalData(tool_results=True)]), SAID)
    assert model.told() == ["[REDACTED:email], is [REDACTED:email]"]
    assert "@example.com" not in json.dumps(model.server.requests[-1].body)


def test_what_subagents_are_sent(model, finish):
    """A delegation is in the model's words; a subagent with a mask of its own masks what its tools find."""
    mask = MaskPersonalData(tool_results=True)
    specialist = model.agent(look_up, name="specialist", interceptors=[mask])
    model.says([("specialist", {"task": "Who is [REDACTED:email]?"})], [("look_up", {})], "Somebody.", "Done.")
    result = finish(model.agent(subagents=[specialist], interceptors=[mask]), SAID)
    assert result.output == "Done."
    assert "@example.com" not in json.dumps([request.body for request in model.server.requests])


def test_what_init_adds_is_masked_as_well(model, finish):
    """One table: `init(redact=)` is part of it."""
    otelier.init(redact=[r"ACME-[0-9]+"])
    finish(model.agent(interceptors=[MaskPersonalData()]), "Order ACME-1234")
    assert model.server.requests[0].prompt == "Order [REDACTED:custom]"


@pytest.mark.parametrize(
    ("content", "masked"),
    [
        (None, None),
        ("", ""),
        ([], []),
        ("no data", "no data"),
        (
            [{"type": "text", "text": "bob@example.com"}, {"type": "image_url", "image_url": {"url": "data:,"}}, 7],
            [{"type": "text", "text": "[REDACTED:email]"}, {"type": "image_url", "image_url": {"url": "data:,"}}, 7],
        ),
    ],
)
def test_messages_of_every_form(content, masked):
    """Texts in parts are masked; what is no text, or has no content, passes. Nothing given is changed in place."""
    message = {"role": "user", "content": content}
    context = InterceptContext(
        phase=Phase.PRE_THINK, agent=otelier.get_agent(), task="", run_context=None, messages=[message]
    )  # fmt: skip
    before = copy.deepcopy(message)
    answer = asyncio.run(MaskPersonalData().intercept(Phase.PRE_THINK, context))
    if masked == content:
        assert answer is None
    else:
        assert isinstance(answer, InterceptResult)
        assert answer.modified_messages == [{"role": "user", "content": masked}]
    assert message == before


class Seen(Interceptor):
    """Notes the messages of each question, as they are shown."""

    def __init__(self):
        self.messages = []

    async def intercept(self, phase, context):
        if phase is Phase.PRE_THINK:
            self.messages.append(context.messages)


def test_each_text_is_looked_at_once_in_a_run(model, finish):
    """Neither what was clean nor what was masked is looked at again, and no message is made anew."""
    looked_at = []

    def look(text):
        looked_at.append(text)
        return text

    otelier.init(redact=[look])
    model.says([("look_up", {})], [("look_up", {})], "Done.")
    seen = Seen()
    finish(model.agent(look_up, instructions="Be kind.", interceptors=[MaskPersonalData(), seen]), SAID)
    assert sorted(looked_at) == ["Be kind.", MASKED]
    for first, then in zip(seen.messages, seen.messages[1:]):
        assert all(one is another for one, another in zip(first, then))


def test_a_tools_result_stays_that_was_masked_elsewhere(model, finish):
    """What is masked in the question is not masked in the same words of a tool."""

    @tool
    def echo(ctx: RunContext) -> str:
        return ctx.query

    model.says([("echo", {})], "Done.")
    finish(model.agent(echo, interceptors=[MaskPersonalData()]), "bob@example.com")
    assert [one["content"] for one in model.server.requests[-1].messages[::2]] == [
        "[REDACTED:email]",
        "bob@example.com",
    ]


@pytest.mark.parametrize("as_parts", [False, True])
def test_long_texts_are_masked_beside_the_loop(model, as_parts):
    """The loop serves others, in whatever parts the text comes."""
    threads = []

    def look(text):
        threads.append(threading.current_thread().name)
        return text

    async def main():
        long = ["bob@example.com " * 1200, "ann@example.com " * 1200]
        query = [{"type": "text", "text": one} for one in long] if as_parts else "".join(long)
        return await model.agent(interceptors=[MaskPersonalData()]).run(query)

    otelier.init(redact=[look])
    assert "@" not in json.dumps(asyncio.run(main()).messages[0])
    assert set(threads) == {"otelier-mask"}
