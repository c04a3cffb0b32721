"""A worker in a process of its own, for tests of who drives a file. Run: PATH SERVICE [MODE]."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

from otelier.errors import EngineError
from otelier.workflows.engines.local import LocalEngine, Options
from otelier.workflows.engines.protocol import Run
from tests.workflows.engines.serving import Handlers


def say(text: str) -> None:
    """Tell the test."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def flow(run: Run, payload: Any) -> Any:
    say(f"life {run.id} {len(run.recovered_ns)}")
    return [await run.signal("go", None), os.getpid()]


async def crash(run: Run, payload: Any) -> Any:
    os._exit(7)


async def main(path: str, service: str, mode: str = "") -> None:
    handlers = Handlers(service)
    handlers.add(flow)
    handlers.add(crash)
    engine = LocalEngine(path, options=Options(standby_s=0.02))
    try:
        drives = asyncio.Event()
        serving = asyncio.create_task(
            engine.serve(handlers.registry, handlers.invoke, lambda: engine._drivers and drives.set())
        )
        say("began")
        await asyncio.wait([serving, asyncio.ensure_future(drives.wait())], return_when=asyncio.FIRST_COMPLETED)
        say("drives")
        if mode == "fork" and os.fork() == 0:
            _in_child(engine)
        await serving
    except EngineError as exc:
        say(f"refused {exc}")
    finally:
        await engine.close()


def _in_child(engine: LocalEngine) -> None:
    try:
        engine.runs().send(None)
    except EngineError as exc:
        say(f"child {os.getpid()} {exc}")
    try:
        LocalEngine(str(engine.path)).runs().send(None)
    except EngineError as exc:
        say(f"again {exc}")
    os.close(1)  # the test waits for the end of what its parent writes
    time.sleep(3600)  # its parent's loop is not its own
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
