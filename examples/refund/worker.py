"""The worker: it has the workflow, and keeps its runs where `OTELIER_ENGINE` says. `main.py` starts it, and kills it.

`otelier worker worker:refunds` runs the workflow as well, without `main`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

import otelier
from otelier import Worker, llm, workflow
from otelier.workflows import Context

FOLDER = Path(os.environ.get("REFUND_FOLDER", ".otelier"))
"""Where the bookings are; `.otelier` is also where the engine keeps runs unless it is told otherwise."""


def book(amount: int, key: str) -> str:
    """Stand in for a payment provider: a second request with the same key books nothing."""
    time.sleep(0.5)
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        with (FOLDER / f"{key.replace(':', '.')}.booking").open("x") as booking:
            booking.write(str(amount))
    except FileExistsError:
        return f"{amount} paid, as booked before"
    return f"{amount} paid"


@workflow
async def refund(ctx: Context, order_id: str, amount: int) -> str:
    async def assess() -> str:
        answer = await llm.generate(f"Why would order {order_id} be refunded?", model="gpt-4.1")
        return answer.text

    assessment = await ctx.step("assess", assess)

    approval = await ctx.human.approval(
        "refund",
        payload={"order": order_id, "amount": amount, "assessment": assessment},
        timeout=timedelta(days=2),
        required_roles=["billing"],
    )
    if approval.decision != "approved":
        return f"{approval.decision} by {approval.approver}"

    def pay() -> str:
        receipt = book(amount, key=ctx.idempotency_key)
        if "die" in sys.argv:
            otelier.flush()  # a kill loses what waits for its export
            os.kill(os.getpid(), signal.SIGKILL)
        return receipt

    return await ctx.step("pay", pay)


async def main() -> None:
    otelier.init(app="refunds", env="production")  # exports to OTEL_EXPORTER_OTLP_ENDPOINT
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Worker("refunds", modules=[refund]):
        print("ready", flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
