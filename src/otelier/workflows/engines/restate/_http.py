"""Requests to Restate's server: one connection each, on whichever event loop asks.

No client library is used: an instrumentation of it would make spans of our own requests, and a pool of connections
belongs to one loop, while an engine may be asked on any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import h11

from otelier.codec import read_json

_CHUNK: Final = 65536


@dataclass(frozen=True, slots=True)
class Response:
    """What a server answered."""

    status: int
    body: bytes
    date: str | None = None
    """Its clock when it answered, as the header has it."""

    def json(self) -> Any:
        """Return its body as plain data; `None` where it has none.

        Raises:
            NotJsonError: if it is something else.
        """
        return read_json(self.body.decode()) if self.body else None

    def words(self) -> str:
        """Return what it says, for an error's message."""
        return self.message()[:2000]

    def message(self) -> str:
        """Return the message of a failure, whole."""
        try:
            found: Any = self.json()
        except ValueError:
            found = None
        text = cast("dict[str, Any]", found).get("message") if isinstance(found, dict) else None
        return str(text or self.body.decode(errors="replace")).strip()


class NotReached(OSError):  # noqa: N818 -- it tells what did not happen
    """No connection could be made: the server has not seen the request."""


async def request(
    host: str,
    port: int,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Send a request, and return the answer.

    Raises:
        NotReached: if nobody listens there.
        OSError: if the connection broke before the answer was there.
    """
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError as exc:
        raise NotReached(*exc.args) from exc
    try:
        http = h11.Connection(h11.CLIENT)
        given = {"host": f"{host}:{port}", "content-length": str(len(body or b"")), "connection": "close"}
        given.update(headers or {})
        if body is not None:
            given["content-type"] = "application/json"
        events = [h11.Request(method=method, target=path, headers=list(given.items()))]
        writer.write(b"".join(filter(None, (http.send(event) for event in events))))
        if body:
            writer.write(http.send(h11.Data(data=body)) or b"")
        writer.write(http.send(h11.EndOfMessage()) or b"")
        await writer.drain()
        return await _answer(http, reader)
    except h11.RemoteProtocolError as exc:
        raise ConnectionResetError(f"The connection broke: {exc}") from exc
    finally:
        writer.transport.abort()  # whether the server keeps its side does not matter


async def _answer(http: h11.Connection, reader: asyncio.StreamReader) -> Response:
    status, found, date = 0, bytearray(), None
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(_CHUNK))
        elif isinstance(event, h11.Response):
            status = event.status_code
            date = next((value.decode() for name, value in event.headers if name == b"date"), None)
        elif isinstance(event, h11.Data):
            found += event.data
        elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
            return Response(status, bytes(found), date)
