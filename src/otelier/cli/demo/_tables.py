"""The tables of the page: a trace with its timing, baggage, calls per agent and user, counts per signal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from otelier import names
from otelier.cli.demo._report import (
    METRIC_POINTS,
    MODEL_CALLS,
    MODEL_HOST,
    REGISTRATIONS,
    Branch,
    ServerRequests,
    Signal,
    Usage,
    is_model_call,
    service_of,
    total,
    tree,
    usage,
)
from otelier.fields import BAGGAGE_KEYS, FIELD_NAMES
from otelier.testing import SpanRecord

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
    table = plain_table()
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
    table = plain_table()
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
    table = plain_table()
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
    table = plain_table()
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


def line_of(branch: Branch) -> dict[str, Any]:
    """Return one line of a trace as plain data."""
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


def plain_table() -> Table:
    """Return a table of the page, without columns."""
    return Table(box=box.SIMPLE_HEAD, header_style="dim", show_edge=False, padding=(0, 1, 0, 1), collapse_padding=True)
