"""Setting, reading and clearing the fields: from here on, for a block or a function, and in a Context that is given."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Any, TypeVar
from uuid import UUID

from opentelemetry.context import Context, attach, get_current
from opentelemetry.util.types import AttributeValue

from otelier.errors import ContextUseError
from otelier.faults import on_reset, report_fault
from otelier.fields._blocks import Frame, end, is_open_in, restore, run_in
from otelier.fields._contexts import (
    BAGGAGE,
    BLOCK,
    FIELDS,
    REQUEST,
    SETTING,
    SPAN,
    merge_baggage,
    with_state,
    without_state,
)
from otelier.fields._inheritance import born_state, changed_state, set_late, state_of
from otelier.fields._lifetimes import holder_in, note_in_phase, setting_in
from otelier.fields._state import NO_CALLER, UNSET
from otelier.fields._values import CallContext, accept_values, is_strict
from otelier.identity import AgentIdentity

F = TypeVar("F", bound=Callable[..., Any])


def set_context(
    *,
    user_id: str | int | UUID | None = None,
    user_role: str | int | UUID | Collection[str] | None = None,
    agent: str | int | UUID | None = None,
    agent_id: str | int | UUID | None = None,
    session_id: str | int | UUID | None = None,
    workflow_id: str | int | UUID | None = None,
    tenant_id: str | int | UUID | None = None,
) -> None:
    """Set fields from here on: on the open span, and on every span and log record that follows.

    `None` leaves a field unchanged, `""` clears it. A value lasts until the span that is now open ends; without a span,
    until the task, executor job, `context()` block or `ContextMiddleware` request ends. A span that only divides a
    request, such as FastAPI's own `fastapi.dependencies`, counts as part of the request's span. A value that a helper
    sets inside its own span is gone when that span ends: set it outside, or use `context`. Tasks started later and
    thread-pool jobs inherit the values; a raw thread does not, see `propagate`.

    Args:
        user_id: End user that the calls are made for.
        user_role: Role of that user. For several, a list, tuple or set of roles without commas, or one text with the
            roles separated by commas.
        agent: Name of the agent that makes the calls; an id is derived from it.
        agent_id: Id of that agent, if the application has one. It takes precedence over the name, and a name belongs
            to it only if both are set in one call.
        session_id: Session of the end user.
        workflow_id: Workflow or job that the calls belong to.
        tenant_id: Customer whose data the calls work on.

    A value is text, or an `int` or `UUID`, which are converted to text. A value that cannot be carried (another type,
    control characters, more than 1024 characters, a comma inside one of several roles) clears its field, with one
    warning and a count in `otelier.internal.errors`.

    Raises:
        TypeError: with `init(strict=True)`, if a value has another type; nothing is set then.
        ContextValueError: with `init(strict=True)`, if a text cannot be carried; nothing is set then.

    Example:
        >>> import otelier
        >>> otelier.set_context(user_id="u-1", session_id="s-1")
        >>> otelier.set_context(agent="billing")
        >>> otelier.get_context().user_id, otelier.get_context().agent
        ('u-1', 'billing')
        >>> otelier.clear_context()
    """
    if user_id is user_role is agent is agent_id is session_id is workflow_id is tenant_id is None:
        return
    changes: Any = (user_id, user_role, agent, agent_id, session_id, workflow_id, tenant_id)
    current = get_current()
    holder = holder_in(current)
    known: Any = current.get(FIELDS)
    state = changed_state(known, holder, changes)
    bag: Any = current.get(BAGGAGE)
    entries = merge_baggage(bag, state) if bag else state.baggage
    new = Context({**current, BAGGAGE: entries, FIELDS: state, SETTING: setting_in(current, holder)})
    attach(new)
    if holder is None:
        return
    try:
        set_late(current, holder, new, changes, state)
    except Exception as exc:
        report_fault("fields.stamp_late", exc)


class context:  # noqa: N801 -- reads as a verb at its call site, like `contextlib.suppress`
    """Set fields for a `with` block, or as a decorator for each call of a function; they are restored at the end.

    Spans and log records created inside carry the fields, metrics the agent's name and the tenants you list; tasks and
    thread-pool jobs started inside inherit them. `None` leaves a field as it is outside, `""` clears it inside. The
    span that is already open when the block starts stays unchanged: use `set_context` for that one.

    A decorated function may be plain, `async`, a generator or an async generator. The fields of a decorated generator
    are set only while it runs, so its consumer never sees them; those of `with context()` in a generator's body are
    visible to the consumer between the `yield`s.

    Args:
        user_id: End user that the calls are made for.
        user_role: Role of that user. For several, a list, tuple or set of roles without commas, or one text with the
            roles separated by commas.
        agent: Name of the agent that makes the calls.
        agent_id: Id of that agent, if the application has one. It takes precedence over the name.
        session_id: Session of the end user.
        workflow_id: Workflow or job that the calls belong to.
        tenant_id: Customer whose data the calls work on.

    Values are the same as for `set_context`; one that cannot be carried clears its field inside.

    Raises:
        TypeError: with `init(strict=True)`, if a value has another type.
        ContextValueError: with `init(strict=True)`, if a text cannot be carried.
        ContextUseError: if one object is entered again while its block is open.

    Example:
        >>> import otelier
        >>> with otelier.context(user_id="u-1", agent="triage"):
        ...     with otelier.context(agent="billing"):
        ...         print(otelier.get_context().user_id, otelier.get_context().agent)
        u-1 billing
        >>> otelier.get_context().user_id is None
        True
    """

    __slots__ = ("_changes", "_outer_block", "_outer_context", "_own_context", "_span_outside")

    def __init__(
        self,
        *,
        user_id: str | int | UUID | None = None,
        user_role: str | int | UUID | Collection[str] | None = None,
        agent: str | int | UUID | None = None,
        agent_id: str | int | UUID | None = None,
        session_id: str | int | UUID | None = None,
        workflow_id: str | int | UUID | None = None,
        tenant_id: str | int | UUID | None = None,
    ) -> None:
        self._changes: Any = (user_id, user_role, agent, agent_id, session_id, workflow_id, tenant_id)
        self._own_context: Context | None = None

    def __enter__(self) -> None:
        """Set the fields."""
        # Entering and leaving is a hot path: no helper calls, one new Context, the token not kept.
        if self._own_context is not None:
            raise ContextUseError(
                "Cannot enter one context() object twice at once: its first block would not be restored. "
                "Call `otelier.context(...)` for each block."
            )
        current = get_current()
        state: Any = current.get(FIELDS)
        span = current.get(SPAN)
        if span is None and REQUEST not in current:
            state = (UNSET if state is None else state).change(self._changes)
            self._span_outside: Any = None
        else:
            self._span_outside = holder = holder_in(current)
            state = changed_state(state, holder, self._changes)
        self._outer_context: Context | None = current
        bag: Any = current.get(BAGGAGE)
        self._own_context = Context(
            {**current, BAGGAGE: merge_baggage(bag, state) if bag else state.baggage, FIELDS: state, BLOCK: self}
        )
        attach(self._own_context)
        if span is not self._span_outside:
            note_in_phase(self._own_context)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give back what held before."""
        mine = self._own_context
        self._own_context = None
        current = get_current()
        if mine is None:
            return
        former: Any = self._outer_context
        if current is mine:
            attach(former)
        elif is_open_in(self, current):
            attach(restore(current, mine, former))
        end(self)

    def __call__(self, function: F) -> F:
        """Return *function* with the fields set for each of its calls."""
        changes = self._changes
        if is_strict():
            accept_values(changes)

        def open_frame() -> Frame:
            current = get_current()
            holder = holder_in(current)
            state = changed_state(current.get(FIELDS), holder, changes)  # pyright: ignore[reportArgumentType]
            return Frame(with_state(current, state), around=current, span_outside=holder)

        return run_in(function, open_frame)


