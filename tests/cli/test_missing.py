"""What is said to be missing in exported telemetry."""

from __future__ import annotations

import dataclasses

import pytest

from otelier.cli.demo._missing import missing
from tests.cli.records import call, log, points, span


def complete():
    """A request to one service, which asks another one; both call a model and log."""
    request = span("POST /chat", kind="SERVER")
    fields = {
        "user__roles": ("admin",),
        "session__id": "s-1",
        "otelier__workflow__id": "w-1",
        "otelier__tenant__id": "t-1",
    }
    asking = span("POST", parent=request, agent="billing", kind="CLIENT", **fields)
    there = {"agent": "auditor", "service": "payments", "otelier__caller__agent__name": "billing", **fields}
    served = span("POST /reviews", parent=asking, kind="SERVER", **there)
    spans = [request, call(parent=request), asking, served, call(parent=served, tokens=(1, 1), **there)]
    metrics = [*points(1, 10, 5), *points(1, 1, 1, service="payments")]
    return spans, [log(), log("reviewed", **there)], metrics


def said(spans=None, logs=None, metrics=None, requests=1):
    """What is missing when the rest is complete."""
    given = zip((spans, logs, metrics), complete())
    return missing(*(whole if one is None else one for one, whole in given), requests=requests)


def without(record, *keys, **changed):
    """*record* less the attributes *keys*, and with those *changed*."""
    kept = {key: value for key, value in record.attributes.items() if key not in keys}
    return dataclasses.replace(record, attributes={**kept, **changed})


def test_nothing_is_missing_when_all_is_there():
    """Spans with their user, calls and log records with their agent, metrics that agree, both services in a trace."""
    assert said() == []


def test_only_the_last_export_of_a_metric_counts():
    """Cumulative points come anew with each export."""
    assert said(metrics=[*points(1, 5, 5), *complete()[2]]) == []


def test_points_of_two_services_add_up():
    """The same series of two services are two."""
    assert said(metrics=complete()[2][3:]) == [
        "The spans tell of 2 calls, and the metrics of 1.",
        "The spans tell of 11 input tokens, and the metrics of 1.",
        "The spans tell of 6 output tokens, and the metrics of 1.",
    ]


def test_a_log_record_outside_a_request_needs_no_user():
    """What the service says of itself is for nobody."""
    assert said(logs=[*complete()[1], log(agent=None, user=None, traced=False)]) == []


def test_what_is_missing_is_said():
    """Each thing that did not arrive, or came without its user or agent, is a sentence that names it."""
    spans, logs, _ = complete()
    assert said(requests=2) == ["2 requests were sent, and 1 traces of a request arrived."]
    assert said(spans=[*spans, span("look up", user=None)]) == [
        "1 of 6 spans carry no user.id; the first is 'look up' of test."
    ]
    assert said(logs=[*logs, log("hello", agent=None)]) == [
        "1 of 3 log records of requests carry no gen_ai.agent.name; the first is 'hello' of demo."
    ]
    assert said(logs=[]) == ["No log record of a request arrived."]
    assert said(spans=[spans[0], spans[2], spans[3]]) == ["No span of a call to the model arrived."]
    assert said(metrics=[])[0] == "The spans tell of 2 calls, and the metrics of 0."
    assert said(spans=[spans[0], call(parent=spans[0], agent=None), *spans[2:]]) == [
        "1 of 2 spans of calls to the model carry no gen_ai.agent.name; the first is 'chat gpt-4.1' of test."
    ]


def test_a_trace_that_ends_between_the_services():
    """A second service that starts a trace of its own, or gets none of the requests, is noticed."""
    spans, _, _ = complete()
    apart = dataclasses.replace(spans[3], parent_id=None)
    assert said(spans=[*spans[:3], apart, spans[4]]) == [
        "1 requests were sent, and 2 traces of a request arrived.",
        "No trace goes from one service into another.",
    ]


@pytest.mark.parametrize("key", ["user.id", "user.roles", "session.id", "otelier.workflow.id", "otelier.tenant.id"])
def test_a_field_that_does_not_arrive(key):
    """Both sides of a request between services have the same user, role, session, workflow and tenant."""
    spans, _, _ = complete()
    lost = f"1 of 1 requests between services lost their {key} on the way."
    for sent, served in (
        (spans[2], without(spans[3], **{key: "another"})),
        (spans[2], without(spans[3], key)),
        (without(spans[2], key), without(spans[3], key)),
    ):
        assert lost in said(spans=[*spans[:2], sent, served, spans[4]])


def test_the_calling_agent_is_named_and_lends_no_name():
    """Every span and log record of a service that was called says who called, and none is that agent's own."""
    spans, logs, _ = complete()
    caller = "otelier.caller.agent.name"
    nameless = "1 of 3 records of a service that was called do not name the agent that called."
    assert said(spans=[*spans[:4], without(spans[4], caller)]) == [nameless]
    assert said(logs=[logs[0], without(logs[1], **{caller: "auditor"})]) == [nameless]
    assert said(spans=[*spans[:4], without(spans[4], **{"gen_ai.agent.name": "billing"})]) == [
        "1 of 3 records of a service that was called bear the name of the agent that called."
    ]
