"""Workers as child processes of a test."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).parents[3]


class Worker:
    """A child process that serves a file."""

    def __init__(self, program: asyncio.subprocess.Process) -> None:
        self.program = program

    async def line(self, beginning: str = "") -> str:
        """Return the next line that begins so."""
        assert self.program.stdout is not None
        while True:
            line = (await self.program.stdout.readline()).decode()
            assert line, f"the worker ended and never said {beginning!r}"
            if line.startswith(beginning):
                return line.strip()

    async def kill(self) -> None:
        """Kill it."""
        await self.end(signal.SIGKILL)

    async def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send it a signal, and return its exit code."""
        if self.program.returncode is None:
            self.program.send_signal(number)
        code = await self.program.wait()
        self.program._transport.close()  # type: ignore[attr-defined]
        return code


@asynccontextmanager
async def worker(*arguments: object, module: str = "worker") -> AsyncIterator[Worker]:
    """Start a worker, and kill it when the block ends."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"tests.workflows.engines.{module}", *map(str, arguments),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    child = Worker(program)
    try:
        assert await child.line() == "began"
        yield child
    finally:
        await child.kill()
