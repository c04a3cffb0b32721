"""Building OpenTelemetry Contexts that hold a state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.context import Context, attach, get_current
from opentelemetry.util.types import AttributeValue

from otelier.faults import report_fault
from otelier.fields._context_keys import BAGGAGE, BLOCK, FIELDS, REQUEST, SETTING, FieldText
from otelier.fields._inheritance import born_state, changed_state
from otelier.fields._leases import Held, Lease, Setting
from otelier.fields._phases import MARK, Phase, holder_in, note_in_phase
from otelier.fields._state import NO_CALLER, UNSET
from otelier.fields._values import Changes


def with_state(current: Context, state: Held) -> Context:
    """Return *current* with *state* in force."""
    bag: Any = current.get(BAGGAGE)
    return Context({**current, BAGGAGE: merge_baggage(bag, state) if bag else state.baggage, FIELDS: state})


def with_setting(current: Context, state: Held, setting: Setting) -> Context:
    """Return *current* with *state* in force, set where *setting* says."""
    bag: Any = current.get(BAGGAGE)
    return Context(
        {**current, BAGGAGE: merge_baggage(bag, state) if bag else state.baggage, FIELDS: state, SETTING: setting}
    )


def without_state(current: Context) -> Context:
    """Return *current* as if nothing of ours had ever been set in it."""
    rest = {key: value for key, value in current.items() if key not in (FIELDS, BLOCK, SETTING, REQUEST)}
    bag: Any = rest.get(BAGGAGE)
    if bag:
        rest[BAGGAGE] = not_ours(bag)
    return Context(rest)


def with_lease(current: Context, lease: Lease) -> Context:
    """Return *current* for a thread that has its fields by *lease* alone: as baggage they would stay for ever."""
    bag: Any = current.get(BAGGAGE)
    return Context({**current, FIELDS: lease, **({BAGGAGE: not_ours(bag)} if bag else {})})


def without_fields(current: Context) -> Context:
    """Return *current* with no fields in it, and none that its span hands down."""
    holder = holder_in(current)
    if current.get(FIELDS) is None and getattr(holder, MARK, None) is None:
        return current
    return with_lease(without_state(current), Lease((), holder))


def entries_of(current: Context) -> tuple[tuple[str, str], ...]:
    """Return our entries in the baggage of *current*, as they hold now, also in a thread that has them by a lease."""
    bag: Any = current.get(BAGGAGE) or {}
    state: Any = current.get(FIELDS)
    if type(state) is Lease and (held := state.now()) is not None:
        bag = merge_baggage(bag, held)
    return tuple([(key, str.__str__(value)) for key, value in bag.items() if type(value) is FieldText])


def merge_baggage(bag: Mapping[str, object], state: Held) -> Mapping[str, object]:
    """Return *bag* with our entries replaced by those of *state*; the application's own stay."""
    foreign = not_ours(bag)
    return {**foreign, **state.baggage} if foreign else state.baggage


def not_ours(bag: Mapping[str, object]) -> dict[str, object]:
    """Return the entries of *bag* that the application put there."""
    return {key: value for key, value in bag.items() if type(value) is not FieldText}


def begin_phase(span: Any, born: object, context: Context) -> None:
    """Make *span*, born in *context* with the mark *born*, a phase of the span that is current there.

    It has its own `end` from now on, so that no other span pays for it: only there does the context in which a phase
    began hold again, and no processor is told of it there with the span itself.
    """
    phase = Phase(holder_in(context), born, context)
    setattr(span, MARK, phase)

    def end(*args: Any, **kwargs: Any) -> None:
        span.__dict__.pop("end", None)  # the class's own holds again; this one would keep the span alive
        span.end(*args, **kwargs)
        try:
            _hand_over(phase)
        except Exception as exc:
            report_fault("fields.end_phase", exc)

    span.end = end


def _hand_over(phase: Phase) -> None:
    """Let what was set in *phase*, which is over, hold in the context around it."""
    current = get_current()
    left = phase.leaves(current)
    if left is None:
        return
    state: Any = left[FIELDS]
    new = Context({**with_state(current, state), BLOCK: left.get(BLOCK), SETTING: left.get(SETTING)})
    attach(new)
    note_in_phase(new)


def with_changes(current: Context, changes: Changes) -> Context:
    """Return *current* with *changes* made; see `State.change`."""
    state: Any = current.get(FIELDS)
    return with_state(current, changed_state(state, holder_in(current), changes))


def with_inbound(
    current: Context,
    *,
    user_id: str | None = None,
    user_role: str | None = None,
    agent: str | None = None,
    agent_id: str | None = None,
    session_id: str | None = None,
    workflow_id: str | None = None,
    tenant_id: str | None = None,
) -> Context:
    """Return *current* with the fields that a request carried; a field that is set already keeps its value.

    The inbound agent is the caller's: it names no call made here. Each value has passed `check_field`.
    """
    state = born_state(current) or UNSET
    # Servers mostly ask for a Context of its own, empty but for what came; what was set here still comes first.
    here = born_state(get_current()) or UNSET
    inbound = (user_id, user_role, None, None, session_id, workflow_id, tenant_id)
    changes: Any = tuple(
        new if old is None and other is None else None for old, other, new in zip(state.values, here.values, inbound)
    )
    known: Any = current.get(FIELDS)
    mine = changed_state(known, holder_in(current), changes)
    caller = (agent, agent_id)
    return with_state(current, mine.with_caller(caller) if caller != NO_CALLER else mine)


def with_fields(
    current: Context,
    *,
    notes: Mapping[str, AttributeValue] | None = None,
    user_id: str | None = None,
    user_role: str | None = None,
    agent: str | None = None,
    agent_id: str | None = None,
    session_id: str | None = None,
    workflow_id: str | None = None,
    tenant_id: str | None = None,
) -> Context:
    """Return *current* with these fields set, and *notes* on every span and log record made in it.

    `None` leaves a field alone, `""` clears it. What cannot be carried clears its field, or raises: see
    `set_context`.

    Args:
        current: What holds around it.
        notes: Attributes with values that can be sent; notes that hold already and are not named again stay.
        user_id: See `set_context`, as for all that follow.
        user_role: Several roles are one text with commas between them.
        agent: Name of the agent.
        agent_id: Id of the agent.
        session_id: Session of the user.
        workflow_id: Workflow or job.
        tenant_id: Customer whose data it is.
    """
    changes = (user_id, user_role, agent, agent_id, session_id, workflow_id, tenant_id)
    known: Any = current.get(FIELDS)
    state = changed_state(known, holder_in(current), changes)
    return with_state(current, state.with_notes(notes) if notes else state)
