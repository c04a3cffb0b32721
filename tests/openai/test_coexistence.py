"""Calls that somebody else reports: their span gets the call's agent and fields, and ours says nothing.

Here somebody else is a few lines under a known name; tests/beside has the real packages.
"""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace
from typing import Any

import openai
import pytest
import wrapt
from openai.resources.chat.completions import AsyncCompletions, Completions
from opentelemetry import trace
from opentelemetry.context import attach, detach, get_current, set_value
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import otelier
from otelier.identity import prompt_fingerprint
from otelier.openai import OpenAIInstrumentor, _coexistence, defers_to
from otelier.openai.operations._operation import Operation
from otelier.testing import OpenAIServer, SpanRecorder
from tests.openai.instant import waiting_call, waiting_calls

PROMPT = "You are a billing agent."
FINGERPRINT = prompt_fingerprint(PROMPT)
PROMPTED: Any = [{"role": "system", "content": PROMPT}, {"role": "user", "content": "Hello"}]
KNOWN = "openinference.instrumentation.openai"
SOURCE = """
def begun(attributes):
    return tracer.start_as_current_span("theirs", attributes=attributes)

def around(wrapped, instance, args, kwargs):
    with begun(attributes):
        return wrapped(*args, **kwargs)

async def around_async(wrapped, instance, args, kwargs):
    with begun(attributes):
        return await wrapped(*args, **kwargs)
"""


@pytest.fixture(autouse=True)
def methods_as_they_were():
    """After each test the client's methods are its own, whoever has put something around them."""
    before = [(owner, vars(owner)["create"]) for owner in (Completions, AsyncCompletions)]
    yield
    for owner, method in before:
        owner.create = method


@pytest.fixture
def client(otelier_spans):
    with OpenAIServer() as server, openai.OpenAI(base_url=server.base_url, api_key="sk-none", max_retries=0) as made:
        yield made


def other(module: str, provider: Any = None, **attributes: Any) -> dict[str, Any]:
    """An instrumentation in *module*, whose spans begin with *attributes*."""
    tracer = (provider or trace).get_tracer(module)
    namespace = {"__name__": module, "tracer": tracer, "attributes": attributes}
    exec(SOURCE, namespace)  # functions know the module they are in
    return namespace


def put_around(instrumentation: dict[str, Any]) -> None:
    """Put *instrumentation* around the methods as they are now."""
    for owner, name in ((Completions, "around"), (AsyncCompletions, "around_async")):
        owner.create = wrapt.FunctionWrapper(vars(owner)["create"], instrumentation[name])


def ask(client: openai.OpenAI) -> None:
    client.chat.completions.create(model="gpt-4.1", messages=PROMPTED)


def ask_async(client: openai.OpenAI) -> None:
    async def main() -> None:
        plain = openai.DefaultAsyncHttpxClient(verify=False)
        async with openai.AsyncOpenAI(base_url=client.base_url, api_key="sk-none", http_client=plain) as made:
            await made.chat.completions.create(model="gpt-4.1", messages=PROMPTED)

    asyncio.run(main())


def identity(recorder: SpanRecorder, name: str = "theirs") -> tuple[Any, ...]:
    """Who made the one call, as the one span for it says."""
    (span,) = recorder.spans
    assert span.name == name
    keys = ("user.id", "gen_ai.agent.name", "otelier.agent.source", "otelier.agent.fingerprint")
    return tuple(span.attributes.get(key) for key in keys)


def ours(recorder: SpanRecorder) -> list[str]:
    """Names of what otelier itself reports of calls."""
    points = [point.name for point in recorder.metric_points if point.name.startswith("gen_ai.") and point.count]
    return [*points, *(span.name for span in recorder.spans if span.name != "theirs")]


@pytest.mark.parametrize("begins_with", [{}, {"gen_ai.operation.name": "chat"}, {"openinference.span.kind": "LLM"}])
@pytest.mark.parametrize("first", ["otelier", "other"])
@pytest.mark.parametrize("call", [ask, ask_async])
def test_a_known_instrumentation(client, otelier_spans, begins_with, first, call):
    """Whichever is there first: of two calls each has one span, and a prompt names its agent."""
    if first == "other":
        OpenAIInstrumentor().uninstrument()
    put_around(other(KNOWN, **begins_with))
    otelier.init(app="shop")
    OpenAIInstrumentor().instrument()
    for _ in range(2):
        with otelier.context(user_id="u-1"):
            call(client)
        assert identity(otelier_spans) == ("u-1", f"agent-{FINGERPRINT[4:12]}", "fingerprint", FINGERPRINT)
        assert ours(otelier_spans) == []
        otelier_spans.clear()


