"""Calls whose agent is known by the system prompt: on the call's span, below it, on metrics, and nowhere else."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest
from openai.resources.responses import Responses
from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

import otelier
from otelier.identity import agent_id_for, fingerprint_of_id, prompt_fingerprint, resolve_fingerprint
from otelier.openai import OpenAIInstrumentor
from otelier.testing import OpenAIServer, SpanRecorder

PROMPT = "You are a billing agent. Today is November 16, 2026."
OTHER = "You are a shipping agent. Today is November 16, 2026."
FINGERPRINT = prompt_fingerprint(PROMPT)
IDENTITY = ("gen_ai.agent.name", "gen_ai.agent.id", "otelier.agent.id", "otelier.agent.source")
KEY = "otelier.agent.fingerprint"
ASKED = {"role": "user", "content": "Hello"}


@pytest.fixture
def server():
    with OpenAIServer(refuses=False) as running:
        yield running


@pytest.fixture
def client(server, otelier_spans):
    with openai.OpenAI(base_url=server.base_url, api_key="sk-none", max_retries=0) as made:
        yield made


def system(content: Any, role: str = "system") -> dict[str, Any]:
    return {"role": role, "content": content}


def ask(client, *messages, **more):
    return client.chat.completions.create(model="gpt-4.1", messages=[*messages, ASKED], **more)


def last(recorder) -> dict[str, Any]:
    """The attributes of the newest call's span."""
    return dict([span for span in recorder.spans if span.name == "chat gpt-4.1"][-1].attributes)


def identity(attributes) -> dict[str, Any]:
    return {key: attributes[key] for key in IDENTITY if key in attributes}


def known_by(prompt: str) -> dict[str, Any]:
    """The identity of an agent that only *prompt* tells of."""
    fingerprint = prompt_fingerprint(prompt)
    return {
        "gen_ai.agent.name": f"agent-{fingerprint[4:12]}",
        "otelier.agent.id": agent_id_for(fingerprint),
        "otelier.agent.source": "fingerprint",
    }


PARTS = [{"type": "text", "text": PROMPT.partition(". ")[0] + "."}, {"type": "text", "text": PROMPT.partition(". ")[2]}]
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
CHATS: dict[str, list[Any]] = {
    "system": [system(PROMPT)],
    "developer": [system(PROMPT, "developer")],
    "parts": [system(PARTS)],
    "parts of other kinds among them": [system([PICTURE, *PARTS, {"type": "text"}, {"type": "text", "text": 5}, None])],
    "several messages": [system(PARTS[0]["text"]), system(PARTS[1]["text"], "developer")],
    "objects": [SimpleNamespace(role="system", content=PROMPT)],
    "another day": [system(PROMPT.replace("16", "20"))],
    "another way of writing": [system(f"\n  {PROMPT.upper()}\n")],
    "a second one, but later": [system(PROMPT), ASKED, system("Answer in French.")],
    "a blank one before": [system(" "), system(PROMPT)],
}


@pytest.mark.parametrize("messages", CHATS.values(), ids=CHATS)
def test_chat(client, otelier_spans, messages):
    """All leading system and developer messages together are the prompt, however they are given."""
    if "objects" not in str(messages) and not isinstance(messages[0], SimpleNamespace):
        client.chat.completions.create(model="gpt-4.1", messages=[*messages, ASKED])
    else:  # the client cannot send it, and the span tells whose call it was all the same
        with pytest.raises(TypeError):
            client.chat.completions.create(model="gpt-4.1", messages=[*messages, ASKED])
    found = last(otelier_spans)
    assert found[KEY] == FINGERPRINT
    assert identity(found) == known_by(PROMPT)


def responses(text: str) -> dict[str, dict[str, Any]]:
    """Ways to give a Responses call *text* as its system prompt."""
    first, _, second = text.partition(". ")
    part = {"type": "input_text", "text": text}
    return {
        "instructions": {"instructions": text, "input": "Hello"},
        "leading messages": {"input": [system(f"{first}."), system(second, "developer"), ASKED]},
        "typed messages": {"input": [{"type": "message", "role": "developer", "content": [part]}, ASKED]},
        "both": {"instructions": f"{first}.", "input": [system(second), ASKED]},
    }


@pytest.mark.parametrize("way", responses(PROMPT))
def test_responses(client, otelier_spans, way):
    """`instructions` and leading messages of the input are the prompt of a Responses call, as of a chat."""
    client.responses.create(model="gpt-4.1", **responses(PROMPT)[way])
    assert last(otelier_spans)[KEY] == FINGERPRINT
    assert identity(last(otelier_spans)) == known_by(PROMPT)
    client.responses.create(model="gpt-4.1", **responses(OTHER)[way])
    assert identity(last(otelier_spans)) == known_by(OTHER)


