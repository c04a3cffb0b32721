"""Connections that read a file while its thread writes, and the error of a file that SQLite cannot use."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from otelier.errors import EngineError
from otelier.workflows.engines.local._same_file import SameFile


def unusable(shown: str, exc: BaseException) -> EngineError:
    """Return the error of a file that SQLite cannot use."""
    text = str(exc)
    if "readonly" in text or "unable to open" in text:
        hint = "This process may not write it. Give it the right to write the file and its folder, or name another one."
    elif "not a database" in text or "malformed" in text:
        hint = "It is damaged. Put it away and restore a copy, or name another one: `file:PATH`."
    elif "full" in text:
        hint = "Make room there; nothing that was committed is lost."
    elif "locked" in text:
        hint = "Another program holds it. End what reads or copies it with a lock."
    else:
        hint = "Look at the disk and the file; nothing that was committed is lost."
    return EngineError(f"Cannot use {shown}: {text}. {hint}")


class Reader:
    """A connection that reads, for one thread at a time."""

    def __init__(self, open_: Callable[[], sqlite3.Connection], path: Path) -> None:
        self._open, self._shown, self._same = open_, str(path), SameFile(path)
        self._conn: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    def read(self, query: Callable[..., Any], *args: Any) -> Any:
        """Return what *query* reads."""
        with self._lock:
            try:
                if self._conn is not None and self._same.gone() is not None:
                    self._conn.close()
                    self._conn = None
                if self._conn is None:
                    self._same.forget()
                    self._conn = self._open()
                return query(self._conn, *args)
            except sqlite3.Error as exc:
                raise unusable(self._shown, exc) from exc

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._conn is not None:
                self._conn.close()
                self._conn = None
