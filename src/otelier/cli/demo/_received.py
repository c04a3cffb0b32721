"""What each server was sent in `baggage`, read from the headers that reached it.

The services keep both headers on the spans of their requests, which OpenTelemetry does for whoever asks for it; the
model's host is ours, and keeps every header.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from otelier import names
from otelier.cli.demo._report import service_of
from otelier.fields import BAGGAGE_KEYS
from otelier.testing import SpanRecord

MODEL_HOST = "model's host"
KEPT_HEADERS = "baggage,traceparent"
"""Headers of a request that the services are told to keep, as `CAPTURE_SETTING` takes them."""
CAPTURE_SETTING = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST"
_KEPT = "http.request.header."
_OURS = (*BAGGAGE_KEYS, names.RESOLVED_AGENT_ID, names.CALLER_AGENT_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """The requests that one server received."""

    server: str
    """Name of the service, or of the model's host."""
    requests: int
    senders: tuple[str, ...]
    """Services that sent them, by the trace that came with them; empty where no trace came."""
    fields: Mapping[str, int]
    """Number of requests whose baggage had each of our keys; a key that never came is left out."""


def received(spans: Iterable[SpanRecord], to_model: Iterable[Mapping[str, str]]) -> list[Received]:
    """Return what each service was sent, the one asked first before those it asked, and then the model's host.

    Args:
        spans: Spans of all services.
        to_model: Headers of each request to the model's host, by lower-case name.
    """
    ordered = sorted(spans, key=lambda span: span.start_ns)
    homes = {span.span_id: service_of(span) for span in ordered}
    requests: dict[str, list[Mapping[str, str]]] = {}
    for span in ordered:
        if span.kind == "SERVER":
            requests.setdefault(service_of(span), []).append(_kept(span))
    requests[MODEL_HOST] = list(to_model)
    return [_received(server, found, homes) for server, found in requests.items()]


def _received(server: str, requests: Sequence[Mapping[str, str]], homes: Mapping[str, str]) -> Received:
    parents = (headers.get("traceparent", "").split("-") for headers in requests)
    senders = {homes.get(parts[2], "") for parts in parents if len(parts) > 2}
    counted = Counter(key for headers in requests for key in _keys(headers.get("baggage", "")))
    return Received(
        server=server,
        requests=len(requests),
        senders=tuple(sorted(senders - {""})),
        fields={key: counted[key] for key in BAGGAGE_KEYS if counted[key]},
    )


def strayed(spans: Iterable[SpanRecord], to_model: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield what of ours reached the model's host in any header, a sentence for each; the value is not said."""
    ours = {text for span in spans for key in _OURS for text in _texts(span.attributes.get(key))}
    found = Counter(
        name
        for headers in to_model
        for name, value in headers.items()
        if any(text in unquote(value) for text in ours) or (name == "baggage" and _keys(value) & set(BAGGAGE_KEYS))
    )
    for name, number in sorted(found.items()):
        yield f"{number} of {len(to_model)} requests to the model's host had something of ours in the header {name!r}."


def _kept(span: SpanRecord) -> dict[str, str]:
    """Return the headers that *span* kept, by lower-case name."""
    kept = {key: value for key, value in span.attributes.items() if key.startswith(_KEPT)}
    return {key.removeprefix(_KEPT): ",".join(_texts(value)) for key, value in kept.items()}


def _keys(baggage: str) -> set[str]:
    return {unquote(member.partition("=")[0]).strip() for member in baggage.split(",")}


def _texts(value: Any) -> tuple[str, ...]:
    """Return the texts of an attribute, which is one, several or `None`."""
    return (value,) if isinstance(value, str) else tuple(value or ())
