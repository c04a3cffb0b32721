"""Steps: one run, many runs at once, beside bare commits of the same bytes and beside DBOS."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from durable.asking import DBOS, OTELIER, Process, ms, row, title
from durable.serving import RESULT, STEPS

COUNT = 100
AT_ONCE = (20, 50)
"""Numbers of runs at once."""
SAFE, FAST = "FULL", "NORMAL"


@dataclass
class Kind:
    """One row of the comparison, and what its rounds gave."""

    name: str
    process: Process
    handler: str = "stepping"
    limit: str = ""
    times: list[float] = field(default_factory=list[float])
    medians: list[float] = field(default_factory=list[float])
    rates: list[float] = field(default_factory=list[float])
    processor: list[float] = field(default_factory=list[float])
    at_once: dict[int, list[float]] = field(default_factory=dict[int, "list[float]"])

    def take_turn(self, *, is_kept: bool) -> None:
        took = self.process.ask("steps", count=COUNT, handler=self.handler)
        if not is_kept:
            return
        self.times += took["times"]
        self.medians.append(median(took["times"]))
        self.rates.append(COUNT / took["wall"])
        self.processor.append(took["processor"] / COUNT)

    def take_turn_at_once(self, runs: int) -> None:
        took = self.process.ask("at_once", runs=runs)
        self.at_once.setdefault(runs, []).append(runs * STEPS / took["wall"])


def bare_commits(path: Path, synchronous: str, count: int) -> list[float]:
    """Write a step as two transactions, *count* times."""
    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute("PRAGMA journal_mode=WAL")
    conn.execute(f"PRAGMA synchronous={synchronous}")
    conn.execute(
        "CREATE TABLE IF NOT EXISTS op(run INT, n INT, kind TEXT, name TEXT, began INT, executions INT, ended INT,"
        " seq INT, value TEXT, PRIMARY KEY(run, n)) WITHOUT ROWID"
    )
    times: list[float] = []
    run = time.time_ns()
    for number in range(count):
        began = time.perf_counter()
        now = time.time_ns()
        conn.execute("BEGIN IMMEDIATE")
        conn.execute("INSERT INTO op VALUES(?,?,?,?,?,1,NULL,NULL,NULL)", (run, number, "step", f"work#{number}", now))
        conn.execute("COMMIT")
        text = json.dumps([True, RESULT])
        conn.execute("BEGIN IMMEDIATE")
        conn.execute("UPDATE op SET ended=?, seq=?, value=? WHERE run=? AND n=?", (now, number, text, run, number))
        conn.execute("COMMIT")
        times.append(time.perf_counter() - began)
    conn.close()
    return times


def compare_steps(folder: Path, rounds: int, dbos: str | None) -> None:
    """Print the rows of steps; *dbos* is the interpreter that has it."""
    for synchronous in (SAFE, FAST):
        ours, theirs = _ours(folder, synchronous), _theirs(folder, synchronous, dbos)
        kinds = [*ours, *theirs]
        bare, bare_medians = _one_run(folder / f"bare-{synchronous}.db", synchronous, rounds, kinds)
        for _ in range((rounds + 1) // 2):
            for runs in AT_ONCE:
                for kind in kinds:
                    if kind.handler == "stepping":
                        kind.take_turn_at_once(runs)
        title(
            f"A step at synchronous={synchronous}: one run of {COUNT} steps, and many at once; {rounds} rounds in turns"
        )
        row("two bare commits of the same bytes", ms(bare))
        _show(ours, theirs, bare_medians if synchronous == SAFE else None)
        for process in {kind.process for kind in kinds}:
            process.end()


def _ours(folder: Path, synchronous: str) -> list[Kind]:
    plain, traced = Process(OTELIER), Process(OTELIER, "traced")
    plain.ask("open", path=str(folder / f"plain-{synchronous}.db"), synchronous=synchronous)
    traced.ask("open", path=str(folder / f"traced-{synchronous}.db"), synchronous=synchronous)
    return [
        Kind("async body", plain, limit="≤ 1.3"),
        Kind("plain callable", plain, "stepping_plain", limit="≤ 1.6"),
        Kind("async body, traced", traced),
        Kind("plain callable, traced", traced, "stepping_plain"),
    ]


def _theirs(folder: Path, synchronous: str, dbos: str | None) -> list[Kind]:
    settings: dict[str, dict[str, str]] = {f"DBOS, WAL, {synchronous}": {"journal": "WAL", "synchronous": synchronous}}
    if synchronous == SAFE:
        settings["DBOS as it comes"] = {}
    kinds: list[Kind] = []
    for name, given in settings.items() if dbos else ():
        process = Process(DBOS, python=dbos)
        process.ask("open", path=str(folder / f"{name.replace(' ', '-')}.db"), **given)
        kinds.append(Kind(name, process))
    return kinds


def _one_run(path: Path, synchronous: str, rounds: int, kinds: list[Kind]) -> tuple[list[float], list[float]]:
    bare, medians = list[float](), list[float]()
    for number in range(-1, rounds):  # the first warms up
        times = bare_commits(path, synchronous, COUNT)
        for kind in kinds:
            kind.take_turn(is_kept=number >= 0)
        if number >= 0:
            bare += times
            medians.append(median(times))
    return bare, medians


def _show(ours: list[Kind], theirs: list[Kind], bare: list[float] | None) -> None:
    """Print the rows; *bare* has the medians of the commits, where they do as much for safety."""
    first = ours[0]
    for kind in (*ours, *theirs):
        row(kind.name, f"{ms(kind.times)}   processor {median(kind.processor) * 1e3:.2f} ms")
    for kind in ours if bare else ():
        row(f"{kind.name} / two bare commits", f"{_ratio(kind.medians, bare or ()):.2f}", kind.limit)
    for kind in (*ours, *theirs):
        if kind.at_once:
            rates = [median(kind.rates), *(median(rates) for rates in kind.at_once.values())]
            shown = "   ".join(f"{runs} {rate:6.0f}" for runs, rate in zip((1, *AT_ONCE), rates))
            row(f"steps/s by runs, {kind.name}", shown, "50: ≥ 3,000" if bare and kind is ours[2] else "")
    for other in theirs:
        ratios = [_ratio(first.rates, other.rates)]
        ratios += [_ratio(first.at_once[runs], other.at_once[runs]) for runs in AT_ONCE]
        shown = "   ".join(f"{runs} {ratio:6.1f}" for runs, ratio in zip((1, *AT_ONCE), ratios))
        row(f"steps/s, otelier / {other.name}", shown, "≥ 5" if bare else "")


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the ratios of rounds."""
    return median(one / other for one, other in zip(ours, theirs))
