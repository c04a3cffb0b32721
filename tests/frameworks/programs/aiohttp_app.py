from __future__ import annotations

import asyncio
import os
import sys

from aiohttp import web
from places import TELEMETRY, visit

import otelier

tasks = set()


@web.middleware
async def per_request(request, handler):
    with otelier.context():
        return await handler(request)


@web.middleware
async def hook(request, handler):
    if request.match_info.get("user"):
        visit("hook", request.match_info["where"], request.match_info["user"])
    return await handler(request)


async def who(request):
    return web.Response(text=str(os.getpid()))


async def answer(request):
    where, user = request.match_info["where"], request.match_info["user"]
    visit("handler", where, user)

    async def later():
        visit("background", where, user)

    task = asyncio.create_task(later())
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"o")
    visit("stream", where, user)
    await response.write(b"k")
    return response


app = web.Application(middlewares=[*([per_request] if TELEMETRY == "alone" else []), hook])
app.add_routes([web.get("/who", who), web.get("/async/{where}/{user}", answer)])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
