"""Flushing and switching off."""

from __future__ import annotations

import threading
import time
from typing import Any, cast

from otelier.setup._activation import switch_off
from otelier.setup._losses import delivered, watch
from otelier.setup._providers import innermost_provider, known_providers
from otelier.signals import drain_all, finish_aside, report_fault, say_sum

_LONGEST_S = 86_400.0
"""Longest wait: a thread can be waited for no longer than the platform's clock counts."""


def flush(timeout_s: float = 10.0) -> bool:
    """Send what waits: queued metric points, then whatever the providers hold.

    Providers are the global ones and those that `init` was given. Where otelier is not switched on, or its patches are
    not wanted, only the providers' own answers are known, and they are `True` for a receiver that refuses everything.

    Args:
        timeout_s: Longest wait in seconds for everything together.

    Returns:
        Whether everything was delivered in time, as far as the exporters know: also what they tried to send by
        themselves since the last `flush`. A failure is not raised; what takes longer goes on.

    Raises:
        TypeError: if *timeout_s* is no number.

    Example:
        >>> import otelier
        >>> otelier.flush(timeout_s=1.0)
        True
    """
    if not isinstance(cast("object", timeout_s), (int, float)):
        raise TypeError(f"flush(timeout_s=) must be a number of seconds, not a {type(timeout_s).__name__}.")
    timeout_s = min(max(0.0, timeout_s), _LONGEST_S)
    deadline_s = time.monotonic() + timeout_s
    answers: list[bool] = []
    # Some of the SDK's processors export in the caller's thread, whatever time they are given: 1.45 of OpenTelemetry
    # holds it as long as the exporter tries. So that is another thread, and this one waits no longer than asked.
    sending = threading.Thread(target=lambda: answers.append(_send(deadline_s)), name="otelier-flush", daemon=True)
    try:
        sending.start()
    except RuntimeError:  # the interpreter is ending, and starts no threads any more
        done = _send(deadline_s)
        return delivered() and done
    sending.join(timeout_s)
    return delivered() and answers == [True]


def _send(deadline_s: float) -> bool:
    done = True
    try:
        done = finish_aside(max(deadline_s - time.monotonic(), 0.0))
        done = drain_all(max(deadline_s - time.monotonic(), 0.0)) and done
    except Exception as exc:
        report_fault("setup.flush", exc)
        done = False
    for provider in known_providers():
        left_ms = max(int((deadline_s - time.monotonic()) * 1000), 0)
        done = _flush_provider(provider, left_ms) and done
    return done


def _flush_provider(provider: Any, timeout_ms: int) -> bool:
    try:  # even an attribute may raise: the provider is somebody else's
        watch(innermost_provider(provider))  # what was made before otelier was switched on may have been added since
        force_flush = getattr(provider, "force_flush", None)
        if force_flush is None:
            return True
        if timeout_ms == 0:
            return False
        # Some providers answer None for done.
        return force_flush(timeout_ms) is not False
    except Exception as exc:
        report_fault("setup.flush", exc)
        return False


def shutdown() -> None:
    """Flush, take every patch out again, and stop following providers.

    The context goes on working. Providers belong to who made them: they are flushed and not shut down, those that
    OpenTelemetry set up for us shut down by themselves at the end of the process. One WARNING sums up what was lost of
    the telemetry, if anything was. `init` may be called again.

    Example:
        >>> import otelier
        >>> otelier.shutdown()
    """
    flush()
    say_sum()
    switch_off()
