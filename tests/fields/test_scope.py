"""`with otelier.context()`: what holds inside a block, and what holds after it."""

from __future__ import annotations

import pydoc

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import attach, detach, get_current, get_value, set_value

import otelier
from otelier.errors import ContextUseError, ContextValueError


def user():
    return otelier.get_context().user_id


def test_a_block_restores_what_was_there(spans):
    """Inside, the block's fields are in force; after it, those from before it."""
    otelier.set_context(user_id="outer", session_id="s-1")
    with otelier.context(user_id="inner"):
        assert spans.born_here() == {"user.id": "inner", "session.id": "s-1"}
    assert spans.born_here() == {"user.id": "outer", "session.id": "s-1"}


def test_nested_blocks_return_to_the_outer_one():
    """Each block gives back what the next one outside set."""
    with otelier.context(user_id="a", agent="triage"):
        with otelier.context(user_id="b"):
            with otelier.context(user_id=""):
                assert (user(), otelier.get_context().agent) == (None, "triage")
            assert user() == "b"
        assert user() == "a"
    assert otelier.get_context() == otelier.CallContext()


def test_an_exception_leaves_the_block_and_restores():
    """A block restores on an exception too, and lets the exception through unchanged."""
    error = LookupError("mine")
    with pytest.raises(LookupError) as raised, otelier.context(user_id="u-1"):
        raise error
    assert raised.value is error
    assert user() is None


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_block_restores_on_base_exceptions(kind):
    """What is no `Exception` also restores and passes."""
    with pytest.raises(kind), otelier.context(user_id="u-1"):
        raise kind
    assert user() is None


def test_what_is_set_inside_a_block_ends_with_it(spans):
    """`set_context` inside a block is undone at its end."""
    with otelier.context(user_id="u-1"):
        otelier.set_context(user_id="u-2", workflow_id="w-1")
        assert user() == "u-2"
    assert spans.born_here() == {}


def test_what_is_cleared_inside_a_block_returns_after_it():
    """`clear_context` inside a block holds until the block ends."""
    with otelier.context(user_id="u-1"):
        with otelier.context():
            otelier.clear_context()
            assert user() is None
        assert user() == "u-1"


def test_a_refused_block_changes_nothing():
    """Where otelier is strict, a block with a wrong value is never entered."""
    otelier.init(strict=True)
    with otelier.context(user_id="u-1"):
        with pytest.raises(ContextValueError), otelier.context(agent="a", user_id="\n"):
            pytest.fail("the block was entered")
        assert otelier.get_context() == otelier.CallContext(user_id="u-1")


def test_help_shows_what_a_user_can_do():
    """`help(otelier.context)` shows the fields and what they mean, and nothing of how a block works inside."""
    shown = pydoc.plain(pydoc.render_doc(otelier.context))
    for field in ("user_id", "user_role", "agent", "agent_id", "session_id", "workflow_id", "tenant_id"):
        assert f"{field}: " in shown
    assert "user_id: 'str | int | UUID | None' = None" in shown
    for inside in ("Block", "Data descriptors", "inherited", "hot path", "Method resolution", "__annotations__"):
        assert inside not in shown


def test_one_object_may_be_used_again():
    """The same `context()` object serves one block after another."""
    block = otelier.context(user_id="u-1")
    for _ in range(2):
        with block:
            assert user() == "u-1"
        assert user() is None


def test_one_object_entered_twice_at_once_is_refused():
    """Entering an object whose block is open raises `ContextUseError` and leaves that block intact."""
    block = otelier.context(user_id="u-1")
    with block:
        with pytest.raises(ContextUseError, match=r"otelier\.context"), block:
            pytest.fail("the block was entered")
        assert user() == "u-1"
    assert user() is None


def test_leaving_a_block_that_was_never_entered_changes_nothing():
    """A stray `__exit__` takes nothing away."""
    otelier.set_context(user_id="u-1")
    otelier.context(user_id="u-2").__exit__(None, None, None)
    assert user() == "u-1"


def test_leaving_a_block_twice_changes_nothing_the_second_time():
    """A second `__exit__` does not bring the outer block's end forward."""
    block = otelier.context(user_id="u-1")
    block.__enter__()
    block.__exit__(None, None, None)
    otelier.set_context(user_id="later")
    block.__exit__(None, None, None)
    assert user() == "later"


def test_blocks_left_in_the_wrong_order_end_with_nothing_set():
    """When an outer block is left before the inner one, neither comes back, and nothing is logged."""
    outer, inner = otelier.context(user_id="outer"), otelier.context(user_id="inner")
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    assert user() is None
    inner.__exit__(None, None, None)
    assert user() is None


def test_the_open_span_is_not_touched_by_a_block(spans):
    """A block describes what starts inside it, not the span that is already open."""
    with spans.open("request"), otelier.context(user_id="u-1"), spans.open("inside"):
        pass
    assert spans["request"] == {}
    assert spans["inside"] == {"user.id": "u-1"}


def test_a_span_that_outlives_the_block_stays_current(spans):
    """A span made current inside and still open after the block stays current, without the block's fields."""
    block = otelier.context(user_id="u-1")
    block.__enter__()
    span = spans.tracer.start_span("long")
    token = attach(trace.set_span_in_context(span))
    block.__exit__(None, None, None)
    assert trace.get_current_span() is span
    assert user() is None
    detach(token)
    span.end()


def test_a_span_closed_inside_the_block_leaves_it_in_force(spans):
    """The end of a span inside a block takes only what was set in that span."""
    with otelier.context(user_id="u-1"):
        with spans.open("inside"):
            otelier.set_context(agent="billing")
        assert otelier.get_context() == otelier.CallContext(user_id="u-1")


def test_a_span_around_a_block_that_is_not_left_cleans_up(spans):
    """A block that is never left ends with the span around it."""
    with spans.open("request"):
        otelier.context(user_id="u-1").__enter__()
    assert user() is None
    assert spans.born_here() == {}


def test_other_peoples_context_values_live_through_a_block():
    """Entries others keep in the OpenTelemetry Context are visible inside."""
    token = attach(set_value("theirs", 1))
    with otelier.context(user_id="u-1"):
        assert get_value("theirs") == 1
        assert baggage.get_baggage("user.id") == "u-1"
    assert get_value("theirs") == 1
    detach(token)


def test_the_very_context_from_before_is_back():
    """After a block the OpenTelemetry Context is the same object as before it."""
    before = get_current()
    with otelier.context(user_id="u-1"):
        pass
    assert get_current() is before


def test_a_block_gives_nothing_to_bind():
    """`with … as` yields nothing: the fields are read by `get_context`."""
    with otelier.context(user_id="u-1") as bound:
        assert bound is None


def test_deeply_nested_blocks_unwind():
    """Depth is no matter: each of 300 blocks restores its outer one."""

    def dive(depth):
        if depth:
            with otelier.context(user_id=f"u-{depth}"):
                dive(depth - 1)
                assert user() == f"u-{depth}"

    dive(300)
    assert user() is None