@pytest.mark.skipif(
    "prompt" not in inspect.signature(Responses.create).parameters, reason="this openai knows no stored prompts"
)
def test_a_stored_prompt(client, otelier_spans):
    """Without instructions the id of the provider's prompt counts, every digit of it; beside them it does not."""
    for prompt_id in ("pmpt_0001", "pmpt_0002"):
        client.responses.create(model="gpt-4.1", input="Hello", extra_body={}, prompt={"id": prompt_id, "version": "3"})
        fingerprint = fingerprint_of_id(prompt_id)
        assert last(otelier_spans)[KEY] == fingerprint
        assert identity(last(otelier_spans))["otelier.agent.id"] == resolve_fingerprint(fingerprint).id
    client.responses.create(model="gpt-4.1", input="Hello", instructions=PROMPT, prompt={"id": "pmpt_0001"})
    assert last(otelier_spans)[KEY] == FINGERPRINT
    assert len({span.attributes[KEY] for span in otelier_spans.spans}) == 3


WITHOUT: dict[str, list[Any]] = {
    "no message": [],
    "a user's first": [ASKED, system(PROMPT)],
    "blank": [system(" \n")],
    "a picture": [system([PICTURE])],
    "none": [system(None)],
    "a number": [system(5)],
    "bytes": [system(b"You bill.")],
    "another role": [system(PROMPT, "assistant")],
    "a role that is no text": [{"role": ["system"], "content": PROMPT}],
    "no role": [{"content": PROMPT}],
    "no messages at all": [5, None],
}


@pytest.mark.parametrize("messages", WITHOUT.values(), ids=WITHOUT)
def test_calls_without_a_prompt(client, otelier_spans, messages):
    """There is no fingerprint, and the call is the process's own agent's."""
    otelier.init(app="orchestrator", tracer_provider=otelier_spans.tracer_provider)
    try:
        ask(client, *messages)
    except (TypeError, openai.OpenAIError):
        pass  # what the client cannot send is its own to say
    found = last(otelier_spans)
    assert KEY not in found
    assert (found["gen_ai.agent.name"], found["otelier.agent.source"]) == ("orchestrator", "app")


def test_embeddings_have_none(client, otelier_spans):
    """There is no system prompt in them."""
    client.embeddings.create(model="text-embedding-3-small", input=PROMPT)
    assert KEY not in otelier_spans.spans[-1].attributes


def test_a_named_agents_prompt_is_on_the_call_too(client, otelier_spans):
    """Tiers 1 and 2 name the agent, and the fingerprint still says which prompt it used; other spans have none."""
    with otelier.context(agent="triage"):
        ask(client, system(PROMPT))
        assert identity(last(otelier_spans)) == {
            "gen_ai.agent.name": "triage",
            "otelier.agent.id": agent_id_for("triage"),
            "otelier.agent.source": "agent",
        }
        assert last(otelier_spans)[KEY] == FINGERPRINT
        ask(client, system(OTHER))
        assert last(otelier_spans)[KEY] == prompt_fingerprint(OTHER)
        ask(client)
        assert KEY not in last(otelier_spans)
    with otelier.context(agent="triage", agent_id="a-1"):
        ask(client, system(PROMPT))
    assert identity(last(otelier_spans)) == {
        "gen_ai.agent.name": "triage",
        "gen_ai.agent.id": "a-1",
        "otelier.agent.id": "a-1",
        "otelier.agent.source": "agent_id",
    }
    assert last(otelier_spans)[KEY] == FINGERPRINT


@pytest.mark.parametrize("fields", [{}, {"agent": "triage"}], ids=["tier 3", "tier 2"])
def test_what_is_below_a_call(server, otelier_spans, fields):
    """Spans below it, such as the HTTP client's, are its agent's; those beside it and above it are not."""
    tracer = trace.get_tracer("tests")
    instrumentor = HTTPXClientInstrumentor()
    transport = httpx.Client()
    instrumentor.instrument_client(transport, tracer_provider=otelier_spans.tracer_provider)
    with (
        openai.OpenAI(base_url=server.base_url, api_key="sk-none", http_client=transport) as client,
        otelier.context(user_id="alice", **fields),
        tracer.start_as_current_span("request"),
    ):
        ask(client, system(PROMPT))
        tracer.start_span("beside").end()
        assert otelier.get_agent().source == ("agent" if fields else "app")
    below = dict(otelier_spans.find("POST").attributes)
    assert otelier_spans.find("POST").parent.span_id == otelier_spans.find("chat gpt-4.1").context.span_id
    expected = identity(last(otelier_spans))
    assert identity(below) == expected
    assert below["user.id"] == "alice"
    # The fingerprint is part of who an agent is that is known by it only.
    assert below.get(KEY) == (None if fields else FINGERPRINT)
    for name in ("request", "beside"):
        others = dict(otelier_spans.find(name).attributes)
        assert identity(others) == (expected if fields else {})
        assert KEY not in others


