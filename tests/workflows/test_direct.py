"""Handlers called as functions: outside of a run, inside one, at once, in a plain script."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from otelier.errors import WorkflowUseError
from otelier.workflows import Context, function, workflow
from tests.workflows.working import on_a_loop, raises_sentence, run_once


@function
async def double(ctx: Context, number: int) -> int:
    return await ctx.step("double", lambda: number * 2)


@function(retries=2, backoff=0)
async def flaky(ctx: Context) -> int:
    if ctx.attempt < 3:
        raise ValueError(ctx.attempt)
    return ctx.attempt


@workflow
async def outer(ctx: Context, number: int, service: str = "anywhere") -> Any:
    return [
        await double(number),
        await double(ctx, number=number + 1),
        await flaky(),
        await ctx.task(service, "double", number + 2),
        await ctx.spawn(double, number + 3).result(),
        await ctx.step("double", lambda: ctx.step_id),
        [item async for item in counted(2)],
    ]


@function
async def counted(ctx: Context, count: int) -> Any:
    for number in range(count):
        yield await ctx.step("count", lambda number=number: number)


@on_a_loop
async def test_a_handler_is_called_as_a_function():
    """Outside of a run it runs on an engine in memory, with the handlers of its module."""
    assert await double(4) == 8
    assert await outer(1) == [2, 4, 3, 6, 8, "double#3", [0, 1]]
    assert [item async for item in counted(3)] == [0, 1, 2]


@on_a_loop
async def test_handlers_run_inline_in_a_body(place: str | None):
    """Inside a run a called handler is a part of that body: its steps are counted on, its retries are kept."""
    assert await run_once(place, outer, 1, "shop", others=(double, flaky, counted)) == [
        2,
        4,
        3,
        6,
        8,
        "double#3",
        [0, 1],
    ]


@on_a_loop
async def test_many_are_called_at_once():
    """Each call has an engine of its own, so they do not meet."""
    assert await asyncio.gather(*(double(n) for n in range(8))) == [2 * n for n in range(8)]


@on_a_loop
async def test_errors_and_wrong_arguments_of_a_call_are_the_callers():
    """The run's error is raised as its class; arguments that do not fit are refused by name."""

    @workflow
    async def fails(ctx: Context) -> None:
        raise KeyError("sku")

    with pytest.raises(KeyError, match="sku"):
        await fails()
    with raises_sentence(TypeError, "Cannot call function double", "too many"):
        await double(1, 2)


@on_a_loop
async def test_a_handler_called_in_a_step_is_refused():
    """A step is done as a whole, and a handler inside it would be no part of the record."""

    @workflow
    async def flow(ctx: Context) -> Any:
        async def inside() -> Any:
            return await double(1)

        return await ctx.step("inside", inside)

    with pytest.raises(WorkflowUseError, match=r"double\(...\) stands inside a step"):
        await flow()


SCRIPT = """
import asyncio
from otelier.workflows import workflow, function

@function
async def charge(ctx, amount: int):
    return await ctx.step("charge", lambda: f"charged {amount}")

@workflow
async def refund(ctx, amount: int):
    first = await ctx.task("shop", "charge", {"amount": amount})
    return [first, await charge(2), ctx.run_id != ""]

print(asyncio.run(refund(1)))
print(asyncio.run(refund(amount=3)))
"""


def test_a_plain_script_runs_a_workflow(tmp_path: Path):
    """`asyncio.run(workflow(...))` needs no worker, no file and no settings, and leaves nothing behind."""
    program = tmp_path / "script.py"
    program.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == ["['charged 1', 'charged 2', True]", "['charged 3', 'charged 2', True]"]
    assert list(tmp_path.iterdir()) == [program]
