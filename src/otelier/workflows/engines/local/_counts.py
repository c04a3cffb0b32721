"""How many runs are open, and what they ask for, read in slices: neither a loop nor the file's log waits for long."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from otelier.workflows.engines.local._info import ASKS, RETRIES, WAITS, health
from otelier.workflows.engines.protocol import APPROVAL, APPROVALS
from otelier.workflows.engines.shown import HEALTHS

Read: TypeAlias = Callable[..., Any]
"""Calls a query with a connection that may be used as long as the query takes."""
_SLICE: Final = 500
_OPEN: Final = "FROM run WHERE ended IS NULL AND n>? ORDER BY n LIMIT 1 OFFSET ?"
_BY_HEALTH: Final = (
    f"SELECT service, {health(ASKS, RETRIES, WAITS)} AS health, COUNT(*)"  # noqa: S608 -- ours
    " FROM run WHERE ended IS NULL AND service<>? AND n>? AND n<=? GROUP BY service, health"
)
_ASKED: Final = (
    "SELECT service, op.name, op.began FROM run JOIN op ON op.run=run.n WHERE run.ended IS NULL AND run.n>? AND"  # noqa: S608 -- ours
    f" run.n<=? AND op.ended IS NULL AND op.kind='signal' AND op.name GLOB '{APPROVAL}*' AND NOT EXISTS("
    "SELECT 1 FROM signal WHERE signal.run=run.id AND signal.name=op.name)"
)
"""Waits for a decision that has not been made: one that was is a signal until the run takes it."""


def count_open(read: Read, services: Iterable[str]) -> Mapping[tuple[str, str], int]:
    """Return how many open runs there are by service and health, those of *services* also where there are none."""
    found = Counter({(service, one): 0 for service in services if service != APPROVALS for one in HEALTHS})
    for rows in _slices(read, _BY_HEALTH, APPROVALS):
        for service, place, count in rows:
            found[service, HEALTHS[place]] += count
    return found


def count_asked(read: Read) -> Mapping[tuple[str, str], tuple[int, int]]:
    """Return how many decisions are waited for by service and approval, and when the first was asked."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for rows in _slices(read, _ASKED):
        for service, signal, began in rows:
            place = service, signal.split("/", 2)[2]
            count, first = found.get(place, (0, began))
            found[place] = count + 1, min(first, began)
    return found


def _slices(read: Read, sql: str, *args: Any) -> Iterable[list[Any]]:
    after: int | None = 0
    while after is not None:
        rows, after = read(_slice, sql, args, after)
        yield rows


def _slice(conn: sqlite3.Connection, sql: str, args: tuple[Any, ...], after: int) -> tuple[list[Any], int | None]:
    """Return what a query finds among the next open runs, and the last of them if more follow."""
    row = conn.execute(f"SELECT n {_OPEN}", (after, _SLICE - 1)).fetchone()
    last = None if row is None else row[0]
    return conn.execute(sql, (*args, after, 2**62 if last is None else last)).fetchall(), last
