"""A journal's file: where it may stand, and the kernel's lock that says which process drives it.

The lock is on a file of its own beside it, `PATH.lock`, that nothing else opens: on POSIX a process loses its lock as
soon as it closes *any* handle of the file. It is no `flock`, which outlives a driver in the children it forked.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final, TypeVar

from otelier.errors import EngineError

T = TypeVar("T")
REMOTE: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "afs", "ceph", "glusterfs", "lustre"}
)
"""File systems on which a lock of one kernel says nothing to the other's."""
_MOUNTS: Final = Path("/proc/self/mountinfo")
_guard = threading.Lock()
_locks: dict[Path, DriverLock] = {}


def refuse_remote(path: Path, mounts: Path = _MOUNTS) -> None:
    """Refuse a file that another machine may open as well.

    Raises:
        EngineError: if it stands on a network file system.
    """
    kind = file_system(path, mounts)
    if kind in REMOTE or kind.startswith("fuse."):
        raise EngineError(
            f"Cannot keep runs in {path}: it stands on {kind!r}, where the lock that says who drives it does not hold "
            "between machines. Name a file on a local disk, `file:PATH`, or use a server: `restate://HOST`."
        )


def file_system(path: Path, mounts: Path = _MOUNTS) -> str:
    """Return the type of the file system that holds *path*; nothing where the system does not tell."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    best, kind = -1, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = Path(fields[4].encode().decode("unicode_escape"))
        # The last of several at one place covers those before it.
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split(" ")[0]
    return kind


class DriverLock:
    """The lock of one file in this process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_held = False
        self._file: IO[bytes] | None = None

    @classmethod
    def of(cls, path: Path) -> DriverLock:
        """Return the lock of a file for its one worker in this process.

        Raises:
            EngineError: if this process has another worker on it.
        """
        with _guard:
            found = _locks.get(path)
            if found is not None:
                raise EngineError(
                    f"Cannot serve {path} twice in one process: one worker drives it. Give all modules to that worker: "
                    "`Worker(..., modules=[...])`, or name another file: `file:PATH`."
                )
            lock = _locks[path] = cls(path)
            return lock

    def try_lock(self) -> bool:
        """Take the lock if no process has it."""
        with _guard:
            if self._file is None:
                self._file = _opened(self.path)
            self.is_held = _try_lock(self._file)
            return self.is_held

    def holds(self) -> bool:
        """Return whether the lock is still this process's, and take it anew where somebody deleted its file."""
        with _guard:
            if self._file is None or not self.is_held or _is_there(self._file, lock_path(self.path)):
                return True
            try:
                file = _opened(self.path)
            except EngineError:
                return True  # nobody else can make it either
            if not _try_lock(file):
                file.close()
                return False
            self._file.close()
            self._file = file
            return True

    def release(self) -> None:
        """Give the lock back."""
        with _guard:
            if self._file is not None:
                self._file.close()
            self._file, self.is_held = None, False
            if _locks.get(self.path) is self:
                del _locks[self.path]


class LostLockError(EngineError):
    """Another process took the lock of a file that this one drives."""


def lost_lock(shown: str) -> LostLockError:
    """Return what is told where that happened."""
    return LostLockError(
        f"Cannot drive {shown} any more: its lock, {shown}.lock, was deleted, and another process took it. This worker "
        "stops. Never delete that file: the lock ends by itself with the process that has it."
    )


def has_driver(path: Path) -> bool:
    """Return whether a process drives the file."""
    with _guard:
        if path in _locks:  # its handle must not be closed a second time here, see above
            return True
        if not lock_path(path).exists():
            return False
        with _opened(path) as file:
            return not _try_lock(file)


def ask_lock(path: Path, question: Callable[[IO[bytes]], T]) -> T | None:
    """Return what *question* finds out about the lock; `None` where this process itself has it open, or nobody had."""
    with _guard:
        if path in _locks or not lock_path(path).exists():
            return None
        with _opened(path) as file:
            return question(file)


def forget_locks() -> None:
    """Forget in a forked child what its parent holds; the handle stays open there, the lock is the parent's."""
    global _guard
    _guard = threading.Lock()
    _locks.clear()


def lock_path(path: Path) -> Path:
    """Return the file whose lock says who drives *path*."""
    return path.with_name(path.name + ".lock")


def _is_there(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _opened(path: Path) -> IO[bytes]:
    try:
        return lock_path(path).open("a+b")
    except OSError as exc:
        raise EngineError(
            f"Cannot open {lock_path(path)}: {exc.strerror}. It says which process drives the runs. Give this one the "
            "right to write there, or name another file: `file:PATH`."
        ) from exc


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[bytes]) -> bool:
        file.seek(0)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def absolute(path: str) -> Path:
    """Return the one name of a file, and make the folder it stands in.

    Raises:
        EngineError: if the folder cannot be made.
    """
    try:
        whole = Path(path).expanduser().resolve()
        whole.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, RuntimeError) as exc:  # also what no file is named, and links in a circle
        why = getattr(exc, "strerror", None) or exc
        raise EngineError(
            f"Cannot keep runs in {path[:1024]!r}: {why}. Name a file in a folder that this process may write: "
            "`file:PATH`."
        ) from exc
    return whole
