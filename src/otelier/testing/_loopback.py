"""An HTTP/1.1 server on 127.0.0.1 in threads of its own, from which the OpenAI server and the OTLP receiver derive."""

from __future__ import annotations

import logging
import selectors
import signal
import socket
import socketserver
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger("otelier.testing")

_LAST_PORT = 65_535
_START_HINT = "Name another port by `--port`; 0 takes a free one."
MAX_BODY_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request as it came in."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes


class DroppedError(Exception):
    """The client is gone, or the answer says that the connection breaks here."""


class HttpExchange(BaseHTTPRequestHandler):
    """One connection; every request is given to the owner's `answer`."""

    protocol_version = "HTTP/1.1"
    # Small writes must leave at once: with Nagle's algorithm each event of a stream waits for an acknowledgement.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def setup(self) -> None:
        super().setup()
        self.owner.connected(self.connection)

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            pass  # the client hung up between two requests

    def finish(self) -> None:
        try:
            super().finish()
        except OSError:  # pragma: no cover -- the client hung up before everything was sent
            pass
        finally:
            self.owner.disconnected(self.connection)

    @property
    def owner(self) -> LoopbackServer:
        return cast("_Server", self.server).owner

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the requests are kept, not printed."""

    def send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send a whole answer."""
        self._head(status, {**headers, "content-length": str(len(body))})
        self.wfile.write(body)

    def start_stream(self, headers: Mapping[str, str]) -> None:
        """Send the head of an answer that comes in chunks."""
        self._head(200, {**headers, "transfer-encoding": "chunked"})

    def send_chunk(self, data: bytes) -> None:
        """Send one chunk; none at all ends the stream."""
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def drop(self) -> None:
        """Break the connection off where it stands."""
        _break_off(self.connection)
        raise DroppedError

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _serve(self) -> None:
        try:
            body = self._read_body()
            if body is None:
                self.close_connection = True
                self.send(413, {"content-type": "text/plain", "connection": "close"}, b"The body is too large.")
                return
            where = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.owner.answer(
                HttpRequest(method=self.command, path=where.path, query=where.query, headers=headers, body=body), self
            )
        except (DroppedError, OSError):
            self.close_connection = True
        except Exception:
            self.close_connection = True
            log.exception("%s cannot answer a request.", type(self.owner).__name__)

    def _read_body(self) -> bytes | None:
        """Return the request's body, or `None` for one that is too large."""
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            size = int(self.headers.get("content-length") or 0)
            return self.rfile.read(size) if size <= MAX_BODY_BYTES else None
        parts: list[bytes] = []
        total = 0
        while size := int(self.rfile.readline().split(b";")[0], 16):
            total += size
            if total > MAX_BODY_BYTES:
                return None
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return b"".join(parts)


class LoopbackServer:
    """An HTTP server on 127.0.0.1; `with` starts it and stops it."""

    def __init__(self, *, port: int = 0) -> None:
        self._port = port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def start(self) -> Self:
        """Start listening; requests are served by threads of their own until `stop`."""
        self._stopping.clear()
        self._server = _Server(self._port, self)
        self._thread = threading.Thread(target=self._server.serve, name=type(self).__name__, daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening and break off what is still connected. A second call does nothing."""
        server, self._server = self._server, None
        if server is None or self._thread is None:
            return
        self._stopping.set()
        server.wake()
        self._thread.join()
        server.server_close()
        with self._lock:
            connections = dict(self._connections)
        for connection in connections:
            _break_off(connection)
        for thread in connections.values():
            thread.join(timeout=5.0)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """Port it listens on."""
        if self._server is None:
            raise RuntimeError(f"{type(self).__name__} is not running, so it has no port. Use it in a `with` block.")
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        """Address without a path, such as `http://127.0.0.1:40213`."""
        return f"http://127.0.0.1:{self.port}"

    def answer(self, received: HttpRequest, exchange: HttpExchange) -> None:
        """Answer one request; runs in the connection's thread."""
        raise NotImplementedError

    def connected(self, connection: socket.socket) -> None:
        """Note a connection, so that `stop` can end it."""
        with self._lock:
            self._connections[connection] = threading.current_thread()
        if self._stopping.is_set():  # pragma: no cover -- it came at this very moment
            _break_off(connection)

    def disconnected(self, connection: socket.socket) -> None:
        """Forget a connection."""
        with self._lock:
            self._connections.pop(connection, None)


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    # A server that nobody stopped must not keep the interpreter from ending; `stop` joins the threads itself.
    daemon_threads = True
    timeout = 0

    def __init__(self, port: int, owner: LoopbackServer) -> None:
        self.owner = owner
        self._woken, self._waker = socket.socketpair()  # first: a port that is taken ends in `server_close`
        try:
            super().__init__(("127.0.0.1", port), HttpExchange)
        except OSError as exc:
            raise OSError(exc.errno, f"port {port} of 127.0.0.1: {exc.strerror}") from exc

    def serve(self) -> None:
        """Take connections until `wake`. `serve_forever` would look every so often whether it is to end."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            selector.register(self, selectors.EVENT_READ)
            while all(key.fileobj is not self._woken for key, _ in selector.select()):
                self.handle_request()

    def wake(self) -> None:
        """End `serve`."""
        self._waker.send(b"\0")

    def server_close(self) -> None:
        super().server_close()
        self._woken.close()
        self._waker.close()

    def server_bind(self) -> None:
        # Not HTTPServer's: it asks the resolver for the host's full name, which can take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]


def _break_off(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # its client was faster


def run_until_signalled(server: LoopbackServer, greeting: str) -> None:
    """Run *server* as this process's only job, until SIGTERM or SIGINT; say *greeting* once it listens."""
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        server.start()
    except OSError as exc:
        raise SystemExit(f"{type(server).__name__} cannot start: {exc}. {_START_HINT}") from None
    try:
        say(greeting.format(url=server.url))
        ended.wait()
    finally:
        server.stop()


def port_number(text: str) -> int:
    """Return the port that *text* names, for `argparse`; what names none ends the process with one line."""
    if not text.isascii() or not text.isdigit() or int(text) > _LAST_PORT:
        raise SystemExit(
            f"Cannot listen on port {text!r}: it must be a number from 0 to {_LAST_PORT}; 0 takes a free one."
        )
    return int(text)


def say(line: str) -> None:
    """Write *line* to standard output at once, for whoever started this process."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
