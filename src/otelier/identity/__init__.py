"""Agents that make calls: the process's own, stable ids derived from names, and the tiers that name one."""

from __future__ import annotations

from otelier.identity._agent import NOBODY, AgentIdentity, agent_id_for, resolve, resolve_process
from otelier.identity._fingerprint import prompt_fingerprint
from otelier.identity._process import ProcessIdentity, name_process, process
from otelier.identity._prompts import (
    MAX_PROMPT_CHARS,
    Fingerprint,
    fingerprint_of,
    fingerprint_of_id,
    prepare_fingerprints,
    resolve_fingerprint,
    use_fingerprint,
)
from otelier.identity._registry import agent_within_cardinality, register, report_waiting

__all__ = [
    "MAX_PROMPT_CHARS",
    "NOBODY",
    "AgentIdentity",
    "Fingerprint",
    "ProcessIdentity",
    "agent_id_for",
    "agent_within_cardinality",
    "fingerprint_of",
    "fingerprint_of_id",
    "name_process",
    "prepare_fingerprints",
    "process",
    "prompt_fingerprint",
    "register",
    "report_waiting",
    "resolve",
    "resolve_fingerprint",
    "resolve_process",
    "use_fingerprint",
]
