"""`otelier.init` and the global providers: never replaced, set up where one is configured, followed when late."""

from __future__ import annotations

import logging

import pytest

from otelier.setup import settle
from otelier.testing import SpanRecorder
from otelier.testing._global_providers import as_global_providers
from tests.programs import exporting_to, run

HEAD = """
import json, logging
import otelier
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

logging.basicConfig(level=logging.INFO)


def own_provider():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


def work(name="work"):
    with trace.get_tracer("app").start_as_current_span(name):
        otelier.set_context(user_id="late")
    with otelier.context(user_id="born"), trace.get_tracer("app").start_as_current_span(name):
        pass


def users(exporter):
    return [span.attributes.get("user.id") for span in exporter.get_finished_spans()]
"""


def test_a_real_provider_is_never_replaced():
    """A provider that is set before `init` stays, even with an exporter configured, and is stamped once."""
    program = """
provider, exporter = own_provider()
trace.set_tracer_provider(provider)
for _ in range(3):
    otelier.init(app="orchestrator")
work()
print(json.dumps([trace.get_tracer_provider() is provider, users(exporter)]))
"""
    ran = run(HEAD + program, **exporting_to("http://127.0.0.1:9"))
    assert ran.answer == [True, ["late", "born"]]
    assert "Overriding of current" not in ran.err


@pytest.mark.parametrize("tracer", ["before", "between", "after"])
def test_a_provider_set_after_init(tracer):
    """A provider set after `init` gets the processors, whenever the application took its tracer; one line warned."""
    take = 'tracer = trace.get_tracer("app")\n'
    program = (
        (take if tracer == "before" else "")
        + 'otelier.init(app="orchestrator", env="production")\n'
        + (take if tracer == "between" else "")
        + "provider, exporter = own_provider()\ntrace.set_tracer_provider(provider)\n"
        + (take if tracer == "after" else "")
        + """
with otelier.context(user_id="born"), tracer.start_as_current_span("work"):
    pass
(span,) = exporter.get_finished_spans()
print(json.dumps(dict(span.attributes)))
"""
    )
    ran = run(HEAD + program)
    assert ran.answer == {
        "user.id": "born",
        "gen_ai.main_agent.name": "orchestrator",
        "deployment.environment.name": "production",
    }
    assert [line for line in ran.lines("WARNING") if "No OpenTelemetry provider" not in line] == []


def test_late_logs_and_the_imported_setter():
    """A logger provider set late is stamped too, also by a program that imported the setters before us."""
    program = """
from opentelemetry._logs import LogRecord, set_logger_provider
from opentelemetry.trace import set_tracer_provider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
otelier.init()
spans_provider, spans = own_provider()
logs, provider = InMemoryLogRecordExporter(), LoggerProvider()
provider.add_log_record_processor(SimpleLogRecordProcessor(logs))
set_tracer_provider(spans_provider)
set_logger_provider(provider)
work()
with otelier.context(user_id="u-1"):
    _logs.get_logger("app").emit(LogRecord(body="said"))
found = [log.log_record for log in logs.get_finished_logs()]
print(json.dumps([users(spans), [[log.event_name or log.body, dict(log.attributes).get("user.id")] for log in found]]))
"""
    assert run(HEAD + program).answer == [["late", "born"], [["said", "u-1"]]]


def test_a_second_provider_is_refused_as_ever():
    """OpenTelemetry's own refusal of a second provider is unchanged, and the first one stays stamped."""
    program = """
otelier.init()
first, exporter = own_provider()
trace.set_tracer_provider(first)
second, other = own_provider()
trace.set_tracer_provider(second)
work()
print(json.dumps([trace.get_tracer_provider() is first, users(exporter), users(other)]))
"""
    ran = run(HEAD + program)
    assert ran.answer == [True, ["late", "born"], []]
    assert len(ran.lines("Overriding of current TracerProvider is not allowed")) == 1


def test_nothing_configured_installs_nothing():
    """With no exporter configured the globals stay open for the program, and one line says what to do."""
    program = """
otelier.init(app="orchestrator")
work()
print(json.dumps([type(trace.get_tracer_provider()).__name__, otelier.get_agent().name]))
"""
    ran = run(HEAD + program)
    assert ran.answer == ["ProxyTracerProvider", "orchestrator"]
    assert len(ran.lines("OTEL_EXPORTER_OTLP_ENDPOINT")) == 1


