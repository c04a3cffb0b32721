"""Steps that never end, bodies that hold up the loop, clocks that jump: bounded and told, and no run is lost."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from otelier.testing import SpanRecorder
from otelier.workflows import Context, workflow
from tests.workflows.working import DEADLINE_S, on_a_loop, opened, until, waiting_for, worker_of

ROOT = Path(__file__).parents[2]
NEVER_ENDS = """
import asyncio, sys, threading
from otelier.workflows import Worker, workflow
from otelier.workflows.engines.local import LocalEngine, Options

begun = threading.Event()

def forever():
    begun.set()
    threading.Event().wait()

@workflow
async def flow(ctx):
    return await ctx.step("wait", forever if sys.argv[2] == "forever" else lambda: "done")

async def main():
    engine = LocalEngine(sys.argv[1], options=Options(stop_s=0.1))
    async with Worker("shop", modules=[flow], engine=engine) as worker:
        handle = await worker.start(flow, workflow_id="r")
        if sys.argv[2] == "forever":
            await asyncio.to_thread(begun.wait)
        else:
            print(await handle.result(60))
    print((await engine.run("r")).status)
    await engine.close()

asyncio.run(main())
print("ended")
"""


def test_a_step_that_never_ends_keeps_no_process_alive(tmp_path: Path):
    """A worker leaves it after the time that steps have, its process ends, and the next one does the step again."""

    def program(how: str) -> list[str]:
        command = [sys.executable, "-c", NEVER_ENDS, str(tmp_path / "runs.db"), how]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    assert program("forever") == ["waiting", "ended"]  # for a worker: none is there
    assert program("quickly") == ["done", "completed", "ended"]


class Told(logging.Handler):
    """Sets an event when something is told that has some words."""

    def __init__(self, *words: str) -> None:
        super().__init__()
        self.words = words
        self.is_told = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Look at what is told, in the thread that tells it."""
        if all(word in record.getMessage() for word in self.words):
            self.is_told.set()


@on_a_loop
async def test_a_body_that_blocks_the_loop_is_told_while_it_does(tmp_path: Path):
    """The warning names the file and the place in the code, once; all runs end right when the loop goes on."""
    path = tmp_path / "runs.db"
    told = Told(str(path), "held up", f"{__file__}:", "in blocks", "plain function")
    logger = logging.getLogger("otelier")

    def blocks() -> bool:
        return told.is_told.wait(DEADLINE_S)

    @workflow
    async def flow(ctx: Context) -> Any:
        return [blocks(), await ctx.step("after", lambda: "after")]

    @workflow
    async def other(ctx: Context) -> Any:
        await ctx.sleep(0.01)
        return "other"

    logger.addHandler(told)
    try:
        async with opened(str(path), held_up_s=0.05) as engine, worker_of(engine, flow, other) as worker:
            beside = await worker.start(other)
            assert await (await worker.start(flow)).result() == [True, "after"]
            assert await beside.result() == "other"
    finally:
        logger.removeHandler(told)


@on_a_loop
async def test_a_body_that_blocked_the_loop_is_told_in_memory(caplog: pytest.LogCaptureFixture):
    """Where no thread can look, it is told afterwards, once; a loop that is only busy is not."""

    @workflow
    async def flow(ctx: Context, seconds: float) -> Any:
        until_ = time.monotonic() + seconds
        while time.monotonic() < until_:
            pass
        await ctx.step("after", lambda: "after")

    with caplog.at_level(logging.WARNING, "otelier"):
        async with opened(None, held_up_s=0.2) as engine, worker_of(engine, flow) as worker:
            await (await worker.start(flow, 0.0)).result()
            assert caplog.records == []
            for _ in range(2):
                await (await worker.start(flow, 0.5)).result()
            await until(lambda: caplog.records)
    (record,) = caplog.records
    assert "memory: was held up for" in record.getMessage()


# --- clocks ------------------------------------------------------------------------------------------------------
class Clock:
    """The wall clock, which jumps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real, self.by_s = time.time_ns, 0.0
        monkeypatch.setattr(time, "time_ns", lambda: real() + int(self.by_s * 1e9))


@pytest.mark.parametrize("where", ["while it waits", "over a restart"])
@pytest.mark.parametrize("jump_s", [-86_400.0, 86_400.0], ids=["backward", "forward"])
@on_a_loop
async def test_a_clock_that_jumps_loses_no_run_and_ends_none_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, otelier_spans: SpanRecorder, caplog: Any, jump_s: float, where: str
):
    """A wait is over when the clock says so: at once after a jump forward, later by a jump back. Steps, time limits
    and results are what they were, no span or measure is negative, and nothing is told as a fault."""
    clock, steps = Clock(monkeypatch), list[str]()

    @workflow
    async def flow(ctx: Context) -> Any:
        first = await ctx.step("first", lambda: steps.append("first") or 1, timeout_s=7 * 86_400)
        told = await ctx.signal("told", timeout_ms=3_600_000, default="late")
        second = await ctx.step("second", lambda: steps.append("second") or 2)
        await ctx.sleep(0.01)
        third = await ctx.parallel(ctx.step("third", lambda: steps.append("third") or 3), ctx.sleep(0.01))
        return [first, told, second, *third]

    async def waits(engine: Any) -> None:
        await waiting_for(engine, "r", "signal told")

    async with opened(str(tmp_path / "runs.db")) as engine:
        async with worker_of(engine, flow) as worker:
            await worker.start(flow, workflow_id="r")
            await waits(engine)
            clock.by_s = jump_s if where == "while it waits" else 0.0
            if where == "while it waits":
                await _goes_on(engine, jump_s)
        clock.by_s = jump_s
        async with worker_of(engine, flow):
            if where == "over a restart":
                await _goes_on(engine, jump_s)
            assert await engine.result("r", 60) == [True, [1, "late" if jump_s > 0 else "came", 2, 3, None]]
        assert (await engine.run("r")).status == "completed"
    assert steps == ["first", "second", "third"]
    assert [one for one in otelier_spans.records if one.end_ns < one.start_ns] == []
    assert [one.getMessage() for one in caplog.records] == []


async def _goes_on(engine: Any, jump_s: float) -> None:
    """After a jump back the wait goes on, and takes a signal."""
    if jump_s < 0:
        assert (await engine.run("r")).waiting_for is not None
        await engine.signal("r", "told", {"payload": "came"})
    await engine.result("r", 60)
