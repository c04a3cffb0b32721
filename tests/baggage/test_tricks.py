"""What an attacker or a strange set-up may try: names that only look inside, other `Host`s, redirects, headers."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import socketserver
import threading
from http.server import BaseHTTPRequestHandler

import pytest
from opentelemetry import baggage, propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import get_current
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider

import otelier
from otelier.baggage._policy import Policy
from tests.serving import asgi_server

pytest.importorskip("tests.baggage.world")

import aiohttp
import httpx
import urllib3

from tests.baggage.fields import ALLOWED, GIVEN, WRITTEN, activate
from tests.baggage.world import CLIENTS, OURS, instrumented

clients = pytest.mark.parametrize("name", [name for name, client in CLIENTS.items() if not client.h2])
OUTSIDE = r"""
http://evil.com:{port}/ http://EVIL.com.:{port}/ http://localhost.evil.com:{port}/ http://127.0.0.1.evil.com:{port}/
http://evil-internal:{port}.evil.com/ http://evilinternal.com:{port}/ http://billing@evil.com:{port}/
http://billing:x@evil.com:{port}/ http://evil.com:{port}\@billing/ http://evil.com:{port}#@billing/
http://evil.com:{port}?@billing/ http://127.1:{port}/ http://0x7f000001:{port}/ http://0177.0.0.1:{port}/
http://2130706433:{port}/ http://134744072:{port}/ http://0:{port}/ http://[::ffff:8.8.8.8]:{port}/ http://[::]:{port}/
http://[64:ff9b::808:808]:{port}/ http://[fe80::1]:{port}/ http://169.254.169.254.:{port}/ http://ai.:{port}/
http://10.0.0.1.nip.io:{port}/ http://evil%2ecom:{port}/ http://evil.com%00.local:{port}/ http://evil.com%2f.local:{port}/
http://evil.com%23.local:{port}/ http://①.①.①.①:{port}/ http://xn--evil-9db.com:{port}/
"""
INSIDE = r"""
http://LOCALHOST:{port}/ http://localhost.:{port}/ http://evil.com:80@billing:{port}/ http://a@b@billing:{port}/
http://[::1]:{port}/ http://[::ffff:127.0.0.1]:{port}/ http://billing.internal.:{port}/ http://ß.local:{port}/
http://billing:{port}/@evil.com http://billing:{port}/?u=http://evil.com/ http://billing\.evil.com:{port}/
"""


@clients
@pytest.mark.parametrize("through_proxy", [False, True], ids=["direct", "proxy"])
def test_the_host_that_is_judged_is_the_host_that_is_called(here, name, through_proxy, monkeypatch):
    """However an address is written, ours go only where the name that the client looks up is inside."""
    called: list[str] = []
    look_up, connect = socket.getaddrinfo, socket.socket.connect

    def seen_look_up(host, *args, **kwargs):
        called.append(host.decode() if isinstance(host, bytes) else host)
        return look_up(host, *args, **kwargs)

    def seen_connect(self, address):
        if isinstance(address, tuple) and address[0] != "127.0.0.1":
            called.append(address[0])
        return connect(self, address)

    monkeypatch.setattr(socket, "getaddrinfo", seen_look_up)
    monkeypatch.setattr(socket.socket, "connect", seen_connect)
    inside = Policy([ALLOWED]).allows
    reached = 0
    with instrumented(CLIENTS[name], activate, first=True, sampled=True), otelier.context(**GIVEN):
        for url in (OUTSIDE + INSIDE).split():
            called.clear()
            here.got.clear()
            with contextlib.suppress(Exception):  # most clients refuse some of them
                CLIENTS[name].send(url.format(port=here.port), proxy=here.proxy if through_proxy else None)
            sent = [got.host for got in here.got if got.ours]
            reached += len(sent)
            if url in OUTSIDE.split() and not (through_proxy and r"\@" in url):
                # httpx2 reads a backslash as part of the user's name, so that host is `billing` indeed.
                assert sent == [] or (r"\@" in url and sent == ["billing"]), url
            if sent:
                assert all(map(inside, sent)), url
                assert through_proxy or all(map(inside, called)), (url, called)
    assert reached > 4


@clients
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_of_every_kind(here, name, code, monkeypatch):
    """A redirect of any kind to the outside takes nothing along, and one back is written anew."""
    monkeypatch.setattr(here, "redirect", code)
    way = ("billing", "evil.example", "billing.internal", "user@169.254.169.254", "localhost")
    with instrumented(CLIENTS[name], activate, first=True, sampled=True), otelier.context(**GIVEN):
        CLIENTS[name].send(here.url(*way))
    assert [(got.host, bool(got.ours)) for got in here.got] == [
        ("billing", True),
        ("evil.example", False),
        ("billing.internal", True),
        ("169.254.169.254", False),
        ("localhost", True),
    ]


@clients
@pytest.mark.parametrize(
    ("host", "written"),
    [
        ("evil.example", False),
        ("evil.example:8080", False),
        ("8.8.8.8", False),
        ("[2001:db8::1]:80", False),
        ("billing.internal", True),
        ("LOCALHOST:8080", True),
        ("[::1]:80", True),
    ],
)
def test_another_host_in_the_header(here, name, host, written):
    """A gateway inside passes on by the `Host` that it is told: that one must be inside too."""
    with instrumented(CLIENTS[name], activate, first=True, sampled=True), otelier.context(**GIVEN):
        CLIENTS[name].send(here.url("127.0.0.2"), headers={"Host": host})
    assert [got.baggage for got in here.got] == [(WRITTEN,) if written else ()]


TARGETS = {
    "elsewhere": ("http://evil.example/", None, False),
    "elsewhere by TLS": ("/", "evil.example", False),
    "nowhere": ("evil.example:443", None, False),
    "nowhere at all": ("http://[", None, False),
    "inside": ("http://billing/", None, True),
    "inside by TLS": ("/", "billing.internal", True),
    "a path": ("/http://evil.example/", None, True),
}


@pytest.mark.parametrize(("target", "sni", "written"), TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("name", [name for name in CLIENTS if name.startswith("httpx") and "h2" not in name])
def test_another_host_in_the_target(here, name, target, sni, written):
    """What a request names beside the connection's host, by its target or for TLS, must be inside too."""
    module = httpx if name.split()[0] == "httpx" else pytest.importorskip("httpx2")
    extensions = {"target": target.encode(), **({} if sni is None else {"sni_hostname": sni})}

    async def send_async():
        async with module.AsyncClient(trust_env=False) as client:
            await client.get(here.url("127.0.0.2"), extensions=extensions)

    with instrumented(CLIENTS[name], activate, first=True, sampled=True), otelier.context(**GIVEN):
        if "async" in name:
            asyncio.run(send_async())
        else:
            with module.Client(trust_env=False) as client:
                client.get(here.url("127.0.0.2"), extensions=extensions)
    assert [got.baggage for got in here.got] == [(WRITTEN,) if written else ()]


