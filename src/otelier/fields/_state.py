"""States: one set of field values, checked once, with everything the hot paths write made ready.

A state is made from another one and what is changed there. States of equal values are one object, so spans
and contexts compare whole states and never single fields, and a request with values seen before builds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, Final, TypeAlias

from opentelemetry.util.types import AttributeValue

from otelier import names
from otelier.faults import on_reset, warn_once
from otelier.fields._contexts import FieldText
from otelier.fields._values import (
    AGENT,
    AGENT_ID,
    BAGGAGE_KEYS,
    FIELD_NAMES,
    SESSION,
    UNCHANGED,
    CallContext,
    Changes,
    Values,
    accept_value,
    accept_values,
    apply_changes,
    roles_in,
)
from otelier.identity import (
    NOBODY,
    AgentIdentity,
    ProcessIdentity,
    process,
    register,
    resolve,
    resolve_fingerprint,
    resolve_process,
)
from otelier.settings import switched_off

Attributes: TypeAlias = dict[str, AttributeValue]
Caller: TypeAlias = "tuple[str | None, str | None]"
"""Name and id of the agent, in another process, on whose behalf a request came."""
Actor: TypeAlias = "tuple[str | None, str | None]"
"""Name and id of the agent that a span around names, such as a framework's own."""
Notes: TypeAlias = "tuple[tuple[str, AttributeValue], ...]"
"""Attributes that a run adds beside the fields, each with its name."""

IDENTITY_ATTRIBUTES: Final = frozenset((names.AGENT_NAME, names.AGENT_ID, names.RESOLVED_AGENT_ID, names.AGENT_SOURCE))
"""Attributes that name one agent together: they are written, or left alone, as one."""
NO_CALLER: Final[Caller] = (None, None)
NO_ACTOR: Final[Actor] = (None, None)
# User and session ids are endless. A state weighs about 2 kB, so all kept ones stay below 10 MB.
_MAX_STATES = 4096
_MAX_CHILDREN = 1024


