"""Which processes are at a file: the one that drives it, and those that stand by, as far as the system tells."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from otelier.workflows.engines.local._file import ask_lock, has_driver, lock_path

_LOCK: Final = "hhqqi4x"
"""`struct flock` of Linux on 64 bits: type, whence, start, length, process."""
_PROCESSES: Final = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attendance:
    """Who is at a file now."""

    is_driven: bool
    driver: int | None = None
    """Its process; `None` where there is none, or the system does not tell."""
    standbys: tuple[int, ...] = ()
    """Processes that stand by for it; only those of this user, and on Linux."""


def attendance(path: Path) -> Attendance:
    """Return which processes are at a file; nothing is made where there is none.

    Raises:
        EngineError: if this process may not open the file's lock.
    """
    if not has_driver(path):
        return Attendance(is_driven=False)
    driver = ask_lock(path, _holder)
    if driver is None:
        return Attendance(is_driven=True)
    return Attendance(is_driven=True, driver=driver, standbys=tuple(sorted(set(_openers(lock_path(path))) - {driver})))


def _holder(lock: IO[bytes]) -> int | None:
    """Return the process that holds a lock, which is not this one."""
    if sys.platform != "linux":
        return None
    import fcntl

    asked = struct.pack(_LOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        process = struct.unpack(_LOCK, fcntl.fcntl(lock, fcntl.F_GETLK, asked))[4]
    except OSError:
        return None
    return process if process > 0 else None  # one of another container has no number here


def _openers(lock: Path) -> Iterator[int]:
    """Yield the processes that have a file open: a standby does, to ask for the lock."""
    shown = str(lock)
    for process in _PROCESSES.iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            if any(os.readlink(one) == shown for one in (process / "fd").iterdir()):  # noqa: PTH115 -- a text is enough
                yield int(process.name)
        except OSError:  # it has ended, or is another user's
            continue
