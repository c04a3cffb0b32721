"""What both sides do when they are asked, written once: a process that runs workflows, asked by lines of JSON.

It needs the standard library only: the process with DBOS has an environment of its own, without otelier.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

RESULT = {"order": "o-1", "sum": 12.5, "lines": ["a", "b"]}
"""What each step gives, on both sides."""
STEPS = 20
"""Steps of each of many runs at once."""
TIMES: list[float] = []
"""Seconds of each step, as its body sees them."""
SEEN: dict[str, float] = {}
"""When a body went on with its signal."""
BEGUN: list[float] = []
"""When bodies were begun."""


class Side:
    """What is measured; its methods say how it is done there."""

    async def open(self, path: str, **options: Any) -> None:
        """Begin to serve a file."""
        raise NotImplementedError

    async def close(self) -> None:
        """Serve no more."""
        raise NotImplementedError

    async def start(self, handler: str, run_id: str, count: int = 0) -> Callable[[], Awaitable[Any]]:
        """Start a run, and return what waits for its end."""
        raise NotImplementedError

    async def signal(self, run_id: str) -> None:
        """Send `go` to a run."""
        raise NotImplementedError

    def waiting(self) -> int:
        """Return how many bodies wait."""
        return len(BEGUN)

    async def connect(self, path: str) -> None:
        """Become a client of the file."""
        raise NotImplementedError

    async def send(self, run_id: str) -> None:
        """Send `go` to a run, as a client."""
        raise NotImplementedError


def processor_s() -> float:
    return sum(resource.getrusage(resource.RUSAGE_SELF)[:2])


def resident_kb() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


class Commands:
    """What a side can be asked for."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self._busy: list[asyncio.Task[None]] = []
        self._made = 0
        self._since = 0.0

    def _id(self) -> str:
        self._made += 1
        return f"r-{os.getpid()}-{self._made}"

    async def open(self, path: str, **options: Any) -> None:
        BEGUN.clear()
        await self.side.open(path, **options)

    async def close(self) -> None:
        await self.side.close()

    async def steps(self, count: int, handler: str = "stepping") -> dict[str, Any]:
        """Run one run of *count* steps."""
        TIMES.clear()
        clock, spent = time.perf_counter(), processor_s()
        await (await self.side.start(handler, self._id(), count))()
        return {"times": TIMES, "wall": time.perf_counter() - clock, "processor": processor_s() - spent}

    async def at_once(self, runs: int) -> dict[str, Any]:
        """Run many runs of `STEPS` steps."""
        clock, spent = time.perf_counter(), processor_s()
        ends = await asyncio.gather(*(self.side.start("stepping", self._id(), STEPS) for _ in range(runs)))
        await asyncio.gather(*(end() for end in ends))
        return {"wall": time.perf_counter() - clock, "processor": processor_s() - spent}

    async def signals(self, count: int, pause: float) -> list[float]:
        """Send signals to runs that wait, one after the other, and return how long each took to the body."""
        took: list[float] = []
        for _ in range(count):
            run_id = self._id()
            end = await self.side.start("waiting", run_id)
            await asyncio.sleep(pause)
            began = time.time()
            await self.side.signal(run_id)
            await end()
            took.append(SEEN[run_id] - began)
        return took

    async def wait(self, count: int) -> dict[str, Any]:
        """Start *count* runs that wait."""
        before, clock, wanted = resident_kb(), time.perf_counter(), self.side.waiting() + count
        names = [self._id() for _ in range(count)]
        for first in range(0, count, 500):
            await asyncio.gather(*(self.side.start("waiting", name) for name in names[first : first + 500]))
        await self.all_wait(wanted)
        wall = time.perf_counter() - clock
        return {"names": names, "wall": wall, "kb": (resident_kb() - before) / count}

    async def all_wait(self, count: int) -> None:
        while self.side.waiting() < count:  # noqa: ASYNC110 -- a benchmark looks from outside
            await asyncio.sleep(0.01)

    async def idle(self, seconds: float) -> float:
        """Return the share of a core that is used while nothing is asked."""
        clock, spent = time.perf_counter(), processor_s()
        await asyncio.sleep(seconds)
        return (processor_s() - spent) / (time.perf_counter() - clock)

    async def wake(self, name: str) -> float:
        """Wake a run that waits, and return how long that took to the body."""
        began = time.time()
        await self.side.signal(name)
        while name not in SEEN:  # noqa: ASYNC110 -- as above
            await asyncio.sleep(0)
        return SEEN[name] - began

    async def busy(self, runs: int) -> None:
        """Keep *runs* runs of steps at work, until `rest`."""
        TIMES.clear()
        self._since = time.perf_counter()
        self._busy = [asyncio.create_task(self._keep_busy()) for _ in range(runs)]

    async def _keep_busy(self) -> None:
        while True:
            end = await self.side.start("stepping", self._id(), STEPS)
            await end()

    async def rest(self) -> float:
        """End that, and return the steps per second."""
        rate = len(TIMES) / (time.perf_counter() - self._since)
        for task in self._busy:
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)
        return rate

    async def seen(self, names: list[str]) -> dict[str, float]:
        """Return when the bodies of runs went on, once they all did."""
        while not all(name in SEEN for name in names):  # noqa: ASYNC110 -- as above
            await asyncio.sleep(0.01)
        return {name: SEEN[name] for name in names}

    async def begun(self) -> list[float]:
        """Return when bodies were begun, once one was."""
        while not BEGUN:  # noqa: ASYNC110 -- as above
            await asyncio.sleep(0.001)
        return BEGUN

    async def connect(self, path: str) -> None:
        await self.side.connect(path)

    async def send(self, names: list[str], pause: float) -> list[tuple[float, float]]:
        """Send a signal to each run as a client, and return when, and how long it took to be stored."""
        sent: list[tuple[float, float]] = []
        for name in names:
            await asyncio.sleep(pause)
            began = time.time()
            await self.side.send(name)
            sent.append((began, time.time() - began))
        return sent

    async def serve(self) -> None:
        """Answer lines until there is none."""
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            asked = json.loads(line)
            answer = await getattr(self, asked.pop("do"))(**asked)
            print(json.dumps(answer), flush=True)
        os._exit(0)  # what it serves may wait for what never comes


def serve(commands: Commands) -> None:
    asyncio.run(commands.serve())
