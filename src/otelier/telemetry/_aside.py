"""Background jobs for event loops: work that would hold the loop's thread up, such as redacting a long text.

One thread does it, job after job, as long as there are any. The interpreter waits for it at its end, before providers
shut down.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, sleep
from typing import Final

from otelier.faults import on_fork, on_reset, report_fault, warn_once

MAX_WAITING: Final = 64
"""Jobs that may wait: each keeps its content alive."""

_TURN_S: Final = 0.001
_waiting: deque[Callable[[], object]] = deque()
_starting = threading.Lock()
"""Held by who starts the thread. Nobody waits for it: a finaliser may end a stream, and so give a job, in the middle of
anything, also in the thread that holds it, or in the new thread that it waits for."""
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
    full = len(_waiting) >= MAX_WAITING
    if not full:
        _waiting.append(job)
        if _has_thread(job):
            return True
    warn_once(
        "telemetry.aside",
        "%s: spans and events of some calls, runs and tools go without their content. Record less of it, or set "
        "`OTELIER_CONTENT_MAX_CHARS` lower.",
        f"{MAX_WAITING} long contents wait for their redaction" if full else "No thread could redact a long content",
    )
    return False


def _has_thread(job: Callable[[], object]) -> bool:
    """Start a thread unless there is one; return whether *job* will be done."""
    global _thread
    # Again, since a thread that finds nothing left says so first, and then looks once more.
    while _thread is None and _waiting:
        if not _starting.acquire(blocking=False):
            return True  # whoever starts it looks again, too
        try:
            if _thread is None:
                _thread = threading.Thread(target=_work, name="otelier-content", daemon=False)
                _thread.start()
        except RuntimeError:  # the interpreter is ending, and starts no threads any more
            _thread = None
            with suppress(ValueError):
                _waiting.remove(job)
            return False
        finally:
            _starting.release()
    return True


def finish_aside(timeout_s: float = 10.0) -> bool:
    """Wait until all that was given is done; return whether nothing is left.

    Example:
        >>> finish_aside(timeout_s=1.0)
        True
    """
    deadline = monotonic() + timeout_s
    was_idle = False
    while True:
        thread = _thread
        if thread is None and not _waiting:
            return True
        # It died, and the next job starts another. Seen twice, since one that looks once more is none for a moment.
        is_idle = thread is None and not _starting.locked()
        if is_idle and was_idle:
            return False
        was_idle = is_idle
        if thread is threading.current_thread():
            return False  # a job that waits for itself
        left = deadline - monotonic()
        if thread is not None and thread.ident is not None:
            thread.join(max(left, 0))
        elif left > 0:
            sleep(_TURN_S)  # it is about to start
        if left <= 0 and (_thread is not None or _waiting):
            return False


def _work() -> None:
    global _thread
    me = threading.current_thread()
    try:
        while True:
            _do_jobs()
            _thread = None
            if not _waiting or not _starting.acquire(blocking=False):
                return
            try:
                if _thread is not None:  # pragma: no cover -- another thread was started this very moment
                    return
                _thread = me
            finally:
                _starting.release()
    finally:
        if _thread is me:  # whatever ended it: the next job starts another
            _thread = None


def _do_jobs() -> None:
    while True:
        try:
            job = _waiting.popleft()
        except IndexError:
            return
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
    global _starting, _thread
    _starting = threading.Lock()
    _thread = None
    _waiting.clear()
