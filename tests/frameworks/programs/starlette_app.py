from __future__ import annotations

import os

from places import TELEMETRY, around, visit
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.opentelemetry import OpenTelemetryMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route


class Hook:
    """As most middleware is written now."""

    def __init__(self, app) -> None:
        self.app = app

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/async/"):
            visit("hook", *scope["path"].split("/")[2:])
        await self.app(scope, receive, send)


class ThreadHook(BaseHTTPMiddleware):
    """As it was written before, and with a look-up that blocks."""

    async def dispatch(self, request, call_next):
        if request.url.path.startswith("/threads/"):
            await run_in_threadpool(visit, "hook", *request.url.path.split("/")[2:])
        return await call_next(request)


async def who(request):
    return PlainTextResponse(str(os.getpid()))


async def async_handler(request):
    where, user = request.path_params["where"], request.path_params["user"]
    visit("handler", where, user)

    async def body():
        yield b"o"
        visit("stream", where, user)
        yield b"k"

    async def later() -> None:
        visit("background", where, user)

    return StreamingResponse(body(), background=BackgroundTask(later))


def sync_handler(request):
    where, user = request.path_params["where"], request.path_params["user"]
    visit("handler", where, user)

    def body():
        yield b"o"
        visit("stream", where, user)
        yield b"k"

    return StreamingResponse(body(), background=BackgroundTask(visit, "background", where, user))


routes = [
    Route("/who", who),
    Route("/async/{where}/{user}", async_handler),
    Route("/threads/{where}/{user}", sync_handler),
]
own = [Middleware(OpenTelemetryMiddleware)] if TELEMETRY == "own" else []
app = around(Starlette(routes=routes, middleware=[*own, Middleware(Hook), Middleware(ThreadHook)]))
