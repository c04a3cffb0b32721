"""A worker that is killed: runs with steps, sleeps, signals, calls, parallel ops, entities. A nursery runs it."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any

from otelier.workflows.engines.local import LocalEngine, Options
from otelier.workflows.engines.protocol import Op, Run, Target
from tests.workflows.engines.serving import Handlers, step
from tests.workflows.nursery import at_work

RUNS, ROUNDS = 20, 3
OPS = 16
"""Ops of a round."""
handlers = Handlers()
EFFECTS = Path()
"""Where effects are files, named after their keys."""


def effect(run: Run, name: str, value: Any) -> Op:
    """Make a step with an effect that its key guards, as a payment does."""
    number = run.made()

    async def body() -> Any:
        await asyncio.sleep(random.random() * 0.02)
        try:
            os.close(os.open(EFFECTS / f"{run.id}:{number}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            pass
        return value

    return run.step(name, body)


async def finished(run: Run, ops: list[Op]) -> list[int]:
    """Wait for all, and return their numbers in the order in which they were done."""
    left, order = list(ops), []
    for op in ops:
        op.start()
    while left:
        op = await run.next(left)
        left.remove(op)
        order.append(op.number)
    return order


async def order(run: Run, n: int) -> Any:
    return [await _round(run, n, number) for number in range(ROUNDS)]


async def _round(run: Run, n: int, number: int) -> Any:
    found = [await effect(run, f"first {n}", number)]
    await run.sleep(0.02)
    child = run.call(Target("shop", "child"), n, {})
    child.start()
    await run.stored(child)
    ops = [effect(run, f"branch {i}", i) for i in range(4)]
    ops += [run.sleep(0.01), run.signal("paid", None), run.call(Target("shop", "Stock.take", f"k{n % 3}"), n, {})]
    seen = await finished(run, ops)
    recorded = await step(run, "order", seen)
    found += [op.value for op in ops]
    await run.send(f"order-{(n + 1) % RUNS}", "told", [n, number])
    found.append(await run.signal("told", None))
    for i in range(3):
        found.append(await effect(run, f"last {i}", i))
    found.append(await child)
    return [found, seen == recorded]


async def child(run: Run, n: int) -> Any:
    await run.sleep(0.01)
    return await effect(run, "child", n * 2)


async def take(run: Run, n: int) -> Any:
    await effect(run, "look", n)
    run.put({"total": (await run.get("total") or 0) + n})
    return await effect(run, "note", n)


ORDER = handlers.add(order)
handlers.add(child, "function")
handlers.add(take, "write", "Stock.take")


def expected(n: int) -> Any:
    """What `order` of *n* gives, whatever happens; signals come in the order in which they were sent."""
    rounds: list[Any] = []
    for number in range(ROUNDS):
        branches = [0, 1, 2, 3, None, [n, number], [True, n]]
        rounds.append([[number, *branches, [(n - 1) % RUNS, number], 0, 1, 2, [True, n * 2]], True])
    return [True, rounds]


def expected_effects(n: int) -> set[str]:
    """Keys of the effects of `order` of *n*."""
    run, keys = f"order-{n}", set[str]()
    for base in range(0, ROUNDS * OPS, OPS):
        keys |= {f"{run}:{base + i}" for i in (0, 3, 4, 5, 6, 13, 14, 15)}
        keys |= {f"{run}.{base + 2}:1", f"{run}.{base + 9}:0", f"{run}.{base + 9}:1"}
    return keys


async def _serve(path: str) -> None:
    engine = LocalEngine(path, options=Options(max_lives=1_000))  # on a busy machine most lives get nothing done
    at_work()
    await engine.serve(handlers.registry, handlers.invoke)


def run(path: str, effects: str) -> None:
    """Serve until killed."""
    global EFFECTS
    EFFECTS = Path(effects)
    random.seed()
    asyncio.run(_serve(path))
