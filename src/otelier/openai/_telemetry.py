"""Where the signals of instrumented calls go, decided once, when instrumentation is switched on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from opentelemetry import trace
from opentelemetry._logs import Logger, LoggerProvider, get_logger
from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.trace import Span, TracerProvider

from otelier import names
from otelier.faults import read_setting
from otelier.openai._point import Instruments
from otelier.openai.content._completion_hook import CompletionHook, completion_hook
from otelier.redaction import ContentGate, read_content_gate
from otelier.settings import STREAM_USAGE
from otelier.telemetry import (
    PointQueue,
    chunk_histogram,
    duration_histogram,
    first_chunk_histogram,
    point_queue,
    token_histogram,
)


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
        stream_usage: Whether streams ask for usage; `None` is what the environment says.
        hook: What stores content elsewhere; `None` is the one that the environment names.
    """
    try:
        release = version("otelier")
    except PackageNotFoundError:  # run from its sources
        release = ""
    scope, schema = names.SCOPE_OPENAI, names.SCHEMA_URL
    meter = get_meter(scope, release, meter_provider, schema)
    gate, stored = read_content_gate(), completion_hook(hook)
    return Telemetry(
        start_span=trace.get_tracer(scope, release, tracer_provider, schema).start_span,
        instruments=Instruments(
            duration=duration_histogram(meter),
            tokens=token_histogram(meter),
            first_chunk=first_chunk_histogram(meter),
            chunk=chunk_histogram(meter),
        ),
        queue=point_queue(meter_provider),
        logger=get_logger(scope, release, logger_provider, schema),
        gate=gate,
        content=gate.mode.any or gate.emits or stored is not None,
        hook=stored,
        stream_usage=read_setting(STREAM_USAGE, stream_usage),
    )
