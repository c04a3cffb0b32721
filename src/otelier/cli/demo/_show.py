"""The page and the JSON of one run: a trace with its timing, baggage, calls per agent and user, counts per signal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from otelier import names
from otelier.cli.demo._report import (
    FIELDS_ACROSS,
    METRIC_POINTS,
    MODEL_CALLS,
    MODEL_HOST,
    REGISTRATIONS,
    Branch,
    ServerRequests,
    Signal,
    Usage,
    crossings,
    is_model_call,
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
from otelier.fields import BAGGAGE_KEYS, FIELD_NAMES
from otelier.testing import SpanRecord

_RETRIES = "x-stainless-retry-count"
"""Header with the number of retries, sent by the openai client."""


def show(outcome: Outcome, console: Console) -> None:
    """Print the most interesting trace, the baggage, the calls per agent and user, and counts of the exports."""
    colours = Colours()
    found = traces(outcome.spans)
    trace = most_interesting(found.values())
    if trace:
        table = trace_table(trace, colours, width=console.width)
        _print(console, "One trace", f"of {len(found)}, {trace[0].trace_id}", table)
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
    if not outcome.sent_to:
        yield "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 otelier demo", "sends this to your backend"
    yield "otelier doctor", "shows what is missing if something does not work"


def as_data(outcome: Outcome) -> dict[str, Any]:
    """Return the same as plain data, durations in seconds."""
    trace = most_interesting(traces(outcome.spans).values())
    return {
        "trace": [_line(branch) for branch in tree(trace)],
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


_BAR_CHARS = 10
_FULL_WIDTH = 100
"""Columns of a terminal that has room for all of a trace's table; in a narrower one the last of these stay away."""
_FIRST_TO_GO = ("when", "called by")
_TRACE_COLUMNS = ("duration", "tokens", "when", "service", "agent", "called by", "user")
_WHO = (names.AGENT_NAME, names.CALLER_AGENT_NAME, names.USER_ID)
_COLOURS = ("cyan", "magenta", "green", "yellow", "blue")


