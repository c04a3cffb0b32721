"""Headers of runs: they are stored with a run, so that each life of it has the caller, the fields and the trace."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Final, cast

from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.trace import Link
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from otelier import names
from otelier.codec import read_json
from otelier.errors import NotJsonError, WorkflowUseError
from otelier.faults import warn_once
from otelier.fields import FIELD_NAMES, get_context, with_fields
from otelier.redaction import redact_value
from otelier.telemetry import would_sample
from otelier.workflows.engines.protocol import Json, Target
from otelier.workflows.engines.shown import SAMPLED, run_trace_id

FIELDS: Final = "otelier-fields"
"""Header with the fields, as JSON."""
USERS: Final = "otelier-headers"
"""Header with what `ctx.headers()` returns, as JSON."""
ROOT: Final = "otelier-root"
"""Header with the workflow id of the root of a run's tree."""
CHAIN: Final = "otelier-chain"
"""Header with the entities whose writes wait for this run, a line for each: see `entity_in`."""
CLIENT: Final = "otelier-client"
"""Header of a run that another process started."""
_MAX_BYTES: Final = 8_192
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_NOT_KEPT: Final = frozenset(("baggage", "traceparent", "tracestate"))
"""Headers of a request that a run has in another way, or is not to pass on."""
_NEVER: Final = frozenset(("authorization", "proxy-authorization", "cookie", "x-api-key"))


class Headers(Mapping[str, str]):
    """Headers that are found in any case."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {name.lower(): value for name, value in values.items()}

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<{len(self)} headers>"  # they may hold what is not to be logged


def users_headers(given: Mapping[str, str] | None, *, limit: int | None = _MAX_BYTES) -> dict[str, str]:
    """Return the headers of a caller that may be stored: none that authorises, and none that is a secret.

    Args:
        given: Headers by name.
        limit: Bytes that they may have; `None` for any number.

    Raises:
        TypeError: if a name or a value is no text.
        WorkflowUseError: if they have more than 8 kB.
    """
    if given is not None and not isinstance(cast("Any", given), Mapping):
        raise TypeError(f"Cannot store a {type(given).__name__} as `headers`: give a dict of texts.")
    kept: dict[str, str] = {}
    for name, value in (given or {}).items():
        if not isinstance(cast("Any", name), str) or not isinstance(cast("Any", value), str):
            raise TypeError("Cannot store these headers: give text for names and values.")
        lower = name.lower()
        if lower not in _NEVER and redact_value({lower: value}) == {lower: value}:
            kept[lower] = value
    if limit is not None and (size := len(json.dumps(kept))) > limit:
        raise WorkflowUseError(
            f"Cannot store these headers: they have {size:,} bytes, and {limit:,} are the limit. Give those that "
            f"the run reads."
        )
    return kept


_request: Final[ContextVar[dict[str, str] | None]] = ContextVar("otelier-request-headers", default=None)


class RequestHeaders:
    """ASGI middleware that gives the headers of a request to the runs it starts: `ctx.headers()` returns them there.

    What authorises, secrets and baggage are left out, and beyond 8 kB the last ones, with a warning. `headers=` of
    `worker.start` is taken instead where it is given.

    Args:
        app: The ASGI application to wrap.

    Example:
        >>> from otelier.workflows import RequestHeaders
        >>> async def app(scope, receive, send):
        ...     ...  # await worker.start(order, "o-1")
        >>> app = RequestHeaders(app)
    """

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request; see the ASGI specification."""
        if scope.get("type") not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        token = _request.set(_given_by(scope))
        try:
            await self.app(scope, receive, send)
        finally:
            _request.reset(token)


def _given_by(scope: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers of a request as text; one that came several times has its values in one."""
    given: dict[str, str] = {}
    for raw_name, raw_value in scope.get("headers") or ():
        name, value = bytes(raw_name).decode("latin-1").lower(), bytes(raw_value).decode("latin-1")
        if name not in _NOT_KEPT:
            given[name] = f"{given[name]}, {value}" if name in given else value
    return given


def _fitting(given: Mapping[str, str]) -> dict[str, str]:
    """Return the first of a request's headers that may be stored: a request is not to fail over its headers."""
    kept = users_headers(given, limit=None)
    if len(json.dumps(kept)) <= _MAX_BYTES:
        return kept
    warn_once(
        "workflows.request_headers",
        "A request has more than %d bytes of headers: the last ones are not stored with the run that it starts.",
        _MAX_BYTES,
    )
    fitting: dict[str, str] = {}
    size = 0
    for name, value in kept.items():
        more = len(json.dumps({name: value}))  # with its braces, which are as long as what separates two of them
        if size + more <= _MAX_BYTES:
            fitting[name] = value
            size += more
    return fitting


def start_headers(
    given: Mapping[str, str] | None, run_id: str, name: str, *, is_client: bool = False
) -> dict[str, str]:
    """Return what is stored with a run that is started here: the caller's span, the fields, and its own headers.

    Where no span is current, whether the run is sampled is decided here, once.
    """
    request = _request.get() if given is None else None
    users = users_headers(given) if request is None else _fitting(request)
    headers = {ROOT: run_id, **fields_header(), **traced(get_current())}
    if users:
        headers[USERS] = json.dumps(users)
    if is_client:
        headers[CLIENT] = "1"
    if "traceparent" not in headers:
        answer = would_sample(names.SCOPE_WORKFLOWS, run_trace_id(run_id), name, {names.RUN_ID: run_id})
        if answer is not None:
            headers[SAMPLED] = "1" if answer else "0"
    return headers


def entity_in(target: Target) -> str:
    """Return the entity of a method and a key as `CHAIN` names it."""
    return f"{target.handler.partition('.')[0]}({target.key!r})"


def fields_header() -> dict[str, str]:
    """Return the header with the fields that hold here; none where none is set."""
    held = get_context()
    fields = {name: value for name in FIELD_NAMES if (value := getattr(held, name)) is not None}
    return {FIELDS: json.dumps(fields)} if fields else {}


def traced(context: Context) -> dict[str, str]:
    """Return the headers that name the span of *context*; none where there is none."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, context)
    return carrier


def caller_context(headers: Mapping[str, str]) -> Context:
    """Return the context that a run has from who started it: the caller's span, and the fields."""
    context = _PROPAGATOR.extract(
        {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}, Context()
    )
    fields = fields_in(headers)
    return with_fields(context, **fields) if fields else context


def fields_in(headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields that are stored with a run, by name."""
    return {name: value for name, value in _members(headers.get(FIELDS)).items() if name in FIELD_NAMES}


def stored_headers(headers: Mapping[str, str]) -> Headers:
    """Return what `ctx.headers()` returns."""
    return Headers(_members(headers.get(USERS)))


def sealed(payload: Json, context: Context) -> Json:
    """Return a signal's payload with the span that sends it."""
    return {"payload": payload, **traced(context)}


def opened(value: Json) -> tuple[Json, Link | None]:
    """Return a signal's payload, and a link to the span that sent it."""
    if not isinstance(value, dict):
        return None, None
    members = cast("dict[str, Any]", value)
    return members.get("payload"), link_in(members)


def link_in(carrier: Mapping[str, Any]) -> Link | None:
    """Return a link to the span that *carrier* names, as `traced` wrote it; `None` where it names none."""
    sender = trace.get_current_span(_PROPAGATOR.extract(carrier, Context())).get_span_context()
    return Link(sender) if sender.is_valid else None


def _members(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        found = read_json(text)
    except NotJsonError:
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}
