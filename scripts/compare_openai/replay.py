"""An HTTP transport that answers every request with one recorded answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

try:
    import httpx2 as httpx
except ImportError:  # openai before 3
    import httpx


class Replay(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Answers every request with one recorded answer."""

    def __init__(self, response: dict[str, Any]) -> None:
        headers = {name.lower(): values[0] for name, values in response["headers"].items()}
        for name in ("content-encoding", "content-length", "transfer-encoding"):
            headers.pop(name, None)
        self._status, self._headers = response["status"]["code"], headers
        body = response["body"]["string"]
        self._body = body if isinstance(body, bytes) else body.encode()

    def handle_request(self, request: Any) -> Any:
        return httpx.Response(self._status, headers=self._headers, stream=Body(self._body), request=request)

    async def handle_async_request(self, request: Any) -> Any:
        return self.handle_request(request)


class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body in small pieces."""

    def __init__(self, body: bytes) -> None:
        self._pieces = [body[at : at + 512] for at in range(0, len(body), 512)]

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces

    async def __aiter__(self) -> Any:
        for piece in self._pieces:
            yield piece
