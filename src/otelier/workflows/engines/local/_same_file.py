"""Whether a file is still the one that was opened: SQLite goes on writing one that was deleted, moved or replaced."""

from __future__ import annotations

import stat
from pathlib import Path

from otelier.errors import EngineError


class SameFile:
    """Knows a file, its `-wal` and its `-shm` by their numbers in the file system, from when each was first seen.

    SQLite makes these two with the first transaction, and deletes them only when nobody has the file open.
    """

    def __init__(self, path: Path) -> None:
        self._seen: dict[Path, tuple[int, int] | None] = {
            path.with_name(path.name + ending): None for ending in ("", "-wal", "-shm")
        }

    def forget(self) -> None:
        """Take what is there next as the file."""
        self._seen = dict.fromkeys(self._seen)

    def gone(self) -> EngineError | None:
        """Return what is told where one of them is no longer there under its name; `None` where all are."""
        for path, seen in self._seen.items():
            try:
                found = path.stat()
                now = (found.st_dev, found.st_ino)
            except OSError:
                now = None
            if seen is None:
                self._seen[path] = now
            elif now != seen:
                return EngineError(
                    f"Cannot use {path}: it was deleted, moved or replaced while this process had it open, so what is "
                    "written would be lost. Put it back, with its `-wal` and `-shm`, or start with what is there now; "
                    "end all that use the file before you touch it."
                )
        return None


def refuse_two_names(path: Path) -> None:
    """Refuse a file that has another name in the file system: each name would have a lock and a `-wal` of its own.

    Raises:
        EngineError: if it has one.
    """
    try:
        found = path.stat()
    except OSError:  # it will be made
        return
    if found.st_nlink > 1 and stat.S_ISREG(found.st_mode):
        raise EngineError(
            f"Cannot use {path}: the file has {found.st_nlink} names (hard links), and who opens it by another "
            "one would drive it a second time. Keep one; link to it by `ln -s`, copy it by `sqlite3 ... .backup`."
        )
