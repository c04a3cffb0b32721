"""Instruments are those of the conventions, and are made once for each provider."""

from __future__ import annotations

import pytest
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otelier import telemetry
from otelier.telemetry import genai_histogram, use_providers
from tests.telemetry.metering import Metering, collect


@pytest.mark.parametrize(
    ("name", "unit", "number", "bounds"),
    [
        ("gen_ai.client.operation.duration", "s", 14, (0.01, 81.92)),
        ("gen_ai.client.operation.time_to_first_chunk", "s", 14, (0.01, 81.92)),
        ("gen_ai.client.operation.time_per_output_chunk", "s", 14, (0.01, 81.92)),
        ("gen_ai.client.token.usage", "{token}", 14, (1, 67_108_864)),
        ("gen_ai.invoke_agent.duration", "s", 13, (0.1, 409.6)),
        ("gen_ai.execute_tool.duration", "s", 14, (0.01, 81.92)),
        ("gen_ai.invoke_agent.inference_calls", "{inference_call}", 8, (1, 128)),
        ("gen_ai.invoke_agent.tool_calls", "{tool_call}", 8, (1, 128)),
    ],
)
def test_histograms_have_the_boundaries_of_the_conventions(name, unit, number, bounds):
    """Name, unit and buckets are the official ones: each boundary is a fixed multiple of the one before."""
    metering = Metering(InMemoryMetricReader())
    histogram = genai_histogram(metering.provider.get_meter("test"), name)
    histogram.record(1)
    point = collect(metering.readers[0])[name]
    assert (histogram.unit, len(point.explicit_bounds)) == (unit, number)
    assert (point.explicit_bounds[0], point.explicit_bounds[-1]) == bounds
    assert len({round(high / low, 6) for low, high in zip(point.explicit_bounds, point.explicit_bounds[1:])}) == 1


def test_instruments_are_made_once_for_each_provider():
    """Instruments cost the SDK a lock and a look at its views: they are kept as long as the provider holds."""
    made: list[object] = []

    def make(meter):
        made.append(meter)
        return meter.create_histogram("docs.duration")

    metering = telemetry.Metering("otelier.docs", make)
    first, second = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False), NoOpMeterProvider()
    use_providers(meter_provider=first)
    one, queue = metering.now()
    assert metering.now() == (one, queue)
    use_providers(meter_provider=second)
    assert metering.now()[1] is not queue
    assert len(made) == 2
