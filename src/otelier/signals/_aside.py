"""Work beside an event loop: what takes too long to be done on the loop's thread, such as redacting a long text.

One thread does it, job after job, as long as there are any. The interpreter waits for it at its end, before providers
shut down.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from otelier.signals._guard import on_fork, on_reset, report_fault

MAX_WAITING: Final = 64
"""Jobs that may wait: each holds on to what it is about."""

_waiting: deque[Callable[[], object]] = deque()
_lock = threading.RLock()  # a finaliser may end a stream, and so give a job, in the middle
_thread: threading.Thread | None = None
"""The thread that does the jobs; `None` while there are none."""


def on_a_loop() -> bool:
    """Tell whether this thread runs an event loop, which stands still as long as we work.

    Example:
        >>> on_a_loop()
        False
    """
    # The public way raises where there is none, which is the usual case and takes ten times as long.
    return asyncio._get_running_loop() is not None


def do_aside(job: Callable[[], object]) -> bool:
    """Let *job* be done in another thread, after those that were given before; never raises.

    Returns:
        Whether it will be: not if too many wait, or the interpreter is ending.

    Example:
        >>> done = []
        >>> do_aside(lambda: done.append("redacted")), finish_aside(), done
        (True, True, ['redacted'])
    """
    global _thread
    with _lock:
        if len(_waiting) >= MAX_WAITING:
            return False
        _waiting.append(job)
        if _thread is None:
            _thread = threading.Thread(target=_work, name="otelier-content", daemon=False)
            try:
                _thread.start()
            except RuntimeError:  # the interpreter is ending, and starts no threads any more
                _waiting.clear()
                _thread = None
                return False
    return True


def finish_aside(timeout_s: float = 10.0) -> bool:
    """Wait until all that was given is done; return whether there was time for it.

    Example:
        >>> finish_aside(timeout_s=1.0)
        True
    """
    with _lock:
        thread = _thread
    if thread is None:
        return True
    if thread is threading.current_thread():
        return False  # a job that waits for itself
    thread.join(timeout_s)
    return not thread.is_alive()


def _work() -> None:
    global _thread
    me = threading.current_thread()
    while True:
        with _lock:
            # In this order: a job that is given in the middle finds no thread and starts one, or is found here.
            _thread = None
            if not _waiting:
                return
            _thread = me
            job = _waiting.popleft()
        try:
            job()
        except Exception as exc:
            _report(exc)
        del job  # what it was about is not kept while the next one is waited for


def _report(exc: Exception) -> None:
    try:
        report_fault("signals.aside", exc)
    except Exception:  # our own tests let faults raise, and there is nobody here to raise to
        pass


@on_reset
def _forget() -> None:
    finish_aside()


@on_fork
def _after_fork() -> None:
    global _lock, _thread
    _lock = threading.RLock()
    _thread = None
    _waiting.clear()
