"""The GenAI histograms, with the bucket boundaries the conventions ask for.

See: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/
"""

from __future__ import annotations

from typing import Final

from opentelemetry.metrics import Histogram, Meter

from otelier import names

DURATION_BOUNDARIES: Final = tuple(0.01 * 2**power for power in range(14))
"""Seconds: 0.01, doubling to 81.92."""
TOKEN_BOUNDARIES: Final = tuple(4**power for power in range(14))
"""Tokens: 1, times four each, to 67,108,864."""


def duration_histogram(meter: Meter) -> Histogram:
    """Return `gen_ai.client.operation.duration`, in s: how long one GenAI operation took, stream included.

    Example:
        >>> from opentelemetry import metrics
        >>> duration_histogram(metrics.get_meter("docs")).record(0.25, {"gen_ai.operation.name": "chat"})
    """
    return _seconds(meter, names.OPERATION_DURATION, "Duration of GenAI client operations.")


def token_histogram(meter: Meter) -> Histogram:
    """Return `gen_ai.client.token.usage`, in tokens: one record per operation and `gen_ai.token.type`.

    Example:
        >>> from opentelemetry import metrics
        >>> token_histogram(metrics.get_meter("docs")).record(12, {"gen_ai.token.type": "input"})
    """
    return meter.create_histogram(
        names.TOKEN_USAGE,
        unit="{token}",
        description="Tokens used by GenAI clients, by input and output.",
        explicit_bucket_boundaries_advisory=TOKEN_BOUNDARIES,
    )


def first_chunk_histogram(meter: Meter) -> Histogram:
    """Return `gen_ai.client.operation.time_to_first_chunk`, in s: from the request to a stream's first chunk.

    Example:
        >>> from opentelemetry import metrics
        >>> first_chunk_histogram(metrics.get_meter("docs")).record(0.08)
    """
    return _seconds(meter, names.TIME_TO_FIRST_CHUNK, "Time from the request to the first chunk of a stream.")


def chunk_histogram(meter: Meter) -> Histogram:
    """Return `gen_ai.client.operation.time_per_output_chunk`, in s: one record per chunk after the first.

    Example:
        >>> from opentelemetry import metrics
        >>> chunk_histogram(metrics.get_meter("docs")).record(0.02)
    """
    return _seconds(meter, names.TIME_PER_OUTPUT_CHUNK, "Time between the chunks of a stream.")


def _seconds(meter: Meter, name: str, description: str) -> Histogram:
    return meter.create_histogram(
        name, unit="s", description=description, explicit_bucket_boundaries_advisory=DURATION_BOUNDARIES
    )
