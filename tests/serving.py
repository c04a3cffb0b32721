"""Real HTTP servers in threads of this process, and a client for them."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import uvicorn

_ports = itertools.count(20_000 + os.getpid() * 41 % 10_000)


def free_port() -> int:
    """Return a port that nobody listens on, for a server of another process to listen on later.

    Nothing else gets it meanwhile: systems take the ports they choose themselves from above 32,768, and each process of
    tests begins elsewhere.
    """
    for port in _ports:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("There is always another port.")


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Pooled(WSGIServer):
    """Serves every request on the one thread of a pool, as `gthread` workers do."""

    pool: ThreadPoolExecutor

    def process_request(self, request: Any, client_address: Any) -> None:
        self.pool.submit(self._work, request, client_address)

    def _work(self, request: Any, client_address: Any) -> None:
        self.finish_request(request, client_address)
        self.shutdown_request(request)


@contextlib.contextmanager
def wsgi_server(app: Any, *, pooled: bool = False) -> Iterator[int]:
    """Serve a WSGI application on one thread that all requests share; gives its port."""
    server = make_server("127.0.0.1", 0, app, _Pooled if pooled else WSGIServer, _Quiet)
    with ThreadPoolExecutor(1) as pool:
        server.pool = pool  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.002})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


@contextlib.contextmanager
def asgi_server(app: Any) -> Iterator[int]:
    """Serve an ASGI application by uvicorn in a thread; gives its port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 300
    while not server.started and thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(timeout=300)


class Client:
    """One connection, kept open between requests."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self._connection.close()

    def get(self, path: str) -> Any:
        """Return the answer's body, as JSON where it is that."""
        self._connection.request("GET", path)
        body = self._connection.getresponse().read().decode()
        try:
            return json.loads(body)
        except ValueError:
            return body

    def post(self, path: str, content: Any) -> Any:
        """Send JSON and return the answer's body as JSON."""
        self._connection.request("POST", path, json.dumps(content), {"content-type": "application/json"})
        return json.loads(self._connection.getresponse().read())


def get_all(port: int, paths: list[str], *, at_once: int) -> list[Any]:
    """Get every path, so many at a time, each on a connection of its own."""

    def get(path: str) -> Any:
        with Client(port) as client:
            return client.get(path)

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(get, paths))
