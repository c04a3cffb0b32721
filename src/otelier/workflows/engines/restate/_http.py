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
_ASKED_FOR: Final = 1_000_000
"""Bytes of a body above which the server is asked first: one that is too large for it breaks the connection."""


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


class Silent(OSError):  # noqa: N818 -- it tells what did not happen
    """No answer came in time: a connection may be lost without a word, such as with its machine."""


async def request(
    host: str,
    port: int,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    timeout_s: float = 60.0,
) -> Response:
    """Send a request, and return the answer.

    Raises:
        NotReached: if nobody listens there.
        Silent: if there is no answer after *timeout_s*.
        OSError: if the connection broke before the answer was there.
    """
    try:
        return await asyncio.wait_for(_request(host, port, method, path, body, headers), timeout_s)
    except asyncio.TimeoutError:
        raise Silent(f"it said nothing for {timeout_s:g} s") from None


async def _request(
    host: str, port: int, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None
) -> Response:
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
        is_large = body is not None and len(body) > _ASKED_FOR
        if is_large:
            given["expect"] = "100-continue"
        events = [h11.Request(method=method, target=path, headers=list(given.items()))]
        writer.write(b"".join(filter(None, (http.send(event) for event in events))))
        if is_large and (refused := await _answer(http, reader, is_asking=True)) is not None:
            return refused
        if body:
            writer.write(http.send(h11.Data(data=body)) or b"")
        writer.write(http.send(h11.EndOfMessage()) or b"")
        await writer.drain()
        answer = await _answer(http, reader)
        assert answer is not None
        return answer
    except h11.RemoteProtocolError as exc:
        raise ConnectionResetError(f"The connection broke: {exc}") from exc
    finally:
        writer.transport.abort()  # whether the server keeps its side does not matter


async def _answer(http: h11.Connection, reader: asyncio.StreamReader, *, is_asking: bool = False) -> Response | None:
    """Return what the server answers; `None` if it is asked whether it takes the body, and does."""
    status, found, date = 0, bytearray(), None
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(_CHUNK))
        elif isinstance(event, h11.Response):
            status = event.status_code
            date = next((value.decode() for name, value in event.headers if name == b"date"), None)
        elif isinstance(event, h11.InformationalResponse) and is_asking:
            return None
        elif isinstance(event, h11.Data):
            found += event.data
        elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
            return Response(status, bytes(found), date)
