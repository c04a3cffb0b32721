"""The fields of a call: set, scoped, read, cleared, and carried across tasks, threads and processes."""

from __future__ import annotations

from otelier.fields._births import (
    NAMING,
    Record,
    actor_in,
    actor_named_late,
    born_state,
    claim_request,
    leased_state,
    stamp_call,
)
from otelier.fields._contexts import begin_phase, entries_of, with_fields, with_inbound
from otelier.fields._hold import PROPAGATORS, hold_back, is_held_back
from otelier.fields._leases import Lease
from otelier.fields._middleware import ContextMiddleware
from otelier.fields._phases import MARK, PHASES, Phase, holder_in
from otelier.fields._pools import carry_into_pools, is_carried, lease_to_threads, stop_carrying, stop_leasing
from otelier.fields._propagation import propagate
from otelier.fields._scope import context
from otelier.fields._slots import BAGGAGE, FIELDS, LLM_CALL, LLM_REPORTER, REQUEST, SPAN, FieldText
from otelier.fields._state import IDENTITY_ATTRIBUTES, UNSET, State, fitting
from otelier.fields._store import clear_context, get_agent, get_context, set_context, state_of
from otelier.fields._values import (
    BAGGAGE_KEYS,
    FIELD_BY_KEY,
    FIELD_NAMES,
    CallContext,
    be_strict,
    check_field,
    roles_in,
    taken_value,
)

__all__ = [
    "BAGGAGE",
    "BAGGAGE_KEYS",
    "FIELDS",
    "FIELD_BY_KEY",
    "FIELD_NAMES",
    "IDENTITY_ATTRIBUTES",
    "LLM_CALL",
    "LLM_REPORTER",
    "MARK",
    "NAMING",
    "PHASES",
    "PROPAGATORS",
    "REQUEST",
    "SPAN",
    "UNSET",
    "CallContext",
    "ContextMiddleware",
    "FieldText",
    "Lease",
    "Phase",
    "Record",
    "State",
    "actor_in",
    "actor_named_late",
    "be_strict",
    "begin_phase",
    "born_state",
    "carry_into_pools",
    "check_field",
    "claim_request",
    "clear_context",
    "context",
    "entries_of",
    "fitting",
    "get_agent",
    "get_context",
    "hold_back",
    "holder_in",
    "is_carried",
    "is_held_back",
    "lease_to_threads",
    "leased_state",
    "propagate",
    "roles_in",
    "set_context",
    "stamp_call",
    "state_of",
    "stop_carrying",
    "stop_leasing",
    "taken_value",
    "with_fields",
    "with_inbound",
]

# What is in the baggage must never leave by the propagator, whether or not otelier is switched on.
hold_back()
