"""When nothing leaves, whatever the host: no propagation, a call to a model, suppression, switches."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import types
from importlib.metadata import PackageNotFoundError

import openai
import pytest
from opentelemetry import baggage, propagate, trace
from opentelemetry import context as otel_context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.utils import suppress_http_instrumentation, suppress_instrumentation
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import otelier
from otelier import baggage as otelier_baggage
from otelier.baggage import _clients, _inbound, _outbound
from otelier.testing import OpenAIServer

pytest.importorskip("tests.baggage.world")

from tests.baggage.fields import GIVEN, WRITTEN, activate
from tests.baggage.world import CLIENTS, instrumented
from tests.programs import run

clients = pytest.mark.parametrize("name", [name for name, client in CLIENTS.items() if not client.h2])
ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say this is a test"}]}


@pytest.fixture
def switched_on():
    """Within it the named client is instrumented, otelier is on and all fields are set."""

    def enter(name, *, first=True):
        return instrumented(CLIENTS[name], activate, first=first, sampled=True)

    with otelier.context(**GIVEN):
        yield enter


@clients
def test_baggage_is_no_configured_propagator(here, name, switched_on, monkeypatch):
    """With `OTEL_PROPAGATORS=tracecontext` the trace leaves and the fields do not."""
    monkeypatch.setattr(propagate, "_HTTP_TEXT_FORMAT", CompositePropagator([TraceContextTextMapPropagator()]))
    with switched_on(name):
        CLIENTS[name].send(here.url("billing"))
    assert [(got.baggage, bool(got.traceparent)) for got in here.got] == [((), True)]


@clients
@pytest.mark.parametrize("headers", [None, {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}])
def test_no_propagation_for_this_request(here, name, headers):
    """A client that is not instrumented sends nothing, also when it passes on another trace's header."""
    activate()
    span = TracerProvider().get_tracer("tests").start_span("work")
    with otelier.context(**GIVEN), trace.use_span(span):
        CLIENTS[name].send(here.url("billing"), headers=headers)
    assert [got.baggage for got in here.got] == [()]


@clients
@pytest.mark.parametrize("header", ["x-request-id", "x-traceparent", "tracestate"])
def test_a_header_that_merely_holds_the_trace_id(here, name, header):
    """Only a propagator's own header says that a request is propagated: an id of the application's does not."""
    activate()
    span = TracerProvider().get_tracer("tests").start_span("work")
    trace_id = f"{span.get_span_context().trace_id:032x}"
    propagators = propagate.get_global_textmap().fields
    with otelier.context(**GIVEN), trace.use_span(span):
        CLIENTS[name].send(here.url("billing"), headers={header: f"id={trace_id}"})
    assert [bool(got.baggage) for got in here.got] == [header in propagators]


@clients
def test_suppressed_http_spans(here, name, switched_on):
    """Under `suppress_http_instrumentation` no client injects a trace, so nothing of ours goes along."""
    with switched_on(name), suppress_http_instrumentation():
        CLIENTS[name].send(here.url("billing"))
    assert [got.baggage for got in here.got] == [()]


@clients
def test_suppressed(here, name, switched_on):
    """Where instrumentation is suppressed nothing is written, also with a trace in the headers."""
    with switched_on(name):
        headers: dict[str, str] = {}
        propagate.inject(headers)
        with suppress_instrumentation():
            CLIENTS[name].send(here.url("billing"), headers=headers)
    assert [got.baggage for got in here.got] == [()]
    assert here.got[0].traceparent == headers["traceparent"]


@clients
def test_headers_by_hand(here, name):
    """A request into which the application injected the trace itself is propagated like any other."""
    activate()
    span = TracerProvider().get_tracer("tests").start_span("work")
    with otelier.context(**GIVEN), trace.use_span(span):
        headers: dict[str, str] = {}
        propagate.inject(headers)
        CLIENTS[name].send(here.url("billing", "evil.example"), headers=headers)
    assert [(got.host, got.baggage) for got in here.got] == [("billing", (WRITTEN,)), ("evil.example", ())]


@clients
def test_the_fields_by_hand(here, name):
    """Fields that the application wrote into the header itself leave once, and to hosts inside alone."""
    activate()
    span = TracerProvider().get_tracer("tests").start_span("work")
    with otelier.context(**GIVEN), trace.use_span(span):
        headers: dict[str, str] = {}
        propagate.inject(headers)
        CLIENTS[name].send(here.url("billing", "evil.example"), headers={**headers, "baggage": WRITTEN})
    assert [(got.host, got.baggage) for got in here.got] == [("billing", (WRITTEN,)), ("evil.example", ())]


def broken(*_args, **_kwargs):
    raise LookupError


