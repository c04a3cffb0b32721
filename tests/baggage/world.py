"""Hosts inside and outside that are all this machine, a proxy, and every HTTP client: what each host got is kept.

Names and addresses are looked up as they are; only where a connection goes is bent to one server here, which tells
its hosts apart by what it was called. The same kit serves the tests and `scripts/show_baggage.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import aiohttp
import httpx
import requests
import urllib3
from opentelemetry import trace
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

try:
    import httpx2
    from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor
except ImportError:  # httpx2 comes with openai 3
    httpx2 = HTTPX2ClientInstrumentor = None  # type: ignore[assignment]
try:
    from urllib3.contrib.socks import SOCKSProxyManager
except ImportError:  # PySocks comes with requests[socks]
    SOCKSProxyManager = None  # type: ignore[assignment,misc]
try:
    import h2.config
    import h2.connection
    import h2.events
    import h2.exceptions
except ImportError:
    h2 = None  # type: ignore[assignment]

INSIDE = {
    "loopback": "127.0.0.2",
    "loopback name": "localhost",
    "private": "10.1.2.3",
    "single-label": "billing",
    "cluster": "billing.shop.svc.cluster.local",
    "allowed": "api.partner.example",
}
OUTSIDE = {
    "LLM": "api.openai.com",
    "link-local": "169.254.169.254",
    "public address": "203.0.113.7",
    "outside": "evil.example",
    "not below allowed": "partner.example",
}
HOSTS = {**INSIDE, **OUTSIDE}
OURS = (
    "user.id",
    "user.roles",
    "gen_ai.agent.name",
    "gen_ai.agent.id",
    "session.id",
    "otelier.workflow.id",
    "otelier.tenant.id",
)


@dataclass(frozen=True)
class Got:
    """What one host received."""

    host: str
    baggage: tuple[str, ...]
    traceparent: str | None

    @property
    def ours(self) -> list[str]:
        """Keys of ours in it."""
        members = ",".join(self.baggage).split(",")
        return [member.partition("=")[0].strip() for member in members if member.partition("=")[0].strip() in OURS]


@dataclass
class World:
    """The server behind every host, and what came in."""

    port: int
    h2_port: int | None
    socks_port: int = 0
    tls: ssl.SSLContext | None = None
    """Set by tests that send through tunnels."""
    redirect: int = 302
    """Status of the answers that send a client on."""
    got: list[Got] = field(default_factory=list)

    def url(self, *hosts: str, port: int | None = None, scheme: str = "http") -> str:
        """Return the address of the first host, which sends the client on to the next, and so on."""
        first, *rest = hosts
        onward = f"?to={quote(self.url(*rest, port=port, scheme=scheme), safe='')}" if rest else ""
        return f"{scheme}://{first}:{port or self.port}/{onward}"

    @property
    def proxy(self) -> str:
        """A proxy that stands outside: it sees what it passes on."""
        return f"http://proxy.example:{self.port}"

    @property
    def socks_proxy(self) -> str:
        """A SOCKS proxy that stands outside and looks names up itself."""
        return f"socks5h://proxy.example:{self.socks_port}"

    def note(self, host: str, baggage: list[str], traceparent: str | None) -> None:
        self.got.append(Got(host, tuple(baggage), traceparent))


@contextlib.contextmanager
def world(address: str = "127.0.0.1") -> Iterator[World]:
    """Run the servers on loopback's *address*, and let every connection that this process opens end there."""
    here = World(0, None)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path if self.path != "http://[" else "/"
            target = urlsplit(path)  # absolute where we are asked as a proxy; httpcore's then has no brackets
            authority = (target.netloc or self.headers["host"]).rpartition("@")[2]
            name, _, number = authority.rpartition(":")
            host = (name if number.isdigit() else authority).strip("[]")
            here.note(host, self.headers.get_all("baggage") or [], self.headers.get("traceparent"))
            onward = parse_qs(target.query).get("to")
            self.send_response(here.redirect if onward else 200)
            if onward:
                self.send_header("location", onward[0])
            self.send_header("content-length", "0")
            self.end_headers()

        def do_CONNECT(self) -> None:
            """Be the proxy of a tunnel, and the host at its other end."""
            here.note("tunnel", self.headers.get_all("baggage") or [], self.headers.get("traceparent"))
            self.send_response(200)
            self.end_headers()
            assert here.tls is not None
            with contextlib.suppress(OSError), here.tls.wrap_socket(self.connection, server_side=True) as inner:
                Handler(inner, self.client_address, self.server)  # serves what comes through
            self.close_connection = True

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.do_GET()

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        daemon_threads = True

    server = Server((address, 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.002})
    thread.start()
    here.port = server.server_address[1]
    with contextlib.ExitStack() as stack:
        if h2 is not None:
            here.h2_port = stack.enter_context(_listening(address, lambda each: _serve_h2(each, here)))
        host = functools.partial(Handler, client_address=("", 0), server=server)
        here.socks_port = stack.enter_context(_listening(address, lambda each: _serve_socks(each, host)))
        stack.enter_context(_all_is_at(address))
        try:
            yield here
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