@pytest.mark.parametrize(("tls_name", "written"), [("evil.example", False), ("billing.internal", True)])
def test_another_host_by_tls_in_aiohttp(here, tls_name, written):
    """The name that aiohttp would give in TLS must be inside as well."""

    async def get():
        async with aiohttp.ClientSession() as session, session.get(here.url("127.0.0.2"), server_hostname=tls_name):
            pass

    with instrumented(CLIENTS["aiohttp"], activate, first=True, sampled=True), otelier.context(**GIVEN):
        asyncio.run(get())
    assert [got.baggage for got in here.got] == [(WRITTEN,) if written else ()]


def test_arguments_by_place_in_urllib3(here):
    """A connection whose caller gives headers by their place carries the fields like any other."""
    activate()
    span = TracerProvider().get_tracer("tests").start_span("work")
    connection = urllib3.connection.HTTPConnection("billing", here.port)
    with contextlib.closing(connection), otelier.context(**GIVEN), trace.use_span(span):
        headers: dict[str, str] = {}
        propagate.inject(headers)
        connection.request("GET", "/", None, headers)
        connection.getresponse().read()
    assert [got.baggage for got in here.got] == [(WRITTEN,)]


@pytest.mark.parametrize(("tls_name", "written"), [("evil.example", False), ("billing.internal", True)])
def test_another_host_by_tls_in_urllib3(here, tls_name, written):
    """So must the one that a connection of urllib3 would give."""

    class Named(urllib3.connection.HTTPConnection):
        server_hostname = tls_name

    class Pool(urllib3.HTTPConnectionPool):
        ConnectionCls = Named

    url = urllib3.util.parse_url(here.url("127.0.0.2"))
    with (
        instrumented(CLIENTS["urllib3"], activate, first=True, sampled=True),
        otelier.context(**GIVEN),
        Pool(url.host, url.port) as pool,
    ):
        pool.urlopen("GET", "/")
    assert [got.baggage for got in here.got] == [(WRITTEN,) if written else ()]


def test_what_aiohttp_tells_of_a_request(here):
    """The response, its error and whoever traces requests see the application's headers, without ours in them."""
    seen = []

    async def headers_sent(session, context, params):
        seen.append(dict(params.headers))

    async def get():
        tracing = aiohttp.TraceConfig()
        tracing.on_request_headers_sent.append(headers_sent)
        connector = aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver())
        async with (
            aiohttp.ClientSession(connector=connector, trace_configs=[tracing]) as session,
            session.get(here.url("127.0.0.2"), headers={"x-own": "1"}) as answer,
        ):
            seen.append(dict(answer.request_info.headers))
            error = aiohttp.ClientResponseError(answer.request_info, answer.history)
            seen.append(repr(error) + str(error.request_info.headers))

    with instrumented(CLIENTS["aiohttp"], activate, first=True, sampled=True), otelier.context(**GIVEN):
        asyncio.run(get())
    assert [got.baggage for got in here.got] == [(WRITTEN,)]
    assert len(seen) == 3
    assert all("x-own" in str(one) for one in seen)
    assert not any("user.id" in str(one) for one in seen)


