"""Providers and spans as other packages make them: without a hash, without weak references, standing for others."""

from __future__ import annotations

from dataclasses import dataclass
from unittest.mock import MagicMock, Mock

import openai
import pytest
import wrapt
from opentelemetry import trace
from opentelemetry._logs import LoggerProvider as ApiLoggerProvider
from opentelemetry._logs import LogRecord
from opentelemetry.metrics import MeterProvider as ApiMeterProvider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import TracerProvider as ApiTracerProvider

import otelier
from otelier.openai import OpenAIInstrumentor
from otelier.telemetry import point_queue
from otelier.testing import OpenAIServer
from tests.programs import run


@dataclass
class Equal:
    """One that equals its like, and so has no hash: what it stands for may change, as behind logfire's."""

    provider: object

    def __getattr__(self, name):
        return getattr(self.provider, name)


class Slotted:
    """One that takes neither attributes nor weak references, and hides what it stands for."""

    __slots__ = ("_inner",)

    def __init__(self, inner):
        self._inner = inner


class SlottedTracerProvider(Slotted):
    __slots__ = ()

    def get_tracer(self, *args, **kwargs):
        return self._inner.get_tracer(*args, **kwargs)

    def add_span_processor(self, processor):
        self._inner.add_span_processor(processor)


class SlottedLoggerProvider(Slotted):
    __slots__ = ()

    def get_logger(self, *args, **kwargs):
        return self._inner.get_logger(*args, **kwargs)

    def add_log_record_processor(self, processor):
        self._inner.add_log_record_processor(processor)


class SlottedMeterProvider(Slotted):
    __slots__ = ()

    def get_meter(self, *args, **kwargs):
        return self._inner.get_meter(*args, **kwargs)


ApiTracerProvider.register(Equal)
ApiLoggerProvider.register(Equal)
ApiMeterProvider.register(Equal)
ApiTracerProvider.register(SlottedTracerProvider)
ApiLoggerProvider.register(SlottedLoggerProvider)
ApiMeterProvider.register(SlottedMeterProvider)
KINDS = {
    "as they are": (lambda one: one, lambda one: one, lambda one: one),
    "equal to their like": (Equal, Equal, Equal),
    "two deep": (lambda one: Equal(Equal(one)),) * 3,
    "with slots": (SlottedTracerProvider, SlottedMeterProvider, SlottedLoggerProvider),
    "transparent": (wrapt.ObjectProxy, wrapt.ObjectProxy, wrapt.ObjectProxy),
}


class Signals:
    """Providers of the SDK, and what they export."""

    def __init__(self):
        self.spans, self.logs, self.reader = InMemorySpanExporter(), InMemoryLogRecordExporter(), InMemoryMetricReader()
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.spans))
        self.logger_provider = LoggerProvider(shutdown_on_exit=False)
        self.logger_provider.add_log_record_processor(SimpleLogRecordProcessor(self.logs))
        self.meter_provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def users(self):
        logs = [record.log_record for record in self.logs.get_finished_logs()]
        return (
            [span.attributes.get("user.id") for span in self.spans.get_finished_spans()],
            [record.attributes.get("user.id") for record in logs if record.event_name != "otelier.agent.registered"],
        )

    def metric_names(self):
        data = self.reader.get_metrics_data()
        found = [] if data is None else data.resource_metrics[0].scope_metrics
        return {metric.name for scope in found for metric in scope.metrics}


@pytest.fixture
def signals():
    made = Signals()
    yield made
    made.tracer_provider.shutdown()
    made.logger_provider.shutdown()
    made.meter_provider.shutdown()