class State:
    """One set of field values and what each signal gets from it; never changed once made."""

    __slots__ = (
        "_again",
        "_gen_ai_attributes",
        "_gen_ai_process",
        "actor",
        "attributes",
        "baggage",
        "below",
        "caller",
        "calls",
        "children",
        "fingerprint",
        "identity",
        "named_with_id",
        "notes",
        "values",
    )

    def __init__(
        self,
        values: Values,
        *,
        named_with_id: bool = False,
        sent: bool = True,
        fingerprint: str | None = None,
        caller: Caller = NO_CALLER,
        actor: Actor = NO_ACTOR,
        notes: Notes = (),
    ) -> None:
        self.values = values
        """The seven values in the order of `FIELD_NAMES`; `None` when unset."""
        self.named_with_id = named_with_id
        """Whether name and id of the agent were set together."""
        self.caller = caller
        """The calling agent, on spans only: it is no field, so it never names an agent of ours and is not sent on."""
        self.actor = actor
        """The agent that a span around names: it makes the calls where no field names one, and is no field, either."""
        self.notes = notes
        """Attributes of a run on spans and log records; no fields, so they are not sent on."""
        self.children: dict[Changes, State] = {}
        """States made from this one before, by what was changed."""
        self.calls: dict[str, State] = {}
        """States of calls made in this one, by the fingerprint of their prompt."""
        self.below: dict[Actor, State] = {}
        """States below spans that name an agent."""
        self.fingerprint = fingerprint
        """Fingerprint of the prompt of the call that runs in this state; `None` outside of calls."""
        self._gen_ai_process: ProcessIdentity | None = None
        self._gen_ai_attributes: Attributes | None = None
        self._again: State | None = None
        self.identity = resolve(values[AGENT], values[AGENT_ID], named_with_id=named_with_id)
        """The agent that the fields, else a span around, else the call's prompt, name; `None` when they name none."""
        if self.identity is None and actor != NO_ACTOR:
            self.identity = resolve(*actor, named_with_id=False)
        if self.identity is None and fingerprint is not None:
            self.identity = resolve_fingerprint(fingerprint)
        if self.identity is not None and sent:
            register(replace(self.identity, fingerprint=fingerprint))
        self.attributes: Attributes = self._attributes() if sent else {}
        """Attributes of every span and log record; none where otelier is switched off."""
        self.baggage: dict[str, FieldText] = self._baggage() if sent else {}
        """Entries for the OpenTelemetry baggage. Shared: replaced, never changed."""

    def __reduce__(self) -> tuple[Callable[..., State], tuple[Any, ...]]:
        """Be pickled as what it was made from: in the process that it goes to, states of equal values are one, too."""
        return _restored, tuple(self._made_of().values())

    def _attributes(self) -> Attributes:
        user, role, _, _, session, workflow, tenant = self.values
        attributes: Attributes = {}
        if user is not None:
            attributes[names.USER_ID] = user
        if role is not None and (roles := roles_in(role)):
            attributes[names.USER_ROLES] = roles
        if self.identity is not None:
            _add_identity(attributes, self.identity)
            if self.identity.source == "agent_id" and self.identity.id is not None:
                attributes[names.AGENT_ID] = self.identity.id
        if session is not None:
            attributes[names.SESSION_ID] = session
        if workflow is not None:
            attributes[names.WORKFLOW_ID] = workflow
        if tenant is not None:
            attributes[names.TENANT_ID] = tenant
        for name, value in zip((names.CALLER_AGENT_NAME, names.CALLER_AGENT_ID), self.caller):
            if value is not None:
                attributes[name] = value
        attributes.update(self.notes)
        return attributes

    def _baggage(self) -> dict[str, FieldText]:
        entries = {key: FieldText(value) for key, value in zip(BAGGAGE_KEYS, self.values) if value is not None}
        if self.values[AGENT_ID] is not None and not self.named_with_id:
            entries.pop(names.AGENT_NAME, None)
        return entries

    def gen_ai_attributes(self) -> Attributes:
        """Return what GenAI spans carry: the conversation's id as well, and the process's agent as last resort."""
        own = process()
        ready = self._gen_ai_attributes
        if ready is None or self._gen_ai_process is not own:
            ready = self.possible_attributes()
            last = resolve_process() if self.identity is None else None
            if last is not None:
                register(last)
            self._gen_ai_attributes, self._gen_ai_process = ready, own
        return ready

    def possible_attributes(self) -> Attributes:
        """Return anew what a span of any kind may carry, for one that may not be a call: that registers no agent."""
        session = self.values[SESSION]
        found = dict(self.attributes)
        if session is not None and names.SESSION_ID in found:
            found[names.CONVERSATION_ID] = session
        if self.fingerprint is not None:
            found[names.AGENT_FINGERPRINT] = self.fingerprint
        last = resolve_process() if self.identity is None else None
        if last is not None:
            _add_identity(found, last)
        return found

    def for_call(self, fingerprint: str) -> State:
        """Return the state of a call made in this one whose prompt has *fingerprint*."""
        known = self.calls.get(fingerprint)
        if known is None:
            known = self.calls[fingerprint] = self.replaced(fingerprint=fingerprint)
        return known

    def below_span_of(self, actor: Actor) -> State:
        """Return the state below a span that names *actor*; where the fields name an agent that is this one."""
        if self.values[AGENT] is not None or self.values[AGENT_ID] is not None or actor == self.actor:
            return self
        known = self.below.get(actor)
        if known is None:
            if len(self.below) >= _MAX_CHILDREN:
                self.below.clear()
            known = self.below[actor] = self.replaced(actor=actor)
        return known

    def replaced(self, **changed: Any) -> State:
        """Return the state of the same values but for those of its making that are *changed*, checked already."""
        return _known(**self._made_of(**changed))

    def _made_of(self, **changed: Any) -> dict[str, Any]:
        return {
            "values": self.values,
            "named_with_id": self.named_with_id,
            "caller": self.caller,
            "actor": self.actor,
            "fingerprint": self.fingerprint,
            "notes": self.notes,
            **changed,
        }

    def set_again(self) -> State:
        """Return another state of the same values, for values that were set again: states are compared by identity."""
        if self._again is None:
            self._again = State(**self._made_of(), sent=not switched_off())
        return self._again

    def with_caller(self, caller: Caller) -> State:
        """Return the state of the same values in a request that *caller*, checked already, sent."""
        return self.replaced(caller=caller)

    def with_notes(self, notes: Mapping[str, AttributeValue]) -> State:
        """Return the state of the same values with *notes* added, which replace those of the same names."""
        return self.replaced(notes=tuple({**dict(self.notes), **notes}.items()))

    def given_by(self, changes: Changes) -> Changes:
        """Return *changes*, which made this state, as they were taken."""
        return tuple([None if new is None else value or "" for new, value in zip(changes, self.values)])  # pyright: ignore[reportReturnType]

    def agent(self) -> AgentIdentity:
        """Return the agent that a call made in this state is attributed to."""
        return self.identity or resolve_process() or NOBODY

    def call_context(self) -> CallContext:
        """Return the fields as the public value."""
        return CallContext(**dict(zip(FIELD_NAMES, self.values)))

    def change(self, changes: Changes) -> State:
        """Return the state with *changes* made: the known one, or a new one of values that `accept_values` took."""
        try:
            return self.children[changes]
        except Exception:  # not known, or a value that cannot be hashed or compared, which the check below names
            return _build(self, changes)