@clients
@pytest.mark.parametrize("place", ["outbound", "client"])
def test_a_fault_costs_the_fields(here, name, switched_on, place, monkeypatch, quiet_faults, caplog):
    """A fault of ours in a request's last hop costs the fields, never the request."""
    if place == "outbound":
        monkeypatch.setattr(_outbound, "_changed", broken)
    else:
        monkeypatch.setattr(_clients, "changed_headers", broken)
    with switched_on(name):
        CLIENTS[name].send(here.url("billing"))
    assert [(got.host, got.baggage) for got in here.got] == [("billing", ())]
    assert "otelier failed in baggage." in caplog.text


def test_a_fault_in_what_comes_in(monkeypatch, quiet_faults, caplog):
    """A fault of ours in looking at inbound entries costs no request its context, and sets no field."""
    activate()
    monkeypatch.setattr(_inbound, "_received", broken)
    extracted = propagate.extract({"baggage": "user.id=mallory,theirs=1"})
    assert baggage.get_baggage("theirs", extracted) == "1"
    token = otel_context.attach(extracted)
    assert otelier.get_context().user_id is None
    otel_context.detach(token)
    assert "baggage.inbound" in caplog.text


@clients
def test_exporters(here, name, switched_on, monkeypatch):
    """What an exporter sends carries none of the fields of whoever made it flush."""
    with switched_on(name):
        for processor in (BatchSpanProcessor, SimpleSpanProcessor):
            provider = TracerProvider()
            provider.add_span_processor(processor(OTLPSpanExporter(endpoint=here.url("collector") + "v1/traces")))
            provider.get_tracer("t").start_span("s").end()
            provider.force_flush()
            provider.shutdown()
    assert [(got.host, got.baggage) for got in here.got] == [("collector", ())] * 2


def _openais_own():
    """The HTTP client that this release of openai uses."""
    parts = {base.__module__.partition(".")[0] for base in openai.DefaultHttpxClient.__mro__}
    return CLIENTS["httpx2" if "httpx2" in parts else "httpx"]


@pytest.mark.parametrize("how", ["plain", "stream", "raw", "async", "async stream", "responses", "embeddings", "retry"])
def test_the_models_host_gets_nothing(here, how):
    """While a call to a model is open nothing leaves, though its host is loopback."""
    with (
        OpenAIServer() as server,
        openai.OpenAI(base_url=server.base_url, api_key="test", max_retries=1) as client,
        instrumented(_openais_own(), activate, first=True, sampled=True),
        otelier.context(**GIVEN),
    ):
        if how == "retry":
            server.fail(500, times=1)
        if how.startswith("async"):

            async def ask():
                async with openai.AsyncOpenAI(base_url=server.base_url, api_key="test") as ours:
                    answer = await ours.chat.completions.create(**ASK, stream="stream" in how)
                    if "stream" in how:
                        async for _ in answer:
                            pass

            asyncio.run(ask())
        elif how == "responses":
            client.responses.create(model="gpt-4o-mini", input="Say this is a test")
        elif how == "embeddings":
            client.embeddings.create(model="text-embedding-3-small", input="This is a test")
        elif how == "raw":
            client.chat.completions.with_raw_response.create(**ASK)
        else:
            answer = client.chat.completions.create(**ASK, stream=how == "stream")
            if how == "stream":
                list(answer)
        received = [dict(request.headers) for request in server.requests]
        _openais_own().send(here.url("billing"))
    assert [got.baggage for got in here.got] == [(WRITTEN,)]
    assert len(received) == (2 if how == "retry" else 1)
    for headers in received:
        assert "traceparent" in headers
        assert "baggage" not in headers


OTHER_CALLS = {
    "models": lambda client: client.models.list(),
    "files": lambda client: client.files.list(),
    "completions": lambda client: client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Hello"),
    "chat": lambda client: client.chat.completions.create(**ASK),
}


@pytest.mark.parametrize("call", OTHER_CALLS.values(), ids=OTHER_CALLS)
@pytest.mark.parametrize("off", ["", "otelier-openai"], ids=["instrumented", "left out"])
def test_the_models_host_gets_nothing_from_any_endpoint(here, call, off, monkeypatch):
    """Endpoints that make no span send the model's host no field either, nor do any where openai is left out."""
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", off)
    with (
        OpenAIServer() as server,
        openai.OpenAI(base_url=server.base_url, api_key="test", max_retries=0) as client,
        instrumented(_openais_own(), activate, first=True, sampled=True),
        otelier.context(**GIVEN),
    ):
        with contextlib.suppress(openai.NotFoundError):
            call(client)
        _openais_own().send(here.url("billing"))
        (request,) = server.requests
    assert "traceparent" in request.headers
    assert "baggage" not in request.headers
    assert [got.baggage for got in here.got] == [(WRITTEN,)]


def test_what_is_sent_during_a_call(here):
    """While a call to a model is open, what else is sent, such as by a hook of its client, carries nothing either."""
    own = _openais_own()
    with (
        OpenAIServer() as server,
        openai.OpenAI(base_url=server.base_url, api_key="test", max_retries=0) as client,
        instrumented(own, activate, first=True, sampled=True),
        otelier.context(**GIVEN),
    ):
        client._client.event_hooks["request"].append(lambda request: own.send(here.url("billing")))
        client.chat.completions.create(**ASK)
    assert [got.baggage for got in here.got] == [()]


