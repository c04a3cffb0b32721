"""`ContextMiddleware`: what a request sets ends with the request, on servers that open no span."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from concurrent.futures import ThreadPoolExecutor

import flask
import pytest
from fastapi import FastAPI
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import SpanKind

import otelier
from otelier import ContextMiddleware
from tests.serving import Client, asgi_server, get_all, wsgi_server

PATHS = ["/alice", "/", "/bob", "/", "/", "/carol", "/"]
SEEN = ["alice", "-", "bob", "-", "-", "carol", "-"]


def user():
    return otelier.get_context().user_id or "-"


def identify(path):
    """Set the user that the path names, if any."""
    name = path.strip("/")
    if name:
        otelier.set_context(user_id=name, session_id=f"s-{name}")


def wsgi_app(environ, start_response):
    identify(environ["PATH_INFO"])
    start_response("200 OK", [])
    return [user().encode()]


def wsgi_stream(environ, start_response):
    """A body made step by step that sets its fields while it is made."""
    start_response("200 OK", [])

    def body():
        identify(environ["PATH_INFO"])
        yield b""
        yield user().encode()

    return body()


def wsgi_generator(environ, start_response):
    """An application that is itself a generator."""
    identify(environ["PATH_INFO"])
    start_response("200 OK", [])
    yield user().encode()


class Body:
    """A body with `close`, which sees the request's fields and may set more."""

    closed: list[str]

    def __init__(self, closed):
        self.closed = closed
        self.chunks = iter([b"a", b"b"])

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.chunks)

    def close(self):
        self.closed.append(user())
        otelier.set_context(user_id="closing")


@pytest.mark.parametrize("pooled", [False, True], ids=["serving thread", "pool of one thread"])
@pytest.mark.parametrize("app", [wsgi_app, wsgi_stream, wsgi_generator], ids=lambda app: app.__name__)
def test_wsgi_requests_on_one_thread_never_see_each_other(app, pooled):
    """On a real WSGI server with one reused thread each request sees its own user, and one without a user none."""
    with wsgi_server(otelier.ContextMiddleware(app), pooled=pooled) as port, Client(port) as client:
        assert [client.get(path) for path in PATHS] == SEEN


def test_without_the_middleware_a_reused_thread_would_leak():
    """The server above does reuse its thread: without span, job or middleware the next request sees the former."""
    with wsgi_server(wsgi_app) as port, Client(port) as client:
        assert [client.get(path) for path in ("/alice", "/")] == ["alice", "alice"]


def test_a_wsgi_body_that_is_never_finished_leaks_nothing():
    """A body that the server closes half-way sees its own fields in `close`, and leaves none."""
    closed = []

    def app(environ, start_response):
        otelier.set_context(user_id="alice")
        return Body(closed)

    body = otelier.ContextMiddleware(app)({}, None)
    assert next(iter(body)) == b"a"
    assert user() == "-"
    body.close()
    assert (closed, user()) == (["alice"], "-")


def test_wsgi_bodies_that_take_turns_do_not_mix():
    """Two bodies made step by step on one thread each keep their own request's fields."""
    app = otelier.ContextMiddleware(wsgi_stream)
    first, second = (iter(app({"PATH_INFO": path}, lambda *args: None)) for path in ("/alice", "/bob"))
    assert [next(first), next(second), user()] == [b"", b"", "-"]
    assert [next(first), next(second), user()] == [b"alice", b"bob", "-"]


def test_wsgi_passes_everything_through():
    """Arguments, result and exceptions are the application's own."""
    error = LookupError("mine")

    def app(environ, start_response):
        if environ is None:
            otelier.set_context(user_id="alice")
            raise error
        return [environ, start_response]

    served = otelier.ContextMiddleware(app)
    assert served("environ", "start") == ["environ", "start"]
    with pytest.raises(LookupError) as raised:
        served(None, None)
    assert raised.value is error
    assert user() == "-"


async def answer(send, text):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": text.encode()})


async def asgi_app(scope, receive, send):
    identify(scope["path"])
    await asyncio.sleep(0.001)
    await answer(send, user())


class AsgiObject:
    """An application that is an object, as Starlette's and FastAPI's are."""

    async def __call__(self, scope, receive, send):
        await asgi_app(scope, receive, send)


@pytest.mark.parametrize("wrap", [otelier.ContextMiddleware, lambda app: app], ids=["middleware", "bare"])
def test_asgi_requests_on_one_connection_never_see_each_other(wrap):
    """On uvicorn each request sees its own user, and one without a user none: its task, or the middleware, ends it."""
    with asgi_server(wrap(asgi_app)) as port, Client(port) as client:
        assert [client.get(path) for path in PATHS] == SEEN


