"""The refund on the page and as data: one trace over the kill of its worker, and what happened only once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from otelier import names
from otelier.cli.demo._refund import Refund
from otelier.cli.demo._report import is_model_call, service_of, tree
from otelier.cli.demo._tables import bar, duration, guides, line_of, plain_table
from otelier.testing import SpanRecord

_INSTANCE = "service.instance.id"
_AGAIN, _TIMES = "\N{CLOCKWISE OPEN CIRCLE ARROW}", "\N{MULTIPLICATION SIGN}"
_FULL_WIDTH = 90
"""Columns that have room for the bars."""


def run_trace(spans: Iterable[SpanRecord], run_id: str) -> list[SpanRecord]:
    """Return the trace of a run, in the order of its start times."""
    ordered = sorted(spans, key=lambda span: span.start_ns)
    ids = {span.trace_id for span in ordered if span.attributes.get(names.RUN_ID) == run_id}
    return [span for span in ordered if span.trace_id in ids]


def recovery_table(trace: Sequence[SpanRecord], *, width: int = _FULL_WIDTH) -> Table:
    """Return the trace as a table: each span below its parent, its time, and the process that exported it.

    An arrow marks the span in which a new process began the body again, and a number the step that began that often.
    A table for less than 90 columns has no bars.
    """
    table = plain_table()
    columns = ("duration", "when", "process") if width >= _FULL_WIDTH else ("duration", "process")
    table.add_column("span", min_width=24)
    for column in columns:
        table.add_column(column, justify="right" if column == "duration" else "left", no_wrap=True)
    start_ns = min((span.start_ns for span in trace), default=0)
    whole_ns = max((span.end_ns for span in trace), default=0) - start_ns
    for branch in tree(trace):
        span = branch.span
        label = Text.assemble((guides(branch), "dim"), no_wrap=True, overflow="ellipsis")
        if branch.folded:
            table.add_row(label.append(branch.label, "dim"))
            continue
        label.append(branch.label, "bold" if is_model_call(span) else "")
        if recovered_at(span) is not None:
            label.append(f" {_AGAIN}", "yellow")
        if (executions := executions_of(span)) > 1:
            label.append(f" {_TIMES}{executions}", "yellow")
        cells: dict[str, RenderableType] = {
            "duration": duration(span.duration_s),
            "when": bar(span, start_ns, whole_ns, chars=20),
            "process": _process(span),
        }
        table.add_row(label, *(cells[column] for column in columns))
    return table


def recovery_lines(trace: Sequence[SpanRecord], refund: Refund) -> Iterator[Text]:
    """Yield what the table shows as sentences."""
    cut_off = [span.name for span in trace if executions_of(span) > 1]
    begun = [at - trace[0].start_ns for span in trace if (at := recovered_at(span)) is not None]
    if cut_off and begun:
        yield Text(
            f" SIGKILL ended worker 1 in {', '.join(cut_off)}. Worker 2 began the body again after "
            f"{begun[0] / 1e9:.1f} s ({_AGAIN}),",
            "dim",
        )
        yield Text(f" took the results that were recorded, and did that step a second time ({_TIMES}2).", "dim")
    asked = sum(map(is_model_call, trace))
    yield Text(
        f" The bank got {len(refund.bank_requests)} requests with {len(set(refund.bank_requests))} idempotency keys, "
        f"and booked {len(refund.bookings)}; the model was asked {_times(asked)}.",
        "dim",
    )
    yield Text(f" A person decided: {refund.decided}", "dim")


def recovery_data(trace: Sequence[SpanRecord], refund: Refund) -> dict[str, Any]:
    """Return the same as plain data."""
    return {
        **asdict(refund),
        "trace": [
            {
                **line_of(branch),
                "process": _process(branch.span),
                "executions": executions_of(branch.span),
                "recovered": recovered_at(branch.span) is not None,
            }
            for branch in tree(trace)
        ],
    }


def recovered_at(span: SpanRecord) -> int | None:
    """Return when a body of *span* began again after a crash; `None` if it did not."""
    return next((event.time_ns for event in span.events if event.name == names.WORKFLOW_RECOVERED), None)


def executions_of(span: SpanRecord) -> int:
    """Return how often a step was begun."""
    return int(span.attributes.get(names.STEP_EXECUTIONS, 1))


def _process(span: SpanRecord) -> str:
    number = str(span.resource.get(_INSTANCE, ""))
    return f"{service_of(span)} {number}" if number.isdigit() else service_of(span)


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")
