"""Housekeeping of a driver in the journal as a whole: its services, the open runs, and runs to be deleted."""

from __future__ import annotations

import sqlite3
from typing import Final

from otelier.errors import UnknownHandlerError
from otelier.workflows.engines import answers
from otelier.workflows.engines.local._changes import end_run
from otelier.workflows.engines.local._journal import OpenRun, Transaction, open_run
from otelier.workflows.engines.protocol import APPROVALS, APPROVALS_TYPE, Registry, Target

_DELETED_AT_ONCE: Final = 100


def begin_driving(tx: Transaction, registry: Registry, is_alone: bool) -> bool:
    """Write what this worker can run, and return whether the one before it was stopped in order.

    Args:
        tx: The transaction.
        registry: What it can run.
        is_alone: Whether no other worker can drive runs beside it.
    """
    services = {service for service, _ in registry.kinds}
    left = {service for (service,) in tx.conn.execute("SELECT DISTINCT service FROM handler WHERE current=1")}
    if is_alone:
        tx.conn.execute("UPDATE handler SET current=0 WHERE current=1")
    for (service, name), kind in registry.kinds.items():
        tx.conn.execute(
            "INSERT OR REPLACE INTO handler(service, name, kind, current) VALUES(?,?,?,1)", (service, name, kind)
        )
    return not left if is_alone else not left & (services - {APPROVALS})


def end_driving(tx: Transaction, registry: Registry, is_alone: bool) -> None:
    """Take note that the worker was stopped in order."""
    for service in {service for service, _ in registry.kinds} - (set() if is_alone else {APPROVALS}):
        tx.conn.execute("UPDATE handler SET current=0 WHERE service=?", (service,))


def driven_services(conn: sqlite3.Connection) -> set[str]:
    """Return the services of the worker that drives the file, or of the last one that was killed."""
    return {service for (service,) in conn.execute("SELECT DISTINCT service FROM handler WHERE current=1")}


def open_runs(tx: Transaction) -> list[OpenRun]:
    """Return the runs that have not ended: those whose body was begun first, then in the order of their start."""
    tx.conn.execute("DELETE FROM notice")  # what they tell of is in the rows
    rows = tx.conn.execute(
        "SELECT id, service, handler, key, state FROM run WHERE ended IS NULL ORDER BY lives=0, n"
    ).fetchall()
    return [
        OpenRun(run_id, Target(service, name, key), state == "blocked") for run_id, service, name, key, state in rows
    ]


def fail_unknown(tx: Transaction, run_id: str, target: Target, waited_s: float) -> None:
    """End a run whose handler no worker ever had."""
    known = "SELECT 1 FROM handler WHERE service=? AND name=?"
    if tx.conn.execute(known, (target.service, target.handler)).fetchone() or open_run(tx.conn, run_id) is None:
        return
    names = [f"{one}/{name}" for one, name in tx.conn.execute("SELECT service, name FROM handler ORDER BY 1, 2")]
    error = UnknownHandlerError(
        f"Run {run_id!r} waited {waited_s:g} s for a worker with {target.service}/{target.handler}, which no worker "
        f"ever had. Those that are known: {', '.join(names) or 'none'}. Correct the name, or start a worker that has "
        "it.",
        service=target.service,
        handler=target.handler,
    )
    end_run(tx, run_id, "failed", answers.dumps(answers.failure(error)))


def delete_finished(tx: Transaction, before_ns: int) -> bool:
    """Delete trees of runs that all ended before a time, and return whether there may be more of them."""
    roots = tx.conn.execute(
        "SELECT id FROM run AS root WHERE parent IS NULL AND ended < ? AND NOT EXISTS (SELECT 1 FROM run WHERE"
        " run.root=root.id AND run.parent IS NOT NULL AND (run.ended IS NULL OR run.ended >= ?)) LIMIT ?",
        (before_ns, before_ns, _DELETED_AT_ONCE),
    ).fetchall()
    for root in roots:
        runs = tx.conn.execute(
            "SELECT n FROM run WHERE id=? UNION ALL SELECT n FROM run WHERE root=? AND parent IS NOT NULL", root * 2
        ).fetchall()
        tx.conn.execute(
            "DELETE FROM state WHERE service=? AND type=? AND key IN"
            " (SELECT id FROM run WHERE id=? UNION ALL SELECT id FROM run WHERE root=? AND parent IS NOT NULL)",
            (APPROVALS, APPROVALS_TYPE, *root, *root),
        )
        tx.conn.executemany("DELETE FROM op WHERE run=?", runs)
        tx.conn.executemany("DELETE FROM run WHERE n=?", runs)
    return len(roots) == _DELETED_AT_ONCE
