"""The worker of the demonstration: a model assesses a refund, a bank reserves it, a person approves it, the bank pays.

It needs no code for telemetry, nor for the user whom the run is for, nor for crashes: what a step returned is kept,
and a worker that starts later goes on from there. Run it like any worker:

    BANK_URL=http://127.0.0.1:8002 opentelemetry-instrument otelier worker otelier.cli.demo.apps.refunds
"""

from __future__ import annotations

import logging
import os
from datetime import timedelta

import httpx

import otelier
from otelier import llm, workflow
from otelier.workflows import Context

MODEL = "gpt-4.1"
INSTRUCTIONS = "You assess refunds."

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
logging.getLogger("httpx").setLevel(logging.WARNING)
logging.getLogger("httpx2").setLevel(logging.WARNING)
bank = httpx.Client(base_url=os.environ.get("BANK_URL", "http://127.0.0.1:8002"), timeout=240.0)


@workflow
async def refund(ctx: Context, order_id: str, reason: str) -> str:
    """Give the money of an order back, once a person with the role `billing` agrees."""
    log = ctx.log()

    async def assess() -> str:
        with otelier.context(agent="assessor"):
            question = [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": reason}]
            return (await llm.generate(question, model=MODEL)).text

    def ask_bank(what: str) -> str:
        # A step that was cut off runs again, with the same key: the bank books what it has booked already only once.
        answer = bank.post(f"/{what}/{order_id}", headers={"idempotency-key": ctx.idempotency_key})
        return answer.raise_for_status().text

    assessment = await ctx.step("assess", assess)
    log.info("assessed")
    await ctx.step("reserve", lambda: ask_bank("reservations"))
    log.info("reserved")

    decision = await ctx.human.approval(
        "refund",
        payload={"order": order_id, "assessment": assessment},
        timeout=timedelta(days=2),
        required_roles=["billing"],
    )
    if decision.decision != "approved":
        return f"{decision.decision} by {decision.approver}"
    log.info("approved")
    return await ctx.step("pay", lambda: ask_bank("payments"))
