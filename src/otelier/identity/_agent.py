"""The identity of one agent as a value, and how the explicit tiers make one."""

from __future__ import annotations

from dataclasses import dataclass

from otelier.identity._ids import agent_id_for
from otelier.identity._process import process


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentIdentity:
    """The agent that a call is attributed to.

    Example:
        >>> import otelier
        >>> with otelier.context(agent="triage", agent_id="agent-7"):
        ...     agent = otelier.get_agent()
        >>> agent.id, agent.name, agent.source
        ('agent-7', 'triage', 'agent_id')
    """

    id: str | None
    """The given id, or the one derived from the name; `None` when nothing names an agent."""
    name: str | None
    """The agent's name; `None` when only an id was given."""
    source: str | None
    """Tier that named it: `agent_id`, `agent`, `fingerprint` or `app`; `None` when nothing does."""
    fingerprint: str | None
    """Fingerprint of the system prompt; `None` when no prompt is known."""


NOBODY = AgentIdentity(id=None, name=None, source=None, fingerprint=None)
"""The identity before anything names an agent or the process."""


def resolve(agent: str | None, agent_id: str | None, *, named_with_id: bool) -> AgentIdentity | None:
    """Return the identity that the explicit tiers give, `None` when neither applies.

    An id stands before a name, and keeps a name only if both were set together: a name never goes with
    another agent's id.
    """
    if agent_id is not None:
        name = agent if named_with_id else None
        return AgentIdentity(id=agent_id, name=name, source="agent_id", fingerprint=None)
    if agent is not None:
        return AgentIdentity(id=agent_id_for(agent), name=agent, source="agent", fingerprint=None)
    return None


def resolve_process() -> AgentIdentity | None:
    """Return the identity of the process's own agent, the last tier; `None` while otelier is not switched on."""
    own = process()
    if own is None:
        return None
    return AgentIdentity(id=agent_id_for(own.app), name=own.app, source="app", fingerprint=None)
