"""The fields of a call: set, scoped, read, cleared, and carried across tasks, threads and processes."""

from __future__ import annotations

from otelier.fields._api import (
    clear_context,
    context,
    get_agent,
    get_context,
    set_context,
    with_fields,
    with_inbound,
)
from otelier.fields._contexts import BAGGAGE, SPAN
from otelier.fields._inheritance import call_attributes, late_attributes, stamp_call, with_fingerprint
from otelier.fields._lifetimes import entries_of
from otelier.fields._middleware import ContextMiddleware
from otelier.fields._pools import carry_into_pools, is_carried, lease_to_threads, stop_carrying, stop_leasing
from otelier.fields._propagation import propagate
from otelier.fields._propagator_guard import PROPAGATORS, hold_back, is_held_back
from otelier.fields._state import IDENTITY_ATTRIBUTES
from otelier.fields._values import (
    BAGGAGE_KEYS,
    FIELD_BY_KEY,
    FIELD_NAMES,
    CallContext,
    accept_value,
    be_strict,
    check_field,
    roles_in,
)

__all__ = [
    "BAGGAGE",
    "BAGGAGE_KEYS",
    "FIELD_BY_KEY",
    "FIELD_NAMES",
    "IDENTITY_ATTRIBUTES",
    "PROPAGATORS",
    "SPAN",
    "CallContext",
    "ContextMiddleware",
    "accept_value",
    "be_strict",
    "call_attributes",
    "carry_into_pools",
    "check_field",
    "clear_context",
    "context",
    "entries_of",
    "get_agent",
    "get_context",
    "hold_back",
    "is_carried",
    "is_held_back",
    "late_attributes",
    "lease_to_threads",
    "propagate",
    "roles_in",
    "set_context",
    "stamp_call",
    "stop_carrying",
    "stop_leasing",
    "with_fields",
    "with_fingerprint",
    "with_inbound",
]

# The one patch that goes in with the import. Fields are baggage entries from the first `context()` on, whether or not
# otelier is switched on, and an application that propagates baggage would send them to every host until then. Entries
# that are made only once it is switched on would not do: contexts outlive the switch, in both directions.
hold_back()
