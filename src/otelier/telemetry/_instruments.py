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
RUN_BOUNDARIES: Final = tuple(0.1 * 2**power for power in range(13))
"""Seconds: 0.1, doubling to 409.6."""
CALL_BOUNDARIES: Final = tuple(2**power for power in range(8))
"""Calls: 1, doubling to 128."""


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


def run_histogram(meter: Meter) -> Histogram:
    """Return `gen_ai.invoke_agent.duration`, in s: how long one run of an agent took.

    Example:
        >>> from opentelemetry import metrics
        >>> run_histogram(metrics.get_meter("docs")).record(2.5, {"gen_ai.agent.name": "triage"})
    """
    return _seconds(meter, names.AGENT_DURATION, "Duration of agents' runs.", RUN_BOUNDARIES)


def tool_histogram(meter: Meter) -> Histogram:
    """Return `gen_ai.execute_tool.duration`, in s: how long one call of a tool took.

    Example:
        >>> from opentelemetry import metrics
        >>> tool_histogram(metrics.get_meter("docs")).record(0.2, {"gen_ai.tool.name": "search"})
    """
    return _seconds(meter, names.TOOL_DURATION, "Duration of calls of tools.")


def inference_calls_histogram(meter: Meter) -> Histogram:
    """Return `gen_ai.invoke_agent.inference_calls`: questions that one run asked its model.

    Example:
        >>> from opentelemetry import metrics
        >>> inference_calls_histogram(metrics.get_meter("docs")).record(3, {"gen_ai.agent.name": "triage"})
    """
    return _calls(meter, names.AGENT_INFERENCE_CALLS, "{inference_call}", "Calls of models in one run of an agent.")


def tool_calls_histogram(meter: Meter) -> Histogram:
    """Return `gen_ai.invoke_agent.tool_calls`: calls of tools that one run made.

    Example:
        >>> from opentelemetry import metrics
        >>> tool_calls_histogram(metrics.get_meter("docs")).record(2, {"gen_ai.agent.name": "triage"})
    """
    return _calls(meter, names.AGENT_TOOL_CALLS, "{tool_call}", "Calls of tools in one run of an agent.")


def _seconds(
    meter: Meter, name: str, description: str, boundaries: tuple[float, ...] = DURATION_BOUNDARIES
) -> Histogram:  # fmt: skip
    return meter.create_histogram(
        name, unit="s", description=description, explicit_bucket_boundaries_advisory=boundaries
    )  # fmt: skip


def _calls(meter: Meter, name: str, unit: str, description: str) -> Histogram:
    return meter.create_histogram(
        name, unit=unit, description=description, explicit_bucket_boundaries_advisory=CALL_BOUNDARIES
    )
