"""Background jobs for event loops: work that would hold the loop's thread up, such as redacting a long text.

One thread does it, job after job, as long as there are any. The interpreter waits for it at its end, before providers
shut down.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final

from otelier.faults import on_fork, on_reset, report_fault, warn_once

MAX_WAITING: Final = 64
"""Jobs that may wait: each keeps its content alive."""

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
        Whether it will be done: not if too many wait, or the interpreter is ending; one WARNING reports that.

    Example:
        >>> done = []
        >>> do_aside(lambda: done.append("redacted")), finish_aside(), done
        (True, True, ['redacted'])
    """
    with _lock:
        full = len(_waiting) >= MAX_WAITING
        if not full:
            _waiting.append(job)
            if _thread is not None or _started():
                return True
            _waiting.remove(job)
    warn_once(
        "telemetry.aside",
        "%s: spans and events of some calls, runs and tools go without their content. Record less of it, or set "
        "`OTELIER_CONTENT_MAX_CHARS` lower.",
        f"{MAX_WAITING} long contents wait for their redaction" if full else "No thread could redact a long content",
    )
    return False


def _started() -> bool:
    global _thread
    _thread = threading.Thread(target=_work, name="otelier-content", daemon=False)
    try:
        _thread.start()
    except RuntimeError:  # the interpreter is ending, and starts no threads any more
        _thread = None
        return False
    return True


def finish_aside(timeout_s: float = 10.0) -> bool:
    """Wait until all that was given is done; return whether nothing is left.

    Example:
        >>> finish_aside(timeout_s=1.0)
        True
    """
    deadline = monotonic() + timeout_s
    while True:
        with _lock:
            thread, is_done = _thread, not _waiting
        if thread is None:
            return is_done
        if thread is threading.current_thread():
            return False  # a job that waits for itself
        thread.join(max(deadline - monotonic(), 0))
        if thread.is_alive():
            return False


def _work() -> None:
    global _thread
    me = threading.current_thread()
    try:
        _do_jobs(me)
    finally:
        with _lock:
            if _thread is me:  # whatever ended it: the next job starts another
                _thread = None


def _do_jobs(me: threading.Thread) -> None:
    global _thread
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
        except BaseException as exc:  # a redactor of the user's may raise `SystemExit`, or a panic of Rust
            _report(exc)
        del job  # what it was about is not kept while the next one is waited for


def _report(exc: BaseException) -> None:
    try:
        report_fault("telemetry.aside", exc)
    except BaseException:  # our own tests let faults raise, and there is nobody here to raise to
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
