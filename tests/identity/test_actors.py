"""Agents that a framework's own spans name: everything below them belongs to that agent, and to no other."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.trace import SpanKind

import otelier
from otelier.fields._inheritance import state_of
from otelier.identity import agent_id_for
from tests.scripted import Model, model

__all__ = ["model"]

INVOKE = {"gen_ai.operation.name": "invoke_agent"}
SAYING = {
    "the conventions' name": {**INVOKE, "gen_ai.agent.name": "helper"},
    "name and an id of the object": {**INVOKE, "gen_ai.agent.name": "helper", "gen_ai.agent.id": "0x7f"},
    "openinference": {"openinference.span.kind": "AGENT", "agent.name": "helper"},
    "a call of pydantic-ai": {"gen_ai.operation.name": "chat", "gen_ai.agent.name": "helper"},
    "a tool's call": {"gen_ai.operation.name": "execute_tool", "gen_ai.agent.name": "helper"},
    "a span of anybody's": {"gen_ai.agent.name": "helper"},
}
PROMPTED = [{"role": "system", "content": "You are the billing agent."}, {"role": "user", "content": "Hi"}]


def named(attributes):
    keys = ("gen_ai.agent.name", "gen_ai.agent.id", "otelier.agent.id", "otelier.agent.source")
    return {key: attributes[key] for key in keys if key in attributes}


HELPER = {"gen_ai.agent.name": "helper", "otelier.agent.id": agent_id_for("helper"), "otelier.agent.source": "agent"}


def registered(recorder):
    return [
        (entry.attributes["gen_ai.agent.name"], entry.attributes.get("otelier.agent.fingerprint"))
        for entry in recorder.logs
        if entry.event_name == "otelier.agent.registered"
    ]


def counted(recorder):
    points = recorder.metrics().get("otelier.agent.registrations", [])
    return {point["attributes"]["otelier.agent.source"]: point["value"] for point in points}


@pytest.fixture
def call(otelier_spans, model: Model):
    """Ask the model with a system prompt; each request has a span of the HTTP client's."""
    tracer = otelier_spans.tracer_provider.get_tracer("http")
    model.client._client.event_hooks = {"request": [lambda _: tracer.start_span("POST", kind=SpanKind.CLIENT).end()]}

    def call(messages=PROMPTED):
        model.client.chat.completions.create(model="gpt-4.1", messages=messages)

    return call


@pytest.fixture
def span(otelier_spans):
    """Make a span of a framework's current."""
    return otelier_spans.tracer_provider.get_tracer("framework").start_as_current_span


@pytest.mark.parametrize("saying", SAYING.values(), ids=SAYING)
@pytest.mark.parametrize("fields", [{}, {"user_id": "u-1"}], ids=["nothing set", "a user set"])
def test_a_call_below_a_frameworks_span(otelier_spans, call, span, saying, fields):
    """What is below the span says the framework's agent; none is made of the prompt, registered or counted."""
    with otelier.context(**fields), span("invoke_agent helper", attributes=saying), span("step"):
        call()
        assert otelier.get_agent().name == "helper"
    for name in ("step", *(one.name for one in otelier_spans.spans if one.name in ("chat gpt-4.1", "POST"))):
        attributes = otelier_spans.find(name).attributes
        assert named(attributes) == HELPER
        assert attributes.get("user.id") == fields.get("user_id")
    assert "POST" in [one.name for one in otelier_spans.spans]
    assert {name for name, _ in registered(otelier_spans)} == {"helper"}
    assert counted(otelier_spans) == {"agent": 1}
    agents = [
        point["attributes"]["gen_ai.agent.name"]
        for point in otelier_spans.metrics().get("gen_ai.client.operation.duration", [])
    ]
    assert agents == ["helper"]


def test_a_name_that_comes_after_the_start(otelier_spans, call, span):
    """A framework may name its agent once its span has begun: a call made right below it is that agent's."""
    with span("run") as opened:
        opened.set_attribute("gen_ai.agent.name", "helper")
        call()
    assert named(otelier_spans.find("chat gpt-4.1").attributes) == HELPER
    assert named(otelier_spans.find("POST").attributes) == HELPER
    assert {name for name, _ in registered(otelier_spans)} == {"helper"}


