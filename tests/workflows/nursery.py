"""Processes that are forked from one that has loaded all they need: a test starts and kills many of them quickly.

Run: MODULE. Each line on stdin are the arguments of one process, which calls `MODULE.run` with them.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.workflows.engines.serving import until

ROOT = Path(__file__).parents[2]
KILL_SEEDS = int(os.environ.get("KILL_SEEDS", "10"))
"""How many seeds the slow tests try: `KILL_SEEDS=50 make slow`."""


def seeds(quick: int, most: int = KILL_SEEDS) -> list[Any]:
    """Return the seeds of a test: some are quick, and those up to *most* are slow."""
    return [*range(quick), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(quick, most))]


class Nursery:
    """What a test does with them."""

    def __init__(self, program: asyncio.subprocess.Process) -> None:
        self.alive: list[int] = []
        """Those that were started and not killed, by process id, the oldest first."""
        self._program = program
        self._works: set[int] = set()
        self._forked: asyncio.Queue[int] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._program.stdout is not None
        while line := (await self._program.stdout.readline()).decode():
            what, pid = line.split()
            if what == "works":
                self._works.add(int(pid))
            else:
                self._forked.put_nowait(int(pid))

    async def start(self, *arguments: object) -> int:
        """Start one, and return its process id."""
        assert self._program.stdin is not None
        self._program.stdin.write((" ".join(map(str, arguments)) + "\n").encode())
        pid = await self._forked.get()
        self.alive.append(pid)
        return pid

    def works(self, pid: int) -> bool:
        """Return whether one has told that it is at work."""
        return pid in self._works

    def forget_dead(self) -> None:
        """Count those that ended by themselves as alive no more."""
        self.alive = [pid for pid in self.alive if _is_there(pid)]

    async def kill(self, *pids: int) -> None:
        """Kill some at once, as a machine does that loses its power."""
        for pid in pids:
            self.alive.remove(pid)
            if _is_there(pid):
                os.kill(pid, signal.SIGKILL)
        for pid in pids:
            await until(lambda pid=pid: not _is_there(pid))

    async def close(self) -> None:
        """Kill all."""
        await self.kill(*self.alive)
        self._program.stdin.close()  # type: ignore[union-attr]
        await self._program.wait()
        await self._reading
        self._program._transport.close()  # type: ignore[attr-defined]


@asynccontextmanager
async def nursery(module: str, environment: Mapping[str, str] | None = None) -> AsyncIterator[Nursery]:
    """Let a test start processes that call `run` of *module*, until the block ends."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, module),
        cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip
    found = Nursery(program)
    try:
        yield found
    finally:
        await found.close()


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def at_work() -> None:
    """Tell the test that this process is at work."""
    _say(f"works {os.getpid()}")


def _say(text: str) -> None:
    os.write(1, f"{text}\n".encode())  # in one piece: others say something, too


def _reap(*_: Any) -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def main(name: str) -> None:
    """Fork a process for each line."""
    module = importlib.import_module(name)
    signal.signal(signal.SIGCHLD, _reap)
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            try:
                os.close(0)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                module.run(*line.split())
            except BaseException:
                import traceback

                traceback.print_exc()
            os._exit(1)
        _say(f"forked {pid}")


if __name__ == "__main__":
    main(sys.argv[1])
