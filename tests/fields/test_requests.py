"""Requests under OpenTelemetry's server instrumentations: each ends with its span, on real servers."""

from __future__ import annotations

import asyncio
import threading

import flask
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI
from fastapi.responses import StreamingResponse
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware as Asgi
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware as Wsgi
from starlette.middleware.base import BaseHTTPMiddleware

import otelier
from tests.serving import Client, asgi_server, get_all, wsgi_server

PATHS = ["/alice", "/", "/bob", "/", "/", "/carol", "/"]


def calls(spans):
    """What the model calls of each request carried, by the path that the request had."""
    servers = {span.context.trace_id: span.attributes for span in spans.spans if span.parent is None}
    found = {}
    for span in spans.spans:
        if span.name == "call":
            path = span.attributes.get("path") or servers[span.context.trace_id]["http.target"]
            found.setdefault(path, []).append(span.attributes.get("user.id"))
    return found


def assert_each_its_own(spans, times=1):
    assert calls(spans) == {
        path: [path.strip("/") or None] * (PATHS.count(path) * times) for path in dict.fromkeys(PATHS)
    }


def handle(spans, path):
    """What a handler does: say who it is for, then call the model."""
    name = path.strip("/")
    if name:
        otelier.set_context(user_id=name, session_id=f"s-{name}")
    spans.born_here("call", attributes={"path": path})


