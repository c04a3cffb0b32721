"""`MaskPersonalData`: what the model is sent, and what stays as it is."""

from __future__ import annotations

import asyncio
import copy
import json

import pytest

import otelier
from otelier import RunContext, tool
from otelier.interceptors import InterceptContext, InterceptResult, MaskPersonalData, Phase

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
    assert isinstance(answer, InterceptResult)
    assert answer.modified_messages == [{"role": "user", "content": masked}]
    assert message == before