def test_an_instrumentation_that_comes_later(client, otelier_spans):
    """One that is switched on while the program runs is noticed with the next call."""
    otelier.init(app="shop")
    ask(client)
    assert [span.name for span in otelier_spans.spans] == ["chat gpt-4.1"]
    otelier_spans.clear()
    put_around(other(KNOWN))
    ask(client)
    assert [span.name for span in otelier_spans.spans] == ["theirs"]
    otelier_spans.clear()
    with otelier.context(user_id="u-1", agent="billing"):
        ask(client)
    assert identity(otelier_spans) == ("u-1", "billing", "agent", FINGERPRINT)


def test_an_unknown_wrapper(client, otelier_spans):
    """What else is put around the client's methods changes nothing."""
    put_around(other("acme.decorators"))
    assert not defers_to("acme.decorators")
    ask(client)
    assert sorted(span.name for span in otelier_spans.spans) == ["chat gpt-4.1", "theirs"]


def test_an_instrumentation_whose_spans_are_not_sampled(client, otelier_spans):
    """Then there is no span to look at, and still nothing of ours."""
    unsampled = SpanRecorder(sampler=ALWAYS_OFF)
    put_around(other(KNOWN, unsampled.tracer_provider))
    for _ in range(2):
        ask(client)
    assert otelier_spans.spans == ()
    assert ours(otelier_spans) == []


@pytest.mark.parametrize(
    ("begins_with", "owned"),
    [
        ({"gen_ai.operation.name": "chat"}, True),
        ({"openinference.span.kind": "LLM"}, True),
        ({"llm.request.type": "chat"}, True),
        ({"gen_ai.operation.name": "invoke_agent"}, False),
        ({"openinference.span.kind": "AGENT"}, False),
        ({"gen_ai.operation.name": "embeddings"}, False),
        ({"http.route": "/"}, False),
    ],
    ids=str,
)
def test_inside_a_span_of_a_framework(client, otelier_spans, begins_with, owned):
    """A span that stands for the call is stamped, though it began before the prompt was known; others are parents."""
    otelier.init(app="shop")
    tracer = trace.get_tracer("framework")
    with otelier.context(user_id="u-1"), tracer.start_as_current_span("theirs", attributes=begins_with):
        ask(client)
    if owned:
        assert identity(otelier_spans) == ("u-1", f"agent-{FINGERPRINT[4:12]}", "fingerprint", FINGERPRINT)
        assert ours(otelier_spans) == []
    else:
        assert {span.name for span in otelier_spans.spans} == {"theirs", "chat gpt-4.1"}


def test_an_agent_that_a_framework_names(client, otelier_spans):
    """Its name stays and gives the id; the fingerprint stands there too."""
    otelier.init(app="shop")
    begins_with = {"gen_ai.operation.name": "chat", "gen_ai.agent.name": "theirs"}
    tracer = trace.get_tracer("framework")
    with otelier.context(user_id="u-1"), tracer.start_as_current_span("theirs", attributes=begins_with):
        ask(client)
    assert identity(otelier_spans) == ("u-1", "theirs", "agent", FINGERPRINT)
    with otelier.context(agent="theirs"):
        assert otelier_spans.find("theirs").attributes["otelier.agent.id"] == otelier.get_agent().id


@pytest.mark.parametrize("limit", [None, 10])
@pytest.mark.parametrize("known", ["born", "unseen"])
def test_several_calls_in_one_span(client, limit, known):
    """The newest prompt's agent stands there, also where a limit on the length of values has cut the one before."""
    otelier.init(app="the-whole-shop")
    provider = TracerProvider(span_limits=SpanLimits(max_span_attribute_length=limit), shutdown_on_exit=False)
    if known == "born":
        provider.add_span_processor(otelier.AgentSpanProcessor())
    begins_with = {"gen_ai.operation.name": "chat"}
    with provider.get_tracer("framework").start_as_current_span("theirs", attributes=begins_with) as span:
        for prompt in ("You are a shipping agent.", PROMPT):
            client.chat.completions.create(model="gpt-4.1", messages=[{"role": "system", "content": prompt}])
            fingerprint = prompt_fingerprint(prompt)
            assert span.attributes["gen_ai.agent.name"] == f"agent-{fingerprint[4:12]}"[:limit]
            assert span.attributes["otelier.agent.source"] == "fingerprint"[:limit]
            assert span.attributes["otelier.agent.fingerprint"] == fingerprint[:limit]
        client.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": "Hello"}])
        assert span.attributes["gen_ai.agent.name"] == "the-whole-shop"[:limit]
        assert span.attributes["otelier.agent.fingerprint"] == ""


@pytest.mark.parametrize(
    "key", ["opentelemetry.genai.client.inference.context", "suppress_language_model_instrumentation"]
)
def test_what_a_context_says(client, otelier_spans, key):
    """Where the context says that the call is reported already, ours says nothing."""
    token = attach(set_value(key, True, get_current()))
    ask(client)
    detach(token)
    assert ours(otelier_spans) == []


