"""Workers over an engine of a test's own, and bodies that are left and begin again at each of their results."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from unittest.mock import patch

from otelier.errors import RunParked
from otelier.workflows import Handler, Worker
from otelier.workflows.engines.local import LocalEngine, _driver
from otelier.workflows.engines.local._life import Life
from tests.workflows.engines.serving import DEADLINE_S, deadline, on_a_loop, opened, raises_sentence, status_is, until

__all__ = [
    "DEADLINE_S",
    "Lives",
    "deadline",
    "on_a_loop",
    "opened",
    "outcome",
    "raises_sentence",
    "run_once",
    "status_is",
    "until",
    "waiting_for",
    "worker_of",
]


@asynccontextmanager
async def worker_of(engine: LocalEngine, *handlers: Handler, version: int = 1) -> AsyncIterator[Worker]:
    """Serve handlers of the service `shop` until the block ends."""
    async with Worker("shop", modules=handlers, engine=engine, version=version) as worker:
        yield worker


async def run_once(
    path: str | None, handler: Handler, *args: Any, others: tuple[Handler, ...] = (), **kwargs: Any
) -> Any:
    """Run a handler to its end on an engine of its own, and return its result."""
    async with opened(path, unknown_s=0.05) as engine, worker_of(engine, handler, *others) as worker, deadline():
        return await (await worker.start(handler, *args, **kwargs)).result()


async def outcome(result: Any) -> Any:
    """Return what an awaitable gave, or the error that it raised."""
    try:
        return await result
    except Exception as exc:
        return exc


async def waiting_for(engine: LocalEngine, run_id: str, what: str) -> None:
    """Wait until a run waits for something, such as `signal go`."""

    async def is_there() -> bool:
        found = (await engine.run(run_id)).waiting_for
        return found is not None and what in found

    await until(is_there)


class Lives:
    """Leaves bodies after a number of results that they have seen, as a crash does, and lets them begin again."""

    def __init__(self, after: int) -> None:
        self.after = after
        """How many results a body sees before it is left; once for each run."""
        self.cut: set[str] = set()
        self.seen: dict[str, int] = {}

    @contextmanager
    def __call__(self, only: Callable[[str], bool] = lambda run_id: True) -> Any:
        real = Life.next

        async def counted(life: Life, ops: Any) -> Any:
            op = await real(life, ops)
            if life.id not in self.cut and only(life.id):
                self.seen[life.id] = self.seen.get(life.id, 0) + 1
                if self.seen[life.id] > self.after:
                    self.cut.add(life.id)
                    life.stop(RunParked("The test leaves it here."))
                    life.check()
            return op

        with (
            patch.object(Life, "next", counted),
            patch.object(_driver, "_LEAVE_S", 0.01),
            self._on_restate(only),
        ):
            yield self

    @contextmanager
    def _on_restate(self, only: Callable[[str], bool]) -> Any:
        try:
            from restate.exceptions import RetryableError

            from otelier.workflows.engines.restate._run import RestateRun
        except ImportError:  # an extra
            yield
            return
        real = RestateRun.next

        async def counted(run: RestateRun, ops: Any) -> Any:
            op = await real(run, ops)
            if run.id not in self.cut and only(run.id):
                self.seen[run.id] = self.seen.get(run.id, 0) + 1
                if self.seen[run.id] > self.after:
                    self.cut.add(run.id)
                    run._stop(RunParked("The test leaves it here."), RetryableError("The test leaves it here."))
                    run.check()
            return op

        with patch.object(RestateRun, "next", counted):
            yield


async def settle() -> None:
    """Let whatever is ready on the loop run."""
    for _ in range(20):
        await asyncio.sleep(0)