@contextlib.contextmanager
def _all_is_at(address: str) -> Iterator[None]:
    """Let every name and every address lead to *address*."""
    look_up, connect = socket.getaddrinfo, socket.socket.connect

    def bent_look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        return look_up(address, *args, **kwargs)

    def bent_connect(self: socket.socket, to: Any) -> Any:
        return connect(self, (address, *to[1:2]) if isinstance(to, tuple) else to)

    socket.getaddrinfo, socket.socket.connect = bent_look_up, bent_connect  # type: ignore[method-assign]
    try:
        yield
    finally:
        socket.getaddrinfo, socket.socket.connect = look_up, connect  # type: ignore[method-assign]


@contextlib.contextmanager
def _listening(address: str, serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Let *serve* have each connection to the port that this gives, in a thread of its own."""
    listener = socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)

    def attend(connection: socket.socket) -> None:
        # A client that hangs up in the middle is no fault of the test that runs by then.
        with contextlib.closing(connection), contextlib.suppress(OSError):
            serve(connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=attend, args=(listener.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _serve_h2(connection: socket.socket, here: World) -> None:
    """Serve HTTP/2 without TLS, to a client that knows it beforehand."""
    state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    state.initiate_connection()
    with contextlib.suppress(h2.exceptions.ProtocolError):
        connection.sendall(state.data_to_send())
        while data := connection.recv(65536):
            for event in state.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    headers = dict(event.headers)
                    bags = [value for name, value in event.headers if name == "baggage"]
                    here.note(headers[":authority"].rsplit(":", 1)[0], bags, headers.get("traceparent"))
                    onward = parse_qs(urlsplit(headers[":path"]).query).get("to")
                    answer = [(":status", "302"), ("location", onward[0])] if onward else [(":status", "200")]
                    state.send_headers(event.stream_id, answer, end_stream=True)
            connection.sendall(state.data_to_send())


def _serve_socks(connection: socket.socket, reach: Callable[[socket.socket], object]) -> None:
    """Be a SOCKS 5 proxy that lets everybody in, and let *reach* be the host at the other end."""

    def take(count: int) -> bytes:
        return connection.recv(count, socket.MSG_WAITALL)

    take(take(2)[1])  # the ways to log in
    connection.sendall(b"\x05\x00")
    kind = take(4)[3]
    take({1: 4, 4: 16}.get(kind) or take(1)[0])  # where to
    take(2)  # and its port
    connection.sendall(b"\x05\x00\x00\x01" + bytes(6))
    reach(connection)


# --- the clients -----------------------------------------------------------------------------------------------
Send = Callable[..., None]


def unchecked() -> ssl.SSLContext:
    """Return a context that takes any certificate: the one here is made by the test itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _httpx(module: Any, **options: Any) -> Send:
    def send(url: str, *, proxy: str | None = None, headers: Any = None) -> None:
        with module.Client(
            proxy=proxy, follow_redirects=True, trust_env=False, verify=unchecked(), **options
        ) as client:
            client.get(url, headers=headers)

    return send


def _httpx_async(module: Any, **options: Any) -> Send:
    def send(url: str, *, proxy: str | None = None, headers: Any = None) -> None:
        async def get() -> None:
            async with module.AsyncClient(
                proxy=proxy, follow_redirects=True, trust_env=False, verify=unchecked(), **options
            ) as client:
                await client.get(url, headers=headers)

        asyncio.run(get())

    return send


def _requests(url: str, *, proxy: str | None = None, headers: Any = None) -> None:
    with requests.Session() as session:
        session.trust_env = False
        session.verify = False
        session.get(url, proxies={"http": proxy, "https": proxy} if proxy else None, headers=headers)


def _urllib3(url: str, *, proxy: str | None = None, headers: Any = None) -> None:
    if proxy is None:
        made: Any = urllib3.PoolManager()
    elif proxy.startswith("socks"):
        made = SOCKSProxyManager(proxy)
    else:
        made = urllib3.ProxyManager(proxy, cert_reqs="NONE")
    with made as pool:
        pool.request("GET", url, headers=headers, retries=urllib3.Retry(10))


def _aiohttp(url: str, *, proxy: str | None = None, headers: Any = None) -> None:
    async def get() -> None:
        connector = aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver())
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(url, proxy=proxy, headers=headers, ssl=False) as answer,
        ):
            await answer.read()
        # Before aiohttp 3.12 a session does not wait until its TLS connections have said goodbye.
        loop: Any = asyncio.get_running_loop()
        for _ in range(6000):
            if all(transport._sock is None for transport in list(loop._transports.values())):
                return
            await asyncio.sleep(0.005)
        raise AssertionError("aiohttp left a connection open")

    asyncio.run(get())


