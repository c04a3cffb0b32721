"""Each change of a journal as one function, which runs inside a transaction of the writer.

A function that refuses something raises a `WorkflowError` before it has written anything: others share its transaction.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from otelier.codec import error_to_json
from otelier.errors import RunEndedError, UnknownRunError, WorkflowError
from otelier.workflows.engines.answers import (
    cancelled,
    canonical,
    dumps,
    failure,
    run_ended,
    run_exists,
    unknown_run,
)
from otelier.workflows.engines.local._blocked import no_progress
from otelier.workflows.engines.local._journal import (
    Loaded,
    Note,
    OpRow,
    Row,
    Statement,
    Transaction,
    cancelled_ns,
    execute,
    open_run,
    outcome_of,
    read_state,
    signals_of,
    type_of,
)
from otelier.workflows.engines.protocol import Json, Outcome, Target

_LIFE: Final = (
    "SELECT state, lives, progress, n, id, service, handler, key, payload, headers, version, parent, began, cancelled,"
    " recovered, blocked, snapshot FROM run WHERE id=?"
)
_MAX_RECOVERED: Final = 100
"""Crashes of one run that are kept, the first ones: a replay must report the same."""


def start_run(tx: Transaction, run_id: str, target: Target, payload: str, headers: str) -> str | None:
    """Store a run that is started from outside; one that exists is taken if it is the same, and its headers returned.

    Raises:
        RunExistsError: if it is not.
    """
    found = _existing(tx.conn, run_id)
    if found is None:
        tx.notify("start", run_id, _insert(tx, run_id, target, payload, headers, None, run_id, False, 0))
        return None
    if not _is_same(found, target, payload):
        raise run_exists(run_id, *found[:2])
    return str(found[4])


def call_run(
    tx: Transaction, op: Sequence[Statement], run_id: str, target: Target, payload: str, headers: str, parent: str,
    detached: bool, began_ns: int,
) -> Outcome | None:  # fmt: skip
    """Store the run that an op calls, with the op, and return its outcome if there is one already.

    It begins when the op did: no later than the span that stands for the op ends.
    """
    execute(tx, op)
    found = _existing(tx.conn, run_id)
    if found is None:
        root, stopped = tx.conn.execute("SELECT root, cancelled FROM run WHERE id=?", (parent,)).fetchone()
        stops = 0 if detached else stopped
        tx.notify(
            "start", run_id, _insert(tx, run_id, target, payload, headers, parent, root, detached, stops, began_ns)
        )
        return None
    if not _is_same(found, target, payload):
        return failure(run_exists(run_id, *found[:2]))
    return outcome_of(tx.conn, run_id)


def _existing(conn: sqlite3.Connection, run_id: str) -> Any:
    return conn.execute("SELECT service, handler, key, payload, headers FROM run WHERE id=?", (run_id,)).fetchone()


def _is_same(found: Any, target: Target, payload: str) -> bool:
    if tuple(found[:3]) != (target.service, target.handler, target.key):
        return False
    return found[3] == payload or canonical(json.loads(found[3])) == canonical(json.loads(payload))


def _insert(
    tx: Transaction, run_id: str, target: Target, payload: str, headers: str, parent: str | None, root: str,
    detached: bool, stops: int, began_ns: int | None = None,
) -> Row:  # fmt: skip
    version, began = tx.version_of(target.service), began_ns or time.time_ns()
    # Lives are counted from the first that begins; where this process begins it at once, that is counted here.
    lives = 0 if version is None or target.key is not None else 1
    cursor = tx.conn.execute(
        "INSERT INTO run(id, service, handler, key, payload, headers, version, parent, root, detached, state, "
        "cancelled, began, lives, progress) VALUES(?,?,?,?,?,?,?,?,?,?,'open',?,?,?,0)",
        (run_id, target.service, target.handler, target.key, payload, headers, version, parent, root, int(detached),
         stops, began, lives),
    )  # fmt: skip
    n = cast("int", cursor.lastrowid)
    return Row(n, run_id, target, payload, headers, version or 1, parent, began, stops, [], [], None, lives)


def _open_state(conn: sqlite3.Connection, run_id: str, cannot: str) -> str:
    """Return the state of a run that is open.

    Raises:
        UnknownRunError: if there is no such run.
        RunEndedError: if it has ended.
    """
    found = conn.execute("SELECT state, ended FROM run WHERE id=?", (run_id,)).fetchone()
    if found is None:
        raise unknown_run(run_id)
    if found[1] is not None:
        raise run_ended(run_id, cannot, found[0])
    return str(found[0])


def add_signal(tx: Transaction, run_id: str, name: str, payload: str) -> None:
    """Keep a signal for a run that is open."""
    _open_state(tx.conn, run_id, f"takes no signal {name!r}")
    cursor = tx.conn.execute("INSERT INTO signal(run, name, payload) VALUES(?,?,?)", (run_id, name, payload))
    tx.notify("signal", run_id, [(cursor.lastrowid, name, payload)])


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
        tx.conn.execute("UPDATE run SET cancelled=? WHERE id=? AND cancelled=0", (time.time_ns(), one))
        if state == "blocked":
            end_run(tx, one, "cancelled", dumps(cancelled(one)))
        else:
            tx.notify("cancel", one, cancelled_ns(tx.conn, one))


def cancel_called(tx: Transaction, run_id: str) -> None:
    """Cancel a run that an op called, and that may not have been stored."""
    try:
        cancel_run(tx, run_id)
    except UnknownRunError:
        pass


def resume_run(tx: Transaction, run_id: str) -> None:
    """Let a blocked run begin again."""
    if _open_state(tx.conn, run_id, "cannot be resumed") == "blocked":
        times = _blocked_times(tx, run_id)
        tx.conn.execute(
            "UPDATE run SET state='open', outcome=NULL, progress=-1, blocked=? WHERE id=?",
            (dumps([*times[:-1], (times[-1][0], max(times[-1][0], time.time_ns()))]), run_id),
        )
        tx.notify("resume", run_id, open_run(tx.conn, run_id))


def block_run(
    tx: Transaction, run_id: str, error: dict[str, Json], at_ns: int, before: Sequence[Statement] = ()
) -> None:
    """Leave a run from a time on, until somebody resumes it."""
    execute(tx, before)
    tx.conn.execute(
        "UPDATE run SET state='blocked', outcome=?, blocked=? WHERE id=? AND ended IS NULL",
        (dumps([False, error]), dumps([*_blocked_times(tx, run_id), (at_ns, None)]), run_id),
    )


def _blocked_times(tx: Transaction, run_id: str) -> list[tuple[int, int | None]]:
    (found,) = tx.conn.execute("SELECT blocked FROM run WHERE id=?", (run_id,)).fetchone()
    return _times(found)


def _times(stored: str | None) -> list[tuple[int, int | None]]:
    return [(began, ended) for began, ended in json.loads(stored or "[]")]


def end_run(
    tx: Transaction, run_id: str, state: str, outcome: str, statements: Sequence[Statement] = (),
    entity: tuple[Target, dict[str, Json]] | None = None,
) -> None:  # fmt: skip
    """End a run, with the state of its entity and the ops that waited for it."""
    execute(tx, statements)
    tx.conn.execute(
        "UPDATE run SET state=?, outcome=?, ended=max(?, began), snapshot=NULL WHERE id=? AND ended IS NULL",
        (state, outcome, time.time_ns(), run_id),
    )
    tx.conn.execute("DELETE FROM signal WHERE run=?", (run_id,))
    if entity is not None:
        target, changes = entity
        data = {name: value for name, value in (read_state(tx.conn, target) | changes).items() if value is not None}
        where = (target.service, type_of(target.handler), target.key)
        tx.conn.execute("INSERT OR REPLACE INTO state(service, type, key, data) VALUES(?,?,?,?)", (*where, dumps(data)))
    tx.notes.append(Note("end", run_id, outcome))  # other processes look at the rows they wait for themselves


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
    found = tx.conn.execute(_LIFE, (run_id,)).fetchone()
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
    loaded = Loaded(row, ops, signals_of(tx.conn, run_id))
    if recovers and not first and len(row.recovered) < _MAX_RECOVERED:
        row.recovered.append(max(loaded.latest_ns, time.time_ns()))
    if row.lives > max_lives:
        error = no_progress(run_id, max_lives)
        block_run(tx, run_id, error_to_json(error), time.time_ns())
        return None
    if found[10] is None:
        row.version = version
    tx.conn.execute(
        "UPDATE run SET lives=?, progress=?, recovered=?, version=? WHERE n=?",
        (row.lives, progress, dumps(row.recovered) if row.recovered else None, row.version, row.n),
    )
    return loaded


def _row(found: Any) -> Row:
    n, run_id, service, handler, key, payload, headers, version, parent, began, stops, recovered, blocked, snapshot = (
        found
    )
    target = Target(service, handler, key)
    times: list[int] = json.loads(recovered) if recovered else []
    return Row(
        n, run_id, target, payload, headers, version or 1, parent, began, stops, times, _times(blocked), snapshot
    )
