"""Bodies written directly over `Run`, an engine that serves them, and waits for conditions."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from otelier.codec import error_to_json
from otelier.workflows.engines.local import LocalEngine, Options
from otelier.workflows.engines.protocol import Engine, Json, Kind, Op, Outcome, Registry, Run, Target
from tests.workflows.restating import free_port

Body = Callable[[Run, Any], Awaitable[Any]]
DEADLINE_S = 60.0


class Handlers:
    """Handlers of one service, and an `invoke` that runs them."""

    def __init__(self, service: str = "shop", version: int = 1) -> None:
        self.service, self.version = service, version
        self.bodies: dict[str, Body] = {}
        self.kinds: dict[tuple[str, str], Kind] = {}
        self.lives: list[str] = []
        """Ids of the runs whose bodies were begun, again for each life."""

    def add(self, body: Body, kind: Kind = "workflow", name: str | None = None) -> Target:
        """Add a handler, and return its target; that of an entity has the key `k`."""
        name = name or body.__name__
        self.bodies[name], self.kinds[self.service, name] = body, kind
        return Target(self.service, name, "k" if kind in {"write", "read"} else None)

    @property
    def registry(self) -> Registry:
        return Registry(dict(self.kinds), self.version)

    async def invoke(self, run: Run, target: Target, payload: Json) -> Outcome:
        self.lives.append(run.id)
        try:
            return [True, await self.bodies[target.handler](run, payload)]
        except Exception as exc:
            return [False, error_to_json(exc)]


def step(run: Run, name: str, value: Json = None) -> Op:
    """Make a step that gives *value*."""

    async def body() -> Json:
        return value

    return run.step(name, body)


@asynccontextmanager
async def serving(engine: Engine, handlers: Handlers) -> AsyncIterator[asyncio.Task[None]]:
    """Serve until the block ends, and leave all bodies then."""
    is_ready = asyncio.Event()
    task = asyncio.create_task(engine.serve(handlers.registry, handlers.invoke, is_ready.set))
    try:
        if not isinstance(engine, LocalEngine):  # its server takes nothing for a worker that it does not know
            waiting = asyncio.create_task(is_ready.wait())
            await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def opened(path: str | None, **options: Any) -> AsyncIterator[Any]:
    """Open an engine of its own, and close it when the block ends."""
    if path is not None and path.startswith("restate://"):
        from otelier.workflows.engines.restate import Options as RestateOptions  # an extra
        from otelier.workflows.engines.restate import RestateEngine

        given = {"max_retry_s": 0.2, "stop_s": 2.0, **options}
        engine: Engine = RestateEngine(path, bind=f"127.0.0.1:{free_port()}", options=RestateOptions(**given))
    else:
        engine = LocalEngine(path, options=Options(**options))
    try:
        yield engine
    finally:
        await engine.close()


async def until(condition: Callable[[], Any]) -> Any:
    """Wait until *condition*, a function or one that gives an awaitable, is true, and return what it gave."""
    async with deadline():
        while True:
            found = condition()
            if inspect.isawaitable(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.005)


async def status_is(engine: LocalEngine, run_id: str, status: str) -> None:
    """Wait until a run has a status."""

    async def has_it() -> bool:
        return (await engine.run(run_id)).status == status

    await until(has_it)


async def waits_for(engine: LocalEngine, run_id: str, what: str = "signal go") -> None:
    """Wait until the body of a run waits for something."""

    async def does() -> bool:
        return (await engine.run(run_id)).waiting_for == what

    await until(does)


async def settle() -> None:
    """Let whatever is ready on the loop run."""
    for _ in range(20):
        await asyncio.sleep(0)


@asynccontextmanager
async def deadline(seconds: float = DEADLINE_S) -> AsyncIterator[None]:
    """Fail what takes far too long."""
    task = asyncio.current_task()
    assert task is not None
    handle = asyncio.get_running_loop().call_later(seconds, task.cancel, "the deadline of the test")
    try:
        yield
    finally:
        handle.cancel()


def on_a_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test on a loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def within() -> None:
            async with deadline(300):
                await test(*args, **kwargs)

        asyncio.run(within())

    return run


@contextmanager
def raises_sentence(kind: type[BaseException], *parts: str) -> Iterator[None]:
    """Expect an error whose message has all *parts*."""
    with pytest.raises(kind) as raised:
        yield
    missing = [part for part in parts if part not in str(raised.value)]
    assert not missing, f"{raised.value} lacks {missing}"
