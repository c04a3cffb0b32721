"""The last hop of each HTTP client: where a request's real host is known, after redirects and behind proxies.

Each wrapper changes a copy. What the application, a redirect or a retry sees of the request never holds our entries.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from otelier.baggage._gates import HEADER
from otelier.baggage._hop import changed_headers, ours_here
from otelier.signals import PatchPoint, report_fault

_Call = Callable[..., Any]


def _httpcore(wrapped: _Call, _pool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around a pool's `handle_request` and `handle_async_request`; HTTP/2 and pools for proxies included."""
    entries = ours_here()
    if not entries:
        return wrapped(*args, **kwargs)
    try:
        request = args[0] if args else kwargs["request"]
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
        changed = changed_headers(_text(request.url.host), headers, entries)
        if changed is not None:
            request = copy.copy(request)
            request.headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in changed]
            args, kwargs = (request, *args[1:]), {key: kwargs[key] for key in kwargs if key != "request"}
    except Exception as exc:
        report_fault("baggage.httpcore", exc)
    return wrapped(*args, **kwargs)


def _urllib3(wrapped: _Call, connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around `request(method, url, body=None, headers=None)` of a connection."""
    entries = ours_here()
    if not entries:
        return wrapped(*args, **kwargs)
    try:
        given = args[3] if len(args) > 3 else kwargs.get("headers")
        if given:
            headers = [(_text(name), _text(value)) for name, value in given.items()]
            url = args[1] if len(args) > 1 else kwargs["url"]
            changed = changed_headers(_urllib3_target(connection, _text(url)), headers, entries)
            if changed is not None:
                replaced = _with_baggage(given, changed)
                if len(args) > 3:
                    args = (*args[:3], replaced, *args[4:])
                else:
                    kwargs = {**kwargs, "headers": replaced}
    except Exception as exc:
        report_fault("baggage.urllib3", exc)
    return wrapped(*args, **kwargs)


def _urllib3_target(connection: Any, url: str) -> str | None:
    """Return the host that a request is for; `None` where more than one may read it."""
    tunnel: str | None = getattr(connection, "_tunnel_host", None)
    if tunnel:
        return tunnel
    if url.startswith("/"):
        return connection.host
    named = urlsplit(url).hostname
    # A whole URL is for a proxy. Sent to what is not known as one, it is read by a host that nobody named.
    return named if getattr(connection, "proxy", None) is not None or named == connection.host else None


def _with_baggage(given: Any, changed: list[tuple[str, str]]) -> Any:
    """Return a copy of *given* with the `baggage` of *changed*."""
    # What holds a name once is a plain dict as well, which is the quickest to copy; urllib3 asks for no more.
    replaced = given.copy() if hasattr(given, "getlist") else dict(given.items())
    for name in [name for name in replaced if _text(name).lower() == HEADER]:
        replaced.pop(name, None)
    values = [value for name, value in changed if name.lower() == HEADER]
    if values:
        replaced[HEADER] = ",".join(values)
    return replaced


async def _aiohttp(wrapped: _Call, request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around `ClientRequest.send`; one that opens a tunnel carries no trace, so nothing is added to it."""
    entries = ours_here()
    changed = None
    if entries:
        try:
            changed = changed_headers(request.url.raw_host, list(request.headers.items()), entries)
        except Exception as exc:
            report_fault("baggage.aiohttp", exc)
    if changed is None:
        return await wrapped(*args, **kwargs)
    # A middleware may send the same request once more, to somewhere else.
    given = request.headers
    request.headers = type(given)(changed)
    try:
        return await wrapped(*args, **kwargs)
    finally:
        request.headers = given


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


PATCH_POINTS = (
    PatchPoint("httpcore", "ConnectionPool", "handle_request", _httpcore),
    PatchPoint("httpcore", "AsyncConnectionPool", "handle_async_request", _httpcore),
    PatchPoint("httpcore2", "ConnectionPool", "handle_request", _httpcore),
    PatchPoint("httpcore2", "AsyncConnectionPool", "handle_async_request", _httpcore),
    PatchPoint("urllib3.connection", "HTTPConnection", "request", _urllib3),
    PatchPoint("aiohttp.client_reqrep", "ClientRequest", "send", _aiohttp),
)
