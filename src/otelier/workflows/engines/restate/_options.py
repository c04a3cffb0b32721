"""Times and numbers of the engine on Restate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Times and numbers of an engine."""

    stop_s: float = 20.0
    """How long steps are given to end when the worker stops."""
    unknown_s: float = 60.0
    """After how long a call of a handler that nobody registered fails."""
    again_s: float = 10.0
    """How long a server that was there is tried again when it does not answer."""
    answer_s: float = 60.0
    """How long it may say nothing to what was asked: whoever is between may have lost the connection."""
    late_s: float = 10.0
    """After how long a request of a client that nobody answers is told of in the log."""
    retention_s: float = 30 * 86400.0
    """How long the server keeps a run that has ended."""
    inactivity_s: float = 60.0
    """After how long of silence the server asks a run to suspend."""
    abort_s: float = 86400.0
    """How long after that a handler without `timeout_s` is let work."""
    max_retry_s: float = 10.0
    """How long the server waits at most before it tries a worker again."""
    watch_s: float = 2.0
    """How often a worker looks, on average, whether what it and all others offer is registered and answers."""
    silent_s: float = 15.0
    """How long the worker that answers for all may say nothing until another one stands in for it."""
    is_port_shared: bool = False
    """Whether several workers of one machine listen at one address, and the kernel spreads the runs."""