@pytest.mark.parametrize(
    "app", [asgi_app, AsgiObject(), functools.partial(asgi_app)], ids=lambda app: type(app).__name__
)
def test_asgi_requests_at_once_never_see_each_other(app):
    """200 requests at once through the middleware each see their own user or none."""
    paths = [f"/u-{number}" if number % 3 else "/" for number in range(200)]
    with asgi_server(otelier.ContextMiddleware(app)) as port:
        seen = get_all(port, paths, at_once=20)
    assert seen == [path.strip("/") or "-" for path in paths]


def test_asgi_requests_in_one_task_never_see_each_other():
    """A server that runs one request after another in one task is served as well."""
    sent = []

    async def send(message):
        sent.append(message.get("body"))

    async def main():
        app = otelier.ContextMiddleware(asgi_app)
        for path in PATHS:
            await app({"type": "http", "path": path}, None, send)
        return user()

    assert asyncio.run(main()) == "-"
    assert [body.decode() for body in sent if body is not None] == SEEN


@pytest.mark.parametrize("kind", ["lifespan", "something new", None])
def test_only_requests_are_served_as_requests(spans, kind):
    """The life of a server is no request: what a worker sets that it starts reaches no other one."""
    seen = []

    async def app(scope, receive, send):
        for name in ("first", "second"):
            worker = threading.Thread(target=contextvars.copy_context().run, args=(work, name))
            worker.start()
            worker.join()

    def work(name):
        seen.append(spans.born_here().get("user.id"))
        otelier.set_context(user_id=name)

    async def main():
        await otelier.ContextMiddleware(app)({} if kind is None else {"type": kind}, None, None)

    asyncio.run(main())
    assert seen == [None, None]


def test_as_frameworks_add_middleware():
    """`add_middleware` of Starlette and FastAPI, and the assignment that Flask wants, take it as it is."""
    fast = FastAPI()
    fast.add_middleware(otelier.ContextMiddleware)
    flat = flask.Flask("tests", root_path=".")
    flat.wsgi_app = otelier.ContextMiddleware(flat.wsgi_app)

    @fast.get("/")
    @fast.get("/{name}")
    def in_thread(name: str = ""):
        identify(name)
        return user()

    @flat.get("/", defaults={"name": ""})
    @flat.get("/<name>")
    def on_thread(name):
        identify(name)
        return user()

    with asgi_server(fast) as port, Client(port) as client:
        assert [client.get(path) for path in PATHS] == SEEN
    with wsgi_server(flat) as port, Client(port) as client:
        assert [client.get(path) for path in PATHS] == SEEN


def test_asgi_applications_that_are_no_coroutine_functions():
    """An application that returns another's coroutine, or has its call made per object, is ASGI all the same."""
    seen = []

    async def app(scope, receive, send):
        otelier.set_context(user_id="alice")
        seen.append(user())

    class PerObject:
        __slots__ = ("__call__",)

        def __init__(self):
            self.__call__ = app

    async def main(served):
        await served({"type": "http"}, None, None)
        return user()

    for each in (lambda scope, receive, send: app(scope, receive, send), PerObject()):
        assert asyncio.run(main(otelier.ContextMiddleware(each))) == "-"
    assert seen == ["alice", "alice"]


def test_asgi_exceptions_pass():
    """The application's exception reaches the server as it is, and nothing stays set."""
    error = LookupError("mine")

    async def app(scope, receive, send):
        otelier.set_context(user_id="alice")
        raise error

    async def main():
        with pytest.raises(LookupError) as raised:
            await otelier.ContextMiddleware(app)({"type": "http"}, None, None)
        return raised.value, user()

    assert asyncio.run(main()) == (error, "-")


def test_below_a_span_the_request_is_its_child(spans):
    """The middleware takes fields away, not the span around it: the request's spans have their parent."""
    with spans.open("request", kind=SpanKind.SERVER) as request:

        def app(environ, start_response):
            spans.born_here("inside")
            return []

        otelier.ContextMiddleware(app)({}, None)
    inside = spans.find("inside")
    assert inside.parent.span_id == request.context.span_id


def test_beside_a_server_span_it_changes_nothing(spans):
    """Around or inside a server span the request's spans carry what the request set, and the next one's do not."""

    def traced(app):
        def served(environ, start_response):
            with spans.open("server", kind=SpanKind.SERVER):
                return app(environ, start_response)

        return served

    def app(environ, start_response):
        identify(environ["PATH_INFO"])
        spans.born_here(f"call {environ['PATH_INFO']}")
        return []

    for wrapped in (otelier.ContextMiddleware(traced(app)), traced(otelier.ContextMiddleware(app))):
        spans.clear()
        for path in ("/alice", "/"):
            contextvars.copy_context().run(wrapped, {"PATH_INFO": path}, None)
        assert spans["call /alice"] == {"user.id": "alice", "session.id": "s-alice"}
        assert spans["call /"] == {}


