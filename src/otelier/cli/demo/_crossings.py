"""Where a trace goes from one service into another: what both sides say of it, and what its records lack."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from otelier import names
from otelier.cli.demo._report import service_of
from otelier.fields import FIELD_BY_KEY
from otelier.testing import LogEntry, SpanRecord

_AGENT = (names.AGENT_NAME, names.AGENT_ID)
FIELDS = {key: name for key, name in FIELD_BY_KEY.items() if key not in _AGENT}
"""Attributes and names of the fields that hold in the service that was called too; the agent does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """One request from one service to another, as both of them saw it."""

    sent: SpanRecord
    """Span of the request in the service that made it."""
    served: SpanRecord
    """Span of the request in the service that answered it."""

    def keeps(self, key: str) -> bool:
        """Tell whether both sides have the same value under *key*."""
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


def unlike(found: Sequence[Crossing], records: Iterable[SpanRecord | LogEntry]) -> Iterator[str]:
    """Yield where the two sides differ, a sentence each.

    Args:
        found: All crossings.
        records: Spans and log records of all services.
    """
    for key in FIELDS:
        changed = sum(not one.keeps(key) for one in found)
        if changed:
            yield f"{changed} of {len(found)} requests between services lost their {key} on the way."
    callers: dict[tuple[str | None, str], set[object]] = defaultdict(set)
    for one in found:
        callers[one.served.trace_id, service_of(one.served)].add(one.sent.attributes.get(names.AGENT_NAME))
    called = [(record, callers.get((record.trace_id, service_of(record)))) for record in records]
    behind = [(record.attributes, agents) for record, agents in called if agents]
    nameless = sum(attributes.get(names.CALLER_AGENT_NAME) not in agents for attributes, agents in behind)
    if nameless:
        yield f"{nameless} of {len(behind)} records of a service that was called do not name the agent that called."
    taken = sum(attributes.get(names.AGENT_NAME) in agents for attributes, agents in behind)
    if taken:
        yield f"{taken} of {len(behind)} records of a service that was called bear the name of the agent that called."
