"""The spans of a run and of its tools' calls."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

from opentelemetry import trace
from opentelemetry.context import Context, attach, get_current
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, TraceFlags
from opentelemetry.util.types import AttributeValue

from otelier import names
from otelier.agents._points import SpanPoint
from otelier.agents._run import RUN, Run
from otelier.interceptors import StopExecution
from otelier.signals import Failure, end_span, fail_span, report_fault, tracer


@dataclass(slots=True)
class OpenSpan:
    """A span that is open, and what is written when it ends."""

    span: Span
    point: SpanPoint
    """What is measured of it."""
    run: Run | None = None
    """The run that it belongs to."""
    attributes: dict[str, AttributeValue] = field(default_factory=dict[str, AttributeValue])
    failure: BaseException | Failure | None = None
    """What went wrong although the block goes on."""
    started: float = field(default_factory=perf_counter)

    def end(self, error: BaseException | None = None) -> None:
        """End the span and queue its point; *error* is what ended its block, and a stop is none. Never raises."""
        point = self.point
        try:
            point.seconds = perf_counter() - self.started
            where = self.span.get_span_context()
            if where.trace_flags & TraceFlags.SAMPLED:
                point.span_context = where
            failure = self.failure if error is None or isinstance(error, StopExecution) else error
            if failure is None:
                end_span(self.span, self.attributes)
            else:
                gate = None if self.run is None else self.run.gate
                point.error = fail_span(self.span, failure, self.attributes, gate=gate)
        except Exception as exc:
            report_fault("agents.span", exc)
        point.put()


@contextmanager
def span_of(
    name: str, attributes: Mapping[str, AttributeValue], base: Context, point: SpanPoint
) -> Generator[OpenSpan]:  # fmt: skip
    """Make a span current in *base* while the block runs, and end and measure it however that ends."""
    opened = OpenSpan(_started(name, attributes, base), point, cast("Run | None", base.get(RUN)))
    former = get_current()
    attach(trace.set_span_in_context(opened.span, base))
    try:
        yield opened
    except BaseException as exc:
        opened.end(exc)
        raise
    else:
        opened.end()
    finally:
        attach(former)


def _started(name: str, attributes: Mapping[str, AttributeValue], base: Context) -> Span:
    try:
        return tracer(names.SCOPE_AGENTS).start_span(name, base, SpanKind.INTERNAL, attributes)
    except Exception as exc:
        report_fault("agents.span", exc)
        return INVALID_SPAN
