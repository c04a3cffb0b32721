"""Who makes a call: the process's own agent, stable ids for names, and which tier of §3 named an agent."""

from __future__ import annotations

from otelier.identity._agent import NOBODY, AgentIdentity, resolve, resolve_process
from otelier.identity._ids import agent_id_for
from otelier.identity._process import ProcessIdentity, name_process, process

__all__ = [
    "NOBODY",
    "AgentIdentity",
    "ProcessIdentity",
    "agent_id_for",
    "name_process",
    "process",
    "resolve",
    "resolve_process",
]
