"""What comes in under our keys: nothing of it counts or travels on, unless the application trusts it."""

from __future__ import annotations

import http.client
import pickle

import pytest
from opentelemetry import baggage, propagate
from opentelemetry.context import Context, attach, get_current
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind

import otelier
from tests.baggage.hostile import ALL, HOSTILE, KEYS, keys, passed_on, with_our_own
from tests.serving import asgi_server

NOBODY = otelier.CallContext()
hostile = pytest.mark.parametrize("header", HOSTILE.values(), ids=HOSTILE)


@pytest.fixture
def trusting():
    otelier.init(trust_inbound=True)


@pytest.fixture
def distrusting():
    otelier.init()


def extract(header, context=None, **more):
    return propagate.extract({"baggage": header, **more}, context=Context() if context is None else context)


@hostile
def test_untrusted_it_is_nothing(distrusting, spans, header):
    """No field, no attribute, no baggage entry, and nothing that the propagator passes on."""
    context = extract(with_our_own(header))
    attach(context)
    assert otelier.get_context() == NOBODY
    assert set(baggage.get_all()).isdisjoint(KEYS)
    assert set(keys(passed_on(context))).isdisjoint(KEYS)
    assert spans.born_here() == {}
    if with_our_own(header) != header:
        assert baggage.get_baggage("tenant") == "blue"


@hostile
def test_trusted_it_is_bounded(trusting, spans, header):
    """Each field is text that `set_context` would take, whatever came; nothing of it goes by the propagator."""
    context = extract(with_our_own(header))
    attach(context)
    for value in vars_of(otelier.get_context()):
        if value is not None:
            otelier.set_context(user_id=value)  # raises for what cannot be a field
    assert set(keys(passed_on(context))).isdisjoint(KEYS)
    assert otelier.get_context().agent is None
    assert otelier.get_context().agent_id is None


def born():
    """What a span of this process's own carries."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(otelier.AgentSpanProcessor())
    return dict(provider.get_tracer("tests").start_span("probe").attributes)


def vars_of(fields):
    return [getattr(fields, name) for name in ("user_id", "user_role", "session_id", "workflow_id", "tenant_id")]


def test_before_otelier_is_on_nothing_is_touched():
    """Without `init` the application's baggage is what OpenTelemetry makes of it."""
    assert dict(baggage.get_all(extract("user.id=u-1,tenant=blue"))) == {"user.id": "u-1", "tenant": "blue"}


def test_trusted_fields_are_this_processs_own(trusting, spans):
    """User, role, session, workflow and tenant are set and go on; the agent is the caller's, and out of the baggage."""
    attach(extract("tenant=blue," + ALL))
    assert otelier.get_context() == otelier.CallContext(
        user_id="mallory", user_role="root", session_id="s-9", workflow_id="w-9", tenant_id="t-9"
    )
    assert spans.born_here() == {
        "user.id": "mallory",
        "user.roles": ("root",),
        "session.id": "s-9",
        "otelier.workflow.id": "w-9",
        "otelier.tenant.id": "t-9",
        "otelier.caller.agent.name": "evil",
        "otelier.caller.agent.id": "e-1",
    }
    assert dict(baggage.get_all()) == {
        "tenant": "blue",
        "user.id": "mallory",
        "user.roles": "root",
        "session.id": "s-9",
        "otelier.workflow.id": "w-9",
        "otelier.tenant.id": "t-9",
    }
    assert passed_on(get_current()) == "tenant=blue"


def test_the_caller_never_names_our_calls(trusting, spans):
    """An inbound agent is nobody's name here, below it an agent of ours is, and the caller still stands beside it."""
    attach(extract("gen_ai.agent.name=evil,gen_ai.agent.id=e-1"))
    assert otelier.get_agent().source != "agent"
    assert otelier.get_agent().name != "evil"
    genai = spans.born_here(attributes={"gen_ai.operation.name": "chat"})
    assert genai.get("gen_ai.agent.name") != "evil"
    with otelier.context(agent="billing"):
        span = spans.born_here()
    assert span["gen_ai.agent.name"] == "billing"
    assert span["otelier.caller.agent.name"] == "evil"
    otelier.clear_context()
    assert spans.born_here()["otelier.caller.agent.id"] == "e-1"


def test_the_caller_stands_on_every_span_of_the_request(trusting, spans):
    """Children carry it too, and a request without one does not inherit it."""
    attach(extract("gen_ai.agent.name=triage"))
    with spans.open("request", kind=SpanKind.SERVER), spans.open("inner"):
        otelier.set_context(user_id="u-1")
        spans.born_here("leaf")
    assert [spans[name].get("otelier.caller.agent.name") for name in ("request", "inner", "leaf")] == ["triage"] * 3
    attach(extract("user.id=u-2"))
    assert "otelier.caller.agent.name" not in spans.born_here()