def _add_identity(attributes: Attributes, identity: AgentIdentity) -> None:
    if identity.name is not None:
        attributes[names.AGENT_NAME] = identity.name
    if identity.id is not None and identity.source is not None:
        attributes[names.RESOLVED_AGENT_ID] = identity.id
        attributes[names.AGENT_SOURCE] = identity.source
    if identity.fingerprint is not None:
        attributes[names.AGENT_FINGERPRINT] = identity.fingerprint


UNSET: Final = State(UNCHANGED)
"""The state where nothing was ever set. One that was cleared has the same values and is another object."""
_states: dict[tuple[Values, bool, Caller, Actor, str | None, str], State] = {}


def _build(base: State, changes: Changes) -> State:
    given = accept_values(changes)
    known = base.children.get(given)  # what was given as a number is known by its text
    if known is not None:
        return known
    values = apply_changes(base.values, given)
    named_with_id = _named_with_id(base, given, values)
    if (values, named_with_id) == (base.values, base.named_with_id) and base is not UNSET:
        state = base
        key = (values, named_with_id, base.caller, base.actor, base.fingerprint, _notes_key(base.notes))
        _states.setdefault(key, base)
    else:
        state = base.replaced(values=values, named_with_id=named_with_id)
    if len(base.children) >= _MAX_CHILDREN:
        base.children.clear()
    base.children[given] = state
    return state


def _restored(
    values: Changes, named_with_id: bool, caller: Caller, actor: Actor, fingerprint: str | None, notes: Notes
) -> State:
    # As in `set_context`: the bytes may come from another process, with less to lose by wrong ones.
    caller, actor = _accept_agent(caller), _accept_agent(actor)
    values = apply_changes(UNSET.values, accept_values(values))
    return _known(
        values=values, named_with_id=named_with_id, caller=caller, actor=actor, fingerprint=fingerprint, notes=notes
    )


def _accept_agent(pair: tuple[str | None, str | None]) -> tuple[str | None, str | None]:
    """Return name and id of an agent; one that cannot be carried is `None`."""
    name, agent_id = pair
    return accept_value("agent", name) or None, accept_value("agent_id", agent_id) or None


def _known(
    *, values: Values, named_with_id: bool, caller: Caller, actor: Actor, fingerprint: str | None, notes: Notes
) -> State:
    """Return the one state of these values, in a call whose prompt has *fingerprint*."""
    key = (values, named_with_id, caller, actor, fingerprint, _notes_key(notes))
    state = _states.get(key)
    if state is None:
        sent = not switched_off()
        state = State(
            values,
            named_with_id=named_with_id,
            sent=sent,
            fingerprint=fingerprint,
            caller=caller,
            actor=actor,
            notes=notes,
        )
        if len(_states) >= _MAX_STATES:
            _forget()
        _states[key] = state
    return state


def _notes_key(notes: Notes) -> str:
    """Return *notes* as part of a key: as values `1`, `1.0` and `True` would be one."""
    return repr(notes) if notes else ""


def _named_with_id(base: State, given: Changes, values: Values) -> bool:
    """Return whether the agent's name in *values* was set together with the id there."""
    if values[AGENT] is None or values[AGENT_ID] is None:
        return False
    if given[AGENT] and given[AGENT_ID]:
        return True
    same = values[AGENT] == base.values[AGENT] and values[AGENT_ID] == base.values[AGENT_ID]
    if given[AGENT] and not (same and base.named_with_id):
        warn_once(
            "fields.name_without_id",
            "An agent's name was set while an agent id stands that was set without it: the name is not sent, since "
            "it may belong to another agent. Set `agent` and `agent_id` together, or clear `agent_id` with ''.",
        )
    return same and base.named_with_id


@on_reset
def _forget() -> None:
    _states.clear()
    UNSET.children.clear()
    UNSET.calls.clear()
    UNSET.below.clear()


def length_limit(attributes: object) -> int | None:
    """Return how long texts may be in *attributes* of a span or log record; `None` for any length."""
    return getattr(attributes, "max_value_len", None)


def cut(value: Any, limit: int | None) -> Any:
    """Return *value*, a text, several, or none, as it stands under *limit*."""
    if limit is None or value is None:
        return value
    return value[:limit] if isinstance(value, str) else tuple(text[:limit] for text in value)


def fitting(added: Mapping[str, Any], there: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what of *added* goes into the attributes *there* without pushing any out, or being cut by them."""
    limit, count = length_limit(there), getattr(there, "maxlen", None)
    if count is not None and len(there) + len(added) > count:
        added = dict(islice(added.items(), max(count - len(there), 0)))
    return added if limit is None else {key: cut(value, limit) for key, value in added.items()}