@pytest.mark.parametrize("pooled", [False, True], ids=["serving thread", "pool of one thread"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_wsgi_requests_on_one_thread_never_see_each_other(spans, pooled, streamed):
    """Below WSGI server spans, on one reused thread, each request's spans have its own user or none."""

    def app(environ, start_response):
        start_response("200 OK", [])
        handle(spans, environ["PATH_INFO"])
        return [b"ok"]

    def streamed_app(environ, start_response):
        start_response("200 OK", [])
        yield b""
        handle(spans, environ["PATH_INFO"])
        yield b"ok"

    served = Wsgi(streamed_app if streamed else app, tracer_provider=spans.tracer_provider)
    with wsgi_server(served, pooled=pooled) as port, Client(port) as client:
        for path in PATHS:
            assert client.get(path) == "ok"
    assert_each_its_own(spans)


def test_the_server_span_itself_carries_the_user(spans):
    """What a handler sets stands on the request's own span too."""

    def app(environ, start_response):
        start_response("200 OK", [])
        handle(spans, environ["PATH_INFO"])
        return [b"ok"]

    with wsgi_server(Wsgi(app, tracer_provider=spans.tracer_provider)) as port, Client(port) as client:
        client.get("/alice")
    (server,) = [span for span in spans.spans if span.parent is None]
    assert (server.attributes["user.id"], server.attributes["session.id"]) == ("alice", "s-alice")


def test_flask_requests_on_one_thread_never_see_each_other(spans):
    """Under Flask, on one reused thread, each request's spans have its own user or none, streamed answers too."""
    app = flask.Flask("tests", root_path=".")

    @app.route("/", defaults={"name": ""})
    @app.route("/<name>")
    def handler(name):
        handle(spans, f"/{name}")

        def body():
            spans.born_here("streamed")
            yield "ok"

        return flask.Response(flask.stream_with_context(body()))

    app.wsgi_app = Wsgi(app.wsgi_app, tracer_provider=spans.tracer_provider)
    with wsgi_server(app) as port, Client(port) as client:
        for path in PATHS:
            assert client.get(path) == "ok"
    assert_each_its_own(spans)
    assert spans.users("streamed") == [path.strip("/") or None for path in PATHS]


def test_asgi_requests_never_see_each_other(spans):
    """Below ASGI server spans, on one connection and on many at once, each request has its own user or none."""

    async def app(scope, receive, send):
        handle(spans, scope["path"])
        await asyncio.sleep(0.001)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    with asgi_server(Asgi(app, tracer_provider=spans.tracer_provider)) as port:
        with Client(port) as client:
            for path in PATHS:
                assert client.get(path) == "ok"
        get_all(port, PATHS * 20, at_once=10)
    assert_each_its_own(spans, times=21)


@pytest.fixture
def app(spans):
    """A FastAPI application below OpenTelemetry's instrumentation of it."""
    made = FastAPI()
    FastAPIInstrumentor.instrument_app(made, tracer_provider=spans.tracer_provider)
    yield made
    FastAPIInstrumentor.uninstrument_app(made)


def sync_identify(name: str = "") -> None:
    """A dependency that FastAPI runs in a worker thread."""
    assert threading.current_thread().name.startswith("AnyIO worker")
    if name:
        otelier.set_context(user_id=name, agent="dependency")


async def async_identify(name: str = "") -> None:
    """A dependency that FastAPI runs in the handler's own task."""
    if name:
        otelier.set_context(user_id=name, agent="dependency")


def paths_served(app, spans, times=20):
    with asgi_server(app) as port:
        with Client(port) as client:
            for path in PATHS:
                client.get(path)
        get_all(port, PATHS * times, at_once=10)
    assert_each_its_own(spans, times=times + 1)


def sync_handler(spans):
    def handler():
        spans.born_here("call")

    return handler


def async_handler(spans):
    async def handler():
        await asyncio.sleep(0)
        spans.born_here("call")

    return handler


@pytest.mark.parametrize("outer", [False, True], ids=["alone", "with the middleware around"])
@pytest.mark.parametrize("make_handler", [sync_handler, async_handler], ids=lambda made: made.__name__)
def test_a_sync_dependency_reaches_the_handlers_spans(app, spans, make_handler, outer):
    """A user set in a dependency that ran in a thread reaches the handler's spans; the agent set there does not."""
    for path in ("/", "/{name}"):
        app.get(path, dependencies=[Depends(sync_identify)])(make_handler(spans))
    paths_served(otelier.ContextMiddleware(app) if outer else app, spans)
    assert {call.get("gen_ai.agent.name") for call in spans.named("call")} == {None}
    servers = [span.attributes for span in spans.spans if span.parent is None and "user.id" in span.attributes]
    assert {server["gen_ai.agent.name"] for server in servers} == {"dependency"}


@pytest.mark.parametrize("outer", [False, True], ids=["alone", "with the middleware around"])
def test_what_the_handler_sets_comes_on_top_of_the_dependency(app, spans, outer):
    """A handler that names its agent keeps the user that a threaded dependency set."""
    seen = []

    @app.get("/{name}", dependencies=[Depends(sync_identify)])
    async def handler():
        seen.append(otelier.get_context().user_id)
        with otelier.context(agent="in block"):
            spans.born_here("block")
        otelier.set_context(agent="handler")
        spans.born_here("call")

    with asgi_server(otelier.ContextMiddleware(app) if outer else app) as port, Client(port) as client:
        client.get("/alice")
    assert seen == [None]
    for name, agent in (("block", "in block"), ("call", "handler")):
        attributes = spans[name]
        assert (attributes["user.id"], attributes["gen_ai.agent.name"]) == ("alice", agent)


def test_an_async_dependency_reaches_the_handler(app, spans):
    """What a dependency sets in the handler's own task is simply set there, the agent too."""
    seen = {}

    def handler(name: str = ""):
        async def handle():
            seen[name] = otelier.get_context().agent
            spans.born_here("call")

        return handle

    app.get("/", dependencies=[Depends(async_identify)])(handler())
    app.get("/{name}", dependencies=[Depends(async_identify)])(handler("named"))
    paths_served(app, spans, times=5)
    assert seen == {"": None, "named": "dependency"}


def test_a_dependency_that_holds_a_block(app, spans):
    """`with otelier.context()` in an async dependency with `yield` holds for the handler and logs nothing."""

    async def identify(name: str = ""):
        with otelier.context(user_id=name):
            yield

    for path in ("/", "/{name}"):
        app.get(path, dependencies=[Depends(identify)])(async_handler(spans))
    paths_served(app, spans, times=5)


def test_a_sync_dependency_that_holds_a_block(app, spans, foreign_detaches):
    """A block in a sync dependency with `yield` is entered and left on worker threads: it stays there, silently."""

    def identify(name: str = ""):
        with otelier.context(user_id=name or None):
            spans.born_here("inside")
            yield
            spans.born_here("cleaning up")

    app.get("/{name}", dependencies=[Depends(identify)])(async_handler(spans))
    with asgi_server(app) as port, Client(port) as client:
        for name in ("alice", "bob"):
            client.get(f"/{name}")
    assert spans.users("inside") == ["alice", "bob"]
    assert spans.users("call") == [None, None]
    assert spans.users("cleaning up") in (["alice", "bob"], [None, None])
    assert foreign_detaches == []


def test_below_a_middleware_that_runs_the_app_in_another_task(app, spans):
    """Starlette's `BaseHTTPMiddleware` runs handlers in tasks of their own: their spans still have their user."""

    async def pass_on(request, call_next):
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)
    app.get("/", dependencies=[Depends(sync_identify)])(sync_handler(spans))
    app.get("/{name}", dependencies=[Depends(sync_identify)])(async_handler(spans))
    paths_served(app, spans, times=5)


@pytest.mark.parametrize("dependency", [sync_identify, async_identify], ids=lambda made: made.__name__)
def test_streamed_answers_and_background_tasks_have_the_requests_user(app, spans, dependency):
    """What runs after the handler has returned, the body and background tasks, still has the request's user."""

    def work():
        spans.born_here("background")

    async def body():
        for _ in range(2):
            spans.born_here("body")
            yield b"."
            await asyncio.sleep(0)

    async def handler(tasks: BackgroundTasks):
        tasks.add_task(work)
        spans.born_here("call")
        return StreamingResponse(body(), background=tasks)

    for path in ("/", "/{name}"):
        app.get(path, dependencies=[Depends(dependency)])(handler)
    paths_served(app, spans, times=2)
    expected = [name for path in PATHS for name in [path.strip("/") or None] * 3]
    for name in ("body", "background"):
        assert sorted(map(str, spans.users(name))) == sorted(map(str, expected * (2 if name == "body" else 1)))


def test_a_client_that_goes_away_leaves_nothing(app, spans, foreign_detaches):
    """Requests broken off by their clients leave nothing to those that follow."""
    started = threading.Event()

    async def body():
        with otelier.context(session_id="inside"):
            while True:
                started.set()
                yield b"x" * 1000
                await asyncio.sleep(0.001)

    @app.get("/slow/{name}", dependencies=[Depends(async_identify)])
    async def slow():
        return StreamingResponse(body())

    @app.get("/", dependencies=[Depends(async_identify)])
    async def handler():
        spans.born_here("call")
        return otelier.get_context()

    with asgi_server(app) as port:
        for number in range(5):
            started.clear()
            with Client(port) as client:
                client._connection.request("GET", f"/slow/u-{number}")
                assert started.wait(timeout=300)
                client._connection.getresponse().read(10)
            with Client(port) as client:
                assert set(client.get("/").values()) == {None}
    assert spans.users("call") == [None] * 5
    assert foreign_detaches == []
