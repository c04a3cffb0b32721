"""The page and the JSON of one run: a trace, a refund over a crash, baggage, calls per agent and user, the exports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from otelier import names
from otelier.cli.demo._recovery import recovery_data, recovery_lines, recovery_table, run_trace
from otelier.cli.demo._report import (
    FIELDS_ACROSS,
    ServerRequests,
    crossings,
    known_by_prompt,
    most_interesting,
    received,
    service_of,
    signals,
    total,
    traces,
    tree,
    usage,
)
from otelier.cli.demo._run import Outcome
from otelier.cli.demo._tables import Colours, line_of, received_table, signal_table, trace_table, usage_table
from otelier.testing import SpanRecord

_RETRIES = "x-stainless-retry-count"
"""Header with the number of retries, sent by the openai client."""


def show(outcome: Outcome, console: Console) -> None:
    """Print the most interesting trace, the refund, baggage, the calls per agent and user, counts of the exports."""
    colours = Colours()
    found = traces(outcome.spans)
    trace = most_interesting(found.values())
    if trace:
        table = trace_table(trace, colours, width=console.width)
        _print(console, "One trace", f"of {len(found)}, {trace[0].trace_id}", table)
    refunded = run_trace(outcome.spans, outcome.refund.workflow_id)
    if refunded:
        table = recovery_table(refunded, width=console.width)
        _print(console, "A refund over a crash", f"of its worker, {refunded[0].trace_id}", table)
        for line in recovery_lines(refunded, outcome.refund):
            console.print(line, soft_wrap=True)
    _print(console, "Baggage", "that each server received with its requests", received_table(_received(outcome)))
    for line in _across(outcome.spans):
        console.print(line)
    calls, repeated = total(outcome.spans).calls, _repeated(outcome)
    if repeated:
        requests = f" {calls} calls took {calls + repeated} requests to the model's host"
        console.print(Text(f"{requests}: its client retries what fails.", "dim"))
    _print(console, "Calls to the model", "per agent and user, with their tokens", usage_table(outcome.spans, colours))
    for agent, fingerprint in known_by_prompt(outcome.spans).items():
        known = f" is identified by its prompt only, fingerprint {fingerprint[:20]}…"
        console.print(Text.assemble(" ", (agent, colours.of(agent)), (known, "dim")))
    exported = signals(outcome.spans, outcome.logs, outcome.metrics)
    _print(console, "Exported", f"by the services, in {outcome.exports} OTLP requests", signal_table(exported))
    if outcome.sent_to and not outcome.send_failures:
        console.print(Text(f"\nAll of it also went to {outcome.sent_to}."))
    console.print(Text(f"\nDone in {outcome.took_s:.0f} s. What to do next:", "dim"))
    for command, what in _next(outcome):
        console.print(Text.assemble("  ", (command, "bold"), (f"  {what}", "dim")), soft_wrap=True)


def _next(outcome: Outcome) -> Iterator[tuple[str, str]]:
    yield 'otelier.init(app="my-service")', "switches it on in your own program: see docs/first-trace.md"
    yield "otelier worker my_module", "runs your own workflows: see docs/workflows.md"
    if not outcome.sent_to:
        yield "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 otelier demo", "sends this to your backend"
    yield "otelier doctor", "shows what is missing if something does not work"


def as_data(outcome: Outcome) -> dict[str, Any]:
    """Return the same as plain data, durations in seconds."""
    trace = most_interesting(traces(outcome.spans).values())
    return {
        "trace": [line_of(branch) for branch in tree(trace)],
        "refund": recovery_data(run_trace(outcome.spans, outcome.refund.workflow_id), outcome.refund),
        "usage": [asdict(row) for row in usage(outcome.spans)],
        "known_by_prompt": known_by_prompt(outcome.spans),
        "total": asdict(total(outcome.spans)),
        "signals": [asdict(signal) for signal in signals(outcome.spans, outcome.logs, outcome.metrics)],
        "received": [asdict(row) for row in _received(outcome)],
        "repeated": _repeated(outcome),
        "exports": outcome.exports,
        "sent_to": outcome.sent_to,
        "problems": list(outcome.problems),
        "took_s": round(outcome.took_s, 3),
    }


def _received(outcome: Outcome) -> list[ServerRequests]:
    return received(outcome.spans, outcome.model_requests)


def _repeated(outcome: Outcome) -> int:
    """Return how many requests the model's client sent again after a failure."""
    return sum(headers.get(_RETRIES, "0") != "0" for headers in outcome.model_requests)


def _across(spans: Iterable[SpanRecord]) -> Iterator[Text]:
    """Yield, for each service that another one called, the fields that hold there too and the caller of its agent."""
    found = crossings(spans)
    for service in dict.fromkeys(service_of(one.served) for one in found):
        called = [one for one in found if service_of(one.served) == service]
        kept = [name for key, name in FIELDS_ACROSS.items() if all(one.keeps(key) for one in called)]
        agents, callers = (
            ", ".join(sorted({str(one.served.attributes[key]) for one in called if key in one.served.attributes}))
            for key in (names.AGENT_NAME, names.CALLER_AGENT_NAME)
        )
        if not (kept and agents and callers):
            continue
        yield Text(f" {', '.join(kept)} reach {service}: it trusts inbound baggage.", "dim")
        yield Text(f" The agent does not: spans there name {callers} as the caller, and {agents} as the agent.", "dim")


def _print(console: Console, title: str, detail: str, table: Table) -> None:
    console.print(Text.assemble((f"\n{title} ", "bold"), (detail, "dim")))
    console.print(table)
