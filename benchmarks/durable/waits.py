"""Waits: how long a signal takes to a body, and what runs that wait cost."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

from durable.asking import DBOS, OTELIER, Process, ms_most, row, title

BUSY = 50
WAITING_DBOS = 500


def signal_bodies(folder: Path, count: int, dbos: str | None) -> None:
    """Print how long signals take: in one process, across two, and beside a busy driver."""
    title(f"From a signal to the body that waits; {count} signals")
    _signals(folder, "otelier", Process(OTELIER), Process(OTELIER), {"synchronous": "FULL"}, count)
    if dbos:
        for name, poll in (("DBOS, asks every 20 ms", 0.02), ("DBOS as it comes, every 1 s", 1.0)):
            given = {"journal": "WAL", "synchronous": "FULL", "poll": poll}
            both = Process(DBOS, python=dbos), Process(DBOS, python=dbos)
            _signals(folder, name, *both, given, count if poll < 1 else min(count, 8))


def _signals(folder: Path, name: str, driver: Process, client: Process, given: dict[str, Any], count: int) -> None:
    path = str(folder / f"signals-{name.replace(' ', '-')}.db")
    driver.ask("open", path=path, **given)
    client.ask("connect", path=path)
    row(f"{name}, one process", ms_most(driver.ask("signals", count=count, pause=0.03)))
    row(f"{name}, from another process", ms_most(_sent(driver, client, count)))
    driver.ask("busy", runs=BUSY)
    times = _sent(driver, client, 2 * count)
    rate = driver.ask("rest")
    is_ours = name == "otelier"
    row(f"{name}, beside {BUSY} busy runs", ms_most(times), "p90 ≤ 50 ms" if is_ours else "")
    row("  steps/s of these meanwhile", f"{rate:.0f}")
    client.end()
    driver.end()


def _sent(driver: Process, client: Process, count: int) -> list[float]:
    names = driver.ask("wait", count=count)["names"]
    sent = client.ask("send", names=names, pause=0.03)
    seen = driver.ask("seen", names=names)
    return [seen[name] - began for name, (began, _) in zip(names, sent)]


def keep_waiting(folder: Path, count: int, dbos: str | None) -> None:
    """Print what runs cost that wait for a signal."""
    path = str(folder / "waiting.db")
    process = Process(OTELIER, "traced")
    process.ask("open", path=path)
    process.ask("at_once", runs=20)
    idle = process.ask("idle", seconds=2)
    made = process.ask("wait", count=count)
    title(f"{count:,} runs that wait, traced")
    row("started, to the last that waits", f"{made['wall']:.1f} s")
    row("memory of each", f"{made['kb']:.1f} kB", "≤ 20 kB")
    process.ask("idle", seconds=11)  # spans of runs that wait for 10 s are closed meanwhile
    share = process.ask("idle", seconds=5)
    row("processor while they wait", f"{share:.2%} of a core ({idle:.2%} with none)", "≤ 1 %")
    row("waking one", f"{median(process.ask('wake', name=name) for name in made['names'][:9]) * 1e3:.1f} ms")
    _begin_again(path, count - 9, process, "after a SIGKILL")
    if dbos:
        process = Process(DBOS, python=dbos)
        process.ask("open", path=str(folder / "waiting-dbos.db"), journal="WAL", synchronous="FULL")
        made = process.ask("wait", count=min(count, WAITING_DBOS))
        share = process.ask("idle", seconds=5)
        text = f"started in {made['wall']:.1f} s, {made['kb']:.1f} kB each, {share:.0%} of a core"
        row(f"DBOS, {min(count, WAITING_DBOS)} of them", text)
        process.end()


def _begin_again(path: str, count: int, process: Process, how: str) -> None:
    process.kill()
    process = Process(OTELIER, "traced")
    process.tell("open", path=path)
    process.hear()
    opened = process.began
    process.ask("all_wait", count=count)
    row(f"all wait again {how}", f"{time.time() - opened:.1f} s from the start of the process", "≤ 10 s")
    process.end()
