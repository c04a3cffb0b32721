"""Runs as they are shown: their status, what they wait for, their steps."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime, timezone
from typing import Any, Final, cast

from otelier.workflows.engines.local import _journal as journal
from otelier.workflows.engines.protocol import APPROVAL, APPROVALS, Json, RunInfo, Status, StepInfo

_OPEN_WAIT: Final = "EXISTS(SELECT 1 FROM op WHERE op.run=run.n AND op.ended IS NULL AND op.kind<>'step')"
_OPEN_STEP: Final = "EXISTS(SELECT 1 FROM op WHERE op.run=run.n AND op.ended IS NULL AND op.kind='step')"
_SERVED: Final = (
    "EXISTS(SELECT 1 FROM handler WHERE handler.service=run.service AND handler.name=run.handler AND current=1)"
)
_WAITS: Final = f"(lives=0 OR {_OPEN_WAIT} AND NOT {_OPEN_STEP} OR NOT {_SERVED})"
_RETRIES: Final = "EXISTS(SELECT 1 FROM op WHERE op.run=run.n AND op.ended IS NULL AND op.executions>1)"
_ASKS: Final = (
    "EXISTS(SELECT 1 FROM op WHERE op.run=run.n AND op.ended IS NULL AND op.kind='signal'"  # noqa: S608 -- ours
    f" AND op.name GLOB '{APPROVAL}*')"
)
_SHOWN: Final = (
    "SELECT run.n, id, service, handler, key, state, version, run.began, run.ended, parent, outcome, lives,"  # noqa: S608 -- ours
    f" {_WAITS}, {_RETRIES}, {_ASKS} FROM run"
)
_ASKED: Final = {
    "running": f"WHERE ended IS NULL AND state='open' AND NOT {_WAITS}",
    "waiting": f"WHERE ended IS NULL AND state='open' AND {_WAITS}",
    "completed": "WHERE state='completed'",
}
_ODD: Final = "WHERE state NOT IN ('open', 'completed') AND state=?"
"""These are few among many: the words are those of their index, without which SQLite does not use it."""


def list_runs(conn: sqlite3.Connection, status: Status | None, service: str | None, limit: int) -> list[RunInfo]:
    """Return the latest runs; those of ours only where their service is asked for."""
    where, args = "WHERE 1", cast("list[Any]", [])
    if status is not None:
        where = _ASKED.get(status, _ODD)
        args += [status] if status not in _ASKED else []
    where += " AND service<>?" if service is None else " AND service=?"
    args.append(APPROVALS if service is None else service)
    rows = conn.execute(f"{_SHOWN} {where} ORDER BY run.n DESC LIMIT ?", (*args, limit)).fetchall()
    return [_info(row, (), None) for row in rows]


def one_run(conn: sqlite3.Connection, run_id: str) -> RunInfo:
    """Return one run with its steps.

    Raises:
        UnknownRunError: if there is none.
    """
    journal.outcome_of(conn, run_id)
    row = conn.execute(f"{_SHOWN} WHERE id=?", (run_id,)).fetchone()
    ops = conn.execute(
        "SELECT name, kind, executions, began, ended, value, due, ref FROM op WHERE run=? ORDER BY n", (row[0],)
    ).fetchall()
    steps = tuple(
        StepInfo(name, kind, tries, began, ended, _error(kind, value), ref if kind in {"call", "result"} else None)
        for name, kind, tries, began, ended, value, _, ref in ops
    )
    return _info(row, steps, _waiting_for(conn, row, ops))


def list_states(conn: sqlite3.Connection, service: str) -> list[tuple[str, Json]]:
    """Return the key and the state of each entity of a service."""
    rows = conn.execute("SELECT key, data FROM state WHERE service=? ORDER BY type, key", (service,))
    return [(key, json.loads(data)) for key, data in rows]


def _info(row: Any, steps: tuple[StepInfo, ...], waiting_for: str | None) -> RunInfo:
    _, run_id, service, handler, key, state, version, began, ended, parent, outcome, _, waits, retries, asks = row
    status: Status = ("waiting" if waits else "running") if state == "open" else state
    found: list[Any] = json.loads(outcome) if outcome else [True, None]
    return RunInfo(
        workflow_id=run_id,
        service=service,
        handler=handler,
        status=status,
        health=_health(status, asks, retries) if state == "open" else status,
        version=version or 1,
        begin_ns=began,
        end_ns=ended,
        key=key,
        parent_id=parent,
        result=found[1] if found[0] is True else None,
        error=None if found[0] is True else found[1],
        steps=steps,
        waiting_for=waiting_for,
    )


def _health(status: Status, asks: int, retries: int) -> str:
    return "waiting approval" if asks else "retrying" if retries else status


def _waiting_for(conn: sqlite3.Connection, row: Any, ops: list[Any]) -> str | None:
    service, handler, state, lives, waits = row[2], row[3], row[5], row[11], row[12]
    if state != "open" or not waits:
        return None
    if not conn.execute(
        "SELECT 1 FROM handler WHERE service=? AND name=? AND current=1", (service, handler)
    ).fetchone():
        return f"a worker with {service}/{handler}"
    if lives == 0:
        return "its turn" if row[4] is not None else "its worker"
    return ", ".join(_wait(name, kind, due) for name, kind, _, _, ended, _, due, _ in ops if ended is None) or None


def _wait(name: str, kind: str, due: int | None) -> str:
    until = f"until {datetime.fromtimestamp(due / 1e9, timezone.utc).isoformat(timespec='seconds')}" if due else ""
    if kind == "sleep":
        return until
    shown = f"approval {name.split('/', 2)[2]}" if name.startswith(APPROVAL) else f"{kind} {name}"
    return f"{shown} {until}".rstrip()


def _error(kind: str, value: str | None) -> str | None:
    """Return the first line of the error in a value that says it is a failure, as outcomes do."""
    if value is None or kind in {"sleep", "signal"} or not value.startswith("[false,"):
        return None
    found = json.loads(value)
    error = found[1] if len(found) == 2 else None
    if not isinstance(error, dict):
        return None
    stored = cast("dict[str, Any]", error)
    return f"{stored.get('type')}: {stored.get('message')}".partition("\n")[0]