@pytest.mark.parametrize("kinds", KINDS.values(), ids=KINDS)
def test_every_signal_carries_the_fields(kinds, signals):
    """Spans, log records and metrics of a provider of any shape are as of the SDK's own, however often `init` runs."""
    tracers, meters, loggers = (
        make(provider)
        for make, provider in zip(kinds, (signals.tracer_provider, signals.meter_provider, signals.logger_provider))
    )
    for _ in range(2):
        otelier.init(app="shop", tracer_provider=tracers, meter_provider=meters, logger_provider=loggers)
    with otelier.context(user_id="u-1"):
        tracers.get_tracer("tests").start_span("work").end()
        loggers.get_logger("tests").emit(LogRecord(body="said"))
        with OpenAIServer() as server, openai.OpenAI(base_url=server.base_url, api_key="sk-none") as client:
            client.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": "Hi"}])
    assert signals.users() == (["u-1", "u-1"], ["u-1"])
    assert otelier.flush()
    assert signals.metric_names() >= {"gen_ai.client.operation.duration", "otelier.agent.registrations"}
    processors = signals.tracer_provider._active_span_processor._span_processors
    assert sum(isinstance(one, otelier.AgentSpanProcessor) for one in processors) == 1


def test_providers_given_one_by_one(signals, caplog):
    """What a later `init` leaves out stays: all signals of calls and runs go to the providers given before."""
    otelier.init(app="shop", tracer_provider=signals.tracer_provider)
    otelier.init(meter_provider=signals.meter_provider)
    otelier.init(env="production")
    otelier.shutdown()
    otelier.init()
    with OpenAIServer() as server, openai.OpenAI(base_url=server.base_url, api_key="sk-none") as client:
        otelier.Agent("triage", "gpt-4.1", client=client).run("Hi").wait()
    names = [span.name for span in signals.spans.get_finished_spans()]
    assert names == ["chat gpt-4.1", "invoke_agent triage"]
    assert signals.metric_names() >= {"gen_ai.client.operation.duration", "gen_ai.invoke_agent.duration"}
    assert "No OpenTelemetry provider is set" not in caplog.text


