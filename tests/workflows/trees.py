"""What holds of the spans of runs, however often their workers were killed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import fields

from otelier.testing import SpanRecord

RECORDED = ("invoke_workflow", "run_function", "run_entity", "resume_workflow", "resume_function")
RECORDED += ("wait_signal", "wait_timer")
"""Spans whose times and facts are those of the journal: exported twice they are the same."""


def by_id(spans: Iterable[SpanRecord], *, is_told_late: bool = False) -> dict[str, SpanRecord]:
    """Return each span once, by its id; those that share one must be one span.

    Where a server tells of results, one that was told late may have closed a run's span, which goes on then.
    """
    found: dict[str, SpanRecord] = {}
    for span in spans:
        known = found.setdefault(span.span_id, span)
        same = _all_of(known) == _all_of(span) if is_recorded(span) else _place(known) == _place(span)
        same = same or (is_told_late and _was_told_late(known, span))
        assert same, f"one id, two spans:\n{known}\n{span}"
        found[span.span_id] = max(known, span, key=lambda one: one.end_ns)  # what was executed again
    return found


def is_recorded(span: SpanRecord) -> bool:
    """Tell whether all of a span comes from the journal."""
    return span.scope == "otelier.workflows" and span.name.startswith(RECORDED)


def _was_told_late(one: SpanRecord, other: SpanRecord) -> bool:
    first, last = sorted((one, other), key=lambda span: span.end_ns)
    is_run = first.name.startswith(("invoke_", "run_function", "run_entity", "resume_"))
    return is_run and _place(first) == _place(last) and first.attributes.get("otelier.run.state") == "waiting"


def _place(span: SpanRecord) -> tuple[object, ...]:
    return span.name, span.kind, span.trace_id, span.parent_id, span.scope


def _all_of(span: SpanRecord) -> dict[str, object]:
    return {field.name: getattr(span, field.name) for field in fields(span) if field.name != "resource"}


def repeated(spans: Iterable[SpanRecord]) -> Counter[str]:
    """Return how often spans were exported again under one id: by what they are, and whether as the same bytes."""
    known: dict[str, SpanRecord] = {}
    found: Counter[str] = Counter()
    for span in spans:
        first = known.setdefault(span.span_id, span)
        if first is not span:
            kind = " ".join(span.name.split()[:2]) if span.scope == "otelier.workflows" else f"in a body: {span.name}"
            again = "told late" if is_recorded(span) else "executed again"
            found[f"{kind}, {'the same' if _all_of(first) == _all_of(span) else again}"] += 1
    return found


def orphans(spans: Iterable[SpanRecord]) -> list[SpanRecord]:
    """Return the spans whose parents were not exported."""
    every = list(spans)
    ids = {span.span_id for span in every}
    return [span for span in every if span.parent_id is not None and span.parent_id not in ids]


def assert_trees(spans: Iterable[SpanRecord], *, is_told_late: bool = False) -> dict[str, list[SpanRecord]]:
    """Assert that each trace is one tree whose spans begin within their parents, and return the traces."""
    unique = by_id(spans, is_told_late=is_told_late)
    traces: dict[str, list[SpanRecord]] = defaultdict(list)
    for span in unique.values():
        traces[span.trace_id].append(span)
        if span.parent_id is None:
            continue
        parent = unique.get(span.parent_id)
        assert parent is not None, f"an orphan: {span}"
        assert parent.trace_id == span.trace_id
        # What a killed execution left may be older than its step: the row of a step's begin may be lost.
        assert parent.name.startswith("run_step") or parent.start_ns <= span.start_ns, (
            f"begins before its parent {parent}: {span}"
        )
        if not span.name.startswith("resume_"):
            assert span.start_ns <= parent.end_ns, f"begins after its parent's end {parent}: {span}"
    for trace in traces.values():
        roots = [span for span in trace if span.parent_id is None]
        assert len(roots) == 1, f"{len(roots)} roots in one trace: {roots}"
    return dict(traces)
