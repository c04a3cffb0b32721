"""The bank of the demonstration, an HTTP server: it books what it is asked for once for each idempotency key."""

from __future__ import annotations

import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class Bank:
    """Books each key once, and keeps its first answer back until `answer()` is called; `with` starts and ends it."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        """Idempotency key of each request, in the order in which they came."""
        self.bookings: dict[str, str] = {}
        """What was booked, by its key."""
        self._booked = threading.Event()
        self._answers = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._thread = threading.Thread(target=self._server.serve_forever, name="bank", daemon=True)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def wait(self, timeout_s: float) -> bool:
        """Wait until something is booked, and return whether it is."""
        return self._booked.wait(timeout_s)

    def answer(self) -> None:
        """Answer from now on."""
        self._answers.set()

    def book(self, path: str, key: str) -> str:
        """Book what *path* names, unless the *key* was booked already, and return what to answer."""
        self.requests.append(key)
        is_new = self.bookings.setdefault(key, path) is path
        self._booked.set()
        self._answers.wait()
        return f"{path.strip('/')} {'booked' if is_new else 'was booked before'}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.answer()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler_of(bank: Bank) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = bank.book(self.path, self.headers.get("idempotency-key", "")).encode()
            with suppress(OSError):  # whoever asked may be gone
                self.send_response(200)
                self.send_header("content-type", "text/plain")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing on the terminal."""

    return Handler
