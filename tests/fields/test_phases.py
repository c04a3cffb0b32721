"""Spans that only divide a request are transparent: what is set inside them is the request's."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import weakref

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from opentelemetry import baggage, trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind

import otelier
from otelier.faults import raise_faults
from tests.recording import Spans
from tests.serving import Client, asgi_server, get_all

OFF = {"tracing": False, "metrics": False, "logs": False}
OWN = "telemetry" in inspect.signature(FastAPI.__init__).parameters
needs_own = pytest.mark.skipif(not OWN, reason="This FastAPI has no telemetry of its own; it came with 0.142.")
TELEMETRIES = [*(["own"] if OWN else []), "contrib", "alone"]
DIVIDING = ("fastapi.", "http send", "http receive")


@contextlib.contextmanager
def application(spans, telemetry):
    """A FastAPI application with its own telemetry, with OpenTelemetry's package, or with the middleware alone."""
    settings = {"tracer_provider": spans.tracer_provider} if telemetry == "own" else OFF
    made = FastAPI(**({"telemetry": settings} if OWN else {}))
    if telemetry == "contrib":
        FastAPIInstrumentor.instrument_app(made, tracer_provider=spans.tracer_provider)
    yield made
    if telemetry == "contrib":
        FastAPIInstrumentor.uninstrument_app(made)


def served(app, telemetry):
    return otelier.ContextMiddleware(app) if telemetry == "alone" else app


async def async_dependency(user: str) -> None:
    if user != "nobody":
        otelier.set_context(user_id=user, agent="support")


def sync_dependency(user: str) -> None:
    if user != "nobody":
        otelier.set_context(user_id=user, agent="support")


async def block_dependency(user: str):
    with otelier.context(user_id=user if user != "nobody" else None, agent="support"):
        yield


async def nothing() -> None:
    pass


DEPENDENCIES = {
    "async": async_dependency,
    "sync": sync_dependency,
    "block": block_dependency,
    "handler": nothing,
}


def add_routes(app, spans):
    """One route for each way to say whom the request is for; all of them work in three places."""

    def add(way, dependency):
        @app.get(f"/{way}/{{user}}", dependencies=[Depends(dependency)])
        async def handler(user: str, tasks: BackgroundTasks):
            if way == "handler" and user != "nobody":
                otelier.set_context(user_id=user, agent="support")
            spans.born_here("handler", attributes={"asked": user})

            async def body():
                spans.born_here("streamed", attributes={"asked": user})
                yield otelier.get_context().user_id or "-"

            tasks.add_task(spans.born_here, "later", attributes={"asked": user})
            return StreamingResponse(body(), background=tasks)

        @app.get(f"/sync-{way}/{{user}}", dependencies=[Depends(dependency)])
        def handler_in_thread(user: str, tasks: BackgroundTasks):
            if way == "handler" and user != "nobody":
                otelier.set_context(user_id=user, agent="support")
            spans.born_here("handler", attributes={"asked": user})

            def body():
                spans.born_here("streamed", attributes={"asked": user})
                yield otelier.get_context().user_id or "-"

            tasks.add_task(spans.born_here, "later", attributes={"asked": user})
            return StreamingResponse(body(), background=tasks)

    for way, dependency in DEPENDENCIES.items():
        add(way, dependency)


def told(spans, *attributes):
    """What the three places were told, by the request that worked there."""
    return {
        (name, each["asked"]): tuple(each.get(attribute) for attribute in attributes)
        for name in ("handler", "streamed", "later")
        for each in spans.named(name)
    }


@pytest.mark.parametrize("way", [*DEPENDENCIES, *(f"sync-{way}" for way in DEPENDENCIES)])
def test_every_telemetry_gives_the_same(way):
    """Handler, streamed body and background task have the same user, agent and `get_context()`, whatever is on."""
    if "block" in way and not OWN:
        pytest.skip("FastAPI of that time ends what a dependency opened before the body is sent.")
    found, answers = {}, {}
    for telemetry in TELEMETRIES:
        spans = Spans()
        with application(spans, telemetry) as app:
            add_routes(app, spans)
            with asgi_server(served(app, telemetry)) as port, Client(port) as client:
                answers[telemetry] = [client.get(f"/{way}/{user}") for user in ("alice", "nobody", "bob", "nobody")]
        found[telemetry] = told(spans, "user.id", "gen_ai.agent.name")
    assert all(each == found["contrib"] for each in found.values())
    assert all(each == answers["contrib"] for each in answers.values())
    users = {
        asked: {values[0] for (_, name), values in found["contrib"].items() if name == asked}
        for asked in ("alice", "bob")
    }
    assert users == {"alice": {"alice"}, "bob": {"bob"}}
    assert {values[0] for (_, asked), values in found["contrib"].items() if asked == "nobody"} == {None}


