"""Telemetry of instrumented calls, chosen when instrumentation starts, and the measurements of one call as one point.

A point's attributes are built at collection and not in the user's call.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from typing import Final

from opentelemetry import trace
from opentelemetry._logs import Logger, LoggerProvider, get_logger
from opentelemetry.context import Context
from opentelemetry.metrics import Histogram, MeterProvider, get_meter
from opentelemetry.trace import Span, SpanContext, TracerProvider
from opentelemetry.util.types import AttributeValue

from otelier import names
from otelier.faults import read_setting
from otelier.identity import agent_within_cardinality
from otelier.openai.content._completion_hook import CompletionHook, completion_hook
from otelier.redaction import ContentGate, read_content_gate
from otelier.settings import STREAM_USAGE
from otelier.telemetry import (
    PointQueue,
    genai_histogram,
    point_queue,
    read_metric_tenants,
    tenant_attributes,
    within_cardinality,
)

_NO_FIELDS: Final[Mapping[str, AttributeValue]] = {}


@dataclass(frozen=True, slots=True)
class Instruments:
    """The histograms that calls are recorded on."""

    duration: Histogram
    tokens: Histogram
    first_chunk: Histogram
    chunk: Histogram


class CallPoint:
    """The measurements of one call; filled while it runs, recorded once."""

    __slots__ = (
        "_instruments",
        "_request",
        "error",
        "extra",
        "fields",
        "input_tokens",
        "model",
        "output_tokens",
        "seconds",
        "span_context",
    )

    def __init__(self, instruments: Instruments, request: Mapping[str, AttributeValue]) -> None:
        self._instruments = instruments
        self._request = request
        self.span_context: SpanContext | None = None
        """Where exemplars point to; `None` when the span is not sampled."""
        self.seconds = 0.0
        self.fields: Mapping[str, AttributeValue] = _NO_FIELDS
        """Attributes of the fields that the call was made with; its agent and its tenant are on metrics."""
        self.model: str | None = None
        """Model that answered."""
        self.extra: Mapping[str, AttributeValue] | None = None
        """What the answer adds to the attributes of duration and tokens."""
        self.error: str | None = None
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None

    def attributes(self) -> dict[str, AttributeValue]:
        """Return what all measurements of the call carry."""
        attributes = dict(self._request)
        if self.model is not None and within_cardinality(names.RESPONSE_MODEL, self.model):
            attributes[names.RESPONSE_MODEL] = self.model
        agent = self.fields.get(names.AGENT_NAME)
        if isinstance(agent, str) and agent_within_cardinality(agent):
            attributes[names.AGENT_NAME] = agent
        attributes.update(tenant_attributes(self.fields.get(names.TENANT_ID)))
        return attributes

    def record(self, context: Context) -> None:
        """Record duration and tokens with *context*; the queue calls it."""
        attributes = self.attributes()
        if self.extra is not None:
            attributes.update((key, value) for key, value in self.extra.items() if within_cardinality(key, value))
        if self.error is not None:
            attributes[names.ERROR_TYPE] = (
                self.error if within_cardinality(names.ERROR_TYPE, self.error) else names.OTHER
            )
        instruments = self._instruments
        instruments.duration.record(self.seconds, attributes, context)
        if self.input_tokens is not None:
            instruments.tokens.record(self.input_tokens, {**attributes, names.TOKEN_TYPE: "input"}, context)
        if self.output_tokens is not None:
            instruments.tokens.record(self.output_tokens, {**attributes, names.TOKEN_TYPE: "output"}, context)

    def chunk_times(self, started: float, times: list[float]) -> CallPoint | _StreamPoint:
        """Return this point with the chunks of a stream: *started* and *times* are seconds of one clock."""
        if not times:
            return self
        return _StreamPoint(self, self._instruments, started, array("d", times))


class _StreamPoint:
    """A call's point and the times of its stream's chunks, 8 bytes each; what lies between is counted at collection."""

    __slots__ = ("_call", "_instruments", "_started", "_times", "span_context")

    def __init__(self, call: CallPoint, instruments: Instruments, started: float, times: array[float]) -> None:
        self.span_context = call.span_context
        self._call = call
        self._instruments = instruments
        self._started = started
        self._times = times

    def record(self, context: Context) -> None:
        self._call.record(context)
        attributes = self._call.attributes()
        times = self._times
        self._instruments.first_chunk.record(max(times[0] - self._started, 0.0), attributes, context)
        record = self._instruments.chunk.record
        for soon, late in pairwise(times):
            record(max(late - soon, 0.0), attributes, context)


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """Tracer, histograms, queue, logger and content gate of one `instrument()`."""

    start_span: Callable[..., Span]
    instruments: Instruments
    queue: PointQueue
    logger: Logger
    gate: ContentGate
    content: bool
    """Whether content, or an event without it, goes anywhere at all."""
    hook: CompletionHook | None
    """What stores content elsewhere."""
    stream_usage: bool
    """Whether streams ask for usage when their callers do not."""


class Switch:
    """What instrumented calls look at first."""

    __slots__ = ("telemetry",)

    def __init__(self) -> None:
        self.telemetry: Telemetry | None = None
        """`None` lets every call pass through, also in wrappers that somebody kept."""


switch: Final = Switch()


def make_telemetry(
    tracer_provider: TracerProvider | None,
    meter_provider: MeterProvider | None,
    logger_provider: LoggerProvider | None,
    *,
    stream_usage: bool | None = None,
    hook: object | None = None,
) -> Telemetry:
    """Return telemetry that goes to the given providers; `None` is the global one, also when it is set later.

    Args:
        tracer_provider: For spans.
        meter_provider: For metrics.
        logger_provider: For events.
        stream_usage: Whether streams ask for usage; `None` reads the environment.
        hook: What stores content elsewhere; `None` is the one that the environment names.
    """
    try:
        release = version("otelier")
    except PackageNotFoundError:  # pragma: no cover -- run from its sources
        release = ""
    scope, schema = names.SCOPE_OPENAI, names.SCHEMA_URL
    meter = get_meter(scope, release, meter_provider, schema)
    gate, stored = read_content_gate(), completion_hook(hook)
    read_metric_tenants()
    return Telemetry(
        start_span=trace.get_tracer(scope, release, tracer_provider, schema).start_span,
        instruments=Instruments(
            duration=genai_histogram(meter, names.OPERATION_DURATION),
            tokens=genai_histogram(meter, names.TOKEN_USAGE),
            first_chunk=genai_histogram(meter, names.TIME_TO_FIRST_CHUNK),
            chunk=genai_histogram(meter, names.TIME_PER_OUTPUT_CHUNK),
        ),
        queue=point_queue(meter_provider),
        logger=get_logger(scope, release, logger_provider, schema),
        gate=gate,
        content=gate.mode.any or gate.emits or stored is not None,
        hook=stored,
        stream_usage=read_setting(STREAM_USAGE, stream_usage),
    )
