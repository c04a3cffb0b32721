"""The last hop of each HTTP client, where a request's real host is known, after redirects and behind proxies.

Each wrapper changes a copy. What the application, a redirect or a retry sees of the request never holds our entries.
The patches that put the wrappers in place go in, come out and are listed here.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urlsplit

from otelier.baggage._inbound import INBOUND
from otelier.baggage._outbound import HEADER, changed_headers, is_propagated, ours_here
from otelier.baggage._policy import config
from otelier.faults import report_fault
from otelier.fields import hold_back
from otelier.patches import Patches, PatchPoint, is_patched

_Call = Callable[..., Any]


def _httpcore(wrapped: _Call, _pool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around a pool's `handle_request` and `handle_async_request`; HTTP/2 and pools for proxies included."""
    entries = ours_here()
    if not entries:
        return wrapped(*args, **kwargs)
    try:
        request = args[0] if args else kwargs["request"]
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
        changed = changed_headers(_decoded(request.url.host), headers, entries, _httpcore_names(request))
        if changed is not None:
            request = copy.copy(request)
            request.headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in changed]
            args, kwargs = (request, *args[1:]), {key: kwargs[key] for key in kwargs if key != "request"}
    except Exception as exc:
        report_fault("baggage.httpcore", exc)
    return wrapped(*args, **kwargs)


def _httpcore_names(request: Any) -> list[str]:
    """Return the hosts that a request names beside its own: a gateway passes on by the target, or by the TLS name."""
    found: list[str] = []
    target = _decoded(request.url.target)
    if not target.startswith("/") and target != "*":
        found.append(_host_in(target))
    sni: Any = request.extensions.get("sni_hostname")
    if sni:
        found.append(_decoded(sni))
    return found


def _host_in(target: str) -> str:
    """Return the host that a target names; one that names none that can be read is no host inside."""
    try:
        return urlsplit(target).hostname or ""
    except ValueError:
        return ""


