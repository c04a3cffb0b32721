"""OpenTelemetry's private names: a case for each, which names what stops working where a new release lacks it."""

from __future__ import annotations

import ast
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from opentelemetry import _logs, context, metrics, propagate, trace
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    InMemoryLogRecordExporter,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, InMemoryMetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext
from opentelemetry.util import _decorator

import otelier
from otelier.redaction import mask_value
from otelier.telemetry import _sdk, _sdk_spans

SOURCE = Path(otelier.__file__).parent


class Pipelines:
    """Providers of the SDK with a processor or reader of each kind that exports."""

    def __init__(self):
        self.spans, self.logs = InMemorySpanExporter(), InMemoryLogRecordExporter()
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.logger_provider = LoggerProvider(shutdown_on_exit=False)
        self.reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.batch = BatchSpanProcessor(self.spans, schedule_delay_millis=60_000)
        self.log_batch = BatchLogRecordProcessor(self.logs, schedule_delay_millis=60_000)
        self.tracer_provider.add_span_processor(self.batch)
        self.logger_provider.add_log_record_processor(self.log_batch)
        self.tracer = self.tracer_provider.get_tracer("tests")

    def shutdown(self):
        self.tracer_provider.shutdown()
        self.logger_provider.shutdown()
        self.meter_provider.shutdown()


@pytest.fixture
def sdk():
    made = Pipelines()
    yield made
    made.shutdown()


class Private(NamedTuple):
    """A private name that otelier reads."""

    name: str
    stops: str
    """What stops working without it."""
    works: Callable[[Pipelines], Any]
    """Whether it is there, and what it is expected to be."""


def exporting_reader(sdk):
    reader = PeriodicExportingMetricReader(ConsoleMetricExporter(), export_interval_millis=float("inf"))
    try:
        return _sdk.exporter_of(reader)
    finally:
        reader._shutdown = True


def span_of(sdk):
    return sdk.tracer.start_span("work", attributes={"key": "value"})


def is_global(one, provider):
    return one.read()[0] in (None, provider) or one.read()[0].__class__ is provider.__class__