def in_thread(function, *args, **kwargs):
    """Run *function* in another thread, as frameworks run what blocks."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(contextvars.copy_context().run, function, *args, **kwargs).result()


def test_what_a_thread_sets_reaches_the_request(spans):
    """Without any server span, a user set in a thread is that of the request's later spans, and of no other's."""

    def app(environ, start_response):
        if environ["PATH_INFO"] != "/":
            in_thread(identify, environ["PATH_INFO"])
        spans.born_here(f"call {environ['PATH_INFO']}")
        otelier.set_context(workflow_id="w-1", tenant_id="t-1")
        spans.born_here(f"later {environ['PATH_INFO']}")

        def body():
            spans.born_here(f"streamed {environ['PATH_INFO']}")
            yield b""

        return body()

    served = otelier.ContextMiddleware(app)
    for path in ("/alice", "/", "/bob"):
        list(served({"PATH_INFO": path}, None))
        name = path.strip("/")
        mine = {"user.id": name, "session.id": f"s-{name}"} if name else {}
        assert spans[f"call {path}"] == mine
        late = {"otelier.workflow.id": "w-1", "otelier.tenant.id": "t-1"}
        assert spans[f"later {path}"] == spans[f"streamed {path}"] == {**mine, **late}
    assert spans.born_here("after") == {}


def test_what_ends_before_the_request_is_not_handed_down(spans):
    """An agent, what is set in a block, and what is set in a span of the program's stay where they were set."""

    def app(environ, start_response):
        in_thread(otelier.set_context, agent="helper")
        with otelier.context(user_id="alice"):
            in_thread(otelier.set_context, session_id="s-1")
        with spans.open("mine"):
            in_thread(otelier.set_context, workflow_id="w-1")
        return []

    def probing(environ, start_response):
        return [*app(environ, start_response), spans.born_here("probe")]

    assert otelier.ContextMiddleware(probing)({}, None) == [{}]


def test_inside_a_server_span_threads_reach_the_request(spans):
    """Inside a request's span the middleware stands aside: what a thread sets reaches the request as without it."""

    def app(environ, start_response):
        in_thread(identify, "/alice")
        return [spans.born_here("call")]

    with spans.open("server", kind=SpanKind.SERVER):
        assert otelier.ContextMiddleware(app)({}, None) == [{"user.id": "alice", "session.id": "s-alice"}]
    assert spans["server"] == {"user.id": "alice", "session.id": "s-alice"}


def ending_early(spans, app):
    """A server's instrumentation whose span starts in a context of its own, and ends before the body is made."""

    def served(environ, start_response):
        token = attach(Context())
        with spans.open("server", kind=SpanKind.SERVER):
            body = app(environ, start_response)
        detach(token)
        return body

    return served


@pytest.mark.parametrize("processors", [1, 2])
def test_a_body_made_after_the_servers_span_has_the_requests_user(spans, processors):
    """Around such an instrumentation the middleware hands on what was set below the span, and to no other request."""
    for _ in range(processors - 1):
        spans.tracer_provider.add_span_processor(otelier.AgentSpanProcessor())

    def app(environ, start_response):
        name = environ["PATH_INFO"].strip("/")
        if name:
            otelier.set_context(user_id=name, agent="support")

        def body():
            spans.born_here(f"streamed {name}")
            in_thread(spans.born_here, f"in a thread {name}")
            yield b""

        return body()

    served = otelier.ContextMiddleware(ending_early(spans, app))
    for name in ("alice", "", "bob"):
        list(served({"PATH_INFO": f"/{name}"}, None))
    users = [spans[f"streamed {name}"].get("user.id") for name in ("alice", "", "bob")]
    agents = [spans[f"streamed {name}"].get("gen_ai.agent.name") for name in ("alice", "", "bob")]
    assert (users, agents) == (["alice", None, "bob"], ["support", None, "support"])
    assert [spans[f"in a thread {name}"].get("user.id") for name in ("alice", "", "bob")] == ["alice", None, "bob"]


def test_a_server_span_that_served_several_hands_nothing_on(spans):
    """Where two users were set below the server's span, what comes after it has neither."""

    def app(environ, start_response):
        for name in ("alice", "bob"):
            in_thread(otelier.set_context, user_id=name)

        def body():
            yield spans.born_here("streamed")

        return body()

    assert list(otelier.ContextMiddleware(ending_early(spans, app))({}, None)) == [{}]


def test_a_middleware_of_ones_own():
    """A subclass is made as what it is, and serves by its own method."""

    class Own(ContextMiddleware):
        def __call__(self, *args):
            return "own", self.app, args

    assert Own(len)("a") == ("own", len, ("a",))
