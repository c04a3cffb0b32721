"""Runs as they are shown: their status, what they wait for, their steps."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Final, cast

from otelier.errors import UnknownRunError
from otelier.workflows.engines.local import _journal as journal
from otelier.workflows.engines.protocol import APPROVAL, APPROVALS, Json, approval_in
from otelier.workflows.engines.shown import RunInfo, Status, StepInfo, shown_trace_id

_OPEN_WAIT: Final = "EXISTS(SELECT 1 FROM op WHERE op.run=run.n AND op.ended IS NULL AND op.kind<>'step')"
_OPEN_STEP: Final = "EXISTS(SELECT 1 FROM op WHERE op.run=run.n AND op.ended IS NULL AND op.kind='step')"
_SERVED: Final = (
    "EXISTS(SELECT 1 FROM handler WHERE handler.service=run.service AND handler.name=run.handler AND current=1)"
)
WAITS: Final = f"(lives=0 OR {_OPEN_WAIT} AND NOT {_OPEN_STEP} OR NOT {_SERVED})"
_FAILED: Final = "(before.value LIKE '[false,%' OR before.ended IS NOT NULL AND before.seq IS NULL)"
"""An attempt that failed, or that its time limit ended."""
RETRIES: Final = (
    "EXISTS(SELECT 1 FROM op WHERE op.run=run.n AND op.ended IS NULL AND (op.executions>1 OR EXISTS("  # noqa: S608 -- ours
    f"SELECT 1 FROM op AS before WHERE before.run=op.run AND before.kind='step' AND before.n<op.n AND {_FAILED}"
    " AND (op.kind='step' AND before.name=op.name OR op.kind='sleep' AND before.n=op.n-1))))"
)
"""Whether a step is begun again, or pauses before it is: the pause is the op after the step's."""
_LAST_FAILURE: Final = (
    "(SELECT before.value FROM op AS before WHERE before.run=run.n AND before.kind='step'"
    " AND before.value LIKE '[false,%' ORDER BY before.n DESC LIMIT 1)"
)
ASKS: Final = (
    "EXISTS(SELECT 1 FROM op WHERE op.run=run.n AND op.ended IS NULL AND op.kind='signal'"  # noqa: S608 -- ours
    f" AND op.name GLOB '{APPROVAL}*')"
)
_SHOWN: Final = (
    "SELECT run.n, id, service, handler, key, state, version, run.began, run.ended, parent, outcome, lives,"  # noqa: S608 -- ours
    f" {WAITS} AS waits, {RETRIES} AS retries, {ASKS} AS asks, {_LAST_FAILURE} FROM run"
)
_OPEN: Final = {
    "blocked": "state='blocked'",
    "running": f"state='open' AND NOT {WAITS}",
    "waiting": f"state='open' AND {WAITS}",
}
_ENDED: Final = {
    "completed": "state='completed'",
    "failed": "state NOT IN ('open', 'completed') AND state='failed'",
    "cancelled": "state NOT IN ('open', 'completed') AND state='cancelled'",
}
"""The last two are few among many: without the words of their index SQLite would read all."""


def health(asks: str, retries: str, waits: str) -> str:
    """Return the SQL of an open run's health, as its place in `HEALTHS`, of that of three conditions."""
    return f"CASE WHEN state='blocked' THEN 0 WHEN {asks} THEN 1 WHEN {retries} THEN 2 WHEN {waits} THEN 3 ELSE 4 END"


def list_runs(conn: sqlite3.Connection, status: Status | None, service: str | None, limit: int) -> list[RunInfo]:
    """Return open runs by their health, then ended ones; of each the latest first.

    Those of ours are among them only where their service is asked for.
    """
    of = "service<>?" if service is None else "service=?"
    name = APPROVALS if service is None else service
    rows: list[Any] = []
    if status is None or status in _OPEN:
        where = f"WHERE ended IS NULL AND {of}" + (f" AND {_OPEN[status]}" if status is not None else "")
        rows += conn.execute(
            f"{_SHOWN} {where} ORDER BY {health('asks', 'retries', 'waits')}, run.n DESC LIMIT ?", (name, limit)
        )
    if status not in _OPEN and len(rows) < limit:
        where = f"WHERE ended IS NOT NULL AND {of}" + (f" AND {_ENDED[status]}" if status is not None else "")
        ended = conn.execute(f"{_SHOWN} {where} ORDER BY run.n DESC LIMIT ?", (name, limit - len(rows))).fetchall()
        over = {row[0] for row in ended}  # some ended since the question before
        rows = [*(row for row in rows if row[0] not in over), *ended]
    return [_info(row) for row in rows]


def one_run(conn: sqlite3.Connection, run_id: str) -> RunInfo:
    """Return one run with its steps.

    Raises:
        UnknownRunError: if there is none.
    """
    journal.outcome_of(conn, run_id)
    row = conn.execute(f"{_SHOWN} WHERE id=?", (run_id,)).fetchone()
    (headers,) = conn.execute("SELECT headers FROM run WHERE n=?", (row[0],)).fetchone()
    ops = conn.execute(
        "SELECT name, kind, executions, began, ended, value, due, ref FROM op WHERE run=? ORDER BY n", (row[0],)
    ).fetchall()
    attempts: Counter[str] = Counter()
    steps: list[StepInfo] = []
    for name, kind, executions, began, ended, value, _, ref in ops:
        if kind == "step":  # the attempts of a step have one name
            attempts[name] += 1
        number = attempts[name] if kind == "step" else 1
        child = ref if kind in {"call", "result"} else None
        steps.append(StepInfo(name, kind, number, executions, began, ended, _error(kind, value), child))
    trace_id = shown_trace_id(run_id, json.loads(headers))
    return replace(_info(row), steps=tuple(steps), waiting_for=_waiting_for(conn, row, ops), trace_id=trace_id)


def some_runs(conn: sqlite3.Connection, run_ids: Sequence[str]) -> list[RunInfo]:
    """Return the runs of those ids that there are, with their steps."""
    found: list[RunInfo] = []
    for run_id in run_ids:
        with contextlib.suppress(UnknownRunError):
            found.append(one_run(conn, run_id))
    return found


def list_states(conn: sqlite3.Connection, service: str) -> list[tuple[str, Json]]:
    """Return the key and the state of each entity of a service."""
    rows = conn.execute("SELECT key, data FROM state WHERE service=? ORDER BY type, key", (service,))
    return [(key, json.loads(data)) for key, data in rows]


def _info(row: Any) -> RunInfo:
    _, run_id, service, handler, key, state, version, began, ended, parent, outcome, _, *derived = row
    waits, retries, asks, last_failure = derived
    status: Status = ("waiting" if waits else "running") if state == "open" else state
    if state == "open" and retries:
        outcome = last_failure
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
    asked = approval_in(name) if kind == "signal" else None
    shown = f"{kind} {name}" if asked is None else f"approval {asked[1]}"
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
