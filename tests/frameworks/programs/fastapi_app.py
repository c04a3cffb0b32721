from __future__ import annotations

import os

from fastapi import BackgroundTasks, Depends, FastAPI
from fastapi.responses import StreamingResponse
from places import TELEMETRY, around, visit

OFF = {"tracing": False, "metrics": False, "logs": False}
api = FastAPI(**({"telemetry": OFF} if TELEMETRY == "alone" else {}))


@api.get("/who")
async def who() -> int:
    return os.getpid()


async def async_hook(where: str, user: str) -> None:
    visit("hook", where, user)


def sync_hook(where: str, user: str) -> None:
    visit("hook", where, user)


@api.get("/async/{where}/{user}", dependencies=[Depends(async_hook)])
async def async_handler(where: str, user: str, tasks: BackgroundTasks):
    visit("handler", where, user)

    async def body():
        yield b"o"
        visit("stream", where, user)
        yield b"k"

    async def later() -> None:
        visit("background", where, user)

    tasks.add_task(later)
    return StreamingResponse(body(), background=tasks)


@api.get("/threads/{where}/{user}", dependencies=[Depends(sync_hook)])
def sync_handler(where: str, user: str, tasks: BackgroundTasks):
    visit("handler", where, user)

    def body():
        yield b"o"
        visit("stream", where, user)
        yield b"k"

    tasks.add_task(visit, "background", where, user)
    return StreamingResponse(body(), background=tasks)


app = around(api)