@needs_own
@pytest.mark.parametrize("way", ["async", "sync", "handler", "sync-handler"])
def test_the_requests_own_span_carries_the_user(spans, way):
    """What is set in a dependency or a handler stands on the request's span, and on the phase that is open."""
    with application(spans, "own") as app:
        add_routes(app, spans)
        with asgi_server(app) as port, Client(port) as client:
            client.get(f"/{way}/alice")
    (server,) = [span for span in spans.spans if span.kind is SpanKind.SERVER]
    assert (server.attributes["user.id"], server.attributes["gen_ai.agent.name"]) == ("alice", "support")
    first = "fastapi.endpoint" if "handler" in way else "fastapi.dependencies"
    phases = [
        span for span in sorted(spans.spans, key=lambda span: span.start_time) if span.name.startswith("fastapi.")
    ]
    names = [span.name for span in phases]
    assert [span.attributes.get("user.id") for span in phases[names.index(first) :]] == ["alice"] * (
        len(phases) - names.index(first)
    )


@needs_own
def test_requests_at_once_never_mix(spans):
    """200 requests at once, each with its own user or none, on FastAPI's own telemetry."""
    users = [f"u-{number}" if number % 3 else "nobody" for number in range(200)]
    with application(spans, "own") as app:
        add_routes(app, spans)
        for way in ("async", "sync", "handler", "sync-handler"):
            spans.clear()
            with asgi_server(app) as port:
                get_all(port, [f"/{way}/{user}" for user in users], at_once=20)
            found = [
                (each["asked"], each.get("user.id"))
                for name in ("handler", "streamed", "later")
                for each in spans.named(name)
            ]
            assert len(found) == 600
            assert [pair for pair in found if pair[1] != (pair[0] if pair[0] != "nobody" else None)] == []


@needs_own
def test_the_table_knows_every_phase_of_fastapi(spans):
    """The spans that the installed FastAPI makes beside the request's are all in the table of phases."""
    from otelier.fields._lifetimes import PHASES

    with application(spans, "own") as app:
        add_routes(app, spans)

        @app.get("/json")
        async def whole() -> dict[str, str]:
            return {}

        with asgi_server(app) as port, Client(port) as client:
            client.get("/sync/alice")
            client.get("/json")
    made = {span.name for span in spans.spans if span.instrumentation_scope.name == "fastapi"}
    phases = {name for name in made if name.startswith("fastapi.")}
    assert phases == {f"fastapi{ending}" for ending in PHASES["fastapi"]}


def test_what_is_set_in_a_dependency_leaves_with_the_handlers_requests(spans):
    """`get_context()` and the baggage of the handler have what an `async` dependency set, as without the phase."""
    seen = []
    with application(spans, "own") as app:

        @app.get("/{user}", dependencies=[Depends(async_dependency)])
        async def handler(user: str):
            seen.append((otelier.get_context().user_id, baggage.get_baggage("user.id")))

        with asgi_server(app) as port, Client(port) as client:
            client.get("/alice")
            client.get("/nobody")
    assert seen == [("alice", "alice"), (None, None)]


# --- phases by hand: the same spans, opened as a framework opens them -------------------------------------------
@pytest.fixture
def fastapi_spans(spans):
    """Opens spans with FastAPI's scope and names."""
    tracer = spans.tracer_provider.get_tracer("fastapi")
    return tracer.start_as_current_span


def test_values_outlive_the_phase(spans, fastapi_spans):
    """What is set in a phase is in force after it, all of it, until the request's span ends."""
    with spans.open("GET /", kind=SpanKind.SERVER):
        with fastapi_spans("fastapi.dependencies"):
            otelier.set_context(user_id="alice", agent="support", session_id="s-1")
            otelier.set_context(workflow_id="w-1")
        assert otelier.get_context() == otelier.CallContext(
            user_id="alice", agent="support", session_id="s-1", workflow_id="w-1"
        )
        with fastapi_spans("fastapi.endpoint"):
            assert spans.born_here("call")["gen_ai.agent.name"] == "support"
    assert otelier.get_context() == otelier.CallContext()
    assert spans.born_here("after") == {}


def test_two_processors_do_no_harm(spans, fastapi_spans):
    """A provider that was given the processor twice treats phases the same."""
    spans.tracer_provider.add_span_processor(otelier.AgentSpanProcessor())
    with spans.open("GET /", kind=SpanKind.SERVER):
        with fastapi_spans("fastapi.dependencies"):
            otelier.set_context(user_id="alice", agent="support")
        assert otelier.get_context().agent == "support"
    assert spans["GET /"]["user.id"] == spans["fastapi.dependencies"]["user.id"] == "alice"


def test_a_cleared_field_stays_cleared_after_the_phase(spans, fastapi_spans):
    """`clear_context` in a phase holds after it, too."""
    with spans.open("GET /", kind=SpanKind.SERVER):
        otelier.set_context(user_id="alice")
        with fastapi_spans("fastapi.dependencies"):
            otelier.clear_context()
        assert spans.born_here("after") == {}