def test_the_caller_goes_along_with_a_bound_function(trusting):
    """`propagate` takes the caller to raw threads, and pickled to other processes, where it still names no agent."""
    attach(extract("gen_ai.agent.name=triage,gen_ai.agent.id=a-1,user.id=u-1"))
    bound = otelier.propagate(born)
    attach(Context())
    for sent in (bound, pickle.loads(pickle.dumps(bound))):
        assert sent() == {
            "user.id": "u-1",
            "otelier.caller.agent.name": "triage",
            "otelier.caller.agent.id": "a-1",
        }


def test_a_value_set_here_wins(trusting, spans):
    """What was set before the request came in, or is set later, beats what came with it."""
    with otelier.context(user_id="local"):
        attach(extract("user.id=mallory,session.id=s-9", get_current()))
        assert otelier.get_context().user_id == "local"
        assert otelier.get_context().session_id == "s-9"
        otelier.set_context(session_id="mine")
        assert otelier.get_context().session_id == "mine"


def test_a_value_set_here_is_not_replaced_in_a_context_of_its_own(trusting):
    """Where a server makes a Context from nothing but the request, a field set around it is not the caller's to set."""
    with otelier.context(user_id="local"):
        attach(propagate.extract({"baggage": "user.id=mallory,session.id=s-9"}))
        assert otelier.get_context() == otelier.CallContext(session_id="s-9")


def test_a_value_set_here_wins_without_trust(distrusting):
    """An inbound entry takes no field away, nor its entry in the baggage."""
    with otelier.context(user_id="local"):
        attach(baggage.set_baggage("session.id", "the application's own"))
        attach(extract("user.id=mallory,session.id=s-9", get_current()))
        assert otelier.get_context().user_id == "local"
        assert dict(baggage.get_all()) == {"user.id": "local", "session.id": "the application's own"}


@pytest.mark.parametrize(
    ("header", "user", "session"),
    [
        ("user.id=" + "a" * 1025 + ",session.id=ok", None, "ok"),
        ("user.id=" + "a" * 1024, "a" * 1024, None),
        ("user.id=a%0Ab,session.id=ok", None, "ok"),
        ("user.id=%E2%9C%93", "✓", None),
        ("user.id=a,user.id=b", "b", None),
        ("user%2Eid=a", "a", None),
    ],
)
def test_each_field_is_checked_for_itself(trusting, header, user, session, caplog):
    """One that cannot be a field is dropped with a warning that does not say it; the others are taken."""
    attach(extract(header))
    assert (otelier.get_context().user_id, otelier.get_context().session_id) == (user, session)
    told = [record.getMessage() for record in caplog.records if record.name == "otelier" and record.levelname != "INFO"]
    assert told == (["An inbound user_id cannot be a field and is dropped."] if user is None else [])


def test_the_environment_may_trust(monkeypatch):
    """`OTELIER_TRUST_INBOUND` says the same as `init(trust_inbound=True)`."""
    monkeypatch.setenv("OTELIER_TRUST_INBOUND", "true")
    otelier.init()
    attach(extract("user.id=u-1"))
    assert otelier.get_context().user_id == "u-1"


def test_trust_ends_with_shutdown(trusting):
    """After `shutdown` a new `init` trusts nobody."""
    otelier.shutdown()
    otelier.init()
    attach(extract("user.id=u-1"))
    assert otelier.get_context() == NOBODY


@pytest.mark.parametrize("trust", [True, False])
def test_through_a_real_server(spans, trust):
    """An ASGI server under OpenTelemetry's instrumentation: the request's fields, its span, and what it passes on."""
    otelier.init(trust_inbound=trust, tracer_provider=spans.tracer_provider)
    seen = {}

    async def app(scope, receive, send):
        seen["fields"] = otelier.get_context()
        seen["on"] = passed_on(get_current())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    served = OpenTelemetryMiddleware(app, tracer_provider=spans.tracer_provider)
    with asgi_server(served) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        connection.request("GET", "/", headers={"baggage": "tenant=blue," + ALL})
        connection.getresponse().read()
        connection.close()
    assert seen["on"] == "tenant=blue"
    assert seen["fields"].user_id == ("mallory" if trust else None)
    (request,) = [span for span in spans.spans if span.kind is SpanKind.SERVER]
    assert request.attributes.get("user.id") == ("mallory" if trust else None)
    assert request.attributes.get("otelier.caller.agent.name") == ("evil" if trust else None)
    assert "gen_ai.agent.name" not in request.attributes
