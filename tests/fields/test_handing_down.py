"""What a span hands to its later children: what it was born with always, late values only from a request."""

from __future__ import annotations

import asyncio
import contextvars

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

import otelier

REQUESTS = [SpanKind.SERVER, SpanKind.CONSUMER]
OTHERS = [SpanKind.INTERNAL, SpanKind.CLIENT, SpanKind.PRODUCER]
PASSED_ON = {
    "user_id": ("user.id", "u-1"),
    "user_role": ("user.roles", ("u-1",)),
    "session_id": ("session.id", "u-1"),
    "workflow_id": ("otelier.workflow.id", "u-1"),
    "tenant_id": ("otelier.tenant.id", "u-1"),
}


def in_dependency(**fields):
    """Set fields as a dependency does that a framework runs in a thread: on this span, in a context that is dropped."""
    contextvars.copy_context().run(otelier.set_context, **fields)


@pytest.fixture(params=REQUESTS, ids=lambda kind: kind.name)
def request_span(request, spans):
    """An open request span."""
    with spans.open("request", kind=request.param) as span:
        yield span


def below(span):
    """A context that has nothing but *span*."""
    return trace.set_span_in_context(span, Context())


@pytest.mark.parametrize("kind", [*REQUESTS, *OTHERS], ids=lambda kind: kind.name)
def test_born_fields_always_pass_on(spans, kind):
    """A child whose context has no fields has those its local parent was born with, the agent too, at any depth."""
    with otelier.context(user_id="u-1", agent="triage", session_id="s-1"):
        parent = spans.tracer.start_span("parent", kind=kind)
    child = spans.tracer.start_span("child", context=below(parent))
    grandchild = spans.tracer.start_span("grandchild", context=below(child))
    for span in (grandchild, child, parent):
        span.end()
    assert dict(parent.attributes) == dict(child.attributes) == dict(grandchild.attributes)
    assert parent.attributes["user.id"] == "u-1"


def test_the_contexts_fields_come_before_the_parents(spans):
    """A child whose context has fields has those alone: states are whole, never merged."""
    with otelier.context(user_id="u-1", session_id="s-1"):
        parent = spans.tracer.start_span("parent")
    elsewhere = contextvars.Context()
    elsewhere.run(otelier.set_context, workflow_id="w-1")
    child = elsewhere.run(lambda: spans.born_here("child", context=trace.set_span_in_context(parent)))
    parent.end()
    assert child == {"otelier.workflow.id": "w-1"}


def test_a_remote_parent_hands_down_nothing(spans):
    """Only a parent in this process has fields to pass on."""
    sampled = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    remote = trace.NonRecordingSpan(trace.SpanContext(1, 1, is_remote=True, trace_flags=sampled))
    assert spans.born_here(context=below(remote)) == {}


@pytest.mark.parametrize("field", PASSED_ON)
def test_late_values_reach_later_children_of_a_request(spans, request_span, field):
    """User, role, session, workflow and tenant set late on a request reach its children that start afterwards."""
    attribute, value = PASSED_ON[field]
    assert spans.born_here() == {}
    in_dependency(**{field: "u-1"})
    assert spans.born_here() == {attribute: value}
    assert request_span.attributes[attribute] == value


@pytest.mark.parametrize("kind", OTHERS, ids=lambda kind: kind.name)
def test_late_values_stay_on_other_spans(spans, kind):
    """A span that is no request is stamped late and hands nothing of it down."""
    with spans.open("work", kind=kind):
        in_dependency(user_id="u-1", session_id="s-1")
        assert spans.born_here() == {}
    assert spans["work"] == {"user.id": "u-1", "session.id": "s-1"}


@pytest.mark.parametrize("agent", [{"agent": "x"}, {"agent_id": "x"}, {"agent": "x", "agent_id": "y"}], ids=str)
def test_an_agent_is_never_handed_down_late(spans, request_span, agent):
    """An agent set late stands on the request span and on no child; the user set with it does reach them."""
    in_dependency(user_id="u-1", **agent)
    assert request_span.attributes["otelier.agent.source"] in ("agent", "agent_id")
    assert spans.born_here() == {"user.id": "u-1"}


def test_late_values_reach_neither_reading_nor_baggage(request_span):
    """What a request got late is for its children's spans only: `get_context` and the baggage do not show it."""
    in_dependency(user_id="u-1")
    assert otelier.get_context() == otelier.CallContext()
    assert dict(baggage.get_all()) == {}


