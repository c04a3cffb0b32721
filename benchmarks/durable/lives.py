"""Lives of a worker: its start, the takeover by a standby, and a file that grows."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from statistics import median
from typing import Any

from durable.asking import DBOS, OTELIER, Process, ms, row, title

TIMES = 5


def start_up(folder: Path, dbos: str | None) -> None:
    """Print how long it takes from the start of a process to the end of a first run of one step."""
    title("Start-up: from the start of the process to the result of a first run of one step, on a new file")
    took: dict[str, list[float]] = {}
    for number in range(TIMES):
        for name, python in (("otelier", None), ("DBOS", dbos)):
            if name == "otelier" or python:
                process = _process(python)
                process.ask("open", path=str(folder / f"start-{name}-{number}.db"))
                process.ask("steps", count=1)
                took.setdefault(name, []).append(time.time() - process.began)
                process.end()
    for name, times in took.items():
        row(name, f"{median(times):.2f} s")


def _process(python: str | None) -> Process:
    return Process(OTELIER) if python is None else Process(DBOS, python=python)


def take_over(folder: Path, dbos: str | None) -> None:
    """Print how long after the SIGKILL of a driver the body of its run is begun again."""
    title("Takeover: from the SIGKILL of the driver to the begin of the body elsewhere")
    times: list[float] = []
    path = str(folder / "takeover.db")
    driver = Process(OTELIER)
    driver.ask("open", path=path)
    driver.ask("wait", count=1)
    for _ in range(TIMES):
        standby = Process(OTELIER)
        standby.ask("open", path=path)
        at = driver.kill()
        times.append(standby.ask("begun")[0] - at)
        driver = standby
    driver.kill()
    row("otelier, a standby", f"median {median(times) * 1e3:.0f} ms   most {max(times) * 1e3:.0f} ms")
    if dbos:
        path, times = str(folder / "takeover-dbos.db"), []
        for number in range(TIMES):
            driver = Process(DBOS, python=dbos)
            driver.ask("open", path=path)
            if number:
                times.append(driver.ask("begun")[0] - at)
            else:
                driver.ask("wait", count=1)
            at = driver.kill()
        row(
            "DBOS, launched at once by somebody",
            f"median {median(times) * 1e3:.0f} ms   most {max(times) * 1e3:.0f} ms",
        )


def grow(folder: Path, counts: list[int]) -> None:
    """Print what finished runs of three steps, kept in the file, change."""
    title("A file that grows: finished runs of three steps that are kept")
    found: list[dict[str, Any]] = []
    for count in counts:
        path = folder / f"grown-{count}.db"
        process = Process(OTELIER)
        process.ask("open", path=str(path))
        process.ask("steps", count=3)
        process.ask("close")
        process.end()
        _fill(path, count)
        process = Process(OTELIER)
        process.ask("open", path=str(path))
        opened = time.time() - process.began
        process.ask("steps", count=1)
        first = time.time() - process.began
        looks = process.ask("looks")
        found.append(
            {
                "count": count,
                "open": opened,
                "first": first,
                "looks": looks,
                "process": process,
                "times": [],
                "path": path,
            }
        )
    for _ in range(TIMES):  # in turns
        for one in found:
            one["times"] += one["process"].ask("steps", count=200)["times"]
    for one in found:
        row(f"{one['count']:,} runs: a step", ms(one["times"]))
    for one in found:
        size = one["path"].stat().st_size / 1e6
        text = f"{one['open']:.2f} s to serve, {one['first']:.2f} s to a first result; {size:.1f} MB"
        row(f"{one['count']:,} runs: start of the process, file", text)
    for one in found:
        text = ", ".join(f"{name} {took * 1e3:.1f}" for name, took in one["looks"].items())
        row(f"{one['count']:,} runs: a client's looks, ms", text)
        one["process"].end()


def _fill(path: Path, count: int) -> None:
    """Copy the one run that is there, with its ops."""
    conn = sqlite3.connect(path)
    run = conn.execute("SELECT max(n) FROM run").fetchone()[0]
    for table, key, values, where in (
        ("run", ("n", "id", "root"), "i + :run, 'kept-' || i, 'kept-' || i", "run.n=:run"),
        ("op", ("run",), "i + :run", "op.run=:run"),
    ):
        others = [name for _, name, *_ in conn.execute(f"PRAGMA table_info({table})") if name not in key]
        conn.execute(
            "WITH RECURSIVE number(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < :count)"
            f" INSERT INTO {table}({', '.join((*key, *others))})"
            f" SELECT {values}, {', '.join(f'{table}.{name}' for name in others)} FROM number, {table}"
            f" WHERE {where} AND i <= :count",
            {"run": run, "count": count},
        )
    conn.commit()
    conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    conn.close()
