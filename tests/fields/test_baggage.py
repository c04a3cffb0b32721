"""The fields in OpenTelemetry's baggage: ours come and go, the application's stay."""

from __future__ import annotations

import pytest
from opentelemetry import baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import attach
from opentelemetry.propagate import get_global_textmap

import otelier
from tests.fields.given import ENTRIES, GIVEN


def test_every_field_stands_in_the_baggage():
    """Each field is a baggage entry under its key, the role as text."""
    otelier.set_context(**GIVEN)
    assert dict(baggage.get_all()) == ENTRIES
    assert all(isinstance(value, str) for value in baggage.get_all().values())


@pytest.mark.parametrize("how", ["set", "block"])
def test_the_applications_entries_stay(how):
    """What the application put into the baggage is neither changed nor removed by setting, clearing or leaving."""
    attach(baggage.set_baggage("tenant", "blue"))
    if how == "set":
        otelier.set_context(**GIVEN)
        assert dict(baggage.get_all()) == {"tenant": "blue", **ENTRIES}
        otelier.clear_context()
    else:
        with otelier.context(**GIVEN):
            assert dict(baggage.get_all()) == {"tenant": "blue", **ENTRIES}
    assert dict(baggage.get_all()) == {"tenant": "blue"}


def test_entries_added_inside_a_block_live_as_long_as_the_block():
    """The application's own entry made inside a block ends with it, as the whole Context does."""
    with otelier.context(user_id="u-1"):
        attach(baggage.set_baggage("tenant", "blue"))
        otelier.set_context(session_id="s-1")
        assert dict(baggage.get_all()) == {"tenant": "blue", "user.id": "u-1", "session.id": "s-1"}
    assert dict(baggage.get_all()) == {}


def test_a_cleared_field_leaves_no_entry():
    """Clearing one field takes its entry away and no other one."""
    otelier.set_context(**GIVEN)
    otelier.set_context(user_id="")
    left = dict(ENTRIES)
    del left["user.id"]
    assert dict(baggage.get_all()) == left


def test_a_replaced_value_is_replaced_in_the_baggage():
    """The newest value is the one in the baggage."""
    otelier.set_context(user_id="u-1")
    otelier.set_context(user_id="u-2")
    assert baggage.get_baggage("user.id") == "u-2"


def test_foreign_values_that_are_no_text_stay():
    """Entries of any type that an application keeps in its baggage survive."""
    attach(baggage.set_baggage("count", 3))
    with otelier.context(user_id="u-1"):
        assert baggage.get_baggage("count") == 3
    assert baggage.get_baggage("count") == 3


def test_a_name_that_does_not_apply_is_not_in_the_baggage():
    """A name set later beside a standing id is ignored, in the baggage as on spans."""
    otelier.set_context(agent_id="a-1")
    otelier.set_context(agent="somebody-else")
    assert dict(baggage.get_all()) == {"gen_ai.agent.id": "a-1"}


@pytest.mark.parametrize("propagator", [W3CBaggagePropagator(), get_global_textmap()], ids=["baggage", "global"])
def test_the_propagator_never_writes_ours(propagator):
    """OpenTelemetry's propagators write the application's entries and none of the fields."""
    attach(baggage.set_baggage("tenant", "blue"))
    otelier.set_context(**GIVEN)
    carrier: dict[str, str] = {}
    propagator.inject(carrier)
    assert carrier["baggage"] == "tenant=blue"


def test_the_propagator_writes_no_header_when_all_is_ours():
    """Without entries of the application there is no `baggage` header at all."""
    carrier: dict[str, str] = {}
    with otelier.context(**GIVEN):
        W3CBaggagePropagator().inject(carrier)
    assert carrier == {}


def test_the_applications_own_entry_of_our_name_is_sent():
    """An entry the application itself put under one of our keys is its own, and is sent."""
    attach(baggage.set_baggage("user.id", "theirs"))
    carrier: dict[str, str] = {}
    W3CBaggagePropagator().inject(carrier)
    assert carrier == {"baggage": "user.id=theirs"}


def test_reading_the_baggage_does_not_set_fields(spans):
    """Only `set_context` and `context` set fields: an entry that merely has our key names nobody."""
    attach(baggage.set_baggage("user.id", "theirs"))
    assert otelier.get_context() == otelier.CallContext()
    assert spans.born_here() == {}
