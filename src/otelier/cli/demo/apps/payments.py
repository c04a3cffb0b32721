"""The second service of the demonstration: one agent that reviews the payments of an account.

Only our own services call it, so it trusts inbound fields and needs no code that sets the user. Its agent is its own;
the calling agent is on its spans as `otelier.caller.agent.name`. Run it like any service:

    OTELIER_TRUST_INBOUND=true opentelemetry-instrument uvicorn otelier.cli.demo.apps.payments:app --port 8001
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import openai
from fastapi import FastAPI
from opentelemetry import trace
from pydantic import BaseModel

import otelier

MODEL = "gpt-4.1"
INSTRUCTIONS = "You audit the payments of an account."

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
logging.getLogger("httpx").setLevel(logging.WARNING)
logging.getLogger("httpx2").setLevel(logging.WARNING)
log = logging.getLogger("demo")
tracer = trace.get_tracer("demo")
client = openai.AsyncOpenAI()


class Account(BaseModel):
    """Whose payments are reviewed."""

    account: str


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    """Export what is pending: uvicorn ends the process by a signal, so no exit handler runs."""
    yield
    otelier.flush()


app = FastAPI(title="otelier demo: payments", lifespan=lifespan)


@app.post("/reviews")
async def review(asked: Account) -> dict[str, str]:
    """Review the payments of an account."""
    otelier.set_context(agent="auditor")
    with tracer.start_as_current_span("look up payments"):
        await asyncio.sleep(0.03)
    answer = await client.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "system", "content": INSTRUCTIONS},
            {"role": "user", "content": f"Review the last payments of {asked.account}."},
        ],
    )
    log.info("reviewed the payments")
    return {"review": answer.choices[0].message.content or ""}
