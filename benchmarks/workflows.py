"""What workflows cost on a file, beside bare commits of the same bytes and beside DBOS on SQLite, in one run.

Run: make bench-workflows, which installs DBOS apart; `python benchmarks/workflows.py` shows what needs none.

Each side has processes of its own, which do the same work when they are asked; they take turns in short blocks, and
ratios are taken within each round. A step is `ctx.step` with a body that returns a small dict; where rows do not say
`traced`, no telemetry is set up. Both sides are written over one protocol, `benchmarks/durable/serving.py`.

| part | what it shows |
|---|---|
| steps | a step of one run beside two bare commits, at `FULL` and `NORMAL`; steps per second of 1, 20 and 50 runs |
| signals | from a signal to the body: in one process, from another one, and beside 50 busy runs |
| waiting | runs that wait: memory, processor, ready after a SIGKILL, waking one |
| lives | start-up, takeover by a standby |
| growth | a step, a start and a client's lists with 100,000 finished runs in the file |
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from durable import lives, steps, waits

PARTS = ("steps", "signals", "waiting", "lives", "growth")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--dbos", metavar="PYTHON", help="an interpreter that has DBOS; without it there are no rows of it"
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="a part to run, and no other")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="everything once, with small numbers: does it run?")
    given = parser.parse_args()
    parts, quick, dbos = given.only or PARTS, given.quick, given.dbos
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name).resolve()
        for part in parts:
            began, load = time.perf_counter(), os.getloadavg()[0]
            if part == "steps":
                steps.compare_steps(folder, 1 if quick else given.rounds, dbos)
            elif part == "signals":
                waits.signal_bodies(folder, 4 if quick else 40, dbos)
            elif part == "waiting":
                waits.keep_waiting(folder, 200 if quick else 10_000, dbos)
            elif part == "lives":
                lives.start_up(folder, dbos)
                lives.take_over(folder, dbos)
            else:
                lives.grow(folder, [0, 100] if quick else [0, 10_000, 100_000])
            print(f"({part}: {time.perf_counter() - began:.0f} s; load at its begin {load:.1f})", flush=True)


if __name__ == "__main__":
    main()
