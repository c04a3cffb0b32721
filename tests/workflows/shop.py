"""A program's own module with handlers, for workers in processes of their own."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from otelier.workflows import Context, entity, function, workflow

stock = entity("Stock")


@stock.write
async def take(ctx: Context, n: int) -> int:
    total: int = await ctx.get("total", 0) + n
    ctx.set("total", total)
    return total


@workflow
async def order(ctx: Context, order_id: str) -> Any:
    await ctx.step("charge", lambda: "charged")
    await ctx.task("shop", "ship", {"order_id": order_id})
    answer = await ctx.human.approval(
        "refund", payload={"order": order_id}, timeout=timedelta(hours=2), required_roles=["admin"]
    )
    return [answer.decision, answer.approver, answer.comment]


@function
async def ship(ctx: Context, order_id: str) -> str:
    tries = iter((ValueError("no truck\nfor now"), None))

    def load() -> str:
        error = next(tries)
        if error is not None:
            raise error
        return "loaded"

    return await ctx.step("load", load, retries=2, backoff=0.01)


@workflow
async def paid(ctx: Context) -> Any:
    return await ctx.signal("paid")


@workflow
async def broken(ctx: Context) -> Any:
    raise RuntimeError("it broke\x1b[2J " + "for a reason that is told at length " * 4)


@function(name="charge", service="bank")
async def charge(ctx: Context) -> str:
    return "charged"
