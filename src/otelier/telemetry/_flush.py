"""`flush`: every queue and provider sends its signals, in threads that callers share.

Any code may call it: a program, a part of this package, a finaliser's thread or an exit handler.
"""

from __future__ import annotations

import threading
import time
from typing import Any, cast

from otelier.faults import on_fork, report_fault
from otelier.telemetry._aside import finish_aside
from otelier.telemetry._exports import all_delivered, reported_losses, watch_exports
from otelier.telemetry._point_queue import drain_all
from otelier.telemetry._providers import innermost_provider, known_providers

_LONGEST_S = 86_400.0
"""Longest wait: a thread can be waited for no longer than the platform's clock counts."""
_MOST_THREADS = 2
"""One that sends already when `flush` is called may have passed what the caller wants sent; a second one has not."""


def flush(timeout_s: float = 10.0) -> bool:
    """Send pending telemetry: queued metric points, then everything that the providers hold.

    This covers the global providers and those passed to `init`. If otelier is not switched on, or its patches are
    disabled, the result is the providers' own; OpenTelemetry's providers return `True` even if the receiver rejects
    everything.

    Args:
        timeout_s: Longest wait in seconds, for everything together.

    Returns:
        Whether everything was delivered in time, as far as the exporters know, including what they exported by
        themselves since the last `flush`. Failures are not raised; an export that takes longer continues.

    Raises:
        TypeError: if *timeout_s* is not a number.

    Example:
        >>> import otelier
        >>> otelier.flush(timeout_s=1.0)
        True
    """
    if not isinstance(cast("object", timeout_s), (int, float)):
        raise TypeError(f"flush(timeout_s=) must be a number of seconds, not a {type(timeout_s).__name__}.")
    timeout_s = min(max(0.0, timeout_s), _LONGEST_S)
    deadline_s = time.monotonic() + timeout_s
    reported = reported_losses()
    try:
        done = _sends.ask(deadline_s)
    except RuntimeError:  # pragma: no cover -- exit handlers of Python 3.12 start no threads any more
        done = _send(deadline_s)
    return all_delivered(reported) and done


class _Sends:
    """Threads that send, shared by those who wait.

    Some of the SDK's processors export in the thread that flushes them, however long the exporter tries. So that is
    another thread than the caller's, who waits no longer than asked.

    See: https://github.com/open-telemetry/opentelemetry-python/issues/4568, a timeout that is not kept.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._newest: _Send | None = None
        self._alive = 0
        self._deadlines: list[float] = []

    def ask(self, deadline_s: float) -> bool:
        """Return the answer of a thread that began to send after this call; `False` if it takes too long.

        Raises:
            RuntimeError: if no thread can be started any more.
        """
        mine: _Send | None = None
        with self._changed:
            before = self._newest
            self._deadlines.append(deadline_s)
            try:
                while mine is None or mine.answer is None:
                    if mine is None and self._newest is not before:
                        mine = self._newest
                    elif mine is None and self._alive < _MOST_THREADS:
                        mine = self._begin(max(self._deadlines))
                    elif not self._changed.wait(max(deadline_s - time.monotonic(), 0.0)):
                        return False
            finally:
                self._deadlines.remove(deadline_s)
        return mine.answer

    def _begin(self, deadline_s: float) -> _Send:
        send = _Send()
        threading.Thread(target=self._run, args=(send, deadline_s), name="otelier-flush", daemon=True).start()
        self._newest = send
        self._alive += 1
        return send

    def _run(self, send: _Send, deadline_s: float) -> None:
        answer = False
        try:
            answer = _send(deadline_s)
        finally:
            with self._changed:
                send.answer = answer
                self._alive -= 1
                self._changed.notify_all()


class _Send:
    """One thread's work: to send everything that waits."""

    def __init__(self) -> None:
        self.answer: bool | None = None
        """Whether everything was delivered; `None` while the thread sends."""


_sends = _Sends()


@on_fork
def _begin_anew() -> None:
    global _sends
    _sends = _Sends()


def _send(deadline_s: float) -> bool:
    done = True
    try:
        done = finish_aside(max(deadline_s - time.monotonic(), 0.0))
        done = drain_all(max(deadline_s - time.monotonic(), 0.0)) and done
    except Exception as exc:
        report_fault("telemetry.flush", exc)
        done = False
    for provider in known_providers():
        left_ms = max(int((deadline_s - time.monotonic()) * 1000), 0)
        done = _flush_provider(provider, left_ms) and done
    return done


def _flush_provider(provider: Any, timeout_ms: int) -> bool:
    try:  # even an attribute may raise: the provider is somebody else's
        watch_exports(innermost_provider(provider))  # it may have got processors since that were made before `init`
        force_flush = getattr(provider, "force_flush", None)
        if force_flush is None:
            return True
        if timeout_ms == 0:
            return False
        # Some providers answer None for done.
        return force_flush(timeout_ms) is not False
    except Exception as exc:
        report_fault("telemetry.flush", exc)
        return False
