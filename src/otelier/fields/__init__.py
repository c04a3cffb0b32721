"""The six fields of a call: set, scoped, read, cleared, and carried across tasks, threads and processes."""

from __future__ import annotations

from otelier.fields._births import Record, born_state, claim_request, stamp_call
from otelier.fields._call_context import CallContext
from otelier.fields._contexts import arrived, begin_phase, noted
from otelier.fields._executors import carry_into_executors, is_carried, stop_carrying
from otelier.fields._hold import hold_back, is_held_back
from otelier.fields._limits import fitting
from otelier.fields._middleware import ContextMiddleware
from otelier.fields._phases import MARK, PHASES, Phase
from otelier.fields._propagation import propagate
from otelier.fields._scope import context
from otelier.fields._slots import BAGGAGE, FIELDS, LLM_CALL, LLM_REPORTER, REQUEST, SPAN, FieldText
from otelier.fields._state import IDENTITY_ATTRIBUTES, UNSET, State
from otelier.fields._store import clear_context, get_agent, get_context, set_context, state_of
from otelier.fields._values import BAGGAGE_KEYS, FIELD_NAMES, checked

__all__ = [
    "BAGGAGE",
    "BAGGAGE_KEYS",
    "FIELDS",
    "FIELD_NAMES",
    "IDENTITY_ATTRIBUTES",
    "LLM_CALL",
    "LLM_REPORTER",
    "MARK",
    "PHASES",
    "REQUEST",
    "SPAN",
    "UNSET",
    "CallContext",
    "ContextMiddleware",
    "FieldText",
    "Phase",
    "Record",
    "State",
    "arrived",
    "begin_phase",
    "born_state",
    "carry_into_executors",
    "checked",
    "claim_request",
    "clear_context",
    "context",
    "fitting",
    "get_agent",
    "get_context",
    "hold_back",
    "is_carried",
    "is_held_back",
    "noted",
    "propagate",
    "set_context",
    "stamp_call",
    "state_of",
    "stop_carrying",
]

# What is in the baggage must never leave by the propagator, whether or not otelier is switched on.
hold_back()
