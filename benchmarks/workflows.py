"""What the engine of workflows costs on a file, beside bare commits of the same bytes, in one run.

Run: python benchmarks/workflows.py [--rounds N] [--waiting N]

| row | what it is |
|---|---|
| two bare commits | a row of a step begun, then the same row with its result: each its own transaction, WAL and FULL |
| a step | an async body through `Run.step` of one run, the row and its result as the engine writes them |
| steps/s, N runs | N runs at once, 20 steps each, with a trivial `invoke` |
| signal to body | from `engine.signal` to the body that waited, in one process |
| client | a signal that another process sends beside 50 busy runs, to the body |
| waiting runs | runs that wait for a signal: memory of one, processor time of all, time to be ready after a restart |

The rows of a step take turns in short blocks; ratios are taken within each round.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from otelier.workflows.engines.local import LocalEngine
from otelier.workflows.engines.protocol import Json, Outcome, Registry, Run, Target

STEPS = 200
RESULT = {"order": "o-1", "sum": 12.5, "lines": ["a", "b"]}
STEPPING, WAITING = Target("bench", "stepping"), Target("bench", "waiting")
REGISTRY = Registry({("bench", "stepping"): "workflow", ("bench", "waiting"): "workflow"})
seen: dict[str, float] = {}


async def result_of_step() -> Json:
    return [True, RESULT]


async def invoke(run: Run, target: Target, payload: Any) -> Outcome:
    if target.handler == "waiting":
        await run.signal("go", None)
        seen[run.id] = time.time()
        return [True, None]
    times: list[float] = []
    for number in range(payload):
        began = time.perf_counter()
        await run.step(f"step {number}", result_of_step)
        times.append(time.perf_counter() - began)
    return [True, times]


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
        conn.execute("INSERT INTO op VALUES(?,?,?,?,?,1,NULL,NULL,NULL)", (run, number, "step", f"step {number}", now))
        conn.execute("COMMIT")
        text = json.dumps([True, RESULT])
        conn.execute("BEGIN IMMEDIATE")
        conn.execute("UPDATE op SET ended=?, seq=?, value=? WHERE run=? AND n=?", (now, number, text, run, number))
        conn.execute("COMMIT")
        times.append(time.perf_counter() - began)
    conn.close()
    return times


def processor_s() -> float:
    return sum(resource.getrusage(resource.RUSAGE_SELF)[:2])


def shown(times: list[float]) -> str:
    return f"p50 {median(times) * 1e3:6.2f} ms  p99 {quantiles(times, n=100)[98] * 1e3:6.2f} ms"


async def compare_steps(folder: Path, engine: LocalEngine, synchronous: str, rounds: int) -> None:
    ratios, bare, steps, cpu = list[float](), list[float](), list[float](), list[float]()
    for number in range(rounds):
        one = bare_commits(folder / f"bare-{synchronous}.db", synchronous, STEPS)
        before = processor_s()
        run_id = f"one-{synchronous}-{number}-{time.time_ns()}"
        await engine.start(STEPPING, STEPS, {}, run_id=run_id)
        two = (await engine.result(run_id, None))[1]
        cpu.append((processor_s() - before) / STEPS)
        bare += one
        steps += two
        ratios.append(median(two) / median(one))
    print(f"{synchronous:6} two bare commits  {shown(bare)}")
    print(f"{synchronous:6} a step            {shown(steps)}  processor {median(cpu) * 1e3:.2f} ms")
    print(f"{synchronous:6} ratio             {median(ratios):.2f} (of {len(ratios)} rounds)")


async def at_once(engine: LocalEngine, runs: int, rounds: int) -> None:
    rates: list[float] = []
    for number in range(rounds):
        began = time.perf_counter()
        names = [f"at-once-{runs}-{number}-{n}-{time.time_ns()}" for n in range(runs)]
        await asyncio.gather(*(engine.start(STEPPING, 20, {}, run_id=name) for name in names))
        await asyncio.gather(*(engine.result(name, None) for name in names))
        rates.append(runs * 20 / (time.perf_counter() - began))
    print(f"       steps/s, {runs:3} runs  {median(rates):8.0f}  (most {max(rates):.0f})")


async def signals(engine: LocalEngine, count: int) -> None:
    times: list[float] = []
    for number in range(count):
        run_id = f"signal-{number}-{time.time_ns()}"
        await engine.start(WAITING, None, {}, run_id=run_id)
        await asyncio.sleep(0.05)
        began = time.time()
        await engine.signal(run_id, "go", None)
        await engine.result(run_id, None)
        times.append(seen[run_id] - began)
    print(f"       signal to body    {shown(times)}")


CLIENT = """
import asyncio, sys, time
from otelier.workflows.engines.local import LocalEngine
async def main():
    engine = LocalEngine(sys.argv[1])
    for run_id in sys.argv[2:]:
        await asyncio.sleep(0.05)
        began = time.time()
        await engine.signal(run_id, "go", None)
        print(run_id, began, time.time() - began, flush=True)
    await engine.close()
