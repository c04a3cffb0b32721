"""Start a refund, from any process: `python start.py ORDER AMOUNT`. The worker runs, or is started later."""

from __future__ import annotations

import asyncio
import sys

import otelier
from otelier import Client


async def main(order_id: str, amount: int) -> None:
    with otelier.context(user_id="alice"):
        order = {"order_id": order_id, "amount": amount}
        run = await Client().start("refunds", "refund", order, workflow_id=f"refund-{order_id}")
    print(f"started {run.workflow_id}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