FIELDS_LATE = "the processor reads the span's public views, 0.5 us dearer for each span"
NAMES = [
    Private(
        "_active_span_processor._span_processors",
        "losses of spans are not counted, `flush` believes exporters, the doctor shows no span processors",
        lambda sdk: _sdk.processors_of(sdk.tracer_provider) == [sdk.batch],
    ),
    Private(
        "_multi_log_record_processor._log_record_processors",
        "losses of log records are not counted, the doctor shows no log processors",
        lambda sdk: _sdk.processors_of(sdk.logger_provider) == [sdk.log_batch],
    ),
    Private(
        "_multi_log_record_processor._lock",
        "records that a processor exports at once carry no fields: ours stands behind it",
        lambda sdk: (
            _sdk.put_first(sdk.logger_provider, "ours")
            and _sdk.processors_of(sdk.logger_provider) == ["ours", sdk.log_batch]
            and setattr(sdk.logger_provider._multi_log_record_processor, "_log_record_processors", (sdk.log_batch,))
            is None
        ),
    ),
    Private(
        "_metric_readers",
        "losses of metrics are not counted, the doctor shows no readers",
        lambda sdk: _sdk.processors_of(sdk.meter_provider) == [sdk.reader],
    ),
    Private(
        "_batch_processor._exporter",
        "losses of batch processors are not counted",
        lambda sdk: (_sdk.exporter_of(sdk.batch), _sdk.exporter_of(sdk.log_batch)) == (sdk.spans, sdk.logs),
    ),
    Private(
        "span_exporter",
        "losses of `SimpleSpanProcessor` are not counted",
        lambda sdk: _sdk.exporter_of(SimpleSpanProcessor(sdk.spans)) is sdk.spans,
    ),
    Private(
        "_exporter",
        "losses of `SimpleLogRecordProcessor` and of metric readers are not counted",
        lambda sdk: _sdk.exporter_of(SimpleLogRecordProcessor(sdk.logs)) is sdk.logs and exporting_reader(sdk),
    ),
    Private(
        "_batch_processor._queue",
        "what finds a full queue is not counted",
        lambda sdk: [len(_sdk.batch_of(part)[1]) for part in (sdk.batch, sdk.log_batch)] == [0, 0],
    ),
    Private(
        "_session",
        "a forked child sends over its parent's connection",
        lambda sdk: [hasattr(session, "adapters") for session in _sdk.sessions_of(OTLPSpanExporter())] == [True],
    ),
    Private(
        "_measurement_consumer._reader_storages",
        "no metric point waits for its collection: a call records its own, 30 us",
        lambda sdk: _sdk.reader_check(sdk.meter_provider)() is True,
    ),
    Private(
        "MeterProvider._shutdown",
        "points that come after shutdown wait for ever",
        lambda sdk: sdk.meter_provider.shutdown() or _sdk.reader_check(sdk.meter_provider)() is None,
    ),
    Private(
        "_measurement_consumer._lock",
        "a queue that is found during a collection may wait for it for ever",
        lambda sdk: (
            not _sdk.is_collecting(sdk.meter_provider)
            and hasattr(_sdk.collector_of(sdk.meter_provider)._lock, "locked")
        ),
    ),
    Private(
        "Tracer.id_generator",
        "a span of a resumed workflow gets new ids",
        lambda sdk: (forced(sdk).trace_id, forced(sdk).span_id) == (6, 7),
    ),
    Private(
        "Tracer.sampler",
        "a span of a resumed workflow is sampled again",
        lambda sdk: not forced(sdk).trace_flags.sampled,
    ),
    Private(
        "Span._context",
        "a span that will be made again by a resumed workflow is exported twice",
        lambda sdk: not withheld(sdk).trace_flags.sampled,
    ),
    Private(
        "_set_tracer_provider",
        "a provider set by who imported `set_tracer_provider` before otelier gets no processor",
        lambda sdk: _sdk.GlobalProvider.TRACER.setter.startswith("_"),
    ),
    Private(
        "_set_meter_provider",
        "a provider set by who imported `set_meter_provider` before otelier reports no losses",
        lambda sdk: _sdk.GlobalProvider.METER.setter.startswith("_"),
    ),
    Private(
        "_set_logger_provider",
        "a provider set by who imported `set_logger_provider` before otelier gets no processor",
        lambda sdk: _sdk.GlobalProvider.LOGGER.setter.startswith("_"),
    ),
    Private(
        "_TRACER_PROVIDER",
        "the fixture `otelier_spans` cannot take the global provider's place, nor give it back",
        lambda sdk: is_global(_sdk.GlobalProvider.TRACER, trace.get_tracer_provider()),
    ),
    Private(
        "_METER_PROVIDER",
        "the fixture `otelier_spans` cannot take the global provider's place, nor give it back",
        lambda sdk: is_global(_sdk.GlobalProvider.METER, metrics.get_meter_provider()),
    ),
    Private(
        "_LOGGER_PROVIDER",
        "the fixture `otelier_spans` cannot take the global provider's place, nor give it back",
        lambda sdk: is_global(_sdk.GlobalProvider.LOGGER, _logs.get_logger_provider()),
    ),
    Private(
        "_PROXY_METER_PROVIDER",
        "meters taken before a provider was set do not follow the fixture",
        lambda sdk: (
            hasattr(_sdk._EARLY_METERS, "_real_meter_provider") and callable(_sdk._EARLY_METERS.on_set_meter_provider)
        ),
    ),
    Private(
        "_SUPPRESS_INSTRUMENTATION_KEY",
        "calls inside `suppress_instrumentation` of an older opentelemetry-instrumentation are reported",
        lambda sdk: _sdk.SUPPRESS_INSTRUMENTATION == context._SUPPRESS_INSTRUMENTATION_KEY,
    ),
    Private(
        "CompositePropagator._propagators",
        "the doctor names the composite and not its propagators",
        lambda sdk: (
            not isinstance(propagate.get_global_textmap(), CompositePropagator)
            or len(_sdk.propagators_of(propagate.get_global_textmap())) > 1
        ),
    ),
    Private("Span._attributes._dict", FIELDS_LATE, lambda sdk: span_of(sdk)._attributes._dict == {"key": "value"}),
    Private(
        "ReadableSpan._attributes._dict, ._name, ._status",
        "secrets that were read are not masked in spans",
        lambda sdk: masked_in(sdk) == ("[REDACTED:secret]", {"key": "[REDACTED:secret]"}, "[REDACTED:secret]"),
    ),
    Private("Span._kind", FIELDS_LATE, lambda sdk: span_of(sdk)._kind is trace.SpanKind.INTERNAL),
    Private("Span._instrumentation_scope._name", FIELDS_LATE, lambda sdk: span_of(sdk)._instrumentation_scope._name),
    Private(
        "_is_instrumented_by_opentelemetry",
        "a call is left to an instrumentation of openai that was switched off",
        lambda sdk: BaseInstrumentor._is_instrumented_by_opentelemetry is False and BaseInstrumentor._instance is None,
    ),
    Private(
        "_agnosticcontextmanager",
        "tracers of the fixture are no decorators of async functions",
        lambda sdk: callable(_decorator._agnosticcontextmanager),
    ),
    Private("metrics._Gauge", "meters of the fixture make no gauges", lambda sdk: isinstance(metrics._Gauge, type)),
]


def forced(sdk):
    with _sdk_spans.forced_span_context(sdk.tracer, SpanContext(6, 7, is_remote=False)):
        return sdk.tracer.start_span("work").get_span_context()


def masked_in(sdk):
    mask_value("canary")
    span = sdk.tracer.start_span("canary", attributes={"key": "canary"})
    span.set_status(trace.StatusCode.ERROR, "canary")
    read = span._readable_span()
    _sdk.mask_span(read)
    return read.name, dict(read.attributes), read.status.description


def withheld(sdk):
    span = span_of(sdk)
    _sdk_spans.withhold_span(span)
    return span.get_span_context()


