"""What is said of the headers that servers were sent."""

from __future__ import annotations

from otelier.cli.demo._received import MODEL_HOST, received, strayed
from tests.cli.records import call, span

OURS = "user.id=acme%2Falice,gen_ai.agent.name=billing"


def kept(parent, *, baggage):
    """What a service keeps of the headers of a request whose trace has *parent*."""
    return {"http__request__header__baggage": (baggage,), "http__request__header__traceparent": (trace(parent),)}


def trace(parent):
    return f"00-{parent.trace_id}-{parent.span_id}-01"


def world(**to_model):
    """Spans of two services and what the model's host was sent."""
    request = span("POST /chat", kind="SERVER", service="support")
    asking = span("POST", 1, parent=request, kind="CLIENT", service="support")
    served = span("POST /reviews", 2, parent=asking, kind="SERVER", service="payments", **kept(asking, baggage=OURS))
    calls = [call(3, parent=request, service="support"), call(3, parent=served, service="payments")]
    sent = [{"traceparent": trace(one), "user-agent": "OpenAI/Python", **to_model} for one in calls]
    return [*calls, served, asking, request], sent


def test_each_server_with_who_asked_it_and_what_came():
    """Services in the order in which they were asked, the model's host last; keys that never came are left out."""
    rows = [(row.server, row.requests, row.senders, dict(row.fields)) for row in received(*world())]
    assert rows == [
        ("support", 1, (), {}),
        ("payments", 1, ("support",), {"user.id": 1, "gen_ai.agent.name": 1}),
        (MODEL_HOST, 2, ("payments", "support"), {}),
    ]


def test_requests_are_counted_by_what_came_with_them():
    """Of two requests one may bring what the other does not; the application's own entries are not ours."""
    spans, sent = world()
    request = spans[-1]
    other = span("POST /reviews", 4, kind="SERVER", service="payments", **kept(request, baggage="shop=1, user.id=x"))
    (row,) = (row for row in received([*spans, other], sent) if row.server == "payments")
    assert (row.requests, row.fields) == (2, {"user.id": 2, "gen_ai.agent.name": 1})


def test_a_request_without_a_trace_is_from_nobody_we_know():
    """So is one of a trace whose span never arrived, or with a header that is none."""
    spans, _ = world()
    sent = [{}, {"traceparent": "nonsense"}, {"traceparent": trace(span("elsewhere"))}]
    assert received(spans, sent)[-1].senders == ()


def test_nothing_strayed():
    """A trace's id, and what the application itself sends, are not ours."""
    assert list(strayed(*world(baggage="shop=1", authorization="Bearer key"))) == []


def test_what_strayed_is_said_without_its_value():
    """A key of ours in baggage, or a value of ours in any header, is a sentence that names the header."""
    for header, value in (
        ("baggage", "shop=1,otelier.workflow.id=unheard-of"),
        ("baggage", "another.key=acme%2Falice"),
        ("x-user", "acme/alice"),
        ("x-agents", "triage, and others"),
    ):
        (sentence,) = strayed(*world(**{header: value}))
        assert sentence == f"2 of 2 requests to the model's host had something of ours in the header {header!r}."
