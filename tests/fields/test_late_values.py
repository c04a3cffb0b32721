"""`set_context` and the span that is already open: the newest value of ours wins there, the user's own stay."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import otelier
from otelier.fields import _api
from tests.fields.given import ATTRIBUTES, GIVEN

AGENT = ("gen_ai.agent.name", "gen_ai.agent.id", "otelier.agent.id", "otelier.agent.source")


def agent_on(span):
    return {key: span.attributes[key] for key in AGENT if key in span.attributes}


def test_the_open_span_gets_every_field(spans):
    """`set_context` stamps the span that is current and recording."""
    with spans.open("request"):
        otelier.set_context(**GIVEN)
    assert spans["request"] == ATTRIBUTES


def test_a_late_span_and_a_born_one_say_the_same(spans):
    """A span stamped late carries what a span born with the same fields carries."""
    with spans.open("late"):
        otelier.set_context(**GIVEN)
        assert spans.born_here() == ATTRIBUTES


def test_only_the_current_span_is_stamped(spans):
    """The parents of the current span are left as they are."""
    with spans.open("outer"), spans.open("inner"):
        otelier.set_context(user_id="u-1")
    assert (spans["outer"], spans["inner"]) == ({}, {"user.id": "u-1"})


def test_the_newest_value_wins_on_the_open_span(spans):
    """A later value of ours replaces an earlier one, whether that came at birth or late."""
    with otelier.context(user_id="born"), spans.open("request"):
        for name in ("first", "second", "third"):
            otelier.set_context(user_id=name)
    assert spans["request"] == {"user.id": "third"}


def test_the_newest_wins_after_a_value_returns(spans):
    """Going back to an earlier value is a newer value too."""
    with spans.open("request"):
        for name in ("a", "b", "a"):
            otelier.set_context(user_id=name)
    assert spans["request"] == {"user.id": "a"}


def test_what_the_span_was_started_with_stays(spans):
    """Attributes given at the span's start are the user's own."""
    with spans.open("request", attributes={"user.id": "theirs"}):
        otelier.set_context(user_id="ours", session_id="s-1")
    assert spans["request"] == {"user.id": "theirs", "session.id": "s-1"}


@pytest.mark.parametrize("key", ["user.id", "user.roles", "session.id", "otelier.workflow.id", "otelier.tenant.id"])
def test_what_the_user_writes_on_the_span_stays(spans, key):
    """A value that is not the one we stamped last is the user's own, whenever it was written."""
    with spans.open("before") as span:
        span.set_attribute(key, "theirs")
        otelier.set_context(**GIVEN)
    with spans.open("between") as span:
        otelier.set_context(**GIVEN)
        span.set_attribute(key, "theirs")
        otelier.set_context(user_id="u-2", user_role="guest", session_id="s-2", workflow_id="w-2", tenant_id="t-2")
    assert spans["before"] == {**ATTRIBUTES, key: "theirs"}
    assert spans["between"][key] == "theirs"
    assert sum(value in ("u-2", ("guest",), "s-2", "w-2", "t-2") for value in spans["between"].values()) == 4


def test_the_users_own_agent_stays_whole(spans):
    """On a span that names its own agent, ours is left out whole: no name of one with the id of another."""
    for key in AGENT:
        with spans.open(f"with {key}") as span:
            span.set_attribute(key, "theirs")
            otelier.set_context(**GIVEN)
        assert agent_on_named(spans, f"with {key}") == {key: "theirs"}


def agent_on_named(spans, name):
    return {key: value for key, value in spans[name].items() if key in AGENT}


def test_a_name_that_no_longer_goes_with_the_id_is_blanked(spans):
    """An id set after a name takes the name off the open span: attributes cannot be removed, so it is blank."""
    with spans.open("request") as span:
        otelier.set_context(agent="triage")
        assert agent_on(span)["gen_ai.agent.name"] == "triage"
        otelier.set_context(agent_id="a-1")
        assert agent_on(span) == {
            "gen_ai.agent.name": "",
            "gen_ai.agent.id": "a-1",
            "otelier.agent.id": "a-1",
            "otelier.agent.source": "agent_id",
        }


def test_an_id_that_no_longer_applies_is_blanked(spans):
    """When the id is cleared and a name set, the open span has that name, its id, and the old explicit id is blank."""
    with spans.open("request") as span:
        otelier.set_context(agent="triage", agent_id="a-1")
        otelier.set_context(agent="billing", agent_id="")
        derived = otelier.get_agent().id
        assert derived not in (None, "", "a-1")
        assert agent_on(span) == {
            "gen_ai.agent.name": "billing",
            "gen_ai.agent.id": "",
            "otelier.agent.id": derived,
            "otelier.agent.source": "agent",
        }


def test_another_pair_replaces_the_pair(spans):
    """Name and id set together replace name and id."""
    with spans.open("request") as span:
        otelier.set_context(agent="triage", agent_id="a-1")
        otelier.set_context(agent="billing", agent_id="a-2")
        assert agent_on(span) == {
            "gen_ai.agent.name": "billing",
            "gen_ai.agent.id": "a-2",
            "otelier.agent.id": "a-2",
            "otelier.agent.source": "agent_id",
        }


def test_another_name_replaces_name_and_derived_id(spans):
    """A later name brings its own derived id to the open span."""
    with spans.open("request") as span:
        otelier.set_context(agent="triage")
        first = agent_on(span)
        otelier.set_context(agent="billing")
        second = agent_on(span)
    assert second["gen_ai.agent.name"] == "billing"
    assert second["otelier.agent.id"] == otelier.get_agent().id or otelier.get_agent().id is None
    assert first["otelier.agent.id"] != second["otelier.agent.id"]


