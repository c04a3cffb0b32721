"""Spans that users and instrumentors start in code that runs again after a crash: the body of a workflow.

Each life of such code starts them anew. They get the same ids each time, and go out once: in the life that ends them
for the first time. So each SDK tracer is looked at when it starts a span there.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final, Protocol

from opentelemetry import trace

from otelier.faults import on_reset, report_fault
from otelier.patches import Patches, PatchPoint
from otelier.settings import patches_allowed
from otelier.telemetry._sdk_spans import before_end, forced_span_id, is_forced, withhold_span


class RepeatedSpans(Protocol):
    """Ids, start times and export of the spans of one life of such code."""

    def next_span_id(self, name: str) -> int:
        """Return the id of the span of that name that is started now, the same in each life."""
        ...

    def start_ns(self) -> int | None:
        """Return when it starts, in nanoseconds since the epoch; `None` is now."""
        ...

    def is_withheld(self) -> bool:
        """Return whether a span that ends now was exported by an earlier life, or will be by a later one."""
        ...


_current: ContextVar[RepeatedSpans | None] = ContextVar("otelier-repeated-spans", default=None)
_START_TIME: Final = 5
"""Position of `start_time` among the arguments of `start_span`."""


def repeat_spans(spans: RepeatedSpans | None) -> None:
    """Let *spans* choose ids and times of the spans that start from here on in this task; `None` ends that.

    Example:
        >>> repeat_spans(None)
    """
    _current.set(spans)
    if spans is not None and not _PATCHES.on and patches_allowed():
        _PATCHES.apply()


def repeated_start_ns() -> int | None:
    """Return when a span starts that is started here, as a replay has it; `None` is now.

    Example:
        >>> repeated_start_ns() is None
        True
    """
    spans = _current.get()
    return None if spans is None or is_forced() else spans.start_ns()


def _start_span(start: Any, tracer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    spans = _current.get()
    if spans is None or is_forced():
        return start(*args, **kwargs)
    try:
        name = args[0] if args else kwargs["name"]
        span_id = spans.next_span_id(str(name))
        if len(args) <= _START_TIME and kwargs.get("start_time") is None and (at := spans.start_ns()) is not None:
            kwargs = {**kwargs, "start_time": at}
    except Exception as exc:
        report_fault("telemetry.repeated", exc)
        return start(*args, **kwargs)
    with forced_span_id(tracer, span_id):
        span = start(*args, **kwargs)
    if span.is_recording():
        try:
            before_end(span, lambda: _withhold(span, spans))
        except Exception as exc:
            report_fault("telemetry.repeated", exc)
    return span


def _withhold(span: trace.Span, spans: RepeatedSpans) -> None:
    try:
        if spans.is_withheld():
            withhold_span(span)
    except Exception as exc:
        report_fault("telemetry.repeated", exc)


_PATCHES: Final = Patches(
    (PatchPoint("opentelemetry.sdk.trace", "Tracer", "start_span", _start_span),), place="telemetry"
)
on_reset(_PATCHES.remove)
