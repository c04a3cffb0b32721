"""The tables of a journal, and each change of them as one function that runs inside a transaction of the writer.

A function that refuses something raises a `WorkflowError` before it has written anything: others share its transaction.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, cast

from otelier.codec import error_to_json
from otelier.errors import EngineError, RunCancelled, RunEndedError, RunExistsError, UnknownRunError, WorkflowError
from otelier.workflows.engines.protocol import Json, Outcome, Target

FORMAT: Final = 1
"""Version of the tables; a file of a higher one is refused."""
_OURS: Final = 0x6F74656C  # "otel": what marks a file as a journal
_SCHEMA: Final = """
CREATE TABLE run(
    n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, service TEXT NOT NULL, handler TEXT NOT NULL, key TEXT,
    payload TEXT NOT NULL, headers TEXT NOT NULL, version INTEGER, parent TEXT, root TEXT NOT NULL,
    detached INTEGER NOT NULL, state TEXT NOT NULL, cancelled INTEGER NOT NULL, began INTEGER NOT NULL,
    ended INTEGER, outcome TEXT, lives INTEGER NOT NULL, progress INTEGER NOT NULL, recovered TEXT, snapshot TEXT);
CREATE INDEX run_open ON run(n) WHERE ended IS NULL;
CREATE INDEX run_parent ON run(parent) WHERE parent IS NOT NULL;
CREATE INDEX run_root ON run(root) WHERE parent IS NOT NULL;
CREATE INDEX run_ended ON run(ended) WHERE parent IS NULL AND ended IS NOT NULL;
CREATE TABLE op(
    run INTEGER NOT NULL, n INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, began INTEGER NOT NULL,
    executions INTEGER NOT NULL, ended INTEGER, seq INTEGER, value TEXT, due INTEGER, ref TEXT,
    PRIMARY KEY(run, n)) WITHOUT ROWID;
CREATE TABLE signal(n INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL, name TEXT NOT NULL, payload TEXT NOT NULL);
CREATE INDEX signal_run ON signal(run);
CREATE TABLE state(service TEXT, type TEXT, key TEXT, data TEXT NOT NULL, PRIMARY KEY(service, type, key)) WITHOUT ROWID;
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
_RUN: Final = "n, id, service, handler, key, payload, headers, version, parent, began, cancelled, recovered, snapshot"
_MAX_RECOVERED: Final = 100
"""Crashes of one run that are kept, the first ones: a replay must tell of the same."""

Statement: TypeAlias = "tuple[str, tuple[Any, ...]]"
What: TypeAlias = Literal["start", "signal", "cancel", "resume", "end"]


@dataclass(slots=True)
class Note:
    """What a change means for somebody: told to those in this process after the commit, as a row to the others."""

    what: What
    run_id: str
    data: Any = None


@dataclass(slots=True)
class Transaction:
    """A transaction that is open, and what is told after its commit."""

    conn: sqlite3.Connection
    drives: bool
    """Whether the runs are driven in this process."""
    version_of: Callable[[str], int | None]
    """Version of the worker of a service, if it is in this process."""
    notes: list[Note] = field(default_factory=list[Note])

    def tell(self, what: What, run_id: str, data: Any = None) -> None:
        """Tell of a change, also the driver in another process."""
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
    cancelled: bool
    recovered: list[int]
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


@dataclass(slots=True)
class Loaded:
    """A run, what its lives did, and the signals that nobody took."""

    row: Row
    ops: list[OpRow]
    signals: list[tuple[int, str, str]]


