"""The spans of a run and of its tools' calls."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter, time_ns
from typing import cast

from opentelemetry import trace
from opentelemetry.context import Context, attach, get_current
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, TraceFlags
from opentelemetry.util.types import AttributeValue

from otelier import names
from otelier.agents._points import SpanPoint
from otelier.agents._run import RUN, Run
from otelier.faults import report_fault
from otelier.interceptors import StopExecution
from otelier.redaction import MOST_ON_A_LOOP, ContentGate, TooLongError, copied
from otelier.telemetry import Failure, do_aside, end_span, error_type, fail_span, is_leaving, tracer


@dataclass(slots=True)
class OpenSpan:
    """A span that is open, and what is written when it ends."""

    span: Span
    point: SpanPoint
    """What is measured of it."""
    run: Run | None = None
    """The run that it belongs to."""
    attributes: dict[str, AttributeValue] = field(default_factory=dict[str, AttributeValue], repr=False)
    failure: BaseException | Failure | None = field(default=None, repr=False)
    """What went wrong although the block goes on."""
    started: float = field(default_factory=perf_counter)
    _late: dict[str, object] = field(default_factory=dict[str, object], repr=False)
    """Content, as it was when it was to be shown, whose redaction would hold up the event loop."""

    def show(self, content: Mapping[str, object]) -> None:
        """Put *content*, by attribute, onto the span where spans carry content; never raises."""
        run = self.run
        if run is None or not run.gate.mode.on_span or not self.span.is_recording():
            return
        try:
            self.attributes.update(_written(run.gate, content, MOST_ON_A_LOOP))
        except TooLongError:
            self._late.update((name, copied(value, run.gate.max_chars)) for name, value in content.items())
        except Exception as exc:
            report_fault("agents.content", exc)

    def end(self, error: BaseException | None = None) -> None:
        """End the span and queue its point; *error* is what ended its block, and a stop is none. Never raises."""
        point = self.point
        try:
            point.seconds = perf_counter() - self.started
            where = self.span.get_span_context()
            if where.trace_flags & TraceFlags.SAMPLED:
                point.span_context = where
            failure = self.failure if error is None or isinstance(error, StopExecution) else error
            if failure is not None and not is_leaving(failure):
                point.error = error_type(failure) if isinstance(failure, BaseException) else failure.type
            if not self._late or not self._end_aside(failure, time_ns()):
                self._end(failure, None)
        except Exception as exc:
            report_fault("agents.span", exc)
        point.put()

    def _end_aside(self, failure: BaseException | Failure | None, end_time_ns: int) -> bool:
        def end() -> None:
            try:
                if self.run is not None:
                    self.attributes.update(_written(self.run.gate, self._late, None))
            except Exception as exc:
                report_fault("agents.content", exc)
            finally:
                self._end(failure, end_time_ns)

        return do_aside(end)

    def _end(self, failure: BaseException | Failure | None, end_time_ns: int | None) -> None:
        if failure is None:
            end_span(self.span, self.attributes, end_time_ns=end_time_ns)
        else:
            gate = None if self.run is None else self.run.gate
            fail_span(self.span, failure, self.attributes, gate=gate, end_time_ns=end_time_ns)


def _written(gate: ContentGate, content: Mapping[str, object], most: int | None) -> dict[str, str]:
    return {name: gate.written(value) for name, value in gate.values(content, most=most).items()}


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