@clients
def test_a_models_client(here, name):
    """What openai's client sends is for a model's provider, though no call that we know of is open."""
    with instrumented(CLIENTS[name], activate, first=True, sampled=True), otelier.context(**GIVEN):
        CLIENTS[name].send(here.url("billing"), headers={"X-Stainless-Lang": "python"})
    assert [(got.baggage, bool(got.traceparent)) for got in here.got] == [((), True)]


@pytest.fixture
def unix_socket(tmp_path):
    """A server on a unix socket: its path, and the `baggage` of each request."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            got.append(self.headers.get("baggage"))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def address_string(self):
            return "unix"

        def log_message(self, *args):
            pass

    path = str(tmp_path / "s")
    with socketserver.UnixStreamServer(path, Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield path, got
        server.shutdown()
        thread.join()


@pytest.mark.skipif(not hasattr(socketserver, "UnixStreamServer"), reason="needs unix sockets")
def test_unix_sockets(unix_socket):
    """Through a unix socket the name in the URL decides: who listens there may pass the request on."""
    path, got = unix_socket
    with instrumented(CLIENTS["httpx"], activate, first=True, sampled=True), otelier.context(user_id="u-1"):
        for host in ("localhost", "evil.example"):
            transport = httpx.HTTPTransport(uds=path, trust_env=False, verify=False)
            with httpx.Client(transport=transport, trust_env=False) as client:
                client.get(f"http://{host}/")
    assert got == ["user.id=u-1", None]


HEADERS = {
    "ours": [("baggage", "user.id=mallory,session.id=s-9")],
    "two headers": [("baggage", "tenant=blue"), ("baggage", "user.id=mallory")],
    "many headers": [("baggage", f"user.id=mallory{number}") for number in range(50)],
    "header in capitals": [("BAGGAGE", "user.id=mallory")],
    "keys in capitals": [("baggage", "User.Id=mallory,USER.ID=mallory")],
    "spaces and tabs": [("baggage", " user.id = mallory ,\tuser.id\t=\tmallory\t,user.roles =root")],
    "encoded keys": [("baggage", "user%2Eid=mallory,%75%73%65%72.id=mallory,user.id%20=mallory")],
    "encoded twice": [("baggage", "user%252Eid=mallory")],
    "properties": [("baggage", "user.id=mallory;user.id=x;p,session.id=s;ttl=9")],
    "no value": [("baggage", "user.id,user.id=,=mallory,user.id==mallory")],
    "quotes": [("baggage", '"user.id"="mallory",user.id="mallory"')],
    "long": [("baggage", "user.id=" + "m" * 8_000)],
    "bytes": [("baggage", "user.id=\xff\xfe,session.id=%FF%00%0D%0Aset-cookie: a=b")],
    "a trace of its own": [
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "otelier=user.id:mallory,user.id=mallory"),
        ("baggage", "user.id=mallory"),
    ],
    "headers named like fields": [("user.id", "mallory"), ("x-user-id", "mallory"), ("otelier-user-id", "mallory")],
}


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("trust", [False, True], ids=["untrusted", "trusted"])
def test_what_comes_in_by_tricks(spans, headers, trust):
    """Untrusted, no writing of our keys sets a field, stands on a span or goes on; trusted, it is checked text."""
    otelier.init(trust_inbound=trust, tracer_provider=spans.tracer_provider)
    seen = {}

    async def app(scope, receive, send):
        carrier: dict[str, str] = {}
        W3CBaggagePropagator().inject(carrier, get_current())
        seen["fields"], seen["on"], seen["bag"] = otelier.get_context(), carrier.get("baggage", ""), baggage.get_all()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    served = OpenTelemetryMiddleware(app, tracer_provider=spans.tracer_provider)
    with asgi_server(served) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        connection.putrequest("GET", "/")
        for header, value in headers:
            connection.putheader(header, value.encode("latin-1"))
        connection.endheaders()
        assert connection.getresponse().read() == b""
        connection.close()
    assert not [member for member in seen["on"].split(",") if member.partition("=")[0].strip() in OURS]
    if not trust:
        assert seen["fields"] == otelier.CallContext()
        assert set(seen["bag"]).isdisjoint(OURS)
        for span in spans.spans:
            assert set(span.attributes).isdisjoint(OURS)
    else:
        for value in (seen["fields"].user_id, seen["fields"].session_id, seen["fields"].user_role):
            with otelier.context(user_id=value):  # raises for what cannot be a field
                pass
        assert seen["fields"].agent is None