asyncio.run(main())
"""


async def client_beside_busy(engine: LocalEngine, path: Path, count: int) -> None:
    names = [f"client-{n}-{time.time_ns()}" for n in range(count)]
    for name in names:
        await engine.start(WAITING, None, {}, run_id=name)
    busy = True

    async def keep_busy(number: int) -> int:
        done = 0
        while busy:
            run_id = f"busy-{number}-{time.time_ns()}"
            await engine.start(STEPPING, 20, {}, run_id=run_id)
            await engine.result(run_id, None)
            done += 20
        return done

    began = time.perf_counter()
    tasks = [asyncio.create_task(keep_busy(n)) for n in range(50)]
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, str(path), *names, stdout=subprocess.PIPE
    )
    lines = (await client.communicate())[0].decode().splitlines()
    await asyncio.gather(*(engine.result(name, None) for name in names))
    busy = False
    done = sum(await asyncio.gather(*tasks))
    rate = done / (time.perf_counter() - began)
    sent = {name: (float(began), float(took)) for name, began, took in (line.split() for line in lines)}
    times = sorted(seen[name] - sent[name][0] for name in names)
    stored = sorted(took for _, took in sent.values())
    p90 = times[int(len(times) * 0.9)]
    shown_times = f"p50 {median(times) * 1e3:.1f} ms  p90 {p90 * 1e3:.1f} ms  most {times[-1] * 1e3:.1f} ms"
    print(f"       client's signal   {shown_times}")
    print(f"       (stored p50 {median(stored) * 1e3:.1f} ms, beside {rate:.0f} steps/s)")


def resident_kb() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


async def waiting_runs(folder: Path, count: int) -> None:
    engine = LocalEngine(str(folder / "waiting.db"))
    gc.collect()
    before = resident_kb()
    task = asyncio.create_task(engine.serve(REGISTRY, invoke))
    began = time.perf_counter()
    for first in range(0, count, 500):
        await asyncio.gather(*(engine.start(WAITING, None, {}, run_id=f"w-{n}") for n in range(first, first + 500)))
    print(f"       {count} runs started in {time.perf_counter() - began:.1f} s")
    await all_wait(engine, count)
    gc.collect()
    used, clock, spent = resident_kb() - before, time.perf_counter(), processor_s()
    await asyncio.sleep(5)
    share = (processor_s() - spent) / (time.perf_counter() - clock)
    print(f"       waiting           {used / count:.1f} kB each, {share:.2%} of a core")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    began = time.perf_counter()
    task = asyncio.create_task(engine.serve(REGISTRY, invoke))
    await all_wait(engine, count)
    print(f"       ready again in    {time.perf_counter() - began:.1f} s")
    began = time.time()
    await engine.signal("w-77", "go", None)
    await engine.result("w-77", None)
    print(f"       waking one        {(seen['w-77'] - began) * 1e3:.1f} ms")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await engine.close()


async def all_wait(engine: LocalEngine, count: int) -> None:
    def do_wait() -> bool:
        lives = [life for driver in engine._drivers for life in driver.lives.values()]
        return len(lives) == count and all(life.open for life in lives)

    while not do_wait():  # noqa: ASYNC110 -- a benchmark looks from outside
        await asyncio.sleep(0.02)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--waiting", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        for synchronous in ("FULL", "NORMAL"):
            path = folder / f"{synchronous}.db"
            engine = LocalEngine(str(path), synchronous=synchronous)
            task = asyncio.create_task(engine.serve(REGISTRY, invoke))
            await compare_steps(folder, engine, synchronous, given.rounds)
            for runs in (1, 20, 50):
                await at_once(engine, runs, given.rounds)
            if synchronous == "FULL":
                await signals(engine, 20)
                await client_beside_busy(engine, path, 40)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await engine.close()
        if given.waiting:
            await waiting_runs(folder, given.waiting)


if __name__ == "__main__":
    asyncio.run(main())
