"""Flushing and switching off."""

from __future__ import annotations

import time
from typing import Any

from otelier.setup._activation import switch_off
from otelier.setup._providers import known_providers
from otelier.signals import drain_all, report_fault


def flush(timeout_s: float = 10.0) -> bool:
    """Send what waits: queued metric points, then whatever the providers hold.

    Providers are the global ones and those that `init` was given.

    Args:
        timeout_s: Longest wait in seconds for everything together.

    Returns:
        Whether everything was sent in time. A failure is not raised.

    Example:
        >>> import otelier
        >>> otelier.flush(timeout_s=1.0)
        True
    """
    deadline_s = time.monotonic() + timeout_s
    done = True
    try:
        drain_all()
    except Exception as exc:
        report_fault("setup.flush", exc)
        done = False
    for provider in known_providers():
        left_ms = max(int((deadline_s - time.monotonic()) * 1000), 0)
        done = _flush_provider(provider, left_ms) and done
    return done


def _flush_provider(provider: Any, timeout_ms: int) -> bool:
    force_flush = getattr(provider, "force_flush", None)
    if force_flush is None:
        return True
    if timeout_ms == 0:
        return False
    try:
        # Some providers answer None for done.
        return force_flush(timeout_ms) is not False
    except Exception as exc:
        report_fault("setup.flush", exc)
        return False


def shutdown() -> None:
    """Flush, take every patch out again, and stop following providers.

    The context goes on working. Providers belong to who made them: they are flushed and not shut down, those that
    OpenTelemetry set up for us shut down by themselves at the end of the process. `init` may be called again.

    Example:
        >>> import otelier
        >>> otelier.shutdown()
    """
    flush()
    switch_off()
