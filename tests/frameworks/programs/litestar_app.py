from __future__ import annotations

import os

from litestar import Litestar, get
from litestar.background_tasks import BackgroundTask
from litestar.di import Provide
from litestar.plugins.opentelemetry import OpenTelemetryConfig, OpenTelemetryPlugin
from litestar.response import Stream
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from places import TELEMETRY, around, visit


@get("/who", sync_to_thread=False)
def who() -> int:
    return os.getpid()


async def async_hook(where: str, user: str) -> str:
    visit("hook", where, user)
    return user


def sync_hook(where: str, user: str) -> str:
    visit("hook", where, user)
    return user


@get("/async/{where:str}/{user:str}", dependencies={"who": Provide(async_hook)})
async def async_handler(where: str, user: str, who: str) -> Stream:
    visit("handler", where, user)

    async def body():
        yield b"o"
        visit("stream", where, user)
        yield b"k"

    async def later() -> None:
        visit("background", where, user)

    return Stream(body(), background=BackgroundTask(later))


@get(
    "/threads/{where:str}/{user:str}",
    dependencies={"who": Provide(sync_hook, sync_to_thread=True)},
    sync_to_thread=True,
)
def sync_handler(where: str, user: str, who: str) -> Stream:
    visit("handler", where, user)

    def body():
        yield b"o"
        visit("stream", where, user)
        yield b"k"

    return Stream(body(), background=BackgroundTask(visit, "background", where, user))


own = [OpenTelemetryPlugin(OpenTelemetryConfig())] if TELEMETRY == "own" else []
app = Litestar([who, async_handler, sync_handler], plugins=own, openapi_config=None)
app = OpenTelemetryMiddleware(app) if TELEMETRY == "contrib" else around(app)