def test_what_the_instrumentor_was_given_besides_stays(signals):
    """`init` with providers moves an instrumentor that was switched on before, and changes nothing else of it."""
    OpenAIInstrumentor().instrument(stream_usage=True)
    otelier.init(tracer_provider=signals.tracer_provider)
    with OpenAIServer() as server, openai.OpenAI(base_url=server.base_url, api_key="sk-none") as client:
        list(client.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": "Hi"}], stream=True))
        assert server.requests[0].body["stream_options"] == {"include_usage": True}
    (span,) = signals.spans.get_finished_spans()
    assert "gen_ai.usage.input_tokens" in span.attributes


def test_one_queue_for_a_provider_and_what_stands_for_it(signals):
    """Points given through a stand-in are collected with those of the provider itself: there is one queue for both."""
    assert point_queue(wrapt.ObjectProxy(signals.meter_provider)) is point_queue(signals.meter_provider)
    assert point_queue(Equal(signals.meter_provider)) is point_queue(signals.meter_provider)


def test_what_takes_a_providers_place(signals):
    """Where a stand-in got another provider since, `init` puts the processors on that one, too."""
    tracers, loggers = Equal(TracerProvider(shutdown_on_exit=False)), Equal(LoggerProvider(shutdown_on_exit=False))
    otelier.init(tracer_provider=tracers, logger_provider=loggers)
    tracers.provider, loggers.provider = signals.tracer_provider, signals.logger_provider
    otelier.init(tracer_provider=tracers, logger_provider=loggers)
    with otelier.context(user_id="u-1"):
        tracers.get_tracer("tests").start_span("work").end()
        loggers.get_logger("tests").emit(LogRecord(body="said"))
    assert signals.users() == (["u-1"], ["u-1"])


class Ring(SpanProcessor):
    """A processor, of log records as well, that hands on to itself."""

    def __init__(self):
        self.processor = self

    def on_emit(self, log_record):
        pass

    def force_flush(self, timeout_millis=30000):
        return True


class Bottomless(Ring):
    """A processor that hands on to a new one whenever it is asked, and whose list of processors has no end."""

    def __init__(self):
        pass

    @property
    def processor(self):
        return Bottomless()

    @property
    def _span_processors(self):
        return iter(Bottomless, None)


class Touchy(Ring):
    """A processor that raises when it is looked at."""

    @property
    def _processor(self):
        raise LookupError("private")


@pytest.mark.parametrize("make", [MagicMock, Mock, Ring, Bottomless, Touchy])
def test_processors_that_lead_nowhere(make, signals):
    """A processor behind which others seem to stand without end costs nothing: fields are there, `flush` answers."""
    signals.tracer_provider.add_span_processor(make())
    signals.logger_provider.add_log_record_processor(make())
    for _ in range(2):
        otelier.init(tracer_provider=signals.tracer_provider, logger_provider=signals.logger_provider)
    with otelier.context(user_id="u-1"):
        signals.tracer_provider.get_tracer("tests").start_span("work").end()
        signals.logger_provider.get_logger("tests").emit(LogRecord(body="said"))
    assert signals.users() == (["u-1"], ["u-1"])
    assert otelier.flush()


def test_what_cannot_be_watched_carries_the_fields(quiet_faults, signals, monkeypatch, caplog):
    """A fault of ours in the watching of losses costs neither the fields nor the answer of `flush`."""

    def fail(provider):
        raise LookupError("watch")

    monkeypatch.setattr("otelier.telemetry._exports.pipeline_parts", fail)
    otelier.init(tracer_provider=signals.tracer_provider, logger_provider=signals.logger_provider)
    with otelier.context(user_id="u-1"):
        signals.tracer_provider.get_tracer("tests").start_span("work").end()
        signals.logger_provider.get_logger("tests").emit(LogRecord(body="said"))
    assert signals.users() == (["u-1"], ["u-1"])
    assert otelier.flush()
    assert "telemetry.exports" in caplog.text


GLOBAL = """
import json, logging, otelier
from dataclasses import dataclass
from opentelemetry import _logs, metrics, trace
from opentelemetry.metrics import MeterProvider as ApiMeterProvider
from tests.setup.test_odd_providers import Equal, Signals
logging.basicConfig(level=logging.INFO)
first, second = Signals(), Signals()
tracers, meters, loggers = map(Equal, (first.tracer_provider, first.meter_provider, first.logger_provider))

def put():
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(meters)
    _logs.set_logger_provider(loggers)

def work():
    with otelier.context(user_id="u-1"), trace.get_tracer("app").start_as_current_span("work"):
        _logs.get_logger("app").emit(_logs.LogRecord(body="said"))

"""
WHEN = {
    "before": "put()\notelier.init(app='shop')\nwork()",
    "after": "otelier.init(app='shop')\nput()\nwork()",
    "again": "put()\notelier.init(app='shop')\nwork()\n"
    "tracers.provider, loggers.provider = second.tracer_provider, second.logger_provider\n"
    "otelier.init()\nwork()",
}


@pytest.mark.parametrize("when", WHEN)
def test_global_ones_without_a_hash(when):
    """Stand-ins without a hash as global providers: set before or after, or given something else to stand for."""
    program = f"{GLOBAL}{WHEN[when]}\nprint(json.dumps([first.users(), second.users(), otelier.flush()]))"
    ran = run(program)
    assert ran.answer == [[["u-1"], ["u-1"]], [["u-1"], ["u-1"]] if when == "again" else [[], []], True]
    assert ran.lines("ERROR") == []


class SlottedSpan:
    """A span that takes no attribute of its object."""

    __slots__ = ("attributes", "context")

    def __init__(self):
        self.attributes = {}
        self.context = trace.SpanContext(1, 1, is_remote=False, trace_flags=trace.TraceFlags(1))

    def get_span_context(self):
        return self.context

    def set_attributes(self, attributes):
        self.attributes.update(attributes)

    def set_attribute(self, key, value):
        self.attributes[key] = value

    def is_recording(self):
        return True

    def add_event(self, name, attributes=None, timestamp=None): ...
    def update_name(self, name): ...
    def set_status(self, status, description=None): ...
    def record_exception(self, exception, attributes=None, timestamp=None, escaped=False): ...
    def end(self, end_time=None): ...


trace.Span.register(SlottedSpan)


def test_a_span_that_takes_no_attribute_of_ours():
    """`set_context` writes to an open span of any class; what stands there already stays."""
    span = SlottedSpan()
    span.set_attribute("session.id", "theirs")
    with trace.use_span(span):
        otelier.set_context(user_id="u-1", session_id="s-1")
        otelier.set_context(agent="billing")
        assert otelier.get_context().user_id == "u-1"
    assert span.attributes["user.id"] == "u-1"
    assert span.attributes["session.id"] == "theirs"
    assert span.attributes["gen_ai.agent.name"] == "billing"