def test_phases_in_phases(spans, fastapi_spans):
    """A phase inside of a phase is transparent as well."""
    with spans.open("GET /", kind=SpanKind.SERVER):
        with fastapi_spans("fastapi.endpoint"):
            with fastapi_spans("fastapi.dependencies"):
                otelier.set_context(user_id="alice")
            assert otelier.get_context().user_id == "alice"
        assert otelier.get_context().user_id == "alice"
    assert (spans["GET /"], spans["fastapi.dependencies"]) == ({"user.id": "alice"}, {"user.id": "alice"})


def test_blocks_inside_a_phase_leave_nothing(spans, fastapi_spans):
    """What a `context()` block, a decorated function or a bound one sets inside a phase ends with it."""

    @otelier.context(user_id="carol")
    def decorated():
        otelier.set_context(session_id="s-2")

    def bound():
        otelier.set_context(session_id="s-3")

    with spans.open("GET /", kind=SpanKind.SERVER):
        with fastapi_spans("fastapi.endpoint"):
            otelier.set_context(workflow_id="w-1")
            with otelier.context(user_id="alice"):
                otelier.set_context(session_id="s-1")
                with otelier.context(user_id="bob"):
                    pass
            decorated()
            otelier.propagate(bound)()
        assert otelier.get_context() == otelier.CallContext(workflow_id="w-1")


def test_a_block_that_stays_open_holds_until_it_ends(spans, fastapi_spans):
    """A block opened in one phase and closed after it, as by a dependency that yields, holds all the while."""
    block = otelier.context(user_id="alice", agent="support")
    with spans.open("GET /", kind=SpanKind.SERVER):
        with fastapi_spans("fastapi.dependencies"):
            otelier.set_context(session_id="s-1")
            block.__enter__()
        with fastapi_spans("fastapi.endpoint"):
            otelier.set_context(workflow_id="w-1")
            assert otelier.get_context().agent == "support"
        assert otelier.get_context().user_id == "alice"
        block.__exit__(None, None, None)
        assert otelier.get_context() == otelier.CallContext(session_id="s-1")
        assert spans.born_here("after") == {"session.id": "s-1"}
    assert "user.id" not in spans["GET /"]


def test_a_task_of_a_phase_keeps_what_it_sets(spans, fastapi_spans):
    """Tasks that a handler starts, each for another user, mix neither with each other nor with the request."""

    async def one(number):
        otelier.set_context(user_id=f"u-{number}")
        await asyncio.sleep(0)
        return spans.born_here("task")["user.id"]

    async def main():
        with spans.open("GET /", kind=SpanKind.SERVER):
            with fastapi_spans("fastapi.endpoint"):
                users = await asyncio.gather(*(one(number) for number in range(50)))
            assert otelier.get_context().user_id is None
            assert "user.id" not in spans.born_here("after")
            return users

    assert asyncio.run(main()) == [f"u-{number}" for number in range(50)]


def test_a_span_around_the_phases_keeps_what_is_its_own(spans, fastapi_spans):
    """Below a span of the program's, a phase divides that one: the same as if the phase were not there."""
    with spans.open("GET /", kind=SpanKind.SERVER):
        with spans.open("middleware"):
            with fastapi_spans("fastapi.dependencies"):
                otelier.set_context(user_id="alice")
            assert spans.born_here("handler") == {"user.id": "alice"}
        assert otelier.get_context().user_id is None
    assert (spans["middleware"], spans["GET /"]) == ({"user.id": "alice"}, {})


@pytest.mark.parametrize(
    ("scope", "name"),
    [("tests", "fastapi.endpoint"), ("fastapi", "endpoint of mine"), ("opentelemetry.instrumentation.asgi", "send")],
)
def test_a_span_of_the_users_is_no_phase(spans, scope, name):
    """The scope and the name tell: a helper that sets a value inside a span of its own loses it there."""
    with spans.open("GET /", kind=SpanKind.SERVER):
        with spans.tracer_provider.get_tracer(scope).start_as_current_span(name):
            otelier.set_context(user_id="alice")
        assert spans.born_here("after") == {}
    assert (spans["GET /"], spans[name]) == ({}, {"user.id": "alice"})


def test_a_phase_without_a_request_is_a_span_like_others(spans, fastapi_spans):
    """Where nothing of ours saw the request's span, what is set in the phase ends with it."""
    with fastapi_spans("fastapi.endpoint"):
        otelier.set_context(user_id="alice")
    assert otelier.get_context().user_id is None