def dumps(value: Json) -> str:
    """Return *value* as JSON text, which a body gets back as it was."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def failure(error: BaseException) -> Outcome:
    """Return the outcome of what failed with *error*."""
    return [False, error_to_json(error)]


def cancelled(run_id: str) -> Outcome:
    """Return the outcome of a run that was cancelled."""
    return failure(RunCancelled(f"Run {run_id!r} was cancelled."))


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
                f"Cannot keep runs in {shown}: it is an SQLite file of another program. Name a file of its own: `file:PATH`."
            )
        elif found > FORMAT:
            raise EngineError(
                f"Cannot use {shown}: a newer otelier wrote it (format {found}, this one knows {FORMAT}), and would find "
                "its runs damaged. Install that release here, or name another file: `file:PATH`."
            )
    finally:
        conn.execute("COMMIT")


def _pragma(conn: sqlite3.Connection, name: str) -> int:
    return int(conn.execute(f"PRAGMA {name}").fetchone()[0])


# --- runs ------------------------------------------------------------------------------------------------------
def start_run(tx: Transaction, run_id: str, target: Target, payload: str, headers: str) -> None:
    """Store a run that is started from outside; one that exists is taken if it is the same.

    Raises:
        RunExistsError: if it is not.
    """
    found = _existing(tx.conn, run_id)
    if found is None:
        tx.tell("start", run_id, _insert(tx, run_id, target, payload, headers, None, run_id, False, False))
    elif not _is_same(found, target, payload):
        raise _exists(run_id, found)


def call_run(
    tx: Transaction, op: Sequence[Statement], run_id: str, target: Target, payload: str, headers: str, parent: str,
    detached: bool,
) -> Outcome | None:  # fmt: skip
    """Store the run that an op calls, with the op, and return its outcome if there is one already."""
    execute(tx, op)
    found = _existing(tx.conn, run_id)
    if found is None:
        root, stopped = tx.conn.execute("SELECT root, cancelled FROM run WHERE id=?", (parent,)).fetchone()
        stops = bool(stopped) and not detached
        tx.tell("start", run_id, _insert(tx, run_id, target, payload, headers, parent, root, detached, stops))
        return None
    if not _is_same(found, target, payload):
        return failure(_exists(run_id, found))
    return outcome_of(tx.conn, run_id)


def _existing(conn: sqlite3.Connection, run_id: str) -> Any:
    return conn.execute("SELECT service, handler, key, payload FROM run WHERE id=?", (run_id,)).fetchone()


def _is_same(found: Any, target: Target, payload: str) -> bool:
    if tuple(found[:3]) != (target.service, target.handler, target.key):
        return False
    return found[3] == payload or json.loads(found[3]) == json.loads(payload)


def _exists(run_id: str, found: Any) -> RunExistsError:
    return RunExistsError(
        f"Cannot start run {run_id!r}: there is one with that workflow id, of {found[0]}/{found[1]}, with another handler "
        "or input. Give this one an id of its own, or the same input to get that run.",
        workflow_id=run_id,
    )


def _insert(
    tx: Transaction, run_id: str, target: Target, payload: str, headers: str, parent: str | None, root: str,
    detached: bool, stops: bool,
) -> Row:  # fmt: skip
    version, now = tx.version_of(target.service), time.time_ns()
    # Lives are counted from the first that begins; where this process begins it at once, that is told here.
    lives = 0 if version is None or target.key is not None else 1
    cursor = tx.conn.execute(
        "INSERT INTO run(id, service, handler, key, payload, headers, version, parent, root, detached, state, cancelled,"
        " began, lives, progress) VALUES(?,?,?,?,?,?,?,?,?,?,'open',?,?,?,0)",
        (run_id, target.service, target.handler, target.key, payload, headers, version, parent, root, int(detached),
         int(stops), now, lives),
    )  # fmt: skip
    n = cast("int", cursor.lastrowid)
    return Row(n, run_id, target, payload, headers, version or 1, parent, now, stops, [], None, lives)


def outcome_of(conn: sqlite3.Connection, run_id: str) -> Outcome | None:
    """Return how a run ended; `None` while it has not.

    Raises:
        UnknownRunError: if there is no such run.
    """
    found = conn.execute("SELECT ended, outcome FROM run WHERE id=?", (run_id,)).fetchone()
    if found is None:
        raise _unknown(run_id)
    return None if found[0] is None else json.loads(found[1])


def _unknown(run_id: str) -> UnknownRunError:
    return UnknownRunError(
        f"There is no run {run_id!r}: it was never started here, or it ended so long ago that it was deleted. "
        "`otelier runs` lists those that are kept.",
        workflow_id=run_id,
    )


def _open_state(conn: sqlite3.Connection, run_id: str, cannot: str) -> str:
    """Return the state of a run that is open, else raise what is to be told."""
    found = conn.execute("SELECT state, ended FROM run WHERE id=?", (run_id,)).fetchone()
    if found is None:
        raise _unknown(run_id)
    if found[1] is not None:
        raise RunEndedError(f"Run {run_id!r} {cannot}: it has {found[0]}.", workflow_id=run_id, status=found[0])
    return str(found[0])


def add_signal(tx: Transaction, run_id: str, name: str, payload: str) -> None:
    """Keep a signal for a run that is open."""
    _open_state(tx.conn, run_id, f"takes no signal {name!r}")
    cursor = tx.conn.execute("INSERT INTO signal(run, name, payload) VALUES(?,?,?)", (run_id, name, payload))
    tx.tell("signal", run_id, (cursor.lastrowid, name, payload))


def send_signal(
    tx: Transaction, before: Sequence[Statement], run_id: str, name: str, payload: str, op: Callable[[str], Statement]
) -> Outcome:
    """Keep a signal that an op sends, and record with it how that went."""
    execute(tx, before)
    try:
        add_signal(tx, run_id, name, payload)
        outcome: Outcome = [True, None]
    except WorkflowError as exc:
        outcome = failure(exc)
    execute(tx, [op(dumps(outcome))])
    return outcome


def cancel_run(tx: Transaction, run_id: str) -> None:
    """Cancel a run and those that it called, if they are open; a blocked one has no body, and ends here."""
    try:
        _open_state(tx.conn, run_id, "cannot be cancelled")
    except RunEndedError:
        return
    tree = tx.conn.execute(
        "WITH RECURSIVE tree(id) AS (SELECT ? UNION SELECT run.id FROM run JOIN tree ON run.parent=tree.id"
        " WHERE run.detached=0 AND run.ended IS NULL) SELECT run.id, run.state FROM run JOIN tree USING(id)",
        (run_id,),
    ).fetchall()
    for one, state in tree:
        tx.conn.execute("UPDATE run SET cancelled=1 WHERE id=?", (one,))
        if state == "blocked":
            end_run(tx, one, "cancelled", dumps(cancelled(one)))
        else:
            tx.tell("cancel", one)


def resume_run(tx: Transaction, run_id: str) -> None:
    """Let a blocked run begin again."""
    if _open_state(tx.conn, run_id, "cannot be resumed") == "blocked":
        tx.conn.execute("UPDATE run SET state='open', outcome=NULL, progress=-1 WHERE id=?", (run_id,))
        tx.tell("resume", run_id)


def block_run(tx: Transaction, run_id: str, error: dict[str, Json]) -> None:
    """Leave a run until somebody resumes it."""
    tx.conn.execute(
        "UPDATE run SET state='blocked', outcome=? WHERE id=? AND ended IS NULL", (dumps([False, error]), run_id)
    )


def end_run(
    tx: Transaction, run_id: str, state: str, outcome: str, statements: Sequence[Statement] = (),
    entity: tuple[Target, dict[str, Json]] | None = None,
) -> None:  # fmt: skip
    """End a run, with the state of its entity and the ops that waited for it."""
    execute(tx, statements)
    tx.conn.execute(
        "UPDATE run SET state=?, outcome=?, ended=?, snapshot=NULL WHERE id=? AND ended IS NULL",
        (state, outcome, time.time_ns(), run_id),
    )
    tx.conn.execute("DELETE FROM signal WHERE run=?", (run_id,))
    if entity is not None:
        target, changes = entity
        data = {name: value for name, value in (read_state(tx.conn, target) | changes).items() if value is not None}
        where = (target.service, type_of(target.handler), target.key)
        tx.conn.execute("INSERT OR REPLACE INTO state(service, type, key, data) VALUES(?,?,?,?)", (*where, dumps(data)))
    tx.notes.append(Note("end", run_id, outcome))  # other processes look at the rows they wait for themselves


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


# --- lives -----------------------------------------------------------------------------------------------------
def begin_life(
    tx: Transaction, run_id: str, version: int, counts: bool, recovers: bool, max_lives: int
) -> Loaded | None:
    """Return what a life of an open run needs, and count it.

    Args:
        tx: The transaction.
        run_id: The run.
        version: Version of the worker, for a run that has none yet.
        counts: Whether the life before may have been ended by what the body does.
        recovers: Whether the life before was cut.
        max_lives: How often a body is begun without a new record before its run is blocked.
    """
    found = tx.conn.execute(f"SELECT state, lives, progress, {_RUN} FROM run WHERE id=?", (run_id,)).fetchone()
    if found is None or found[0] != "open":
        return None
    lives, before, row = found[1], found[2], _row(found[3:])
    ops = [
        OpRow(*one)
        for one in tx.conn.execute(
            "SELECT n, kind, name, began, executions, ended, seq, value, due, ref FROM op WHERE run=? ORDER BY n",
            (row.n,),
        )
    ]
    progress = len(ops) + sum(one.ended is not None for one in ops)
    first = lives == 0
    if first or progress != before:
        row.lives = 1
    else:
        row.lives = lives + counts
    if recovers and not first and len(row.recovered) < _MAX_RECOVERED:
        row.recovered.append(time.time_ns())
    if row.lives > max_lives:
        error = EngineError(
            f"Run {run_id!r} is blocked: its body was begun {max_lives} times without a new record, so it ends the process "
            "or never reaches its next step. Mend it, then `otelier resume` it."
        )
        block_run(tx, run_id, error_to_json(error))
        return None
    if found[10] is None:
        row.version = version
    tx.conn.execute(
        "UPDATE run SET lives=?, progress=?, recovered=?, version=? WHERE n=?",
        (row.lives, progress, dumps(row.recovered) if row.recovered else None, row.version, row.n),
    )
    return Loaded(row, ops, signals_of(tx, run_id))


def _row(found: Any) -> Row:
    n, run_id, service, handler, key, payload, headers, version, parent, began, stops, recovered, snapshot = found
    target = Target(service, handler, key)
    times: list[int] = json.loads(recovered) if recovered else []
    return Row(n, run_id, target, payload, headers, version or 1, parent, began, bool(stops), times, snapshot)


def signals_of(tx: Transaction, run_id: str) -> list[tuple[int, str, str]]:
    """Return the signals of a run that nobody took, oldest first."""
    return tx.conn.execute("SELECT n, name, payload FROM signal WHERE run=? ORDER BY n", (run_id,)).fetchall()
