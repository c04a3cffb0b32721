"""Report of the exported telemetry: one trace, calls per agent and user, requests between servers, and counts.

Everything is read from the records of an OTLP receiver.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Any, TypeAlias
from urllib.parse import unquote

from otelier import names
from otelier.fields import BAGGAGE_KEYS, FIELD_NAMES
from otelier.testing import LogEntry, MetricPoint, SpanRecord

_MODEL_OPERATIONS = frozenset({"chat", "text_completion", "embeddings", "generate_content"})
"""Operations that are a call to a model; agents, tools and workflows have others."""
_ASGI_MESSAGE = "asgi.event.type"
Record: TypeAlias = "SpanRecord | LogEntry | MetricPoint"
MODEL_CALLS, REGISTRATIONS, METRIC_POINTS = "calls to the model", "agents registered", "metric points"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The calls to a model that one agent made for one user."""

    agent: str
    user: str
    calls: int
    input_tokens: int
    output_tokens: int
    errors: int
    p50_s: float
    p95_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Counts of one signal."""

    name: str
    """Name of what was counted."""
    by_service: Mapping[str, int]
    """Number from each service, the one that was asked first before those it asked."""
    count: int
    with_user: int
    with_agent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One line of a trace: a span, or several folded into one."""

    span: SpanRecord
    """The span, or the first of several."""
    label: str
    """Name of the span, or number and kind of several."""
    folded: bool
    """Whether it stands for several."""
    lasts: tuple[bool, ...]
    """For each level beneath the root, whether the line there is the last of its siblings."""


def is_model_call(span: SpanRecord) -> bool:
    """Return whether *span* is one call to a model."""
    return span.attributes.get(names.OPERATION) in _MODEL_OPERATIONS


def usage(spans: Iterable[SpanRecord]) -> list[Usage]:
    """Return the calls to models per agent and user, in that order."""
    calls: dict[tuple[str, str], list[SpanRecord]] = defaultdict(list)
    for span in spans:
        if is_model_call(span):
            found = span.attributes
            calls[str(found.get(names.AGENT_NAME, "")), str(found.get(names.USER_ID, ""))].append(span)
    return [_usage(agent, user, calls[agent, user]) for agent, user in sorted(calls)]


def known_by_prompt(spans: Iterable[SpanRecord]) -> dict[str, str]:
    """Return the fingerprint of each agent that is identified by its prompt only, by agent name."""
    calls = [span.attributes for span in spans if is_model_call(span)]
    found = [call for call in calls if call.get(names.AGENT_SOURCE) == "fingerprint"]
    return {str(call.get(names.AGENT_NAME)): str(call.get(names.AGENT_FINGERPRINT)) for call in found}


def total(spans: Iterable[SpanRecord]) -> Usage:
    """Return all calls to models as one."""
    return _usage("", "", [span for span in spans if is_model_call(span)])


def _usage(agent: str, user: str, calls: Sequence[SpanRecord]) -> Usage:
    durations = [span.duration_s for span in calls]
    return Usage(
        agent=agent,
        user=user,
        calls=len(calls),
        input_tokens=sum(span.attributes.get(names.INPUT_TOKENS, 0) for span in calls),
        output_tokens=sum(span.attributes.get(names.OUTPUT_TOKENS, 0) for span in calls),
        errors=sum(span.status == "ERROR" for span in calls),
        p50_s=percentile(durations, 50),
        p95_s=percentile(durations, 95),
    )


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile between the values' own; 0.0 of none."""
    if len(values) < 2:
        return values[0] if values else 0.0
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def service_of(record: Record) -> str:
    """Return the name of the service that *record* comes from; empty for none."""
    return str(record.resource.get("service.name", ""))


def signals(spans: Sequence[SpanRecord], logs: Sequence[LogEntry], metrics: Sequence[MetricPoint]) -> list[Signal]:
    """Return the counts of the three signals, of the calls to a model and of the agents that were registered."""
    ordered = sorted(spans, key=lambda span: span.start_ns)
    services = tuple(dict.fromkeys(map(service_of, (*ordered, *logs, *metrics))))
    counted: dict[str, Sequence[Record]] = {
        "spans": spans,
        MODEL_CALLS: [span for span in spans if is_model_call(span)],
        "log records": logs,
        REGISTRATIONS: _registered(logs),
        METRIC_POINTS: metrics,
    }
    return [_signal(name, records, services) for name, records in counted.items()]


def _registered(logs: Iterable[LogEntry]) -> list[LogEntry]:
    """Return one event for each agent of a service: an agent is registered again with each new prompt."""
    events = [entry for entry in logs if entry.event_name == names.AGENT_REGISTERED]
    return list(
        {(service_of(entry), entry.attributes.get(names.RESOLVED_AGENT_ID)): entry for entry in events}.values()
    )


def _signal(name: str, records: Sequence[Record], services: Iterable[str]) -> Signal:
    attributes = [record.attributes for record in records]
    homes = Counter(map(service_of, records))
    return Signal(
        name=name,
        by_service={service: homes[service] for service in services},
        count=len(attributes),
        with_user=sum(names.USER_ID in found for found in attributes),
        with_agent=sum(names.AGENT_NAME in found for found in attributes),
    )


