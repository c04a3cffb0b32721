"""The six fields as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CallContext:
    """What is known of the calls made here; `None` is unset.

    Example:
        >>> import otelier
        >>> with otelier.context(user_id="u-1"):
        ...     otelier.get_context().user_id
        'u-1'
    """

    user_id: str | None = None
    """End user the calls are made for."""
    user_role: str | None = None
    """Role of that user; several with a comma between them."""
    agent: str | None = None
    """Name of the agent that makes the calls."""
    agent_id: str | None = None
    """Id of that agent, for callers that have one."""
    session_id: str | None = None
    """Session of the end user."""
    workflow_id: str | None = None
    """Workflow or job that the calls belong to."""
