"""Records made by hand, for tests of what is shown."""

from __future__ import annotations

from itertools import count
from typing import Any

from otelier.testing import LogEntry, MetricPoint, SpanRecord

_ids = count(1)
MS = 1_000_000


def span(
    name: str,
    start_ms: int = 0,
    end_ms: int = 100,
    *,
    parent: SpanRecord | None = None,
    agent: str | None = "triage",
    user: str | None = "acme/alice",
    kind: str = "INTERNAL",
    status: str = "UNSET",
    trace: int = 1,
    service: str = "test",
    **attributes: Any,
) -> SpanRecord:
    """A span from *start_ms* to *end_ms*; double underscores in *attributes* are dots."""
    given = {key.replace("__", "."): value for key, value in attributes.items()}
    fields = {"gen_ai.agent.name": agent, "user.id": user}
    return SpanRecord(
        name=name,
        trace_id=f"{trace:032x}",
        span_id=f"{next(_ids):016x}",
        parent_id=parent.span_id if parent else None,
        kind=kind,
        start_ns=start_ms * MS,
        end_ns=end_ms * MS,
        attributes={**{key: value for key, value in fields.items() if value is not None}, **given},
        status=status,
        status_message=None,
        events=(),
        links=(),
        resource={"service.name": service},
        scope="test",
    )


def call(start_ms: int = 0, end_ms: int = 100, *, tokens: tuple[int, int] = (10, 5), **given: Any) -> SpanRecord:
    """A call to a model."""
    usage = {"gen_ai__usage__input_tokens": tokens[0], "gen_ai__usage__output_tokens": tokens[1]}
    return span("chat gpt-4.1", start_ms, end_ms, kind="CLIENT", gen_ai__operation__name="chat", **usage, **given)


def log(
    body: str = "said",
    *,
    agent: str | None = "triage",
    user: str | None = "acme/alice",
    traced: bool = True,
    service: str = "test",
    **attributes: Any,
) -> LogEntry:
    """A log record, inside the first trace or outside of any."""
    given = {key.replace("__", "."): value for key, value in attributes.items()}
    fields = {"gen_ai.agent.name": agent, "user.id": user}
    return LogEntry(
        body=body,
        event_name=None,
        severity="INFO",
        attributes={**{key: value for key, value in fields.items() if value is not None}, **given},
        trace_id=f"{1:032x}" if traced else None,
        span_id="1" * 16 if traced else None,
        time_ns=0,
        resource={"service.name": service},
        scope="demo",
    )


def points(
    calls: int, input_tokens: int, output_tokens: int, *, time_ns: int = 0, service: str = "test"
) -> list[MetricPoint]:
    """The points that the two client metrics have after some calls."""

    def histogram(name: str, number: int, total: float, **attributes: str) -> MetricPoint:
        return MetricPoint(
            name=name,
            kind="histogram",
            unit="s",
            attributes={"gen_ai.agent.name": "triage", **attributes},
            time_ns=time_ns,
            count=number,
            sum=total,
            resource={"service.name": service},
            scope="otelier.openai",
        )

    usage = "gen_ai.client.token.usage"
    return [
        histogram("gen_ai.client.operation.duration", calls, 1.0),
        histogram(usage, calls, input_tokens, **{"gen_ai.token.type": "input"}),
        histogram(usage, calls, output_tokens, **{"gen_ai.token.type": "output"}),
    ]
