"""Spans whose ids and sampled flag are given: those of code that runs again after a crash.

The SDK lets nobody choose them, so this reads and sets what its tracers and spans are made of. See `_sdk`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, Tracer
from opentelemetry.util.types import AttributeValue

from otelier.telemetry._sdk import warn_missing

_SAMPLING: Final = "opentelemetry.sdk.trace.sampling"
_forced: ContextVar[SpanContext | None] = ContextVar("otelier-forced-span-context", default=None)
_forced_id: ContextVar[int | None] = ContextVar("otelier-forced-span-id", default=None)


class _ForcedIds:
    """A tracer's id generator, but for spans whose ids are given."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator

    def generate_span_id(self) -> int:
        forced = _forced.get()
        if forced is not None:
            return forced.span_id
        span_id = _forced_id.get()
        if span_id is None:
            return self._generator.generate_span_id()
        _forced_id.set(None)  # a processor may start one more meanwhile
        return span_id

    def generate_trace_id(self) -> int:
        forced = _forced.get()
        return self._generator.generate_trace_id() if forced is None else forced.trace_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generator, name)


class _ForcedSampler:
    """A tracer's sampler, but for spans whose sampled flag is given: it is not asked about them."""

    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler

    def should_sample(self, parent_context: Any, trace_id: int, name: str, *args: Any, **kwargs: Any) -> Any:
        forced = _forced.get()
        if forced is None:
            return self._sampler.should_sample(parent_context, trace_id, name, *args, **kwargs)
        sampling = sys.modules[_SAMPLING]  # loaded, since the tracer has a sampler
        decision = sampling.Decision.RECORD_AND_SAMPLE if forced.trace_flags.sampled else sampling.Decision.DROP
        attributes = args[1] if len(args) > 1 else kwargs.get("attributes")
        return sampling.SamplingResult(decision, attributes, forced.trace_state)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sampler, name)


@contextmanager
def forced_span_context(tracer: Tracer, forced: SpanContext | None) -> Generator[None]:
    """Give the span that *tracer* starts in the block the ids, sampled flag and trace state of *forced*.

    A span with a parent has its parent's trace id. `None`, and a tracer that is not the SDK's, change nothing. The
    SDK's `Tracer.id_generator` and `Tracer.sampler` are public; only to set them is not foreseen.
    """
    if forced is None or not _can_be_forced(tracer):
        yield
        return
    token = _forced.set(forced)
    try:
        yield
    finally:
        _forced.reset(token)


@contextmanager
def forced_span_id(tracer: Tracer, span_id: int) -> Generator[None]:
    """Give the span that *tracer* starts in the block that id, and leave the rest to its provider."""
    if not _can_be_forced(tracer):
        yield
        return
    token = _forced_id.set(span_id)
    try:
        yield
    finally:
        _forced_id.reset(token)


def is_forced() -> bool:
    """Return whether the span that is started here has its ids given."""
    return _forced.get() is not None


def _can_be_forced(tracer: Any) -> bool:
    tracer = _sdk_tracer(tracer)
    try:
        if not isinstance(tracer.id_generator, _ForcedIds):
            tracer.sampler, tracer.id_generator = _ForcedSampler(tracer.sampler), _ForcedIds(tracer.id_generator)
    except AttributeError:
        warn_missing(tracer, "id_generator", "spans of a workflow that is resumed get new ids")
        return False
    return True


def _sdk_tracer(tracer: Any) -> Any:
    # A stand-in of the API, of logfire or of our own recorder has the SDK's inside.
    while (inner := getattr(tracer, "_tracer", None) or getattr(tracer, "tracer", None)) is not None:
        tracer = inner
    return tracer


def would_sample(
    tracer: Tracer, trace_id: int, name: str, kind: SpanKind, attributes: Mapping[str, AttributeValue]
) -> bool | None:
    """Ask the sampler of *tracer* about a span without a parent that is not made here; `None` where there is none."""
    sampler = getattr(_sdk_tracer(tracer), "sampler", None)
    if sampler is None:
        return None
    return bool(sampler.should_sample(Context(), trace_id, name, kind, attributes, ()).decision.is_sampled())


def withhold_span(span: Any) -> None:
    """Take the sampled flag from *span*, which is still open: processors see it end, and no exporter gets it."""
    where = getattr(span, "_context", None)
    if not isinstance(where, SpanContext):
        warn_missing(span, "_context", "spans of a workflow that is resumed are exported twice")
        return
    flags = TraceFlags(where.trace_flags & ~TraceFlags.SAMPLED)
    span._context = SpanContext(where.trace_id, where.span_id, where.is_remote, flags, where.trace_state)


def before_end(span: Any, do: Callable[[], object]) -> None:
    """Call *do* once, when *span* is ended, before its processors see it."""
    end = span.end

    def ended(end_time: int | None = None) -> None:
        if "end" in vars(span):
            del span.end  # the circle of span and function goes with it
        do()
        end(end_time)

    span.end = ended