@pytest.mark.parametrize(
    "variables",
    [{"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, {"OTEL_TRACES_EXPORTER": " none "}],
    ids=str,
)
def test_an_exporter_called_none_is_none(variables):
    """`none` and an empty variable configure no exporter."""
    program = "otelier.init()\nprint(json.dumps(type(trace.get_tracer_provider()).__name__))"
    assert run(HEAD + program, **variables).answer == "ProxyTracerProvider"


EXPORTING = """
otelier.init(app="orchestrator", env="production")
otelier.init()
logging.getLogger("app").warning("outside")
with otelier.context(user_id="u-1", agent="triage"), trace.get_tracer("app").start_as_current_span("work"):
    logging.getLogger("app").warning("inside")
metrics.get_meter("app").create_counter("app.calls").add(1)
print(json.dumps(otelier.flush()))
"""


def test_an_exporter_configured_sets_the_sdk_up(receiver):
    """Where an exporter is configured and no provider set, `init` sets the SDK up: all signals arrive, each once."""
    ran = run(HEAD + EXPORTING, **exporting_to(receiver.url))
    assert ran.answer is True
    (span,) = receiver.spans
    assert (span.attributes["user.id"], span.attributes["gen_ai.agent.name"]) == ("u-1", "triage")
    assert span.resource["gen_ai.main_agent.name"] == "orchestrator"
    assert span.resource["deployment.environment.name"] == "production"
    assert "gen_ai.main_agent.name" not in span.attributes
    assert "app.calls" in {point.name for point in receiver.metrics}
    assert ran.lines("Traceback") == []


def test_init_in_many_threads_at_once_sets_one_sdk_up(receiver):
    """With an exporter configured and `init` called by 8 threads at once, one SDK is set up, nothing comes twice."""
    program = """
import threading
barrier = threading.Barrier(8)
def start():
    barrier.wait()
    otelier.init(app="orchestrator")
threads = [threading.Thread(target=start) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
work()
print(json.dumps(otelier.flush()))
"""
    ran = run(HEAD + program, **exporting_to(receiver.url))
    assert ran.answer is True
    assert [span.attributes["user.id"] for span in receiver.spans] == ["late", "born"]
    assert "Overriding" not in ran.err
    assert len(ran.lines("otelier is active")) == 1


def test_an_endpoint_that_nobody_answers(receiver):
    """With a dead endpoint the program runs on, ends by itself and gives its own result."""
    program = EXPORTING.replace("print(json.dumps(otelier.flush()))", 'print(json.dumps("mine"))')
    variables = {**exporting_to("http://127.0.0.1:9"), "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    assert run(HEAD + program, **variables).answer == "mine"


@pytest.mark.parametrize("exporter", ["otlp", "none"])
def test_records_of_logging_that_stay(exporter):
    """Where `init` sets up what exports log records, one WARNING says that those of `logging` are none of them."""
    program = """
otelier.init()
otelier.init()
print(json.dumps(None))
"""
    given = {**exporting_to("http://127.0.0.1:9"), "OTEL_LOGS_EXPORTER": exporter}
    ran = run(HEAD + program, OTEL_TRACES_EXPORTER="none", OTEL_METRICS_EXPORTER="none", **given)
    assert ran.answer is None
    told = ran.lines("Records of the standard `logging` are not exported")
    assert len(told) == (exporter == "otlp")
    assert all("opentelemetry-instrumentation-logging" in line for line in told)


def test_records_of_logging_under_opentelemetry_instrument(caplog, monkeypatch):
    """There it is said when all instrumentations were called, and only where the one of `logging` was not."""
    with as_global_providers(SpanRecorder()):
        monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "logging")
        settle()
        assert "Records of the standard" not in caplog.text  # who switched it off knows
        monkeypatch.delenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS")
        handler = type(
            "LoggingHandler", (logging.NullHandler,), {"__module__": "opentelemetry.instrumentation.logging"}
        )()
        logging.getLogger().addHandler(handler)
        settle()
        assert "Records of the standard" not in caplog.text
        logging.getLogger().removeHandler(handler)
        settle()
        assert caplog.text.count("Records of the standard") == 1
