from __future__ import annotations

import os
from contextlib import asynccontextmanager

import openai
from fastapi import BackgroundTasks, Depends, FastAPI
from fastapi.responses import StreamingResponse
from opentelemetry import trace

import otelier

client = openai.AsyncOpenAI()
tracer = trace.get_tracer("load")


@asynccontextmanager
async def lifespan(app):
    yield
    otelier.flush()


app = FastAPI(lifespan=lifespan)


async def identify(user: str) -> None:
    otelier.set_context(user_id=user)


def look_up(user: str) -> None:
    otelier.set_context(user_id=user)


async def answer(user: str, tasks: BackgroundTasks):
    with tracer.start_as_current_span("prepare"):
        pass

    async def body():
        reply = await client.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": user}])
        yield reply.choices[0].message.content

    async def later():
        with tracer.start_as_current_span("later"):
            pass

    tasks.add_task(later)
    return StreamingResponse(body(), background=tasks)


app.get("/async/{user}", dependencies=[Depends(identify)])(answer)
app.get("/sync/{user}", dependencies=[Depends(look_up)])(answer)


@app.get("/handler/{user}")
async def handler(user: str, tasks: BackgroundTasks):
    otelier.set_context(user_id=user)
    return await answer(user, tasks)


@app.get("/who")
async def who() -> int:
    return os.getpid()
