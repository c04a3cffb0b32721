"""What workflows cost on a Restate server, beside the same work with bare restate-sdk, in one run.

Run: make bench-restate, which gets the server by npm; without the server this says so, and measures nothing.

Each side is a worker and a server of its own on this machine, started alike; they take turns in short blocks, and
ratios are taken within each round. Equal on both sides: the server's program and settings, the worker's HTTP server and
its settings, the client's HTTP, the times of retries, and the work: a step is a named entry with the same small dict as
JSON. Otelier's entry has its times besides, and its runs are known by workflow id: to start one, to signal it and to
end it are calls of an object that bare restate-sdk does without. Where rows do not say `traced`, no telemetry is set
up. The file is not named after Restate, whose package it would hide from itself.

| part | what it shows |
|---|---|
| steps | a step of one run; a run without any; steps per second of 20 runs at once, from start to result |
| entities | a write and a read, one after the other, as the workflow that calls them sees them |
| signals | from a client's signal to the body's next line |
| waiting | runs that wait, suspended: memory and processor of worker and server, waking one |
| lives | start of a worker to its registration; takeover by a sibling after a SIGKILL in a step |
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from durable.asking import Process, ms, ms_most, row, title
from durable.restate_server import PLACE, RestateServer, free_port, program
from durable.serving import STEPS

SIDES = {
    "bare restate-sdk": ("durable.bare_restate",),
    "otelier": ("durable.ours_restate",),
    "otelier, traced": ("durable.ours_restate", "traced"),
}
"""The module and the arguments of each side's workers; what is first is what others are compared with."""
COUNT = 50
"""Steps of one run."""
CALLS = 20
"""Calls of an entity in one run."""
RUNS = 20
"""Runs at once."""
SITTINGS = 5
INACTIVITY_S = 1.0
"""After how long a run that waits is suspended, in the part `waiting`."""


@dataclass
class Kind:
    """One side, and what its rounds gave."""

    name: str
    server: RestateServer
    worker: tuple[str, ...]
    """Module and arguments of its processes."""
    process: Process = field(init=False)
    times: list[float] = field(default_factory=list[float])
    rounds: list[list[float]] = field(default_factory=list["list[float]"])
    processor: list[float] = field(default_factory=list[float])
    rates: list[float] = field(default_factory=list[float])
    empty: list[tuple[float, float]] = field(default_factory=list["tuple[float, float]"])
    """Seconds, and those of the processor, of runs that do nothing."""

    def another(self, **given: Any) -> Process:
        """Return another worker of it, which is registered."""
        process = Process(*self.worker)
        process.ask("open", path=self.server.address, **given)
        return process

    def forget(self) -> None:
        self.times, self.rounds, self.processor, self.rates, self.empty = [], [], [], [], []

    def keep(self, times: list[float]) -> None:
        self.times += times
        self.rounds.append(times)


def ratio(one: list[list[float]], other: list[list[float]], of: Callable[[list[float]], float] = median) -> str:
    """Show the median of the ratios of rounds, and their quartiles."""
    found = sorted(of(mine) / of(theirs) for mine, theirs in zip(one, other))
    low, middle, high = quantiles(found, n=4) if len(found) > 1 else found * 3
    return f"{middle:.2f} (quartiles of {len(found)} rounds {low:.2f} to {high:.2f})"


