"""Tables of a journal, its rows as values, and the short queries that several modules need."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from otelier.errors import EngineError
from otelier.workflows.engines.answers import unknown_run
from otelier.workflows.engines.protocol import Json, Outcome, Target

FORMAT: Final = 1
"""Version of the tables; a file of a higher one is refused."""
_OURS: Final = 0x6F74656C  # "otel": what marks a file as a journal
_SCHEMA: Final = """
CREATE TABLE run(
    n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, service TEXT NOT NULL, handler TEXT NOT NULL, key TEXT,
    payload TEXT NOT NULL, headers TEXT NOT NULL, version INTEGER, parent TEXT, root TEXT NOT NULL,
    detached INTEGER NOT NULL, state TEXT NOT NULL, cancelled INTEGER NOT NULL, began INTEGER NOT NULL,
    ended INTEGER, outcome TEXT, lives INTEGER NOT NULL, progress INTEGER NOT NULL, recovered TEXT, blocked TEXT,
    snapshot TEXT);
CREATE INDEX run_open ON run(n) WHERE ended IS NULL;
CREATE INDEX run_parent ON run(parent) WHERE parent IS NOT NULL;
CREATE INDEX run_root ON run(root) WHERE parent IS NOT NULL;
CREATE INDEX run_odd ON run(state) WHERE state NOT IN ('open', 'completed');
CREATE INDEX run_ended ON run(ended) WHERE parent IS NULL AND ended IS NOT NULL;
CREATE TABLE op(
    run INTEGER NOT NULL, n INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, began INTEGER NOT NULL,
    executions INTEGER NOT NULL, ended INTEGER, seq INTEGER, value TEXT, due INTEGER, ref TEXT,
    PRIMARY KEY(run, n)) WITHOUT ROWID;
CREATE TABLE signal(n INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL, name TEXT NOT NULL, payload TEXT NOT NULL);
CREATE INDEX signal_run ON signal(run);
CREATE TABLE state(service TEXT, type TEXT, key TEXT, data TEXT NOT NULL,
    PRIMARY KEY(service, type, key)) WITHOUT ROWID;
CREATE TABLE handler(service TEXT, name TEXT, kind TEXT NOT NULL, current INTEGER NOT NULL,
    PRIMARY KEY(service, name)) WITHOUT ROWID;
CREATE TABLE notice(n INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT NOT NULL, run TEXT NOT NULL);
"""
INSERT_OP: Final = (
    "INSERT INTO op(run, n, kind, name, began, executions, ended, seq, value, due, ref) VALUES(?,?,?,?,?,?,?,?,?,?,?)"
)
UPDATE_OP: Final = "UPDATE op SET executions=?, ended=?, seq=?, value=?, ref=? WHERE run=? AND n=?"
TAKE_SIGNAL: Final = "DELETE FROM signal WHERE n=?"
GIVE_BACK_SIGNAL: Final = "INSERT OR IGNORE INTO signal(n, run, name, payload) VALUES(?,?,?,?)"
AT_WAIT: Final = "UPDATE run SET progress=-1 WHERE n=?"
"""A life that reached a wait is no failed one: the next begins to count anew."""
BEGUN: Final = "UPDATE run SET lives=1 WHERE n=? AND lives=0"
SNAPSHOT: Final = "UPDATE run SET snapshot=? WHERE n=?"

Statement: TypeAlias = "tuple[str, tuple[Any, ...]]"
What: TypeAlias = Literal["start", "signal", "cancel", "resume", "end"]


@dataclass(slots=True)
class Note:
    """A change that somebody waits for: reaches this process after the commit, and others as a row of `notice`."""

    what: What
    run_id: str
    data: Any = None


@dataclass(slots=True)
class Transaction:
    """A transaction that is open, and the notes that are sent after its commit."""

    conn: sqlite3.Connection
    drives: bool
    """Whether the runs are driven in this process."""
    version_of: Callable[[str], int | None]
    """Version of the worker of a service, if it is in this process."""
    notes: list[Note] = field(default_factory=list[Note])

    def notify(self, what: What, run_id: str, data: Any = None) -> None:
        """Send a note of a change, also to the driver in another process."""
        self.notes.append(Note(what, run_id, data))
        if not self.drives:
            self.conn.execute("INSERT INTO notice(what, run) VALUES(?,?)", (what, run_id))


@dataclass(slots=True)
class Row:
    """A run as a life needs it."""

    n: int
    id: str
    target: Target
    payload: str
    headers: str
    version: int
    parent: str | None
    began: int
    cancelled: int
    """When it was cancelled; 0 for one that was not."""
    recovered: list[int]
    blocked: list[tuple[int, int | None]]
    snapshot: str | None
    lives: int = 1


@dataclass(slots=True)
class OpRow:
    """An op as it was recorded."""

    n: int
    kind: str
    name: str
    began: int
    executions: int
    ended: int | None
    seq: int | None
    value: str | None
    due: int | None
    ref: str | None


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that has not ended."""

    id: str
    target: Target
    is_blocked: bool


