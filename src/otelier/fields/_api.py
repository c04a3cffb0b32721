"""Setting, clearing and reading the fields of the current context."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from opentelemetry.context import attach, get_current

from otelier.faults import on_reset, report_fault
from otelier.fields._context_keys import FIELDS
from otelier.fields._contexts import with_setting, without_state
from otelier.fields._inheritance import changed_state, set_late, state_of
from otelier.fields._leases import setting_in
from otelier.fields._phases import holder_in
from otelier.fields._state import UNSET
from otelier.fields._values import CallContext
from otelier.identity import AgentIdentity


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
    new = with_setting(current, state, setting_in(current, holder))
    attach(new)
    if holder is None:
        return
    try:
        set_late(current, holder, new, changes, state)
    except Exception as exc:
        report_fault("fields.stamp_late", exc)


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


@on_reset
def _forget_here() -> None:
    attach(without_state(get_current()))