def clear_context() -> None:
    """Clear all fields from here on; spans keep the attributes that they already have.

    Example:
        >>> import otelier
        >>> otelier.set_context(user_id="u-1")
        >>> otelier.clear_context()
        >>> otelier.get_context() == otelier.CallContext()
        True
    """
    set_context(user_id="", user_role="", agent="", agent_id="", session_id="", workflow_id="", tenant_id="")


def get_context() -> CallContext:
    """Return the fields that are set here; a field that is not set is `None`.

    A value that another thread set on the request's span reaches that span's later children, but not this result.

    Example:
        >>> import otelier
        >>> with otelier.context(session_id="s-1"):
        ...     otelier.get_context().session_id
        's-1'
    """
    state: Any = get_current().get(FIELDS)
    return (UNSET if state is None else state).call_context()


def get_agent() -> AgentIdentity:
    """Return the agent that a call made now would be attributed to, and how it was determined (`source`).

    The first that applies: `agent_id`, `agent`, and once otelier is switched on the process's own agent (`app`). All
    attributes are `None` if none applies.

    Example:
        >>> import otelier
        >>> with otelier.context(agent="billing"):
        ...     otelier.get_agent().source
        'agent'
    """
    return state_of().agent()


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


@on_reset
def _forget_here() -> None:
    attach(without_state(get_current()))
