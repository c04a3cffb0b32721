"""Which protocol a receiver speaks, asked by the first bytes of a connection; no telemetry is sent."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Final, Literal

Spoken = Literal["http", "grpc", "unknown"]

_HTTP_1: Final = b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
# The preface of HTTP/2 and an empty frame of settings, as a client of gRPC begins: RFC 9113, 3.4.
_HTTP_2: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_FRAME_BYTES: Final = 9
_SETTINGS, _GOAWAY = 4, 7


def spoken_at(host: str, port: int, *, asks_for: str, timeout_s: float) -> Spoken:
    """Return what the receiver at *host* speaks, in plain text, when a client begins with what it *asks_for*.

    Args:
        host: Its name or address.
        port: Its port.
        asks_for: OTLP protocol of the exporter: `grpc`, or HTTP.
        timeout_s: Longest wait for a connection, and again for an answer.

    Raises:
        OSError: if nothing takes the connection.
    """
    with socket.create_connection((host, port), timeout_s) as connection:
        answer = b""
        with suppress(OSError):  # whoever hears another protocol than its own may just hang up
            connection.sendall(_HTTP_2 if asks_for == "grpc" else _HTTP_1)
            while len(answer) < _FRAME_BYTES and (more := connection.recv(64)):
                answer += more
    if len(answer) >= _FRAME_BYTES and answer[3] in (_SETTINGS, _GOAWAY) and not answer.startswith(b"HTTP"):
        return "grpc"
    return "http" if answer.startswith((b"HTTP/", b"<")) else "unknown"
