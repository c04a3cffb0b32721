from __future__ import annotations

import asyncio
import os

from asgiref.sync import iscoroutinefunction
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
from django.utils.decorators import sync_and_async_middleware
from places import POOL, around, visit

import otelier


@sync_and_async_middleware
def hook(get_response):
    def place(request):
        if request.path != "/who":
            visit("hook", *request.path.split("/")[2:])

    if iscoroutinefunction(get_response):

        async def served(request):
            place(request)
            return await get_response(request)
    else:

        def served(request):
            place(request)
            return get_response(request)

    return served


def who(request):
    return HttpResponse(str(os.getpid()))


def body(where, user):
    yield b"o"
    visit("stream", where, user)
    yield b"k"


async def async_body(where, user):
    yield b"o"
    visit("stream", where, user)
    yield b"k"


def sync_view(request, where, user, body):
    visit("handler", where, user)
    POOL.submit(visit, "background", where, user)
    return StreamingHttpResponse(body(where, user))


def bound_sync_view(request, where, user):
    return sync_view(request, where, user, lambda *args: otelier.propagate(body)(*args))


async def async_view(request, where, user, body):
    visit("handler", where, user)

    async def later():
        visit("background", where, user)

    task = asyncio.create_task(later())
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return StreamingHttpResponse(body(where, user))


async def bound_async_view(request, where, user):
    return await async_view(request, where, user, lambda *args: otelier.propagate(async_body)(*args))


tasks = set()
urlpatterns = [
    path("who", who),
    path("plain/<where>/<user>", sync_view, {"body": body}),
    path("bound/<where>/<user>", bound_sync_view),
    path("async-plain/<where>/<user>", async_view, {"body": async_body}),
    path("async-bound/<where>/<user>", bound_async_view),
]
wsgi = around(get_wsgi_application())
asgi = around(get_asgi_application())
