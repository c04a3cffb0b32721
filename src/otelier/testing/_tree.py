"""Spans as the text of a tree, for a test to compare or a person to read."""

from __future__ import annotations

from collections.abc import Iterable

from otelier.testing._records import SpanRecord


def trace_tree(spans: Iterable[SpanRecord], *attributes: str) -> str:
    """Return *spans* as lines of text: children below their parents, older before younger.

    A line is the span's name, its kind, `ERROR` when it failed, and those of *attributes* that it has. A span
    whose parent is not among *spans* stands at the margin and says so.

    Example:
        >>> from otelier.testing import SpanRecorder, trace_tree
        >>> recorder = SpanRecorder()
        >>> tracer = recorder.tracer_provider.get_tracer("docs")
        >>> with tracer.start_as_current_span("request"):
        ...     tracer.start_span("work", attributes={"user.id": "alice"}).end()
        >>> print(trace_tree(recorder.records, "user.id"))
        request INTERNAL
          work INTERNAL user.id='alice'
    """
    ordered = sorted(spans, key=lambda span: (span.start_ns, span.span_id))
    known = {(span.trace_id, span.span_id) for span in ordered}
    children: dict[tuple[str, str | None], list[SpanRecord]] = {}
    tops: list[SpanRecord] = []
    for span in ordered:
        if (span.trace_id, span.parent_id) in known:
            children.setdefault((span.trace_id, span.parent_id), []).append(span)
        else:
            tops.append(span)
    lines: list[str] = []
    waiting = [(span, 0) for span in reversed(tops)]
    while waiting:
        span, depth = waiting.pop()
        lines.append("  " * depth + _line(span, attributes, elsewhere=depth == 0 and span.parent_id is not None))
        below = children.get((span.trace_id, span.span_id), [])
        waiting += [(child, depth + 1) for child in reversed(below)]
    return "\n".join(lines)


def _line(span: SpanRecord, attributes: tuple[str, ...], *, elsewhere: bool) -> str:
    words = [span.name, span.kind]
    if elsewhere:
        words.append("(parent elsewhere)")
    if span.status == "ERROR":
        words.append("ERROR")
    words += [f"{name}={span.attributes[name]!r}" for name in attributes if name in span.attributes]
    return " ".join(words)
