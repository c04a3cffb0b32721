"""The identity of one agent: its value, the id that is derived from a name, and the tiers that give one.

The same name gives the same id in every process of one application.
"""

from __future__ import annotations

import functools
import uuid
from dataclasses import dataclass

from otelier.faults import on_reset
from otelier.identity._process import fix_namespace, process

_CACHED_IDS = 1024
"""Names whose ids are kept; deriving one again costs about 3 µs and gives the same id."""


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


@functools.lru_cache(maxsize=1)
def _namespace() -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_DNS, fix_namespace())


@functools.lru_cache(maxsize=_CACHED_IDS)
def agent_id_for(name: str) -> str:
    """Return the id of the agent called *name*: UUIDv5 of the application's namespace and the name.

    The namespace is `OTELIER_APP`, else the `app` that `init` was given before the first id was asked for,
    else OpenTelemetry's service name, else `unknown_service`; the first id fixes it for the process.

    Example:
        >>> agent_id_for("triage") == agent_id_for("triage") != agent_id_for("billing")
        True
    """
    return str(uuid.uuid5(_namespace(), name))


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


@on_reset
def _forget() -> None:
    _namespace.cache_clear()
    agent_id_for.cache_clear()