@dataclass(slots=True)
class Loaded:
    """A run, what its lives did, and the signals that nobody took."""

    row: Row
    ops: list[OpRow]
    signals: list[tuple[int, str, str]]

    @property
    def latest_ns(self) -> int:
        """The last time that was recorded: the clock may have been set back since."""
        times = (time for op in self.ops for time in (op.began, op.ended) if time is not None)
        return max(self.row.began, *self.row.recovered, max(times, default=0))


def type_of(handler: str) -> str:
    """Return the type of the entity that has *handler* as its method."""
    return handler.partition(".")[0]


def prepare(conn: sqlite3.Connection, shown: str) -> None:
    """Make the tables in an empty file; refuse one that is not ours, or newer.

    Raises:
        EngineError: if it is.
    """
    conn.execute("BEGIN IMMEDIATE")
    try:
        ours, found = _pragma(conn, "application_id"), _pragma(conn, "user_version")
        if ours == 0 and found == 0 and not conn.execute("SELECT 1 FROM sqlite_master").fetchone():
            for statement in _SCHEMA.split(";"):
                conn.execute(statement)
            conn.execute(f"PRAGMA application_id={_OURS}")
            conn.execute(f"PRAGMA user_version={FORMAT}")
        elif ours != _OURS:
            raise EngineError(
                f"Cannot keep runs in {shown}: it is an SQLite file of another program. Name a file of its own: "
                "`file:PATH`."
            )
        elif found > FORMAT:
            raise EngineError(
                f"Cannot use {shown}: a newer otelier wrote it (format {found}, this one knows {FORMAT}), and would "
                "find its runs damaged. Install that release here, or name another file: `file:PATH`."
            )
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:  # some of the tables would be taken for another program's file
            conn.execute("ROLLBACK")
        raise


def _pragma(conn: sqlite3.Connection, name: str) -> int:
    return int(conn.execute(f"PRAGMA {name}").fetchone()[0])


def outcome_of(conn: sqlite3.Connection, run_id: str) -> Outcome | None:
    """Return how a run ended; `None` while it has not.

    Raises:
        UnknownRunError: if there is no such run.
    """
    found = conn.execute("SELECT ended, outcome FROM run WHERE id=?", (run_id,)).fetchone()
    if found is None:
        raise unknown_run(run_id)
    return None if found[0] is None else json.loads(found[1])


def execute(tx: Transaction, statements: Sequence[Statement]) -> None:
    """Execute what a life has to write."""
    for sql, args in statements:
        tx.conn.execute(sql, args)


def read_state(conn: sqlite3.Connection, target: Target) -> dict[str, Json]:
    """Return the last saved state of an entity."""
    found = conn.execute(
        "SELECT data FROM state WHERE service=? AND type=? AND key=?",
        (target.service, type_of(target.handler), target.key),
    ).fetchone()
    return json.loads(found[0]) if found else {}


def signals_of(conn: sqlite3.Connection, run_id: str) -> list[tuple[int, str, str]]:
    """Return the signals of a run that nobody took, oldest first."""
    return conn.execute("SELECT n, name, payload FROM signal WHERE run=? ORDER BY n", (run_id,)).fetchall()


def cancelled_ns(conn: sqlite3.Connection, run_id: str) -> int:
    """Return when a run was cancelled; 0 for one that was not."""
    found = conn.execute("SELECT cancelled FROM run WHERE id=?", (run_id,)).fetchone()
    return 0 if found is None else found[0]


def open_run(conn: sqlite3.Connection, run_id: str) -> OpenRun | None:
    """Return a run that has not ended."""
    found = conn.execute(
        "SELECT service, handler, key, state FROM run WHERE id=? AND ended IS NULL", (run_id,)
    ).fetchone()
    return None if found is None else OpenRun(run_id, Target(*found[:3]), found[3] == "blocked")
