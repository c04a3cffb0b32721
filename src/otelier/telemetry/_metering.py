"""Instruments: the GenAI histograms of the conventions, and those of one scope, made once for each meter provider.

See: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

from opentelemetry.metrics import Histogram, Meter, MeterProvider

from otelier import names
from otelier.faults import on_reset
from otelier.telemetry._point_queue import PointQueue, point_queue
from otelier.telemetry._providers import given_providers, meter_for, meter_provider

Instruments = TypeVar("Instruments")

_SECONDS: Final = tuple(0.01 * 2**power for power in range(14))
"""0.01, doubling to 81.92."""
_RUN_SECONDS: Final = tuple(0.1 * 2**power for power in range(13))
"""0.1, doubling to 409.6."""
_TOKENS: Final = tuple(4**power for power in range(14))
"""1, times four each, to 67,108,864."""
_CALLS: Final = tuple(2**power for power in range(8))
"""1, doubling to 128."""


class _Form(NamedTuple):
    unit: str
    boundaries: tuple[float, ...]
    description: str


_HISTOGRAMS: Final[Mapping[str, _Form]] = {
    names.OPERATION_DURATION: _Form("s", _SECONDS, "Duration of GenAI client operations."),
    names.TOKEN_USAGE: _Form("{token}", _TOKENS, "Tokens used by GenAI clients, by input and output."),
    names.TIME_TO_FIRST_CHUNK: _Form("s", _SECONDS, "Time from the request to the first chunk of a stream."),
    names.TIME_PER_OUTPUT_CHUNK: _Form("s", _SECONDS, "Time between the chunks of a stream."),
    names.AGENT_DURATION: _Form("s", _RUN_SECONDS, "Duration of agents' runs."),
    names.TOOL_DURATION: _Form("s", _SECONDS, "Duration of calls of tools."),
    names.AGENT_INFERENCE_CALLS: _Form("{inference_call}", _CALLS, "Calls of models in one run of an agent."),
    names.AGENT_TOOL_CALLS: _Form("{tool_call}", _CALLS, "Calls of tools in one run of an agent."),
}


def genai_histogram(meter: Meter, name: str) -> Histogram:
    """Return the histogram *name*, one of `otelier.names`, with unit and bucket boundaries as the conventions ask.

    Example:
        >>> from opentelemetry import metrics
        >>> genai_histogram(metrics.get_meter("docs"), names.OPERATION_DURATION).record(0.25)
    """
    histogram = _HISTOGRAMS[name]
    return meter.create_histogram(
        name,
        unit=histogram.unit,
        description=histogram.description,
        explicit_bucket_boundaries_advisory=histogram.boundaries,
    )


class Metering(Generic[Instruments]):
    """The instruments of one scope, made once for each provider, and the queue of their points.

    Example:
        >>> metering = Metering("otelier.docs", lambda meter: meter.create_histogram("docs.duration", unit="s"))
        >>> histogram, queue = metering.now()
    """

    def __init__(self, scope: str, make: Callable[[Meter], Instruments]) -> None:
        self._scope = scope
        self._make = make
        self._last: tuple[MeterProvider, Instruments, PointQueue] | None = None
        on_reset(self._forget)

    def now(self) -> tuple[Instruments, PointQueue]:
        """Return instruments and queue of the provider that is in use now."""
        provider, last = meter_provider(), self._last
        if last is None or last[0] is not provider:
            made = self._make(meter_for(self._scope))
            last = self._last = (provider, made, point_queue(given_providers()["meter_provider"]))
        return last[1], last[2]

    def _forget(self) -> None:
        self._last = None