def test_receiving_and_sending_are_phases(spans):
    """What an outer middleware sets while a message is received, in a span of OpenTelemetry's, is the request's."""

    async def app(scope, receive, send):
        await receive()
        spans.born_here("handler")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    instrumented = OpenTelemetryMiddleware(app, tracer_provider=spans.tracer_provider)

    async def identifying(scope, receive, send):
        async def received():
            otelier.set_context(user_id="alice")
            return await receive()

        await instrumented(scope, received, send)

    with asgi_server(identifying) as port, Client(port) as client:
        client.get("/")
    (server,) = [span for span in spans.spans if span.kind is SpanKind.SERVER]
    assert (spans["handler"]["user.id"], server.attributes["user.id"]) == ("alice", "alice")


@needs_own
def test_websockets(spans):
    """A connection's dependency and handler give the user to the connection's span and to all below it."""
    with application(spans, "own") as app:

        @app.websocket("/{user}", dependencies=[Depends(async_dependency)])
        async def handler(websocket: WebSocket, user: str):
            await websocket.accept()
            spans.born_here("handler")
            await websocket.close()

        async def connect():
            messages = [{"type": "websocket.connect"}]

            async def receive():
                return messages.pop()

            async def send(message):
                pass

            scope = {"type": "websocket", "path": "/alice", "headers": [], "query_string": b"", "subprotocols": []}
            await app(scope, receive, send)

        asyncio.run(connect())
    (server,) = [span for span in spans.spans if span.kind is SpanKind.SERVER]
    assert (spans["handler"]["user.id"], server.attributes["user.id"]) == ("alice", "alice")


def test_a_phase_is_freed(spans, fastapi_spans):
    """A phase that is over keeps neither itself nor the contexts alive that were set in it."""
    gc.collect()
    with spans.open("GET /", kind=SpanKind.SERVER):
        with fastapi_spans("fastapi.endpoint") as phase:
            otelier.set_context(user_id="alice")
        gone = weakref.ref(phase)
        gc.disable()
        try:
            del phase
            assert gone() is None
        finally:
            gc.enable()


def test_a_fault_in_the_end_of_a_phase_stays_inside(spans, fastapi_spans, monkeypatch):
    """The span has ended and the program goes on, whatever goes wrong in what we do there."""
    raise_faults(False)

    def fail(*args):
        raise RuntimeError("ours")

    with spans.open("GET /", kind=SpanKind.SERVER), fastapi_spans("fastapi.endpoint"):
        monkeypatch.setattr("otelier.fields._lifetimes.Phase.leaves", fail)
    assert [span.name for span in spans.spans] == ["fastapi.endpoint", "GET /"]


def test_a_phase_whose_end_was_taken_down(spans, fastapi_spans):
    """Code that holds the method `end` of a phase may call it twice: the second call does nothing, as on any span."""
    with spans.open("GET /", kind=SpanKind.SERVER):
        phase = spans.tracer_provider.get_tracer("fastapi").start_span("fastapi.endpoint")
        end = phase.end
        end()
        end()
    assert [span.name for span in spans.spans] == ["fastapi.endpoint", "GET /"]


@pytest.mark.parametrize("way", ["async", "sync", "handler"])
def test_what_is_not_sampled_has_its_logs(way):
    """With FastAPI's own telemetry, no sampling and the middleware, log records of the request have its user."""
    spans = Spans(sampler=ALWAYS_OFF)
    logger = spans.logger_provider.get_logger("tests")
    with application(spans, "own") as app:
        app.add_middleware(otelier.ContextMiddleware)

        @app.get("/{user}", dependencies=[Depends(DEPENDENCIES[way])])
        async def handler(user: str):
            if way == "handler" and user != "nobody":
                otelier.set_context(user_id=user)
            logger.emit(body=user)

        with asgi_server(app) as port, Client(port) as client:
            for user in ("alice", "nobody", "bob"):
                client.get(f"/{user}")
    assert spans.spans == ()
    assert [(entry.body, entry.attributes.get("user.id")) for entry in spans.logs] == [
        ("alice", "alice"),
        ("nobody", None),
        ("bob", "bob"),
    ]


@needs_own
def test_with_no_switch_but_the_fixture(otelier_spans):
    """In a test with `otelier_spans`, FastAPI's own telemetry is on by itself, and the request has its user."""
    app = FastAPI()

    @app.get("/{user}", dependencies=[Depends(async_dependency)])
    async def handler(user: str):
        with trace.get_tracer("app").start_as_current_span("work"):
            return "ok"

    with asgi_server(app) as port, Client(port) as client:
        client.get("/alice")
    assert otelier_spans.tree("user.id") == (
        "GET /{user} SERVER user.id='alice'\n"
        "  fastapi.dependencies INTERNAL user.id='alice'\n"
        "  fastapi.endpoint INTERNAL user.id='alice'\n"
        "    work INTERNAL user.id='alice'\n"
        "  fastapi.serialization INTERNAL user.id='alice'"
    )
