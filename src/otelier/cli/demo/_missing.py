"""What should have been exported and has not, or came without what it must carry: a sentence each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from otelier import names
from otelier.cli.demo._crossings import crossings, unlike
from otelier.cli.demo._report import is_model_call, service_of
from otelier.testing import LogEntry, MetricPoint, SpanRecord


def missing(
    spans: Sequence[SpanRecord], logs: Sequence[LogEntry], metrics: Sequence[MetricPoint], *, requests: int
) -> list[str]:
    """Return what should be there and is not, a sentence each; empty when all is well.

    Args:
        spans: What arrived.
        logs: What arrived.
        metrics: What arrived.
        requests: How many requests the services were sent from outside.
    """
    calls = [span for span in spans if is_model_call(span)]
    in_traces = [entry for entry in logs if entry.trace_id is not None]
    served = sum(span.kind == "SERVER" and span.parent_id is None for span in spans)
    crossed = crossings(spans)
    found: list[str] = []
    if served != requests:
        found.append(f"{requests} requests were sent, and {served} traces of a request arrived.")
    if not calls:
        found.append("No span of a call to the model arrived.")
    if not in_traces:
        found.append("No log record of a request arrived.")
    found += _without(names.USER_ID, "spans", spans)
    found += _without(names.AGENT_NAME, "spans of calls to the model", calls)
    found += _without(names.USER_ID, "log records of requests", in_traces)
    found += _without(names.AGENT_NAME, "log records of requests", in_traces)
    if not crossed:
        found.append("No trace goes from one service into another.")
    found += unlike(crossed, [*spans, *in_traces])
    if calls:
        found += _against_metrics(calls, metrics)
    return found


def _without(attribute: str, what: str, records: Sequence[SpanRecord | LogEntry]) -> list[str]:
    bare = [record for record in records if attribute not in record.attributes]
    if not bare:
        return []
    first = bare[0].name if isinstance(bare[0], SpanRecord) else bare[0].body
    return [f"{len(bare)} of {len(records)} {what} carry no {attribute}; the first is {first!r} of {bare[0].scope}."]


def _against_metrics(calls: Sequence[SpanRecord], metrics: Iterable[MetricPoint]) -> Iterator[str]:
    """Yield where the metrics say something else than the spans: both count the same calls."""
    measured: dict[str, float] = defaultdict(float)
    # Cumulative points come anew with each export: the last one of a series counts.
    latest = {
        (service_of(point), point.name, tuple(sorted(map(str, point.attributes.items())))): point for point in metrics
    }
    for point in latest.values():
        if point.name == names.OPERATION_DURATION:
            measured["calls"] += point.count or 0
        elif point.name == names.TOKEN_USAGE:
            measured[f"{point.attributes.get(names.TOKEN_TYPE)} tokens"] += point.sum or 0
    spoken = {
        "calls": len(calls),
        "input tokens": sum(span.attributes.get(names.INPUT_TOKENS, 0) for span in calls),
        "output tokens": sum(span.attributes.get(names.OUTPUT_TOKENS, 0) for span in calls),
    }
    for what, number in spoken.items():
        if measured[what] != number:
            yield f"The spans tell of {number} {what}, and the metrics of {measured[what]:.0f}."