def test_fields_set_below_a_call_keep_its_agent(server, otelier_spans):
    """A hook of the HTTP client that sets a field does not change whose call it is, nor what it is elsewhere."""
    tracer = trace.get_tracer("tests")
    seen = []

    def hook(request):
        otelier.set_context(user_id="bob")
        seen.append(otelier.get_agent().name)
        tracer.start_span("hook").end()
        with otelier.context(user_id=""):
            tracer.start_span("inner").end()

    with (
        openai.OpenAI(
            base_url=server.base_url, api_key="sk-none", http_client=httpx.Client(event_hooks={"request": [hook]})
        ) as client,
        otelier.context(user_id="alice"),
    ):
        ask(client, system(PROMPT))
        with otelier.context(user_id="bob"):
            tracer.start_span("beside").end()
            assert otelier.get_agent().source == "app"
    otelier.set_context(user_id="")
    tracer.start_span("after").end()
    assert seen == [known_by(PROMPT)["gen_ai.agent.name"]]
    for name in ("hook", "inner"):
        assert identity(otelier_spans.find(name).attributes) == known_by(PROMPT)
    for name in ("beside", "after"):
        assert identity(otelier_spans.find(name).attributes) == {}


def test_metrics_carry_the_agents_name_only(client, otelier_spans):
    """The points of a call have the name that its prompt gives, and neither id nor fingerprint."""
    ask(client, system(PROMPT))
    metrics = otelier_spans.metrics()
    for name in ("gen_ai.client.operation.duration", "gen_ai.client.token.usage"):
        for point in metrics[name]:
            assert point["attributes"]["gen_ai.agent.name"] == known_by(PROMPT)["gen_ai.agent.name"]
            assert not {KEY, "otelier.agent.id", "otelier.agent.source"} & point["attributes"].keys()