def test_late_values_pass_on_to_grandchildren(spans, request_span):
    """A child born with a late value passes it on as its own."""
    in_dependency(user_id="u-1")
    with spans.open("child"):
        assert spans.born_here() == {"user.id": "u-1"}


def test_a_new_state_starts_from_what_the_span_hands_down(spans, request_span):
    """What is set in the handler comes on top of what the dependency set."""
    in_dependency(user_id="u-1")
    with otelier.context(agent="billing"):
        attributes = spans.born_here()
        assert (attributes["user.id"], attributes["gen_ai.agent.name"]) == ("u-1", "billing")
    otelier.set_context(session_id="s-1")
    assert spans.born_here() == {"user.id": "u-1", "session.id": "s-1"}


def test_late_values_come_on_top_of_born_ones(spans):
    """A request born with fields hands them down together with what it got late, the newer value first."""
    with otelier.context(user_id="born", workflow_id="w-1"), spans.open("request", kind=SpanKind.SERVER):
        in_dependency(user_id="late", session_id="s-1")
        assert spans.born_here() == {"user.id": "late", "session.id": "s-1", "otelier.workflow.id": "w-1"}
        otelier.set_context(agent="billing")
        attributes = spans.born_here()
        assert (attributes["user.id"], attributes["gen_ai.agent.name"]) == ("late", "billing")


@pytest.mark.parametrize("how", ["block", "decorator"])
def test_a_block_below_the_request_is_newer_than_what_came_late(spans, how):
    """What a block says under a request holds inside it, also when it says again what the request was born with."""
    with otelier.context(user_id="born"), spans.open("request", kind=SpanKind.SERVER):
        in_dependency(user_id="late")
        if how == "block":
            with otelier.context(user_id="born"):
                assert spans.born_here() == {"user.id": "born"}
        else:
            assert otelier.context(user_id="born")(spans.born_here)() == {"user.id": "born"}
        assert spans.born_here() == {"user.id": "late"}


def test_what_is_set_inside_a_block_is_not_handed_down(spans, request_span):
    """A `set_context` in a `context()` block below a request ends with the block."""
    with otelier.context():
        otelier.set_context(user_id="inside")
        in_dependency(session_id="inside")
        assert spans.born_here() == {"user.id": "inside"}
    assert spans.born_here() == {}
    assert request_span.attributes["user.id"] == "inside"


def test_what_is_set_in_a_decorated_function_is_not_handed_down(spans, request_span):
    """A decorated function below a request is a block, too."""
    otelier.context()(otelier.set_context)(user_id="inside")
    assert spans.born_here() == {}


def test_what_a_propagated_callback_sets_is_handed_down_or_not_by_the_same_rule(spans, request_span):
    """What a bound function sets on the request's span in a thread of its own counts as set late on it."""
    otelier.propagate(otelier.set_context)(user_id="u-1")
    assert spans.born_here() == {"user.id": "u-1"}


def test_a_block_around_the_request_is_no_hindrance(spans):
    """Only a block opened under the request span keeps late values; one around it does not."""
    with otelier.context(), spans.open("request", kind=SpanKind.SERVER):
        in_dependency(user_id="u-1")
        assert spans.born_here() == {"user.id": "u-1"}


def test_a_second_different_value_ends_it(spans):
    """Once two different values were set late for one field, the span hands down nothing late any more."""
    with otelier.context(workflow_id="born"), spans.open("request", kind=SpanKind.SERVER):
        in_dependency(user_id="a", session_id="s-1")
        assert spans.born_here() == {"otelier.workflow.id": "born", "user.id": "a", "session.id": "s-1"}
        in_dependency(user_id="b")
        assert spans.born_here() == {"otelier.workflow.id": "born"}
        in_dependency(user_id="a")
        in_dependency(user_role="admin")
        assert spans.born_here() == {"otelier.workflow.id": "born"}
    assert spans["request"] == {
        "otelier.workflow.id": "born",
        "user.id": "a",
        "session.id": "s-1",
        "user.roles": ("admin",),
    }


def test_the_same_value_again_does_not_end_it(spans, request_span):
    """Setting the same value twice shows no second caller."""
    in_dependency(user_id="a")
    in_dependency(user_id="a")
    assert spans.born_here() == {"user.id": "a"}