def traces(spans: Iterable[SpanRecord]) -> dict[str, list[SpanRecord]]:
    """Return the spans by trace id, each trace in the order of its start times."""
    found: dict[str, list[SpanRecord]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: span.start_ns):
        found[span.trace_id].append(span)
    return found


def most_interesting(found: Iterable[list[SpanRecord]]) -> list[SpanRecord]:
    """Return the trace worth showing: most agents, most spans, and late, when all is warm; empty without any."""

    def worth(trace: list[SpanRecord]) -> tuple[int, int, int]:
        agents = {span.attributes[names.AGENT_NAME] for span in trace if names.AGENT_NAME in span.attributes}
        return len(agents), len(trace), trace[0].start_ns

    return max(found, key=worth, default=list[SpanRecord]())


def tree(trace: Iterable[SpanRecord]) -> list[Branch]:
    """Return one trace as lines, each below its parent and in the order of start times.

    A span whose parent is not there is a root. The instrumentation of ASGI makes a span for each message of a
    request; those of one parent are one line.
    """
    ordered = sorted(trace, key=lambda span: span.start_ns)
    known = {span.span_id for span in ordered}
    children: dict[str | None, list[SpanRecord]] = defaultdict(list)
    for span in ordered:
        children[span.parent_id if span.parent_id in known else None].append(span)
    return [line for root in children[None] for line in _lines(root, (), children)]


def _lines(span: SpanRecord, lasts: tuple[bool, ...], children: dict[str | None, list[SpanRecord]]) -> Iterator[Branch]:
    yield Branch(span=span, label=span.name, folded=False, lasts=lasts)
    below = children[span.span_id]
    messages = [child for child in below if _ASGI_MESSAGE in child.attributes]
    shown = [child for child in below if child not in messages]
    for child in shown:
        last = child is shown[-1] and not messages
        yield from _lines(child, (*lasts, last), children)
    if messages:
        label = f"{len(messages)} ASGI message{'s' * (len(messages) > 1)}"
        yield Branch(span=messages[0], label=label, folded=True, lasts=(*lasts, True))


_AGENT = (names.AGENT_NAME, names.AGENT_ID)
FIELDS_ACROSS = {key: name for key, name in zip(BAGGAGE_KEYS, FIELD_NAMES) if key not in _AGENT}
"""Attributes and names of the fields that hold in the service that was called too; the agent does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """One request from one service to another, as both of them saw it."""

    sent: SpanRecord
    """Span of the request in the service that made it."""
    served: SpanRecord
    """Span of the request in the service that answered it."""

    def keeps(self, key: str) -> bool:
        """Return whether both sides have the same value under *key*."""
        return key in self.sent.attributes and self.sent.attributes[key] == self.served.attributes.get(key)


def crossings(spans: Iterable[SpanRecord]) -> list[Crossing]:
    """Return the requests whose span on the server's side has its parent in another service."""
    known = {span.span_id: span for span in spans}
    parents = ((span, known.get(span.parent_id or "")) for span in known.values())
    return [
        Crossing(sent=parent, served=span)
        for span, parent in parents
        if parent is not None and service_of(parent) != service_of(span)
    ]


MODEL_HOST = "model's host"
_KEPT = "http.request.header."
"""Prefix of the attributes that record request headers; `_processes` enables them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRequests:
    """The requests that one server received."""

    server: str
    """Name of the service, or of the model's host."""
    requests: int
    senders: tuple[str, ...]
    """Services that sent them, by the trace that came with them; empty where no trace came."""
    fields: Mapping[str, int]
    """Number of requests whose baggage had each of our keys; a key that never came is left out."""


def received(spans: Iterable[SpanRecord], to_model: Iterable[Mapping[str, str]]) -> list[ServerRequests]:
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


def _received(server: str, requests: Sequence[Mapping[str, str]], homes: Mapping[str, str]) -> ServerRequests:
    parents = (headers.get("traceparent", "").split("-") for headers in requests)
    senders = {homes.get(parts[2], "") for parts in parents if len(parts) > 2}
    counted = Counter(key for headers in requests for key in _keys(headers.get("baggage", "")))
    return ServerRequests(
        server=server,
        requests=len(requests),
        senders=tuple(sorted(senders - {""})),
        fields={key: counted[key] for key in BAGGAGE_KEYS if counted[key]},
    )


def _kept(span: SpanRecord) -> dict[str, str]:
    """Return the headers that *span* kept, by lower-case name."""
    kept = {key: value for key, value in span.attributes.items() if key.startswith(_KEPT)}
    return {key.removeprefix(_KEPT): ",".join(_texts(value)) for key, value in kept.items()}


def _keys(baggage: str) -> set[str]:
    return {unquote(member.partition("=")[0]).strip() for member in baggage.split(",")}


def _texts(value: Any) -> tuple[str, ...]:
    """Return the texts of an attribute, which is one, several or `None`."""
    return (value,) if isinstance(value, str) else tuple(value or ())