@pytest.mark.parametrize("private", NAMES, ids=lambda private: private.name)
def test_a_private_name_is_there(private, sdk):
    """This release of OpenTelemetry has each private name that otelier reads, and it is what it was."""
    try:
        works = private.works(sdk)
    except (AttributeError, TypeError):
        works = False
    assert works, f"OpenTelemetry has no `{private.name}` as it was in 1.39 to 1.45: {private.stops}"


ELSEWHERE = {
    "fields/processors.py": {"_attributes", "_dict", "_kind", "_instrumentation_scope", "_name"},
    "fields/_inheritance.py": {"_attributes"},
    "openai/_coexistence.py": {"_attributes", "_dict", "_instance", "_is_instrumented_by_opentelemetry"},
    "openai/streams/_streamed.py": {"_attributes"},  # a method of our own
    "testing/_global_providers.py": {"_agnosticcontextmanager", "_Gauge"},
}
"""Where a private name is read outside the one module, since a function would cost time, or the class is a base."""
COMMON = {"_lock", "_name", "_kind", "_queue", "_shutdown", "_session", "_exporter", "_instance", "_dict"}
"""Private names that classes of our own have as well."""


def private_parts():
    parts = {part for private in NAMES for part in private.name.split(".") if part.startswith("_")}
    return parts - COMMON


def read_in(path: Path) -> set[str]:
    """Return the private names of OpenTelemetry that a module reads, as attributes or in strings."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "self"):
            found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
            found.update(node.value.split("."))
        elif isinstance(node, ast.ImportFrom):
            found.update(alias.name for alias in node.names)
    return found & private_parts()


def test_private_names_are_read_in_two_modules():
    """A new release of OpenTelemetry can break two modules, and the places that the test's list names."""
    modules = {path.relative_to(SOURCE).as_posix(): path for path in SOURCE.rglob("*.py")}
    del modules["telemetry/_sdk.py"], modules["telemetry/_sdk_spans.py"]
    read = {place: read_in(path) - ELSEWHERE.get(place, set()) for place, path in modules.items()}
    assert {place: names for place, names in read.items() if names} == {}


GONE = {
    "lists": ("_LISTS", dict.fromkeys(_sdk._LISTS, ("_gone",)), 3),
    "log chain": ("_LOG_CHAIN", "_gone", 1),
    "exporters": ("_EXPORTERS", ("_gone",), 2),
    "batch": ("_BATCH", "_gone", 2),
    "queue": ("_QUEUE", "_gone", 2),
    "consumer": ("_CONSUMER", "_gone", 1),
}


@pytest.mark.parametrize(("constant", "value", "lines"), GONE.values(), ids=GONE)
def test_a_private_name_that_is_gone(constant, value, lines, sdk, monkeypatch, caplog):
    """A line for each class that lacks it says what is off; spans and log records go where they went."""
    monkeypatch.setattr(_sdk, constant, value)
    for _ in range(2):
        otelier.init(
            tracer_provider=sdk.tracer_provider,
            meter_provider=sdk.meter_provider,
            logger_provider=sdk.logger_provider,
        )
    with otelier.context(user_id="u-1"):
        sdk.tracer.start_span("work").end()
        sdk.logger_provider.get_logger("tests").emit(LogRecord(body="said"))
    assert otelier.flush()
    assert [span.attributes["user.id"] for span in sdk.spans.get_finished_spans()] == ["u-1"]
    assert "said" in [record.log_record.body for record in sdk.logs.get_finished_logs()]
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len([line for line in told if " has no `" in line]) == lines
    assert [line for line in told if "Update otelier" not in line] == []


def test_a_session_that_is_gone(monkeypatch, caplog):
    """An exporter of OTLP whose session cannot be seen is named; those of others are not expected to have one."""
    monkeypatch.setattr(_sdk, "_SESSIONS", ("_gone",))
    assert _sdk.sessions_of(InMemorySpanExporter()) == []
    assert caplog.records == []
    for _ in range(2):
        assert _sdk.sessions_of(OTLPSpanExporter()) == []
    assert ["forked child" in record.getMessage() for record in caplog.records] == [True]


class Closed:
    """A span of the SDK's that keeps its context elsewhere."""

    __module__ = "opentelemetry.sdk.trace"


def test_a_span_that_cannot_be_withheld(caplog):
    """A span of the SDK's whose context cannot be seen stays as it is; one line says what follows."""
    for _ in range(2):
        _sdk_spans.withhold_span(Closed())
    assert ["exported twice" in record.getMessage() for record in caplog.records] == [True]
    _sdk_spans.withhold_span(object())  # of somebody else's class, which is not expected to have one
    assert len(caplog.records) == 1


class Fixed:
    """A tracer whose generator of ids cannot be replaced."""

    __module__ = "opentelemetry.sdk.trace"
    __slots__ = ()

    @property
    def id_generator(self):
        return object()

    @property
    def sampler(self):
        return object()


def test_ids_that_cannot_be_forced(caplog):
    """A tracer of the SDK's that keeps its generator gives its own ids; one line says so."""
    for _ in range(2):
        with _sdk_spans.forced_span_context(Fixed(), SpanContext(6, 7, is_remote=False)):
            pass
    assert ["new ids" in record.getMessage() for record in caplog.records] == [True]