@dataclass(frozen=True)
class HttpClient:
    """One way to send a request, and the instrumentation that propagates its trace."""

    send: Send
    instrumentor: Any
    h2: bool = False


_PRIOR_KNOWLEDGE = {"http1": False, "http2": True}
CLIENTS = {
    "httpx": HttpClient(_httpx(httpx), HTTPXClientInstrumentor),
    "httpx async": HttpClient(_httpx_async(httpx), HTTPXClientInstrumentor),
    "requests": HttpClient(_requests, RequestsInstrumentor),
    "urllib3": HttpClient(_urllib3, URLLib3Instrumentor),
    "aiohttp": HttpClient(_aiohttp, AioHttpClientInstrumentor),
}
if httpx2 is not None:
    CLIENTS["httpx2"] = HttpClient(_httpx(httpx2), HTTPX2ClientInstrumentor)
    CLIENTS["httpx2 async"] = HttpClient(_httpx_async(httpx2), HTTPX2ClientInstrumentor)
if h2 is not None:
    CLIENTS["httpx h2"] = HttpClient(_httpx(httpx, **_PRIOR_KNOWLEDGE), HTTPXClientInstrumentor, h2=True)
    CLIENTS["httpx h2 async"] = HttpClient(_httpx_async(httpx, **_PRIOR_KNOWLEDGE), HTTPXClientInstrumentor, h2=True)


@contextlib.contextmanager
def instrumented(client: HttpClient, activate: Callable[[], None], *, first: bool, sampled: bool) -> Iterator[None]:
    """Switch on otelier, *first* or after the client's instrumentation; a span is current for the `with` block."""
    provider = TracerProvider(sampler=ALWAYS_ON if sampled else ALWAYS_OFF)
    instrumentor = client.instrumentor()
    if first:
        activate()
    instrumentor.instrument(tracer_provider=provider, skip_dep_check=True)
    try:
        if not first:
            activate()
        with trace.use_span(provider.get_tracer("tests").start_span("work"), end_on_exit=True):
            yield
    finally:
        instrumentor.uninstrument()