def _urllib3(wrapped: _Call, connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around `request(method, url, body=None, headers=None)` of a connection."""
    entries = ours_here()
    if not entries:
        return wrapped(*args, **kwargs)
    try:
        given = args[3] if len(args) > 3 else kwargs.get("headers")
        if given:
            headers = [(_decoded(name), _decoded(value)) for name, value in given.items()]
            url = args[1] if len(args) > 1 else kwargs["url"]
            name = getattr(connection, "server_hostname", None)
            target = _urllib3_target(connection, _decoded(url))
            changed = changed_headers(target, headers, entries, [_decoded(name)] if name else ())
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
        # The name that is looked up; `host` lacks a dot at its end, with which `ai.` is somewhere else than `ai`.
        return getattr(connection, "_dns_host", None) or connection.host
    named = urlsplit(url).hostname
    # A whole URL is for a proxy. Sent to what is not known as one, it is read by a host that nobody named.
    return named if getattr(connection, "proxy", None) is not None or named == connection.host else None


def _with_baggage(given: Any, changed: list[tuple[str, str]]) -> Any:
    """Return a copy of *given* with the `baggage` of *changed*."""
    # What holds a name once is a plain dict as well, which is the quickest to copy; urllib3 asks for no more.
    replaced = given.copy() if hasattr(given, "getlist") else dict(given.items())
    for name in [name for name in replaced if _decoded(name).lower() == HEADER]:
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
            name = getattr(request, "server_hostname", None)
            headers = list(request.headers.items())
            changed = changed_headers(request.url.raw_host, headers, entries, [_decoded(name)] if name else ())
        except Exception as exc:
            report_fault("baggage.aiohttp", exc)
    if changed is None:
        return await wrapped(*args, **kwargs)
    # A middleware may send the same request once more, to somewhere else.
    given = request.headers
    request.headers = type(given)(changed)
    hide = _hide_from_traces(request, given)
    try:
        response = await wrapped(*args, **kwargs)
    finally:
        request.headers = given
        hide()
    _hide_from_response(response, given)
    return response


def _hide_from_traces(request: Any, given: Any) -> Callable[[], object]:
    """Give aiohttp's request tracing the headers of the application; return a function that ends that."""
    report = getattr(request, "_on_headers_request_sent", None)
    if report is None:  # pragma: no cover -- other releases of aiohttp
        return _nothing

    def on_sent(method: str, url: Any, _headers: Any) -> Any:
        return report(method, url, given)

    try:
        request._on_headers_request_sent = on_sent
    except AttributeError:  # pragma: no cover -- as above
        return _nothing
    return lambda: request.__dict__.pop("_on_headers_request_sent", None)


def _hide_from_response(response: Any, given: Any) -> None:
    """Give the response, and each error made of it, the headers that the application sent, without our entries."""
    try:
        info = response._request_info
        response._request_info = type(info)(info.url, info.method, type(info.headers)(given), info.real_url)
    except Exception as exc:
        report_fault("baggage.aiohttp", exc)


def _nothing() -> None:  # pragma: no cover -- as above
    pass


def _decoded(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


_OUTBOUND = Patches(
    (
        PatchPoint("httpcore", "ConnectionPool", "handle_request", _httpcore),
        PatchPoint("httpcore", "AsyncConnectionPool", "handle_async_request", _httpcore),
        PatchPoint("httpcore2", "ConnectionPool", "handle_request", _httpcore),
        PatchPoint("httpcore2", "AsyncConnectionPool", "handle_async_request", _httpcore),
        PatchPoint("urllib3.connection", "HTTPConnection", "request", _urllib3),
        PatchPoint("aiohttp.client_reqrep", "ClientRequest", "send", _aiohttp),
    ),
    place="baggage",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientPatch:
    """One place where an HTTP client hands a request to its connection."""

    name: str
    """Package and method, such as `httpcore ConnectionPool.handle_request`."""
    version: str | None
    """Installed release of the package; `None` when it is not installed."""
    patched: bool
    """Whether requests of this client carry the fields now."""
    why: str | None
    """Why not; `None` when they do."""
    failed: bool
    """Whether that is something to look at: the client is in use here, and gets nothing."""


def install() -> None:
    """Let requests carry the fields to internal hosts, and drop or accept inbound ones; a second call does nothing.

    Example:
        >>> install(); uninstall()
    """
    config.on = True
    hold_back()
    INBOUND.apply()
    _OUTBOUND.apply()


def uninstall() -> None:
    """Take every patch out again, and forget what `configure` was given.

    The fields are still held back: they then leave to no host at all.
    """
    _OUTBOUND.remove()
    INBOUND.remove()
    config.reset()


def summary() -> str:
    """Return in a few words where the fields go and what becomes of those that come in; it names no host.

    Example:
        >>> summary()
        'no field leaves this process'
    """
    if not config.on:
        return "no field leaves this process"
    goes = "fields stay in this process, since baggage is no configured propagator"
    if is_propagated():
        named = len(config.policy.patterns)
        goes = "fields go to internal hosts" + (f" and {named} named" if named else "")
    return f"{goes}; inbound fields are {'trusted' if config.trusts_inbound else 'dropped'}"


def client_patches(*, load: bool = False) -> list[ClientPatch]:
    """Return what became of each client's last hop.

    Args:
        load: Whether to import installed clients first, so that none is merely "not loaded yet".

    Example:
        >>> sorted({patch.name.partition(" ")[0] for patch in client_patches()})
        ['aiohttp', 'httpcore', 'httpcore2', 'urllib3']
    """
    return [_client_patch(point, load=load) for point in _OUTBOUND.points]


def _client_patch(point: PatchPoint, *, load: bool) -> ClientPatch:
    package = point.module.partition(".")[0]
    try:
        release = version(package)
    except PackageNotFoundError:
        release = None
    if load and release is not None:
        try:
            import_module(point.module)
        except Exception:  # a broken client is listed like one without the method
            pass
    method = point.found()
    loaded = point.module in sys.modules
    patched = config.on and is_patched(method)
    why = None
    if not patched:
        if not config.on:
            why = "otelier is not switched on here"
        elif loaded and method is None:
            why = f"this release has no {point.owner}.{point.method}"
        elif release is None:
            why = "not installed"
        else:
            why = "not loaded yet" if not loaded else "the patch did not go in"
    failed = config.on and loaded and not patched
    name = f"{package} {point.owner}.{point.method}"
    return ClientPatch(name=name, version=release, patched=patched, why=why, failed=failed)