class Colours:
    """One colour for each agent, in the order they are first asked for."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}

    def of(self, agent: str) -> str:
        """Return the colour of *agent*; nothing for no agent."""
        if not agent:
            return "default"
        return self._given.setdefault(agent, _COLOURS[len(self._given) % len(_COLOURS)])


def trace_table(trace: Sequence[SpanRecord], colours: Colours, *, width: int = _FULL_WIDTH) -> Table:
    """Return one trace as a table: each span below its parent, its time and tokens, and who it was for.

    A table for less than 100 columns has no bars and does not name the calling agent.
    """
    table = _table()
    hidden = () if width >= _FULL_WIDTH else _FIRST_TO_GO
    table.add_column("span", min_width=24)  # the one that makes way: what may wrap is cut by `_cut`
    for column in _TRACE_COLUMNS:
        if column not in hidden:
            table.add_column(column, justify="right" if column in ("duration", "tokens") else "left", no_wrap=True)
    start_ns = min((span.start_ns for span in trace), default=0)
    whole_ns = max((span.end_ns for span in trace), default=0) - start_ns
    for branch in tree(trace):
        span = branch.span
        if branch.folded:
            table.add_row(_cut((guides(branch) + branch.label, "dim")))
            continue
        agent, caller, user = (_text(span.attributes.get(key)) for key in _WHO)
        colour = colours.of(agent)
        label = _cut((guides(branch), "dim"), (branch.label, "bold" if is_model_call(span) else ""))
        if span.status == "ERROR":
            error = _text(span.attributes.get(names.ERROR_TYPE, "error")).rpartition(".")[2]
            label.append(f" ✗ {error}", "red")
        cells: dict[str, RenderableType] = {
            "duration": duration(span.duration_s),
            "tokens": _tokens(span),
            "when": Text(bar(span, start_ns, whole_ns), colour),
            "service": service_of(span),
            "agent": Text(agent, colour),
            "called by": Text(caller, colours.of(caller)),
            "user": user,
        }
        table.add_row(label, *(cells[column] for column in _TRACE_COLUMNS if column not in hidden))
    return table


def received_table(rows: Iterable[ServerRequests]) -> Table:
    """Return what each server was sent in baggage as a table; the fields by the names that `set_context` has."""
    table = _table()
    table.add_column("server", no_wrap=True)
    table.add_column("requests", justify="right", no_wrap=True)
    table.add_column("from", no_wrap=True)
    table.add_column("fields in their baggage")
    for row in rows:
        fields: dict[str, str] = dict(zip(BAGGAGE_KEYS, FIELD_NAMES))
        named = [
            fields[key] if count == row.requests else f"{fields[key]} ({count} of {row.requests})"
            for key, count in row.fields.items()
        ]
        senders = ", ".join(row.senders) or ("unknown" if row.server == MODEL_HOST else "its users")
        table.add_row(row.server, str(row.requests), senders, ", ".join(named) or Text("none", "dim"))
    return table


def usage_table(spans: Sequence[SpanRecord], colours: Colours) -> Table:
    """Return the calls to models per agent and user as a table, with their input and output tokens and the sum."""
    table = _table()
    table.add_column("agent", no_wrap=True)
    table.add_column("user", no_wrap=True)
    for column in ("calls", "input", "output", "errors", "p50", "p95"):
        table.add_column(column, justify="right", no_wrap=True)
    former = None
    for row in usage(spans):
        if former not in (None, row.agent):
            table.add_section()
        former = row.agent
        table.add_row(Text(row.agent or "none", colours.of(row.agent)), row.user or "none", *_numbers(row))
    table.add_section()
    table.add_row("all", "", *_numbers(total(spans)), style="bold")
    return table


def signal_table(signals: Sequence[Signal]) -> Table:
    """Return the counts of the three signals as a table."""
    table = _table()
    table.add_column("signal", no_wrap=True)
    services = tuple(dict.fromkeys(service for signal in signals for service in signal.by_service))
    for column in (*services, "all", "with user", "with agent"):
        table.add_column(column, justify="right", no_wrap=True)
    for signal in signals:
        # A metric never has a user, that would make a series for each of them; and an agent is the process's.
        never = signal.name in (METRIC_POINTS, REGISTRATIONS) and not signal.with_user
        user = "never" if never else str(signal.with_user)
        part = signal.name in (MODEL_CALLS, REGISTRATIONS)  # of what stands above them
        name = f"· {signal.name}" if part else signal.name
        homes = (str(signal.by_service.get(service, 0)) for service in services)
        table.add_row(name, *homes, str(signal.count), user, str(signal.with_agent))
    return table


def guides(branch: Branch) -> str:
    """Return the lines that lead from a branch's parents to it.

    Example:
        >>> from otelier.cli.demo._report import Branch
        >>> guides(Branch(span=None, label="", folded=False, lasts=(False, True)))
        '│  └─ '
    """
    if not branch.lasts:
        return ""
    above = "".join("   " if last else "│  " for last in branch.lasts[:-1])
    return above + ("└─ " if branch.lasts[-1] else "├─ ")


def bar(span: SpanRecord, start_ns: int, whole_ns: int, chars: int = _BAR_CHARS) -> str:
    """Return when *span* ran within the whole, as a bar of at least one character."""
    if whole_ns <= 0:
        return ""
    first = min(round((span.start_ns - start_ns) / whole_ns * chars), chars - 1)
    last = max(round((span.end_ns - start_ns) / whole_ns * chars), first + 1)
    return " " * first + "━" * (last - first)


def duration(seconds: float) -> str:
    """Return *seconds* in a readable unit.

    Example:
        >>> duration(0.0004), duration(0.0342), duration(0.412), duration(1.2345)
        ('0.4 ms', '34 ms', '412 ms', '1.23 s')
    """
    if seconds >= 0.9995:
        return f"{seconds:.2f} s"
    milliseconds = seconds * 1000
    return f"{milliseconds:.1f} ms" if milliseconds < 9.95 else f"{milliseconds:.0f} ms"


def _numbers(row: Usage) -> tuple[RenderableType, ...]:
    errors = Text(str(row.errors), "red" if row.errors else "dim")
    return (
        str(row.calls),
        f"{row.input_tokens:,}",
        f"{row.output_tokens:,}",
        errors,
        duration(row.p50_s),
        duration(row.p95_s),
    )


def _tokens(span: SpanRecord) -> str:
    """Return input and output tokens of a call to a model; nothing for other spans."""
    if not is_model_call(span):
        return ""
    return "+".join(str(span.attributes.get(key, 0)) for key in (names.INPUT_TOKENS, names.OUTPUT_TOKENS))


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _cut(*parts: tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, header_style="dim", show_edge=False, padding=(0, 1, 0, 1), collapse_padding=True)