def test_other_fields_one_by_one_do_not_end_it(spans, request_span):
    """Different fields set one after another all reach the children."""
    in_dependency(user_id="a")
    in_dependency(session_id="s-1")
    assert spans.born_here() == {"user.id": "a", "session.id": "s-1"}


def test_the_code_that_set_it_keeps_its_own_values(spans, request_span):
    """In the context where it was set, the newest value holds, whatever the span hands down."""
    for name in ("a", "b", "c"):
        otelier.set_context(user_id=name)
        assert spans.born_here() == {"user.id": name}


@pytest.mark.parametrize("how", ["dependency", "here"])
def test_a_cleared_field_stays_cleared(spans, how):
    """A field that the request was born with and that was cleared late comes back on no child."""
    set_late = in_dependency if how == "dependency" else otelier.set_context
    with otelier.context(user_id="born", session_id="s-1"), spans.open("request", kind=SpanKind.SERVER):
        set_late(user_id="")
        assert spans.born_here() == {"session.id": "s-1"}
        with spans.open("child"):
            assert spans.born_here() == {"session.id": "s-1"}


def test_a_field_set_late_and_then_cleared_stays_cleared(spans, request_span):
    """A value that was set late and cleared again reaches no child."""
    in_dependency(user_id="a")
    in_dependency(user_id="")
    assert spans.born_here() == {}


def test_clear_context_here_is_not_undone_by_the_parent(spans):
    """After `clear_context` a child has none of the fields its parent was born with."""
    with otelier.context(user_id="born", agent="triage"), spans.open("work"):
        otelier.clear_context()
        assert spans.born_here() == {}
        with spans.open("child"):
            assert spans.born_here() == {}


def test_two_requests_do_not_share(spans):
    """What one request hands down, another one does not."""
    first = spans.tracer.start_span("first", kind=SpanKind.SERVER)
    second = spans.tracer.start_span("second", kind=SpanKind.SERVER)
    with trace.use_span(first, end_on_exit=True):
        in_dependency(user_id="a")
        with trace.use_span(second, end_on_exit=True):
            assert spans.born_here() == {}
        assert spans.born_here() == {"user.id": "a"}


def test_a_request_below_a_request_keeps_to_itself(spans, request_span):
    """A request span inside another one takes what that handed down at its birth, and gives nothing back."""
    in_dependency(user_id="outer")
    with spans.open("inner", kind=SpanKind.SERVER):
        in_dependency(session_id="inner")
        assert spans.born_here() == {"user.id": "outer", "session.id": "inner"}
    assert spans.born_here() == {"user.id": "outer"}


def test_threads_that_set_different_users_at_once(spans, request_span):
    """However many threads set values on one request at the same time, a child has one caller's values or none."""

    async def main():
        async def dependency(number):
            await asyncio.to_thread(otelier.set_context, user_id=f"u-{number}", session_id=f"s-{number}")
            return spans.born_here(f"child {number}")

        return await asyncio.gather(*(dependency(number) for number in range(50)))

    for attributes in asyncio.run(main()):
        assert attributes.get("user.id", "-").lstrip("u") == attributes.get("session.id", "-").lstrip("s")


def test_late_values_pass_on_below_an_outer_block(spans):
    """Fields from before the request do not hide, at any depth below it, what came late to the request."""
    expected = {"otelier.workflow.id": "w-1", "user.id": "late"}
    with otelier.context(workflow_id="w-1"), spans.open("request", kind=SpanKind.SERVER):
        in_dependency(user_id="late")
        with spans.open("child"), spans.open("grandchild"):
            assert spans.born_here() == expected
            with spans.open("inner request", kind=SpanKind.SERVER):
                in_dependency(session_id="inner")
                assert spans.born_here() == {**expected, "session.id": "inner"}
            with otelier.context(workflow_id="w-1", user_id=""):
                assert spans.born_here() == {"otelier.workflow.id": "w-1"}
            otelier.set_context(agent="billing")
            assert spans.born_here().items() >= expected.items()


def test_what_is_set_again_below_a_child_is_newer_than_what_it_inherited(spans):
    """Setting again, below a child, what held before the request wins over the late value the child was born with."""
    with otelier.context(user_id="born"), spans.open("request", kind=SpanKind.SERVER):
        in_dependency(user_id="late")
        with spans.open("child"):
            otelier.set_context(user_id="born")
            assert spans.born_here() == {"user.id": "born"}
            with spans.open("grandchild"):
                assert spans.born_here() == {"user.id": "born"}
        assert spans.born_here() == {"user.id": "late"}