def take_turns(kinds: list[Kind], rounds: int, turn: Callable[[Kind, bool], None]) -> None:
    """Let each side take its turn, in another order each time, in `SITTINGS` with new processes: some are slower."""
    for kind in kinds:
        kind.forget()
    for _ in range(min(SITTINGS, rounds)):
        for kind in kinds:
            kind.process = kind.another()
        for number in range(-1, max(1, rounds // SITTINGS)):  # the first warms up
            first = number % len(kinds)
            for kind in (*kinds[first:], *kinds[:first]):
                turn(kind, number >= 0)
        for kind in kinds:
            kind.process.end()


def compare(kinds: list[Kind], what: str, limit: str = "") -> None:
    bare = kinds[0]
    for kind in kinds:
        spent = f"   processor {median(kind.processor) * 1e3:.2f} ms" if kind.processor else ""
        row(f"{what}, {kind.name}", f"{ms(kind.times)}{spent}")
    for kind in kinds[1:]:
        row(f"{what}, {kind.name} / bare", ratio(kind.rounds, bare.rounds), limit if kind is kinds[1] else "")
        spent = [[each] for each in kind.processor], [[each] for each in bare.processor]
        row(f"  processor of the worker, {kind.name} / bare", ratio(*spent))


def calls(kinds: list[Kind], rounds: int, handler: str, count: int) -> None:
    """Run one run of *count* calls in turns."""

    def turn(kind: Kind, is_kept: bool) -> None:
        empty = kind.process.ask("steps", count=0, handler=handler)
        took = kind.process.ask("steps", count=count, handler=handler)
        if is_kept:
            kind.keep(took["times"])
            kind.empty.append((empty["wall"], empty["processor"]))
            kind.processor.append((took["processor"] - empty["processor"]) / count)

    take_turns(kinds, rounds, turn)


def steps(kinds: list[Kind], rounds: int) -> None:
    calls(kinds, rounds, "stepping", COUNT)
    title(f"A step: one run of {COUNT}, one after the other; {rounds} rounds in turns")
    compare(kinds, "step", "≤ 1.15")
    for kind in kinds:
        walls, spent = zip(*kind.empty)
        row(f"a run of no step, {kind.name}", f"{ms(list(walls))}   processor {median(spent) * 1e3:.2f} ms")

    def turn(kind: Kind, is_kept: bool) -> None:
        took = kind.process.ask("at_once", runs=RUNS)
        if is_kept:
            kind.rates.append(RUNS * STEPS / took["wall"])

    take_turns(kinds, rounds, turn)
    for kind in kinds:
        row(f"steps/s, {RUNS} runs at once, {kind.name}", f"{median(kind.rates):.0f}")
    for kind in kinds[1:]:
        rates = [[each] for each in kind.rates], [[each] for each in kinds[0].rates]
        row(f"steps/s, {kind.name} / bare", ratio(*rates))


def entities(kinds: list[Kind], rounds: int) -> None:
    title(f"An entity's calls: {CALLS} of one run, one after the other; {rounds} rounds in turns")
    for handler, what in (("writing", "write"), ("reading", "read")):
        calls(kinds, rounds, handler, CALLS)
        compare(kinds, what)


def signals(kinds: list[Kind], rounds: int, count: int = 10) -> None:
    def turn(kind: Kind, is_kept: bool) -> None:
        times = kind.process.ask("signals", count=count, pause=0.03)
        if is_kept:
            kind.keep(times)

    take_turns(kinds, rounds, turn)
    title(f"From a client's signal to the body's next line; {rounds} rounds of {count} in turns")
    for kind in kinds:
        row(f"signal, {kind.name}", ms_most(kind.times))
    for kind in kinds[1:]:
        row(f"signal, {kind.name} / bare", ratio(kind.rounds, kinds[0].rounds))


def waiting(kinds: list[Kind], count: int) -> None:
    title(f"{count:,} runs that wait for a signal, suspended after {INACTIVITY_S:g} s")
    for kind in kinds:
        process, server = kind.another(inactivity_s=INACTIVITY_S), kind.server
        process.ask("at_once", runs=RUNS)
        resident, server_mb = process.ask("resident"), server.resident_mb()
        made, began = process.ask("wait", count=count), time.perf_counter()
        while server.count("suspended") < count:
            time.sleep(0.1)
        all_s = time.perf_counter() - began
        row(f"{kind.name}: all started", f"{made['wall']:.1f} s; all suspended {all_s:.1f} s later")
        each = (process.ask("resident") - resident) / count
        server_each = (server.resident_mb() - server_mb) * 1e3 / count
        row(f"{kind.name}: memory of each", f"worker {each:.1f} kB   server {server_each:.1f} kB")
        began, spent = time.perf_counter(), server.processor_s()
        share = process.ask("idle", seconds=5)
        server_share = (server.processor_s() - spent) / (time.perf_counter() - began)
        row(f"{kind.name}: processor meanwhile", f"worker {share:.2%}   server {server_share:.1%} of a core")
        row(f"{kind.name}: waking one", ms_most([process.ask("wake", name=name) for name in made["names"][:20]]))
        process.end()


def lives(kinds: list[Kind], rounds: int) -> None:
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        for kind in kinds:
            process = kind.another()
            times.setdefault(kind.name, []).append(time.time() - process.began)
            process.end()
    title(f"From the start of a worker's process to its registration; {rounds} in turns")
    for name, took in times.items():
        row(f"start, {name}", f"median {median(took):.2f} s   most {max(took):.2f} s")
    title("Takeover: from the SIGKILL of a worker in the middle of a step to the begin of that step in its sibling")
    for kind in kinds:
        row(f"takeover, {kind.name}", ms_most(_taken_over(kind, rounds)))


def _taken_over(kind: Kind, rounds: int) -> list[float]:
    port, times = free_port(), list[float]()
    workers = [kind.another(port=port), kind.another(port=port)]
    for _ in range(rounds):
        workers[0].ask("hold")
        while not any(found := [worker.ask("holds") for worker in workers]):
            time.sleep(0.01)
        busy = workers.pop(0 if found[0] else 1)
        at = busy.kill()
        times.append(workers[0].ask("begun")[0] - at)
        workers[0].ask("release")
        workers.append(kind.another(port=port))
    for worker in workers:
        worker.end()
    return times


PARTS = ("steps", "entities", "signals", "waiting", "lives")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, action="append", help="a part to run, and no other")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="everything once, with small numbers: does it run?")
    given = parser.parse_args()
    rounds, quick, found = 1 if given.quick else given.rounds, given.quick, program()
    if found is None:
        print(f"skipped: there is no Restate server in {PLACE}. `make bench-restate` gets it by npm.")
        return
    with ExitStack() as stack:
        kinds: list[Kind] = []
        for name, worker in SIDES.items():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="."))).resolve()
            kinds.append(Kind(name, stack.enter_context(RestateServer(found, folder)), worker))
        for part in given.only or PARTS:
            began, load = time.perf_counter(), os.getloadavg()[0]
            if part == "steps":
                steps(kinds, rounds)
            elif part == "entities":
                entities(kinds, rounds)
            elif part == "signals":
                signals(kinds, rounds)
            elif part == "waiting":
                waiting(kinds, 50 if quick else 1_000)
            else:
                lives(kinds, 1 if quick else 5)
            print(f"({part}: {time.perf_counter() - began:.0f} s; load at its begin {load:.1f})", flush=True)


if __name__ == "__main__":
    main()