@pytest.mark.parametrize(
    "key",
    [
        "opentelemetry.genai.client.inference.context",
        "opentelemetry.genai.client.embedding.context",
        "opentelemetry.genai.client.fetch_response.context",
    ],
)
def test_a_call_of_the_official_instrumentation(here, switched_on, key):
    """While OpenTelemetry's own GenAI instrumentation has a call open nothing leaves either."""
    with switched_on("httpx"):
        token = otel_context.attach(otel_context.set_value(key, object()))
        CLIENTS["httpx"].send(here.url("billing"))
        otel_context.detach(token)
    assert [got.baggage for got in here.got] == [()]


@clients
def test_nothing_after_shutdown(here, name, switched_on):
    """`shutdown` takes the patches out: the fields leave to nobody, by the propagator neither."""
    with switched_on(name):
        CLIENTS[name].send(here.url("billing"))
        otelier.shutdown()
        CLIENTS[name].send(here.url("billing"))
        activate()
        CLIENTS[name].send(here.url("billing"))
    assert [got.baggage for got in here.got] == [(WRITTEN,), (), (WRITTEN,)]


@clients
@pytest.mark.parametrize("switch", [{"OTELIER_DISABLED": "1"}, {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "otelier"}])
def test_switched_off(here, name, switched_on, switch, monkeypatch):
    """Each switch that forbids patches keeps the fields in the process."""
    for variable, value in switch.items():
        monkeypatch.setenv(variable, value)
    with switched_on(name):
        CLIENTS[name].send(here.url("billing"))
    assert [got.baggage for got in here.got] == [()]


PATCHES = """
import sys, json
import otelier
from otelier import baggage
{before}
otelier.init()
{between}
import httpx, requests, aiohttp, urllib3, httpcore
import urllib3.connection, aiohttp.client_reqrep
from otelier.patches import is_patch
originals = [
    vars(httpcore.ConnectionPool)["handle_request"], vars(httpcore.AsyncConnectionPool)["handle_async_request"],
    vars(urllib3.connection.HTTPConnection)["request"], vars(aiohttp.client_reqrep.ClientRequest)["send"],
]
patched = [is_patch(one) for one in originals]
otelier.shutdown()
after = [is_patch(vars(owner)[name]) for owner, name in (
    (httpcore.ConnectionPool, "handle_request"), (httpcore.AsyncConnectionPool, "handle_async_request"),
    (urllib3.connection.HTTPConnection, "request"), (aiohttp.client_reqrep.ClientRequest, "send"))]
print(json.dumps([patched, after]))
"""


@pytest.mark.parametrize(
    ("before", "between", "patched"),
    [
        ("", "", [True] * 4),
        ("import httpx, requests, aiohttp", "", [True] * 4),
        ("", "otelier.shutdown()", [False] * 4),
    ],
    ids=["loaded later", "loaded before", "hooks taken back"],
)
def test_patches_come_out_again(before, between, patched):
    """Patches go in whenever the client is loaded, and come out, also those whose client was not loaded yet."""
    ran = run(PATCHES.format(before=before, between=between))
    assert ran.answer == [patched, [False] * 4], json.dumps(ran.err)


def test_clients_that_are_missing_or_broken(monkeypatch):
    """A client that is not installed, or whose import fails, is listed with the reason, and fails nothing."""

    def release_of(package):
        if package == "httpcore":
            raise PackageNotFoundError(package)
        return "1.0"

    def load(module):
        raise OSError("a broken library")

    monkeypatch.setattr(_clients, "version", release_of)
    monkeypatch.setattr(_clients, "import_module", load)
    for module in [name for name in sys.modules if name.partition(".")[0] in ("httpcore", "urllib3")]:
        monkeypatch.delitem(sys.modules, module)
    otelier.init()
    why = {patch.name.partition(" ")[0]: patch.why for patch in otelier_baggage.client_patches(load=True)}
    assert (why["httpcore"], why["urllib3"]) == ("not installed", "not loaded yet")


def test_a_client_without_the_place_gets_nothing_and_is_told(monkeypatch):
    """A release that lacks the last hop is left alone, and `client_patches()`, which doctor shows, says so."""
    monkeypatch.setitem(sys.modules, "aiohttp.client_reqrep", types.ModuleType("aiohttp.client_reqrep"))
    otelier.init()
    told = {patch.name: patch for patch in otelier_baggage.client_patches(load=True)}
    lacking = told["aiohttp ClientRequest.send"]
    assert (lacking.patched, lacking.failed) == (False, True)
    assert lacking.why == "this release has no ClientRequest.send"
    assert told["urllib3 HTTPConnection.request"].patched
    otelier.shutdown()
    assert not any(patch.patched for patch in otelier_baggage.client_patches())
