"""A block per request, for servers that open no span of their own, or end it too early."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

from opentelemetry.context import Context, get_current

from otelier.fields._blocks import Frame
from otelier.fields._contexts import REQUEST, SPAN, with_state
from otelier.fields._inheritance import SpanFields, born_state, is_request, serving
from otelier.fields._lifetimes import Request, holder_in
from otelier.fields._state import UNSET

_REQUESTS = ("http", "websocket")
"""Types of ASGI scopes that are requests."""


class ContextMiddleware:
    """Give each request of an ASGI or WSGI application an empty `context()` block of its own.

    Values set in a request end with the request, even if its thread or task is used again and the request has no span;
    they reach what the request starts later, even if they were set in a thread. Inside a request's span, which has
    the same effect, the middleware does nothing. Around a request span that ends before the body is generated, as with
    Flask and Django, it passes the values set below that span on to the body.

    Args:
        app: Application to wrap: ASGI if it is called with `async def`, else WSGI.

    Example:
        >>> import otelier
        >>> def app(environ, start_response):
        ...     otelier.set_context(user_id=environ["REMOTE_USER"])
        ...     start_response("200 OK", [])
        ...     return [otelier.get_context().user_id.encode()]
        >>> served = otelier.ContextMiddleware(app)
        >>> served({"REMOTE_USER": "u-1"}, lambda status, headers: None), otelier.get_context().user_id
        ([b'u-1'], None)
    """

    def __new__(cls, app: Callable[..., Any]) -> ContextMiddleware:
        """Choose the server interface by how *app* is called."""
        if cls is not ContextMiddleware:
            return super().__new__(cls)
        is_asgi = inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(app.__call__)
        return object.__new__(_Asgi if is_asgi else _Wsgi)

    def __init__(self, app: Callable[..., Any]) -> None:
        self.app = app

    def __call__(self, *args: Any) -> Any:
        """Serve one request; see the ASGI and WSGI specifications."""
        raise NotImplementedError  # both kinds define it


# Both name their parameters: a server takes a callable without any for a factory that makes the application.
class _Asgi(ContextMiddleware):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        await _serve(self.app, scope, receive, send)


class _Wsgi(ContextMiddleware):
    def __call__(self, environ: Any, start_response: Any, *send: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        if send:  # ASGI after all: a plain function that hands on the coroutine of another, as small middleware does
            return _serve(self.app, environ, start_response, *send)
        if _is_served():
            return self.app(environ, start_response)
        frame = _Served()
        goes_on = False
        try:
            with frame:
                body: Iterable[bytes] = self.app(environ, start_response)
            goes_on = not isinstance(body, (list, tuple))
        finally:
            if not goes_on:
                frame.end()
        return _Body(body, frame) if goes_on else body


async def _serve(app: Callable[..., Any], scope: Any, receive: Any, send: Any) -> None:
    # A `lifespan` is no request: it lasts as long as the server, and what it starts would share what any of it sets.
    is_request_scope = isinstance(scope, Mapping) and cast("Mapping[str, Any]", scope).get("type") in _REQUESTS
    if not is_request_scope or _is_served():
        await app(scope, receive, send)
        return
    frame = _Served()
    try:
        with frame:
            await app(scope, receive, send)
    finally:
        frame.end()


def _is_served() -> bool:
    """Return whether the span of a request is current, which ends what the request sets."""
    current = get_current()
    return current.get(SPAN) is not None and is_request(holder_in(current))


class _Served(Frame):
    """The block of one request: what is set late in it, or in the server's span inside, reaches what starts later."""

    __slots__ = ("_outside", "_request")

    def __init__(self) -> None:
        current = get_current()
        state = born_state(current) or UNSET
        self._request = Request(self, SpanFields(state, passes_on=True, context_state=state))
        self._outside: Request | None = None
        super().__init__(
            Context({**with_state(current, state), REQUEST: self._request}),
            around=current,
            span_outside=holder_in(current),
        )

    def __enter__(self) -> None:
        super().__enter__()
        self._outside = serving.get()
        serving.set(self._request)

    def __exit__(self, *error: Any) -> None:
        # No token: a body may be closed by another thread than made it.
        serving.set(self._outside)
        super().__exit__(*error)


class _Body:
    """A response that is still being made: each step of it runs in its request's block."""

    def __init__(self, body: Iterable[bytes], frame: Frame) -> None:
        self._body = body
        self._frame = frame
        self._chunks: Iterator[bytes] | None = None

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> bytes:
        with self._frame:
            if self._chunks is None:
                self._chunks = iter(self._body)
            return next(self._chunks)

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        try:
            if close is not None:
                with self._frame:
                    close()
        finally:
            self._frame.end()