def test_the_context_is_the_callers_again(client, otelier_spans):
    """After a call that is somebody else's, and after one of them that fails, nothing of it is left."""
    otelier.init(app="shop")
    put_around(other(KNOWN))
    before = get_current()
    ask(client)
    assert get_current() is before
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="error-400", messages=PROMPTED)
    assert get_current() is before
    assert [span.name for span in otelier_spans.spans] == ["theirs", "theirs"]


@pytest.mark.parametrize("model", ["gpt-4.1", "error-400"])
def test_a_fault_in_leaving_a_call(client, otelier_spans, monkeypatch, quiet_faults, caplog, model):
    """A fault of ours at the end of a call that is somebody else's leaves its answer, or its exception, as it is."""
    otelier.init(app="shop")
    put_around(other(KNOWN))

    async def main() -> str:
        plain = openai.DefaultAsyncHttpxClient(verify=False)
        async with openai.AsyncOpenAI(base_url=client.base_url, api_key="sk-none", http_client=plain) as made:
            try:
                return (await made.chat.completions.create(model=model, messages=PROMPTED)).model
            except openai.BadRequestError:
                return "error-400"

    def broken() -> None:
        raise LookupError

    monkeypatch.setattr(_coexistence, "get_current", broken)
    assert asyncio.run(main()) == model
    assert "openai.context" in caplog.text


def test_a_fault_in_reading_a_prompt(client, otelier_spans, monkeypatch, quiet_faults, caplog):
    """A fault of ours in looking for the agent that a prompt belongs to costs the agent, not the call."""
    otelier.init(app="shop")

    def broken(*_: object) -> None:
        raise LookupError

    monkeypatch.setattr(Operation, "fingerprint", broken)
    ask(client)
    assert [span.name for span in otelier_spans.spans] == ["chat gpt-4.1"]
    assert "openai.fingerprint" in caplog.text


def test_a_call_that_is_closed_elsewhere(client, otelier_spans, foreign_detaches):
    """A coroutine that is closed in another context than it ran in leaves that one as it is."""
    put_around(other(KNOWN))
    otelier.init(app="shop")
    with waiting_call(messages=PROMPTED) as call, otelier.context(user_id="bob"):
        before = get_current()
        call.close()
        assert get_current() is before
    assert identity(otelier_spans)[0] == "alice"
    foreign_detaches.clear()  # of the other instrumentation, which uses a token


def test_a_call_that_is_closed_inside_another(otelier_spans, foreign_detaches):
    """A coroutine that is closed inside another call of the same client leaves that call's context as it is."""
    put_around(other(KNOWN))
    otelier.init(app="shop")
    with waiting_calls("alice", "bob", messages=PROMPTED) as ((_, closed), (inside, _)):
        before = inside.run(get_current)
        inside.run(closed.close)
        assert inside.run(get_current) is before
    foreign_detaches.clear()  # of the other instrumentation, which uses a token


def test_calls_inside_calls(client, otelier_spans):
    """A call that a client's own transport makes with another client is a call of its own."""
    with openai.OpenAI(base_url=client.base_url, api_key="sk-none") as inner:
        client._client.event_hooks["request"].append(lambda _: ask(inner))
        ask(client)
    inner_span, outer_span = otelier_spans.spans
    assert inner_span.parent.span_id == outer_span.context.span_id


def test_a_known_instrumentation_inside_a_framework(client, otelier_spans):
    """Where both report a call, both their spans have the fingerprint, also when the agent is named."""
    put_around(other(KNOWN))
    otelier.init(app="shop")
    tracer = trace.get_tracer("framework")
    framework = tracer.start_as_current_span("theirs", attributes={"gen_ai.operation.name": "chat"})
    with otelier.context(agent="billing"), framework:
        ask(client)
    keys = ("gen_ai.agent.name", "otelier.agent.fingerprint")
    found = [tuple(span.attributes.get(key) for key in keys) for span in otelier_spans.spans]
    assert found == [("billing", FINGERPRINT)] * 2


def test_an_instrumentation_that_is_switched_off(client, otelier_spans, monkeypatch):
    """The official one leaves its wrappers where they are when it is switched off: then the calls are ours again."""
    official = "opentelemetry.instrumentation.genai.openai"
    instrumentor = SimpleNamespace(is_instrumented_by_opentelemetry=False)
    module = SimpleNamespace(OpenAIInstrumentor=lambda: instrumentor)
    monkeypatch.setitem(sys.modules, official, module)
    put_around(other(official))
    ask(client)
    assert sorted(span.name for span in otelier_spans.spans) == ["chat gpt-4.1", "theirs"]
    otelier_spans.clear()
    instrumentor.is_instrumented_by_opentelemetry = True
    ask(client)
    assert [span.name for span in otelier_spans.spans] == ["theirs"]