def test_a_name_ignored_beside_an_id_leaves_the_open_span_alone(spans):
    """A name that comes while an id stands is ignored on the open span too."""
    with spans.open("request") as span:
        otelier.set_context(agent_id="a-1")
        before = agent_on(span)
        otelier.set_context(agent="somebody-else")
        assert agent_on(span) == before


def test_unrelated_fields_leave_the_agent_alone(spans):
    """A later user says nothing about the agent on the open span."""
    with spans.open("request") as span:
        span.set_attribute("gen_ai.agent.name", "theirs")
        otelier.set_context(user_id="u-1")
    assert spans["request"] == {"gen_ai.agent.name": "theirs", "user.id": "u-1"}


def test_a_gen_ai_span_gets_the_conversation_too(spans):
    """On an open GenAI span a late session stands under both its names, and the newest wins under both."""
    with spans.open("chat", attributes={"gen_ai.operation.name": "chat"}):
        otelier.set_context(session_id="s-1")
        otelier.set_context(session_id="s-2")
    assert spans["chat"] == {
        "gen_ai.operation.name": "chat",
        "session.id": "s-2",
        "gen_ai.conversation.id": "s-2",
    }


def test_a_span_that_is_not_recorded_is_no_trouble():
    """Below an unsampled span fields are set for what follows, and nothing fails."""
    provider = TracerProvider(sampler=ALWAYS_OFF)
    provider.add_span_processor(otelier.AgentSpanProcessor())
    with provider.get_tracer("tests").start_as_current_span("request") as span:
        assert not span.is_recording()
        otelier.set_context(**GIVEN)
        assert otelier.get_context() == otelier.CallContext(**GIVEN)


def test_a_span_that_has_ended_is_no_trouble(spans, caplog):
    """With an ended span still current, nothing is written to it and nothing is logged."""
    span = spans.tracer.start_span("ended")
    with trace.use_span(span):
        span.end()
        otelier.set_context(user_id="u-1")
        assert otelier.get_context().user_id == "u-1"
    assert spans["ended"] == {}
    assert caplog.records == []


@pytest.mark.parametrize("span", [trace.INVALID_SPAN, trace.NonRecordingSpan(trace.SpanContext(1, 1, is_remote=True))])
def test_spans_of_other_makes_are_no_trouble(span):
    """A remote parent, or no span at all, takes no attributes, and nothing fails."""
    with trace.use_span(span):
        otelier.set_context(**GIVEN)
        assert otelier.get_context() == otelier.CallContext(**GIVEN)


def test_a_span_that_no_processor_of_ours_saw_is_stamped_too():
    """`set_context` stamps the current span also where our processor is missing."""
    with TracerProvider().get_tracer("tests").start_as_current_span("request") as span:
        otelier.set_context(user_id="u-1")
        otelier.set_context(user_id="u-2")
        assert dict(span.attributes) == {"user.id": "u-2"}


def test_a_value_of_the_users_that_equals_ours_counts_as_ours(spans):
    """Ours is what equals the value we stamped last, whoever wrote it again."""
    with spans.open("request") as span:
        otelier.set_context(user_id="u-1")
        span.set_attribute("user.id", "u-1")
        otelier.set_context(user_id="u-2")
    assert spans["request"] == {"user.id": "u-2"}


def test_a_cleared_field_stays_on_no_later_span(spans):
    """Clearing late takes the field from what starts later."""
    with spans.open("request"):
        otelier.set_context(**GIVEN)
        otelier.clear_context()
        assert spans.born_here() == {}


def test_a_value_set_in_a_span_lives_until_its_scope_ends(spans):
    """A value set inside a span is gone when the span's scope ends; a helper's own span takes it along."""
    with spans.open("request"):
        with spans.open("helper"):
            otelier.set_context(user_id="u-1")
        assert otelier.get_context().user_id is None
        otelier.set_context(user_id="u-2")
        assert otelier.get_context().user_id == "u-2"
    assert otelier.get_context() == otelier.CallContext()


def test_the_newest_value_wins_where_values_are_cut():
    """What a limit on the length of values has cut is still ours: a later value of ours replaces it."""
    provider = TracerProvider(span_limits=SpanLimits(max_span_attribute_length=8), shutdown_on_exit=False)
    provider.add_span_processor(otelier.AgentSpanProcessor())
    tracer = provider.get_tracer("tests")
    with otelier.context(user_id="user-born-1", user_role="role-born-1", agent="agent-born-1"):
        for kind in (trace.SpanKind.INTERNAL, trace.SpanKind.SERVER):
            with tracer.start_as_current_span("request", kind=kind) as span:
                assert (span.attributes["user.id"], span.attributes["gen_ai.agent.name"]) == ("user-bor", "agent-bo")
                for late in ("late-1-user", "later-2-user"):
                    otelier.set_context(user_id=late, user_role=f"{late}-role", agent=f"{late}-agent")
                assert span.attributes["user.id"] == "later-2-"
                assert span.attributes["user.roles"] == ("later-2-",)
                assert span.attributes["gen_ai.agent.name"] == "later-2-"
                span.set_attribute("user.id", "mine")
                otelier.set_context(user_id="latest-3-user")
                assert span.attributes["user.id"] == "mine"


def test_a_fault_in_stamping_a_span_late(spans, monkeypatch, quiet_faults, caplog):
    """A fault of ours in stamping the open span costs its attributes; the fields are set."""

    def broken(*_args):
        raise LookupError

    monkeypatch.setattr(_api, "set_late", broken)
    with spans.open("request"):
        otelier.set_context(user_id="u-1")
        assert otelier.get_context().user_id == "u-1"
    assert "fields.stamp_late" in caplog.text