def test_log_records_below_a_call(server, otelier_spans, monkeypatch):
    """The content event of a call, and what is logged while it runs, is its agent's."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "event_only")
    OpenAIInstrumentor().uninstrument()
    OpenAIInstrumentor().instrument(
        tracer_provider=otelier_spans.tracer_provider, logger_provider=otelier_spans.logger_provider
    )
    with openai.OpenAI(base_url=server.base_url, api_key="sk-none") as client:
        ask(client, system(PROMPT))
    (event,) = (
        entry for entry in otelier_spans.logs if entry.event_name == "gen_ai.client.inference.operation.details"
    )
    assert identity(event.attributes) == known_by(PROMPT)
    assert event.attributes[KEY] == FINGERPRINT


def test_registered_with_its_fingerprint(client, otelier_spans):
    """The first call of such an agent tells of it, with the fingerprint and without the prompt."""
    for _ in range(3):
        ask(client, system(PROMPT))
    (event,) = (entry for entry in otelier_spans.logs if entry.event_name == "otelier.agent.registered")
    assert event.attributes == {**known_by(PROMPT), KEY: FINGERPRINT}
    assert "billing" not in str(event)


def test_every_way_to_call(server, otelier_spans):
    """Streams, asynchronous calls and raw responses are known alike."""

    async def main():
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="sk-none") as client:
            await ask(client, system(PROMPT))
            async for _ in await ask(client, system(PROMPT), stream=True):
                pass
            await client.responses.create(model="gpt-4.1", instructions=PROMPT, input="Hello")

    with openai.OpenAI(base_url=server.base_url, api_key="sk-none") as client:
        for _ in ask(client, system(PROMPT), stream=True):
            pass
        client.chat.completions.with_raw_response.create(model="gpt-4.1", messages=[system(PROMPT), ASKED])
        client.with_options(max_retries=1).chat.completions.create(model="gpt-4.1", messages=[system(PROMPT), ASKED])
    asyncio.run(main())
    assert [(span.attributes[KEY], identity(span.attributes)) for span in otelier_spans.spans] == [
        (FINGERPRINT, known_by(PROMPT))
    ] * 6


def test_a_failed_call_is_its_agents_too(client, server, otelier_spans):
    """The span of a call that fails tells whose it was."""
    server.fail(400)
    with pytest.raises(openai.BadRequestError):
        ask(client, system(PROMPT))
    assert identity(last(otelier_spans)) == known_by(PROMPT)


def test_without_init_nothing_is_added(server):
    """The instrumentor alone adds nothing of ours, whatever the prompt says."""
    recorder = SpanRecorder()
    OpenAIInstrumentor().instrument(tracer_provider=recorder.tracer_provider, meter_provider=recorder.meter_provider)
    try:
        with openai.OpenAI(base_url=server.base_url, api_key="sk-none") as client:
            ask(client, system(PROMPT))
    finally:
        OpenAIInstrumentor().uninstrument()
    assert not [key for key in last(recorder) if key.startswith("otelier.") or "agent" in key]
    assert recorder.logs == ()


def test_a_prompt_of_ten_megabytes(client, server, otelier_spans):
    """It is sent whole, exactly once, and known by its beginning; so is one of many parts or messages."""
    long = f"{PROMPT} " * 190_000
    assert len(long) > 10_000_000
    answer = ask(client, system(long))
    assert answer.choices[0].message.content
    (request,) = server.requests
    assert request.body["messages"][0]["content"] == long
    assert last(otelier_spans)[KEY] == prompt_fingerprint(long)
    parts = [{"type": "text", "text": PROMPT}] * 10_000
    ask(client, system(parts))
    assert last(otelier_spans)[KEY] == prompt_fingerprint(long)
    ask(client, *[system(PROMPT)] * 1_000)
    assert KEY in last(otelier_spans)


def broken(text):
    raise RuntimeError("s3cret")


def slow(text):
    time.sleep(0.11)  # longer than a recipe should take


RECIPES = {
    "raising": broken,
    "slow": slow,
    "wrong": lambda text: 5,
    "blank": lambda text: " ",
    "none": lambda text: None,
    "off": None,
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_recipe_that_does_not_work(client, server, otelier_spans, recipe, caplog):
    """The call happens once with its own result, as the process's own agent's; at most one warning tells of it."""
    otelier.init(app="orchestrator", fingerprint=recipe, tracer_provider=otelier_spans.tracer_provider)
    server.reply("Hi")
    assert ask(client, system(PROMPT)).choices[0].message.content == "Hi"
    assert len(server.requests) == 1
    assert KEY not in last(otelier_spans)
    assert last(otelier_spans)["gen_ai.agent.name"] == "orchestrator"
    assert sum(record.levelno >= logging.WARNING for record in caplog.records) <= 1
    assert "s3cret" not in caplog.text


def test_a_recipe_of_the_users_own(client, otelier_spans):
    """What it says names the agent, and stands on the span as it is."""
    otelier.init(fingerprint=lambda text: f"v1/{text.split()[3]}", tracer_provider=otelier_spans.tracer_provider)
    ask(client, system(PROMPT))
    assert last(otelier_spans)[KEY] == "v1/billing"
    assert identity(last(otelier_spans))["gen_ai.agent.name"] == f"agent-{agent_id_for('v1/billing')[:8]}"


def test_a_recipe_that_asks_a_model(client, server, otelier_spans):
    """Its own calls are made, once each, and known by no prompt."""

    def asking(text):
        ask(client, system("You name agents."))
        return "named"

    otelier.init(fingerprint=asking, tracer_provider=otelier_spans.tracer_provider)
    ask(client, system(PROMPT))
    assert len(server.requests) == 2
    assert [span.attributes.get(KEY) for span in otelier_spans.spans] == [None, "named"]


def test_more_prompts_than_agents(client, otelier_spans, caplog):
    """From the 201st prompt on calls are the process's own agent's, with one warning."""
    otelier.init(app="orchestrator", tracer_provider=otelier_spans.tracer_provider)
    for number in range(210):
        word = str(number).translate(str.maketrans("0123456789", "abcdefghij"))
        ask(client, system(f"You serve {word}."))
    sources = [span.attributes["otelier.agent.source"] for span in otelier_spans.spans]
    assert sources == ["fingerprint"] * 200 + ["app"] * 10
    assert all((KEY in span.attributes) == (index < 200) for index, span in enumerate(otelier_spans.spans))
    assert sum("system prompts" in record.getMessage() for record in caplog.records) == 1
