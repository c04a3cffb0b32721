"""Times and numbers of the local engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Times and numbers of an engine."""

    stop_s: float = 20.0
    """How long steps are given to end when the worker stops."""
    unknown_s: float = 60.0
    """After how long a run of a handler that nobody ever registered fails."""
    retry_s: float = 5.0
    """How long after a fault of the store it is tried again."""
    busy_s: float = 10.0
    """How long another process may hold the file before that is a fault."""
    retention_s: float = 30 * 86400.0
    """How long a finished tree of runs is kept."""
    standby_s: float = 0.08
    """How often a standby asks for the lock."""
    max_replaying: int = 100
    """How many bodies replay at once after a restart."""
    max_lives: int = 10
    """How often a body is begun without a new record before its run is blocked."""
    held_up_s: float = 5.0
    """How long a body may hold up the event loop before that is logged."""
