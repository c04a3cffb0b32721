"""Replays: code that changed under an open run blocks it, and never ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from otelier.errors import ReplayError
from otelier.workflows import Context, Handler, workflow
from otelier.workflows.engines.local import LocalEngine
from tests.workflows.working import on_a_loop, opened, status_is, until, waiting_for, worker_of

ROOT = Path(__file__).parents[2]


def _version(change: str, seen: list[str]) -> Handler:
    @workflow
    async def flow(ctx: Context) -> Any:
        try:
            if change == "inserted":
                await ctx.step("new", lambda: seen.append("new"))
            if change == "another kind":
                await ctx.sleep(0)
            elif change != "removed":
                await ctx.step("renamed" if change == "renamed" else "first", lambda: seen.append("first"))
            if change == "swapped":
                await ctx.parallel(ctx.step("b", lambda: 2), ctx.step("a", lambda: 1))
            elif change != "ends early":
                await ctx.parallel(ctx.step("a", lambda: 1), ctx.step("b", lambda: 2))
                found = await ctx.signal("went" if change == "another signal" else "go")
                return ["right", found]
        except Exception as exc:
            return ["swallowed", repr(exc)]
        return ["early"]

    return flow


CHANGES = ["renamed", "inserted", "removed", "another kind", "swapped", "another signal", "ends early"]


@pytest.mark.parametrize("change", CHANGES)
@on_a_loop
async def test_changed_code_blocks_a_run_until_it_fits_again(place: str | None, change: str):
    """Renamed, inserted, removed, swapped, another kind, an early end: `blocked` with both names, past
    `except Exception`; after the fix it is resumed and ends right."""
    seen: list[str] = []
    right = _version("", seen)
    async with opened(place) as engine:
        async with worker_of(engine, right) as worker:
            await worker.start(right, workflow_id="r")
            await waiting_for(engine, "r", "signal go")
        async with worker_of(engine, _version(change, seen)):
            await engine.resume("r")  # a Restate server lets it sleep until something comes
            await status_is(engine, "r", "blocked")
            info = await engine.run("r")
            assert (info.health, (info.error or {})["type"]) == ("blocked", ReplayError.__name__)
            text = str((info.error or {})["message"])
            assert "is blocked" in text
            assert "`otelier resume`" in text
            await engine.resume("r")
            await status_is(engine, "r", "blocked")
        async with worker_of(engine, right):
            if isinstance(engine, LocalEngine):  # a Restate server tries again by itself
                assert (await engine.run("r")).status == "blocked"
            await engine.resume("r")
            await engine.signal("r", "go", {"payload": 1})
            assert await engine.result("r", 60) == [True, ["right", 1]]
    assert seen == ["first"]


@on_a_loop
async def test_code_may_branch_on_the_version(place: str | None):
    """A step that is new from version 2 on is left out for older runs, which end right under the new code."""

    @workflow(name="flow")
    async def old(ctx: Context) -> Any:
        return [await ctx.step("first", lambda: 1), await ctx.signal("go")]

    @workflow(name="flow")
    async def new(ctx: Context) -> Any:
        found = [await ctx.step("first", lambda: 1)]
        if ctx.version >= 2:
            found.append(await ctx.step("second", lambda: 2))
        return [*found, await ctx.signal("go")]

    async with opened(place) as engine:
        async with worker_of(engine, old, version=1) as worker:
            await worker.start(old, workflow_id="old")
            await waiting_for(engine, "old", "signal go")
        async with worker_of(engine, new, version=2) as worker:
            await worker.start(new, workflow_id="new")
            for run_id, result in (("old", [1, 3]), ("new", [1, 2, 3])):
                await engine.signal(run_id, "go", {"payload": 3})
                assert await engine.result(run_id, 60) == [True, result]


PROGRAM = """
import asyncio, sys
from otelier.workflows import Worker
from otelier.workflows.engines.local import LocalEngine
import shop

async def main():
    async with Worker("shop", modules=[shop], engine=LocalEngine(sys.argv[1])):
        print("began", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
HEAD = "from otelier.workflows import workflow\n"
BODY = """
@workflow
async def {name}(ctx):
    try:
        {before}first = await ctx.step("{first}", lambda: 1)
        return [first, await ctx.signal("go")]
    except Exception as exc:
        return repr(exc)
"""
REMOVED = """
@workflow
async def removed(ctx):
    try:
        return await ctx.signal("go")
    except Exception as exc:
        return repr(exc)
"""
NAMES = ("renamed", "inserted", "removed")
RIGHT = HEAD + "".join(BODY.format(name=name, first="first", before="") for name in NAMES)
WRONG = (
    HEAD
    + BODY.format(name="renamed", first="primary", before="")
    + BODY.format(name="inserted", first="first", before="await ctx.step('new', lambda: 0); ")
    + REMOVED
)


async def _worker(path: Path, code: str, folder: Path) -> asyncio.subprocess.Process:
    (folder / "shop.py").write_text(code)
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-B", "-c", PROGRAM, str(path)),
        cwd=folder, stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": f"{folder}:{ROOT / 'src'}"},
    )  # fmt: skip
    assert program.stdout is not None
    assert await program.stdout.readline() == b"began\n"
    return program


async def _kill(program: asyncio.subprocess.Process) -> None:
    program.send_signal(signal.SIGKILL)
    await program.wait()
    program._transport.close()  # type: ignore[attr-defined]


@on_a_loop
async def test_a_module_that_changed_between_crash_and_resume_blocks_its_runs(tmp_path: Path):
    """A worker that is killed, and comes back with a step renamed, inserted, removed: blocked, never success; resumed
    after the fix."""
    from otelier.workflows.engines.protocol import Target

    path = tmp_path / "runs.db"
    async with opened(str(path)) as client:
        for name in NAMES:
            await client.start(Target("shop", name), None, {}, run_id=name)
        program = await _worker(path, RIGHT, tmp_path)
        for name in NAMES:
            await waiting_for(client, name, "signal go")
        await _kill(program)
        program = await _worker(path, WRONG, tmp_path)
        for name in NAMES:
            await status_is(client, name, "blocked")
        await _kill(program)
        program = await _worker(path, RIGHT, tmp_path)
        for name in NAMES:
            await client.resume(name)
            await client.signal(name, "go", {"payload": 2})
            assert await client.result(name, 60) == [True, [1, 2]]
        await _kill(program)


@on_a_loop
async def test_a_replay_is_told_by_the_context(place: str | None):
    """`ctx.replaying` is true until the body is where an earlier life was."""
    seen: list[list[bool]] = []

    @workflow
    async def flow(ctx: Context) -> None:
        mine = [ctx.replaying]
        seen.append(mine)
        for number in range(2):
            await ctx.step("s", lambda number=number: number)
            mine.append(ctx.replaying)
        await ctx.signal("go")
        mine.append(ctx.replaying)

    async with opened(place) as engine:
        async with worker_of(engine, flow) as worker:
            await worker.start(flow, workflow_id="r")
            await waiting_for(engine, "r", "signal go")
        async with worker_of(engine, flow):
            await engine.resume("r")
            await until(lambda: len(seen) == 2)
            await waiting_for(engine, "r", "signal go")
            await engine.signal("r", "go", {"payload": None})
            await engine.result("r", 60)
    assert seen == [[False, False, False], [True, True, True, False]]
