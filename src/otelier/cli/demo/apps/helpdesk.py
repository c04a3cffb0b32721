"""The first service of the demonstration: a triage agent, a billing agent and an unnamed one behind FastAPI.

It sets who each call is for and which agent makes it, and needs no code for telemetry. Billing calls the second
service, `payments`, and passes it neither; a refund is a workflow, which the worker `refunds` runs. Run it like any
service:

    PAYMENTS_URL=http://127.0.0.1:8001 opentelemetry-instrument uvicorn otelier.cli.demo.apps.helpdesk:app
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from enum import Enum

import httpx
import openai
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import StreamingResponse
from openai.types.chat import ChatCompletionMessageParam
from opentelemetry import trace
from pydantic import BaseModel

import otelier
from otelier import Client

MODEL = "gpt-4.1"

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
logging.getLogger("httpx").setLevel(logging.WARNING)
logging.getLogger("httpx2").setLevel(logging.WARNING)
log = logging.getLogger("demo")
tracer = trace.get_tracer("demo")
client = openai.OpenAI()
async_client = openai.AsyncOpenAI()
lookups = ThreadPoolExecutor(max_workers=4)
payments = httpx.Client(
    base_url=os.environ.get("PAYMENTS_URL", "http://127.0.0.1:8001"),
    timeout=15.0,
    limits=httpx.Limits(keepalive_expiry=1.0),  # shorter than uvicorn keeps an idle connection open
)
runs = Client()


class Agent(str, Enum):
    """The agents of this service."""

    TRIAGE = "triage"
    BILLING = "billing"


INSTRUCTIONS = {
    Agent.TRIAGE: "You triage incoming requests.",
    Agent.BILLING: "You answer billing questions.",
}


# The agent with this prompt has no name: it is identified by the prompt, whatever the date in it.
SUMMARY = "You sum up support tickets in one sentence. Today is {today:%B %d, %Y}."


class Question(BaseModel):
    """What a user asks."""

    message: str
    ticket: str


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    """Export what is pending: uvicorn ends the process by a signal, so no exit handler runs."""
    yield
    otelier.flush()


app = FastAPI(title="otelier demo: helpdesk", lifespan=lifespan)


@app.middleware("http")
async def set_user(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Set user, role, session and tenant from headers that a gateway would have checked."""
    otelier.set_context(
        user_id=request.headers.get("x-user-id"),
        user_role=request.headers.get("x-user-role"),
        session_id=request.headers.get("x-session-id"),
        tenant_id=request.headers.get("x-tenant-id"),
    )
    return await call_next(request)


@app.post("/agents/{name}/chat")
def chat(name: Agent, question: Question) -> dict[str, str]:
    """Answer at once; triage hands questions about money over to billing."""
    otelier.set_context(agent=name.value, workflow_id=question.ticket)
    answer = billing(question.message) if name is Agent.BILLING else triage(question.message)
    return {"answer": answer}


@app.post("/agents/{name}/respond")
async def respond(name: Agent, question: Question) -> dict[str, str]:
    """Answer through the Responses API, without a thread."""
    otelier.set_context(agent=name.value, workflow_id=question.ticket)
    response = await async_client.responses.create(model=MODEL, instructions=INSTRUCTIONS[name], input=question.message)
    log.info("answered by the Responses API")
    return {"answer": response.output_text}


@app.post("/agents/{name}/stream")
async def stream(name: Agent, question: Question) -> StreamingResponse:
    """Answer word by word."""
    otelier.set_context(agent=name.value, workflow_id=question.ticket)

    async def words() -> AsyncIterator[str]:
        chunks = await async_client.chat.completions.create(
            model=MODEL, messages=_messages(name, question.message), stream=True, stream_options={"include_usage": True}
        )
        async for chunk in chunks:
            for choice in chunk.choices:
                yield choice.delta.content or ""
        log.info("streamed the answer")

    return StreamingResponse(words(), media_type="text/plain")


@app.post("/summaries")
async def summary(question: Question) -> dict[str, str]:
    """Summarize a ticket, with an agent that has no name."""
    otelier.set_context(workflow_id=question.ticket)
    instructions = SUMMARY.format(today=datetime.now(timezone.utc))
    response = await async_client.responses.create(model=MODEL, instructions=instructions, input=question.message)
    return {"answer": response.output_text}


@app.post("/orders/{order_id}/refund")
async def refund(order_id: str, question: Question) -> dict[str, str]:
    """Start the refund of an order, once however often it is asked for."""
    otelier.set_context(workflow_id=question.ticket)
    asked = {"order_id": order_id, "reason": question.message}
    run = await runs.start("refunds", "refund", asked, workflow_id=f"refund-{order_id}")
    log.info("started a refund")
    return {"run": run.workflow_id}


def triage(message: str) -> str:
    """Decide who answers: billing answers questions about money."""
    answer = _ask(Agent.TRIAGE, message)
    if "billing" not in answer.lower():
        log.info("answered by triage")
        return answer
    log.info("handing over to billing")
    with otelier.context(agent="billing"):
        return billing(message)


def billing(message: str) -> str:
    """Look the account up, have its payments reviewed by the other service, then answer."""
    account = lookups.submit(_look_up_account).result()
    reviewed = payments.post("/reviews", json={"account": account})
    reviewed.raise_for_status()
    answer = _ask(Agent.BILLING, f"{message}\n\nReview of the payments: {reviewed.json()['review']}")
    log.info("answered by billing")
    return answer


def _look_up_account() -> str:
    """Simulate a database: pool threads have the fields, and so has every span."""
    with tracer.start_as_current_span("look up account"):
        time.sleep(0.03)
    return otelier.get_context().tenant_id or ""


def _ask(agent: Agent, message: str) -> str:
    try:
        response = client.chat.completions.create(model=MODEL, messages=_messages(agent, message))
    except openai.APIStatusError as error:
        log.error("the model's provider answered %s", error.status_code)
        raise HTTPException(503, "The assistant is busy, please try again.") from error
    return response.choices[0].message.content or ""


def _messages(agent: Agent, message: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "system", "content": INSTRUCTIONS[agent]}, {"role": "user", "content": message}]
