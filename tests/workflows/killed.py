"""A worker that a nursery runs: bodies with every kind of call side by side, retries, time-outs, entities."""

from __future__ import annotations

import asyncio
import importlib
import os
import random
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from otelier.workflows import Context, Worker, entity, function, workflow
from otelier.workflows.engines import Engine
from otelier.workflows.engines.local import LocalEngine
from tests.workflows.nursery import at_work

SERVICE = "killed"
EFFECTS_OF = {
    "side_by_side": ("before", "loop", "retried", "in", "works", "after"),
    "branches": ("charge", "charge#2", "charge#3", "again"),
}
EFFECTS = Path()
"""Where effects are files, named after their keys."""
HELLO = "Hello!"
"""What the model says."""
total = entity("Total")


async def effect(ctx: Context, value: Any, *, good: int = 1, seconds: float | None = None) -> Any:
    """Have an effect that its key guards, as a payment has, at some moment of a short time."""
    await asyncio.sleep(random.random() * 0.02 if seconds is None else seconds)
    if ctx.attempt < good:
        raise ValueError(f"attempt {ctx.attempt}")
    try:
        os.close(os.open(EFFECTS / ctx.idempotency_key.replace(":", "+"), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        pass
    return value


@total.write
async def add(ctx: Context, by: int) -> int:
    await ctx.step("look", lambda: effect(ctx, by))
    ctx.set("total", await ctx.get("total", 0) + by)
    return by


@function
async def double(ctx: Context, number: int) -> int:
    await ctx.sleep(random.random() * 0.01)
    return await ctx.step("double", lambda: effect(ctx, number * 2))


def weigh(number: int) -> str:
    """Weigh a parcel."""
    return f"{number} kg"


@workflow
async def listener(ctx: Context) -> Any:
    return [await ctx.signal("told"), await ctx.signal("told")]


@workflow
async def side_by_side(ctx: Context, seed: int, most: int | None) -> Any:
    """Before, inside and after `parallel` of every kind of call."""
    before = await ctx.step("before", lambda: effect(ctx, seed))
    heard = ctx.spawn(listener, key="heard")
    child = ctx.spawn(double, seed)
    ctx.tools.register("weigh", handler=weigh)
    calls: list[Any] = [
        ctx.step("loop", lambda: effect(ctx, "stepped"), timeout_s=600),
        ctx.step("thread", lambda: "threaded", retries=1),
        ctx.step("retried", lambda: effect(ctx, "retried", good=3), retries=2, backoff=0.001),
        ctx.task(SERVICE, "double", {"number": 4}),
        ctx.entity("Total", str(seed % 2)).add(1),
        ctx.signal("never", timeout_ms=5, default="late"),
        ctx.sleep(0.002),
        ctx.timer(delay_ms=3),
        child.result(),
        ctx.signal.emit("told", [1], target_workflow_id=heard.workflow_id),
        ctx.human.approval("nobody", timeout=timedelta(milliseconds=5)),
        ctx.llm.generate("Say hello", "gpt-4o-mini"),
        ctx.tools.handler("weigh")(seed),
        ctx.parallel(
            ctx.step("in", lambda: effect(ctx, "in")),
            ctx.gather(x=ctx.task(SERVICE, "double", 1), y=ctx.sleep(0)),
            max_concurrency=1,
        ),
    ]
    values = await ctx.parallel(*calls, max_concurrency=most, timeout_s=600)
    values[10], values[11] = values[10].decision, values[11].text
    await ctx.signal.emit("told", [2], target_workflow_id=heard.workflow_id)
    named = await ctx.gather(heard=heard.result(), again=child.result(timeout_s=600), sleep=ctx.sleep(0))
    partial = await ctx.parallel(
        ctx.step("fails", lambda: effect(ctx, 0, good=2)),
        ctx.step("works", lambda: effect(ctx, "works")),
        return_exceptions=True,
    )
    try:
        await ctx.parallel(
            ctx.step("early", lambda: effect(ctx, 0, good=2)),
            ctx.task(SERVICE, "listener"),
            ctx.signal("never"),
        )
    except ValueError as exc:
        partial.append(str(exc))
    after = await ctx.step("after", lambda: effect(ctx, "after"))
    return [before, values, named, [str(one) for one in partial], after]


def expected_side_by_side(seed: int) -> Any:
    """What `side_by_side` gives, whatever happens."""
    nested = ["in", {"x": 2, "y": None}]
    values = ["stepped", "threaded", "retried", 8, 1, "late", None, None, 2 * seed, None]
    values += ["expired", HELLO, f"{seed} kg", nested]
    named = {"heard": [[1], [2]], "again": 2 * seed, "sleep": None}
    return [seed, values, named, ["attempt 1", "works", "attempt 1"], "after"]


@function(retries=2, backoff=0.001)
async def flaky(ctx: Context, good: int) -> list[Any]:
    attempt = ctx.attempt
    first = await ctx.step("charge", lambda: effect(ctx, "charged"))
    await ctx.sleep(0.001)
    if attempt < good:
        raise KeyError(attempt)
    return [first, await ctx.step("charge", lambda: effect(ctx, attempt))]


@function(timeout_s=0.3, retries=1, backoff=0.01)
async def close(ctx: Context) -> str:
    """Takes about as long as it may: whether it was in time must be told alike by each life."""
    await ctx.step("close", lambda: effect(ctx, 1, seconds=0.1 + 0.2 * random.random()))
    await ctx.sleep(0.05 + 0.1 * random.random())
    return f"attempt {ctx.attempt}"


@workflow(retries=1, backoff=0.001)
async def branches(ctx: Context, seed: int) -> Any:
    """Retries and time-outs, of steps and of handlers, inline and called."""

    async def taken(call: Any) -> Any:
        try:
            return await call
        except (KeyError, TimeoutError, ValueError) as exc:
            return str(exc).partition(";")[0]

    attempt = ctx.attempt
    found = [
        await taken(flaky(2)),
        await taken(ctx.task(SERVICE, "flaky", 3)),
        await taken(flaky(9)),
        await taken(ctx.step("late", lambda: effect(ctx, 0, seconds=600), timeout_s=0.01, retries=1, backoff=0)),
        await taken(close()),
        await taken(ctx.task(SERVICE, "close")),
        await taken(ctx.step("race", lambda: effect(ctx, "in time", seconds=0.05 * random.random()), timeout_s=0.025)),
    ]
    noted = await ctx.step("note", lambda: found)
    await ctx.sleep(0.001)
    assert noted == found, [noted, found]
    again = await ctx.step("again", lambda: effect(ctx, found))
    if attempt == 1:
        raise ValueError("once more")
    return [again == found, ctx.attempt, found[:4]]


EXPECTED_BRANCHES = [
    True,
    2,
    [["charged", 2], ["charged", 3], "3", "step 'late' took longer than 0.01 s"],
]


def _on_restate(address: str) -> Engine:
    """Several workers listen at the address of the variable."""
    from otelier.workflows.engines.restate import Options, RestateEngine  # an extra

    return RestateEngine(address, options=Options(is_port_shared=True, max_retry_s=1.0))


async def _serve(path: str) -> None:
    engine: Engine = LocalEngine(path) if not path.startswith("restate:") else _on_restate(path)
    async with Worker(SERVICE, modules=[sys.modules[__name__]], engine=engine):
        at_work()
        await asyncio.Event().wait()


for _name in ("anyio._backends._asyncio", "openai.resources.chat.completions"):
    importlib.import_module(_name)  # before the nursery forks, so that no life takes the time for it


def run(path: str, effects: str) -> None:
    """Serve until killed."""
    global EFFECTS
    EFFECTS = Path(effects)
    random.seed()
    asyncio.run(_serve(path))
