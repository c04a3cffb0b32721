"""Signals of our own go to the provider that holds now: the one that was given, else the global one."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry._logs import NoOpLoggerProvider
from opentelemetry._logs import _internal as logs_internal
from opentelemetry.context import get_current
from opentelemetry.metrics import MeterProvider as ApiMeterProvider
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.metrics import _internal as metrics_internal
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracerProvider, Tracer

from otelier.faults import run_resets
from otelier.telemetry import (
    Metering,
    emit_event,
    innermost_provider,
    is_set,
    meter_for,
    use_providers,
)
from otelier.telemetry._providers import known_providers, tracer_for
from tests.programs import run


class Counting(TracerProvider):
    """Counts how often it is asked for a tracer."""

    asked = 0

    def get_tracer(self, *args: object, **kwargs: object) -> Tracer:
        self.asked += 1
        return super().get_tracer(*args, **kwargs)  # type: ignore[arg-type]


def test_a_tracer_provider_is_asked_once_for_each_scope():
    """The SDK changes the filters of warnings with each question, so that those shown once are shown again."""
    provider = Counting(shutdown_on_exit=False)
    use_providers(tracer_provider=provider)
    first = tracer_for("otelier.a")
    assert [tracer_for("otelier.a") for _ in range(3)] == [first] * 3
    assert tracer_for("otelier.b") is not first
    assert provider.asked == 2


def test_the_provider_that_holds_now():
    """A tracer of the former provider is not used any more once there is another."""
    former, later = Counting(shutdown_on_exit=False), Counting(shutdown_on_exit=False)
    use_providers(tracer_provider=former)
    before = tracer_for("otelier.a")
    use_providers(tracer_provider=later)
    after = tracer_for("otelier.a")
    assert after is not before
    use_providers(tracer_provider=former)
    assert tracer_for("otelier.a") is not after  # whether it is the one from before is the SDK's to say
    assert (former.asked, later.asked) == (2, 1)


class Sink:
    """A provider of each signal, and what arrived there."""

    def __init__(self) -> None:
        self.spans, self.records, self.reader = (
            InMemorySpanExporter(),
            InMemoryLogRecordExporter(),
            InMemoryMetricReader(),
        )
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.spans))
        self.logger_provider = LoggerProvider(shutdown_on_exit=False)
        self.logger_provider.add_log_record_processor(SimpleLogRecordProcessor(self.records))
        self.meter_provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def got(self) -> tuple[int, int, int]:
        """How many spans, log records and metrics came."""
        data = self.reader.get_metrics_data()
        found = (
            0
            if data is None
            else sum(len(one.metrics) for group in data.resource_metrics for one in group.scope_metrics)
        )
        return len(self.spans.get_finished_spans()), len(self.records.get_finished_logs()), found


def send() -> None:
    tracer_for("otelier.docs").start_span("work").end()
    emit_event("otelier.docs", "docs.example", {}, get_current())
    meter_for("otelier.docs").create_counter("docs.count").add(1)


def test_given_providers_get_all(otelier_spans):
    """What was given holds for every signal, and the global providers get nothing of it."""
    sink = Sink()
    use_providers(
        tracer_provider=sink.tracer_provider, meter_provider=sink.meter_provider, logger_provider=sink.logger_provider
    )
    send()
    assert sink.got() == (1, 1, 1)
    assert otelier_spans.spans == ()


def test_given_one_by_one():
    """A later call keeps what it does not name."""
    first, second = Sink(), Sink()
    use_providers(tracer_provider=first.tracer_provider, logger_provider=first.logger_provider)
    use_providers(meter_provider=second.meter_provider, tracer_provider=second.tracer_provider)
    send()
    assert (first.got(), second.got()) == ((0, 1, 0), (1, 0, 1))


def test_none_was_given(otelier_spans):
    """The global provider holds then, also after others were given and forgotten."""
    sink = Sink()
    use_providers(tracer_provider=sink.tracer_provider)
    run_resets()
    tracer_for("otelier.docs").start_span("work").end()
    assert (sink.got()[0], len(otelier_spans.spans)) == (0, 1)


SET_LATER = """
import json
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from otelier.telemetry import is_set
from otelier.telemetry._providers import tracer_for

before = tracer_for("otelier.docs")
assert not is_set(trace.get_tracer_provider())
assert not before.start_span("work").is_recording()
trace.set_tracer_provider(TracerProvider())
assert tracer_for("otelier.docs") is not before
print(json.dumps(tracer_for("otelier.docs").start_span("work").is_recording()))
"""


def test_a_global_provider_that_is_set_later():
    """Asked before and after, the register answers with what holds at that moment."""
    assert run(SET_LATER).answer is True


class Odd(ApiMeterProvider):
    """A provider that has no hash, equals everything, is false, and takes no attribute of ours."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True

    def __bool__(self) -> bool:
        return False

    def get_meter(self, *args, **kwargs):
        return NoOpMeterProvider().get_meter(*args, **kwargs)


def test_an_odd_provider():
    """A provider is known by what it is, whatever it says of itself."""
    one, two = Odd(), Odd()
    use_providers(meter_provider=one)
    use_providers(meter_provider=two)
    known = known_providers()
    assert [any(provider is each for provider in known) for each in (one, two)] == [True, True]
    assert Metering("otelier.docs", lambda meter: meter.create_counter("docs.count")).now()[0] is not None


def test_a_provider_that_is_given_twice_is_known_once():
    """`flush` asks each provider once."""
    provider = TracerProvider(shutdown_on_exit=False)
    use_providers(tracer_provider=provider)
    use_providers(tracer_provider=provider)
    assert sum(known is provider for known in known_providers()) == 1


class Standing(NoOpTracerProvider):
    """Stands for another provider, as logfire's do."""

    def __init__(self, provider):
        self.provider = provider


def test_the_innermost_provider():
    """Whatever stands for a provider is seen through, and one that stands for itself ends the search."""
    provider = NoOpTracerProvider()
    assert innermost_provider(Standing(Standing(provider))) is provider
    endless = Standing(None)
    endless.provider = endless
    assert innermost_provider(endless) is endless


STAND_INS = (
    trace.ProxyTracerProvider(),
    logs_internal.ProxyLoggerProvider(),
    metrics_internal._ProxyMeterProvider(),
)


@pytest.mark.parametrize("provider", STAND_INS, ids=lambda provider: type(provider).__name__)
def test_the_apis_stand_ins_are_no_providers(provider):
    """Before a provider is set the API gives a stand-in, which loses what it is given."""
    assert not is_set(provider)


@pytest.mark.parametrize(
    "provider",
    [NoOpTracerProvider(), NoOpMeterProvider(), NoOpLoggerProvider()],
    ids=lambda provider: type(provider).__name__,
)
def test_whatever_else_is_a_provider(provider):
    """A provider that does nothing was set by somebody who wants nothing."""
    assert is_set(provider)
