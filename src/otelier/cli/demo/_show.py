"""The result of one run, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from otelier import names
from otelier.cli.demo._crossings import FIELDS, crossings
from otelier.cli.demo._report import Branch, known_by_prompt, richest, service_of, signals, total, traces, tree, usage
from otelier.cli.demo._run import Outcome
from otelier.cli.demo._tables import Colours, received_table, signal_table, trace_table, usage_table
from otelier.testing import SpanRecord


def show(outcome: Outcome, console: Console) -> None:
    """Print the trace that says most, what went along in baggage, the calls per agent and user, what was exported."""
    colours = Colours()
    found = traces(outcome.spans)
    trace = richest(found.values())
    if trace:
        table = trace_table(trace, colours, width=console.width)
        _print(console, "One trace", f"of {len(found)}, {trace[0].trace_id}", table)
    _print(console, "Baggage", "that each server received with its requests", received_table(outcome.received))
    for line in _across(outcome.spans):
        console.print(line)
    calls = total(outcome.spans).calls
    if outcome.repeated:
        requests = f" {calls} calls took {calls + outcome.repeated} requests to the model's host"
        console.print(Text(f"{requests}: its client repeats what fails.", "dim"))
    _print(console, "Calls to the model", "per agent and user, with their tokens", usage_table(outcome.spans, colours))
    for agent, fingerprint in known_by_prompt(outcome.spans).items():
        known = f" is known by its prompt only, fingerprint {fingerprint[:20]}…"
        console.print(Text.assemble(" ", (agent, colours.of(agent)), (known, "dim")))
    exported = signals(outcome.spans, outcome.logs, outcome.metrics)
    _print(console, "Exported", f"by the services, in {outcome.exports} OTLP requests", signal_table(exported))
    if outcome.sent_to and not outcome.send_failures:
        console.print(Text(f"\nAll of it also went to {outcome.sent_to}."))
    console.print(Text(f"\nDone in {outcome.took_s:.0f} s. What to do next:", "dim"))
    for command, what in _next(outcome):
        console.print(Text.assemble("  ", (command, "bold"), (f"  {what}", "dim")), soft_wrap=True)


def _next(outcome: Outcome) -> Iterator[tuple[str, str]]:
    yield 'otelier.init(app="my-service")', "switches it on in a program of yours, as docs/first-trace.md shows"
    if not outcome.sent_to:
        yield "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 otelier demo", "shows this in your backend"
    yield "otelier doctor", "says what is missing where it does not work"


def as_data(outcome: Outcome) -> dict[str, Any]:
    """Return the same as plain data, durations in seconds."""
    trace = richest(traces(outcome.spans).values())
    return {
        "trace": [_line(branch) for branch in tree(trace)],
        "usage": [asdict(row) for row in usage(outcome.spans)],
        "known_by_prompt": known_by_prompt(outcome.spans),
        "total": asdict(total(outcome.spans)),
        "signals": [asdict(signal) for signal in signals(outcome.spans, outcome.logs, outcome.metrics)],
        "received": [asdict(row) for row in outcome.received],
        "repeated": outcome.repeated,
        "exports": outcome.exports,
        "sent_to": outcome.sent_to,
        "problems": list(outcome.problems),
        "took_s": round(outcome.took_s, 3),
    }


def _line(branch: Branch) -> dict[str, Any]:
    span = branch.span
    return {
        "name": branch.label,
        "depth": len(branch.lasts),
        "duration_s": None if branch.folded else span.duration_s,
        "service": service_of(span),
        "agent": span.attributes.get(names.AGENT_NAME),
        "called_by": span.attributes.get(names.CALLER_AGENT_NAME),
        "user": span.attributes.get(names.USER_ID),
        "status": span.status,
        "trace_id": span.trace_id,
        "span_id": span.span_id,
    }


def _across(spans: Iterable[SpanRecord]) -> Iterator[Text]:
    """Yield, for each service that another one called, what held there too and what became of the calling agent."""
    found = crossings(spans)
    for service in dict.fromkeys(service_of(one.served) for one in found):
        called = [one for one in found if service_of(one.served) == service]
        kept = [name for key, name in FIELDS.items() if all(one.keeps(key) for one in called)]
        agents, callers = (
            ", ".join(sorted({str(one.served.attributes[key]) for one in called if key in one.served.attributes}))
            for key in (names.AGENT_NAME, names.CALLER_AGENT_NAME)
        )
        if not (kept and agents and callers):
            continue  # what is wrong is said at the end
        yield Text(f" {', '.join(kept)} hold in {service}: it trusts inbound baggage.", "dim")
        yield Text(f" The agent does not: {callers} stands there as the caller, and its own agent is {agents}.", "dim")


def _print(console: Console, title: str, detail: str, table: Table) -> None:
    console.print(Text.assemble((f"\n{title} ", "bold"), (detail, "dim")))
    console.print(table)
