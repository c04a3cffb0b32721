"""The report that is read from exported telemetry."""

from __future__ import annotations

from otelier.cli.demo._report import (
    MODEL_HOST,
    known_by_prompt,
    most_interesting,
    percentile,
    received,
    signals,
    total,
    traces,
    tree,
    usage,
)
from tests.cli.records import call, log, points, span


def shape(branches):
    return [(len(branch.lasts), branch.label) for branch in branches]


def test_calls_are_counted_per_agent_and_user():
    """Calls, tokens and errors of one agent for one user make one row; other spans count nowhere."""
    spans = [
        call(0, 100, tokens=(10, 1)),
        call(0, 300, tokens=(20, 2), status="ERROR"),
        call(0, 50, agent="billing", tokens=(5, 5)),
        call(0, 70, user="globex/dana", tokens=(7, 7)),
        span("look up"),
    ]
    rows = [
        (row.agent, row.user, row.calls, row.input_tokens, row.output_tokens, row.errors, round(row.p50_s, 3))
        for row in usage(spans)
    ]
    assert rows == [
        ("billing", "acme/alice", 1, 5, 5, 0, 0.05),
        ("triage", "acme/alice", 2, 30, 3, 1, 0.2),
        ("triage", "globex/dana", 1, 7, 7, 0, 0.07),
    ]
    assert (total(spans).calls, total(spans).errors, total(spans).input_tokens) == (4, 1, 42)


def test_a_call_without_agent_or_user_is_a_row_too():
    """What was attributed to nobody is not hidden."""
    (row,) = usage([call(agent=None, user=None)])
    assert (row.agent, row.user, row.calls) == ("", "", 1)


def test_an_agents_own_span_is_no_call_to_a_model():
    """Only the operations that ask a model count as calls."""
    assert usage([span("invoke_agent triage", gen_ai__operation__name="invoke_agent")]) == []


def test_percentiles():
    """They lie between the values, and exist for one value and for none."""
    assert percentile([], 50) == 0.0
    assert percentile([3.0], 95) == 3.0
    assert percentile([1.0, 2.0, 3.0], 50) == 2.0
    assert percentile([0.0, 1.0], 95) == 0.95


def test_tree_has_children_below_their_parents_in_time():
    """Depth and order are those of the spans, in whatever order these arrived."""
    root = span("request", 0, 100)
    first = call(1, 10, parent=root)
    second = span("look up", 20, 30, parent=root)
    below = span("query", 21, 22, parent=second)
    assert shape(tree([below, second, root, first])) == [
        (0, "request"),
        (1, "chat gpt-4.1"),
        (1, "look up"),
        (2, "query"),
    ]


def test_tree_keeps_a_span_whose_parent_is_elsewhere():
    """A parent in another process, or one that was not exported, makes a root of its child."""
    elsewhere = span("caller")
    assert shape(tree([span("request", parent=elsewhere)])) == [(0, "request")]


def test_messages_of_a_request_are_one_line():
    """The spans that ASGI makes for each message stand together, as the last line of their parent."""
    root = span("POST /chat")
    spans = [
        root,
        span("POST /chat http receive", 1, 2, parent=root, asgi__event__type="http.request"),
        call(3, 4, parent=root),
        span("POST /chat http send", 5, 6, parent=root, asgi__event__type="http.response.start"),
        span("POST /chat http send", 6, 7, parent=root, asgi__event__type="http.response.body"),
    ]
    lines = tree(spans)
    assert shape(lines) == [(0, "POST /chat"), (1, "chat gpt-4.1"), (1, "3 ASGI messages")]
    assert [line.folded for line in lines] == [False, False, True]
    assert [line.lasts for line in lines] == [(), (False,), (True,)]


def test_the_trace_with_most_agents_is_shown():
    """A hand-over says more than many spans of one agent; of equals the last is taken, and of none nothing."""
    plain = [span(str(number), trace=1) for number in range(5)]
    handed_over = [span("a", trace=2), span("b", trace=2, agent="billing")]
    later = [span("c", 5, 6, trace=3), span("d", 5, 6, trace=3, agent="billing")]
    assert most_interesting(traces([*plain, *handed_over, *later]).values()) == later
    assert most_interesting([]) == []


def test_signals_say_how_many_carry_user_and_agent():
    """Each signal is counted, and in it what carries whom."""
    counted = signals([span("a"), call(user=None)], [log(), log(agent=None)], points(1, 2, 3))
    assert [(one.name, one.count, one.with_user, one.with_agent) for one in counted] == [
        ("spans", 2, 1, 2),
        ("calls to the model", 1, 0, 1),
        ("log records", 2, 2, 1),
        ("agents registered", 0, 0, 0),
        ("metric points", 3, 0, 3),
    ]


def test_signals_say_what_came_from_which_service():
    """Every signal is counted for every service, the one that was asked first before those that it asked."""
    spans = [span("answer", 5, 9, service="payments"), span("ask", 0, 10, service="support"), call(1, 2)]
    counted = signals(spans, [log(service="support")], points(1, 2, 3, service="payments"))
    assert {one.name: one.by_service for one in counted} == {
        "spans": {"support": 1, "test": 1, "payments": 1},
        "calls to the model": {"support": 0, "test": 1, "payments": 0},
        "log records": {"support": 1, "test": 0, "payments": 0},
        "agents registered": {"support": 0, "test": 0, "payments": 0},
        "metric points": {"support": 0, "test": 0, "payments": 3},
    }
    assert list(counted[0].by_service) == ["support", "test", "payments"]


def test_agents_that_only_their_prompt_tells_of():
    """Each with its fingerprint, once; named agents are left out, though their calls have one too."""
    named = {"otelier__agent__source": "agent", "otelier__agent__fingerprint": "fp1:bb"}
    unnamed = {"otelier__agent__source": "fingerprint", "otelier__agent__fingerprint": "fp1:aa"}
    spans = [call(**named), call(agent="agent-aa", **unnamed), call(agent="agent-aa", **unnamed)]
    assert known_by_prompt([*spans, span("POST", agent="agent-aa", **unnamed)]) == {"agent-aa": "fp1:aa"}
    assert known_by_prompt(spans[:1]) == {}


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