def test_an_id_alone(otelier_spans, call, span):
    """A span that has no name for its agent names it by its id."""
    with span("run", attributes={**INVOKE, "gen_ai.agent.id": "asst_1"}):
        call()
    assert named(otelier_spans.find("POST").attributes) == {
        "gen_ai.agent.id": "asst_1",
        "otelier.agent.id": "asst_1",
        "otelier.agent.source": "agent_id",
    }


@pytest.mark.parametrize("where", ["around", "inside"])
def test_what_is_set_comes_first(otelier_spans, call, span, where):
    """An agent that the program sets, around the framework's span or in it, makes the calls; the span keeps its own."""
    if where == "around":
        with otelier.context(agent="billing"), span("run", attributes=SAYING["the conventions' name"]):
            call()
    else:
        with span("run", attributes=SAYING["the conventions' name"]), otelier.context(agent="billing"):
            call()
    assert otelier_spans.find("chat gpt-4.1").attributes["gen_ai.agent.name"] == "billing"
    assert otelier_spans.find("POST").attributes["gen_ai.agent.name"] == "billing"
    assert otelier_spans.find("run").attributes["gen_ai.agent.name"] == "helper"


def test_the_innermost_span_counts(otelier_spans, span):
    """Below an agent that another one asked it is the inner one; after it the outer one again, and then none."""
    with span("outer", attributes={"gen_ai.agent.name": "triage"}):
        with span("inner", attributes={"gen_ai.agent.name": "helper"}):
            assert otelier.get_agent().name == "helper"
        assert otelier.get_agent().name == "triage"
        assert otelier.get_context() == otelier.CallContext()
    assert otelier.get_agent().source in (None, "app")


def test_a_user_set_inside(otelier_spans, span):
    """What is set in a framework's span goes with its agent, and into work of a thread pool."""
    with span("run", attributes={"gen_ai.agent.name": "helper"}), ThreadPoolExecutor(1) as pool:
        otelier.set_context(user_id="u-1")
        agent, context = pool.submit(lambda: (otelier.get_agent().name, otelier.get_context())).result()
    assert (agent, context) == ("helper", otelier.CallContext(user_id="u-1"))


def test_the_agent_of_a_span_is_no_field(otelier_spans, span):
    """It is not sent to other processes, and a state that is pickled knows it still."""
    with span("run", attributes={"gen_ai.agent.name": "helper"}), otelier.context(user_id="u-1"):
        state = state_of()
    assert "gen_ai.agent.name" not in state.baggage
    assert pickle.loads(pickle.dumps(state)) is state


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.operation.name": "create_agent", "gen_ai.agent.name": "helper"},
        {"gen_ai.agent.name": ""},
        {"gen_ai.agent.name": 7},
        {"gen_ai.agent.name": "a\nb"},
        {"gen_ai.agent.name": "a" * 300},
        {"agent.name": ("helper",)},
    ],
    ids=str,
)
def test_what_names_nobody(otelier_spans, call, span, attributes):
    """A span that makes an agent elsewhere, or says what is no name, names nobody: the prompt's agent calls."""
    with span("run", attributes=attributes):
        call()
    assert otelier_spans.find("chat gpt-4.1").attributes["otelier.agent.source"] == "fingerprint"


def test_what_otelier_stamps_late_names_nobody_below(otelier_spans, call, span):
    """An agent that `set_context` puts on an open span is the span's only, and no actor for its later children."""
    with span("request", kind=SpanKind.SERVER) as request:
        with otelier.context():
            otelier.set_context(agent="billing")
        assert request.attributes["gen_ai.agent.name"] == "billing"
        call()
    assert otelier_spans.find("chat gpt-4.1").attributes["otelier.agent.source"] == "fingerprint"


def test_ten_thousand_names(otelier_spans, span):
    """Names without end cost no memory without end."""
    for number in range(10_000):
        with span("run", attributes={"gen_ai.agent.name": f"helper-{number}"}):
            pass
    assert len(state_of().below) <= 1_024
