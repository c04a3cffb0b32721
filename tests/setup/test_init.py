"""`otelier.init`: on providers that are given or set, any number of times, with whatever arguments."""

from __future__ import annotations

import logging
import threading

import pytest
from opentelemetry import metrics, propagate, trace
from opentelemetry._logs import LogRecord, get_logger_provider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import otelier
from otelier.errors import OtelierError, SettingError
from otelier.fields import is_carried
from otelier.redaction import redact
from otelier.setup import Activator, _configurator
from tests.recording import LogCopies

CHAT = {"gen_ai.operation.name": "chat"}


def provider_with_exporter():
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


def our_processors(provider):
    """How many processors of ours stand on a provider."""
    processors = provider._active_span_processor._span_processors
    return sum(isinstance(processor, otelier.AgentSpanProcessor) for processor in processors)


def test_a_given_provider_is_stamped_and_stays_what_it_was():
    """Spans of a provider given to `init` carry the fields and the process's name."""
    provider, exporter = provider_with_exporter()
    otelier.init(app="orchestrator", env="production", tracer_provider=provider)
    with otelier.context(user_id="u-1"):
        provider.get_tracer("tests").start_span("work").end()
    (span,) = exporter.get_finished_spans()
    assert dict(span.attributes) == {
        "user.id": "u-1",
        "gen_ai.main_agent.name": "orchestrator",
        "deployment.environment.name": "production",
    }


def test_it_returns_none_and_sets_no_global_provider():
    """With nothing configured `init` installs nothing global."""
    before = (trace.get_tracer_provider(), metrics.get_meter_provider(), get_logger_provider())
    assert otelier.init() is None
    assert (trace.get_tracer_provider(), metrics.get_meter_provider(), get_logger_provider()) == before


def warnings(caplog):
    """What was logged as a WARNING or worse."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("door", [otelier.init, otelier.activate], ids=["init", "activate"])
def test_one_warning_says_that_nothing_is_recorded(door, caplog):
    """Where no provider is set and no exporter configured, one WARNING says so and what to do, once."""
    for _ in range(3):
        door()
    (line,) = warnings(caplog)
    assert line.startswith("No OpenTelemetry provider is set and no exporter is configured: otelier records nothing")
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in line
    assert "opentelemetry-instrument" in line


def test_an_exporter_without_a_provider(caplog, monkeypatch):
    """Where an exporter is configured and nobody has set the SDK up, the WARNING tells that it is the provider."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    otelier.activate()
    (line,) = warnings(caplog)
    assert "though an exporter is configured" in line
    assert "Call init()" in line


@pytest.mark.parametrize(
    "variable", ["OTEL_SDK_DISABLED=true", "OTELIER_DISABLED=true", "OTEL_TRACES_EXPORTER=none"], ids=str
)
def test_what_was_switched_off_is_not_missed(variable, caplog, monkeypatch):
    """Who wants no spans gets no warning that there are none."""
    monkeypatch.setenv(*variable.split("="))
    otelier.init()
    assert warnings(caplog) == []


def test_given_providers_are_enough(caplog):
    """Nor does who gives a provider that is not the global one."""
    provider, exporter = provider_with_exporter()
    otelier.init(tracer_provider=provider)
    assert warnings(caplog) == []
    assert exporter.get_finished_spans() == ()


def test_one_line_says_what_is_active(caplog):
    """One INFO line tells what was switched on, once."""
    caplog.set_level(logging.INFO, logger="otelier")
    for _ in range(3):
        otelier.init()
    assert len([record for record in caplog.records if "is active" in record.getMessage()]) == 1


@pytest.mark.parametrize(
    ("given", "environment", "told"),
    [
        ({}, {}, "fields go to internal hosts; inbound fields are dropped"),
        (
            {"propagate_to": ["a.secret.example", "*.b.example"], "trust_inbound": True},
            {},
            "fields go to internal hosts and 2 named; inbound fields are trusted",
        ),
        ({}, {"OTELIER_TRUST_INBOUND": "true"}, "fields go to internal hosts; inbound fields are trusted"),
        ({}, {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "otelier"}, "no patches; no field leaves this process"),
    ],
    ids=["default", "named and trusted", "environment", "no patches"],
)
def test_the_line_says_where_the_fields_go(given, environment, told, caplog, monkeypatch):
    """It tells whether the fields travel and whether inbound ones are taken, and no host or user by name."""
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    caplog.set_level(logging.INFO, logger="otelier")
    with otelier.context(user_id="alice"):
        otelier.init(**given)
    (line,) = [record.getMessage() for record in caplog.records if "is active" in record.getMessage()]
    assert line.endswith(told)
    assert "secret" not in line
    assert "alice" not in line


def test_the_line_says_that_the_fields_stay(caplog, monkeypatch):
    """Where `baggage` is no configured propagator the line says so."""
    monkeypatch.setattr(propagate, "_HTTP_TEXT_FORMAT", TraceContextTextMapPropagator())
    caplog.set_level(logging.INFO, logger="otelier")
    otelier.init()
    (line,) = [record.getMessage() for record in caplog.records if "is active" in record.getMessage()]
    assert "fields stay in this process, since baggage is no configured propagator; inbound" in line


@pytest.mark.parametrize("times", [2, 10])
def test_again_and_again(times):
    """`init` called again puts nothing twice: each span is stamped by one processor."""
    provider, exporter = provider_with_exporter()
    for number in range(times):
        otelier.init(app=f"app-{number}", tracer_provider=provider)
    assert our_processors(provider) == 1
    provider.get_tracer("tests").start_span("work").end()
    assert exporter.get_finished_spans()[0].attributes["gen_ai.main_agent.name"] == f"app-{times - 1}"


def test_a_later_init_only_adds_names():
    """What a later `init` leaves out stays as it was."""
    provider, exporter = provider_with_exporter()
    otelier.init(app="orchestrator", tracer_provider=provider)
    otelier.init(env="production")
    otelier.init()
    provider.get_tracer("tests").start_span("work").end()
    assert dict(exporter.get_finished_spans()[0].attributes) == {
        "gen_ai.main_agent.name": "orchestrator",
        "deployment.environment.name": "production",
    }


def test_a_later_init_keeps_redactions():
    """Redactions hold until others are given; an empty list takes them back."""
    otelier.init(redact=["ACME-[0-9]+"])
    otelier.init()
    assert redact("order ACME-1234") == "order [REDACTED:custom]"
    otelier.init(redact=[])
    assert redact("order ACME-1234") == "order ACME-1234"


def test_in_many_threads_at_once():
    """`init` in 16 threads at the same time puts one processor on the provider and raises nothing."""
    provider, _ = provider_with_exporter()
    barrier, errors = threading.Barrier(16), []

    def start():
        barrier.wait(timeout=300)
        try:
            otelier.init(app="orchestrator", tracer_provider=provider)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert our_processors(provider) == 1


def test_a_processor_the_user_added_is_enough():
    """A provider that has our processor already gets no second one."""
    provider, _ = provider_with_exporter()
    provider.add_span_processor(otelier.AgentSpanProcessor())
    otelier.init(tracer_provider=provider)
    assert our_processors(provider) == 1


def test_several_providers():
    """Each provider given to `init` is stamped."""
    made = [provider_with_exporter() for _ in range(3)]
    for provider, _ in made:
        otelier.init(tracer_provider=provider)
    with otelier.context(user_id="u-1"):
        for provider, _ in made:
            provider.get_tracer("tests").start_span("work").end()
    assert [exporter.get_finished_spans()[0].attributes["user.id"] for _, exporter in made] == ["u-1"] * 3


def test_logs_are_stamped_before_they_are_exported():
    """A logger provider that exports already gets the fields in front of its exporter."""
    provider, exporter = LoggerProvider(shutdown_on_exit=False), LogCopies()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    for _ in range(2):
        otelier.init(logger_provider=provider)
    with otelier.context(user_id="u-1"):
        provider.get_logger("tests").emit(LogRecord(body="said"))
    assert exporter.attributes == [{"user.id": "u-1"}]


def test_thread_pools_carry_the_context_from_then_on():
    """After `init` what a pool's job sets ends with the job, also where jobs waited already."""
    from concurrent.futures import ThreadPoolExecutor

    otelier.init()
    gate = threading.Event()

    def job(name):
        gate.wait(timeout=300)
        if name:
            otelier.set_context(user_id=name)
        return otelier.get_context().user_id

    names = ["a", None, "b", None, None]
    with ThreadPoolExecutor(1) as pool:
        jobs = [pool.submit(job, name) for name in names]
        gate.set()
        assert [done.result() for done in jobs] == names


@pytest.mark.parametrize("argument", ["app", "env"])
@pytest.mark.parametrize("wrong", [7, b"shop", ["shop"], ...], ids=repr)
def test_names_of_a_wrong_type(argument, wrong):
    """A name that is no text is a `TypeError` that names the argument, and switches nothing on."""
    with pytest.raises(TypeError, match=argument):
        otelier.init(**{argument: wrong})
    assert otelier.get_agent().source is None


@pytest.mark.parametrize("argument", ["app", "env"])
@pytest.mark.parametrize("wrong", ["", "  ", "a\nb", "\x00", "x" * 10_000, "\ud800"], ids=lambda text: ascii(text[:8]))
def test_names_that_cannot_be_used(argument, wrong):
    """An empty, huge or unprintable name is refused with one of our errors, in a short message."""
    with pytest.raises(OtelierError) as refused:
        otelier.init(**{argument: wrong})
    assert len(str(refused.value)) < 500
    assert otelier.get_agent().source is None


@pytest.mark.parametrize("wrong", ["(", [7], 7, [...]], ids=repr)
def test_redactions_that_cannot_be_used(wrong):
    """A pattern that does not compile, or what is neither pattern nor callable, is refused."""
    with pytest.raises((TypeError, SettingError), match="redact"):
        otelier.init(redact=[wrong] if isinstance(wrong, str) else wrong)


@pytest.mark.parametrize("wrong", [7, "one.example", [7], ["http://one.example/"]], ids=repr)
def test_hosts_that_cannot_be_used(wrong):
    """What names no hosts is refused by the argument's name."""
    with pytest.raises((TypeError, SettingError), match="propagate_to"):
        otelier.init(propagate_to=wrong)


def test_redactions_outlive_a_later_call():
    """`init` again, as a worker or a library does to add a name, does not drop what is to be redacted."""
    otelier.init(redact=["ACME-[0-9]+"])
    otelier.init(env="production")
    assert redact("order ACME-1234") == "order [REDACTED:custom]"


def test_a_variable_that_cannot_be_read(monkeypatch):
    """A variable of ours that says something unreadable is named by the error, with the choices."""
    monkeypatch.setenv("OTELIER_DISABLED", "perhaps")
    with pytest.raises(SettingError, match=r"OTELIER_DISABLED.*true.*false"):
        otelier.init()


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("OTELIER_TRUST_INBOUND", "perhaps"),
        ("OTELIER_CONTENT_MAX_CHARS", "many"),
        ("OTELIER_REDACT_PERSONAL_DATA", "perhaps"),
        ("OTELIER_OPENAI_STREAM_USAGE", "perhaps"),
    ],
)
def test_every_variable_of_ours_is_read_first(monkeypatch, variable, text):
    """One that cannot be read is an error whatever it is about, and nothing is switched on then."""
    monkeypatch.setenv(variable, text)
    provider, _ = provider_with_exporter()
    with pytest.raises(SettingError, match=variable):
        otelier.init(app="orchestrator", tracer_provider=provider)
    assert otelier.get_agent().name != "orchestrator"
    assert our_processors(provider) == 0


def test_a_mode_of_content_that_is_none_is_no_error(monkeypatch):
    """A variable of OpenTelemetry's is read as its own packages read it: a warning, and the default holds."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    otelier.init(app="orchestrator")
    assert otelier.get_agent().name == "orchestrator"


def test_arguments_are_by_name_but_for_app_and_env():
    """`app` and `env` may be given by position; everything else by name."""
    provider, _ = provider_with_exporter()
    otelier.init("orchestrator", "production", tracer_provider=provider)
    assert otelier.get_agent().name == "orchestrator"
    with pytest.raises(TypeError):
        otelier.init("orchestrator", "production", ())


class Raising(SpanExporter):
    """An exporter that fails whenever it is called."""

    def export(self, spans):
        raise LookupError("exporter")

    def shutdown(self):
        raise LookupError("shutdown")

    def force_flush(self, timeout_millis=30000):
        raise LookupError("flush")


def test_a_raising_exporter():
    """With an exporter that raises at every call, the user's function still runs once and gives its own result."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(Raising()))
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
    otelier.init(app="orchestrator", tracer_provider=provider)
    calls = []

    @otelier.context(user_id="u-1")
    def work():
        with provider.get_tracer("tests").start_as_current_span("work"):
            calls.append(otelier.get_context().user_id)
            return "mine"

    assert (work(), calls) == ("mine", ["u-1"])


class Bare(trace.TracerProvider):
    """A provider of another make: it takes no span processors, and its spans record."""

    def __init__(self):
        self._real = TracerProvider(shutdown_on_exit=False)

    def get_tracer(self, *args, **kwargs):
        return self._real.get_tracer(*args, **kwargs)


class Slotted(trace.TracerProvider):
    """A provider that can neither be weakly referenced nor hashed."""

    __slots__ = ()
    __hash__ = None

    def __eq__(self, other):
        return self is other

    def get_tracer(self, *args, **kwargs):
        return trace.NoOpTracer()


def test_a_provider_without_add_span_processor(caplog):
    """One warning says that a provider takes no processors; what is set is still stamped on its open span."""
    provider = Bare()
    for _ in range(2):
        otelier.init(tracer_provider=provider)
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "Bare" in warning.getMessage()
    with provider.get_tracer("tests").start_as_current_span("work") as span:
        otelier.set_context(user_id="u-1")
        assert span.attributes["user.id"] == "u-1"


@pytest.mark.parametrize("provider", [Slotted(), trace.NoOpTracerProvider(), trace.ProxyTracerProvider()])
def test_providers_of_odd_makes(quiet_faults, provider):
    """A provider that nothing can be attached to costs its own spans' fields, and neither an exception nor a call."""
    otelier.init(tracer_provider=provider)
    otelier.init(app="orchestrator", tracer_provider=provider)
    with otelier.context(user_id="u-1"):
        assert otelier.get_context().user_id == "u-1"
    assert otelier.flush(timeout_s=1) in (True, False)
    otelier.shutdown()


@pytest.mark.parametrize("argument", ["tracer_provider", "meter_provider", "logger_provider"])
@pytest.mark.parametrize("provider", [3, "http://localhost:4318", object(), Raising()])
def test_what_is_no_provider(argument, provider):
    """It is a `TypeError` that names the argument, and switches nothing on."""
    with pytest.raises(TypeError, match=rf"init\({argument}=\) must be a provider"):
        otelier.init(**{argument: provider})
    assert otelier.get_agent().name is None


class Refusing(TracerProvider):
    """A provider whose `add_span_processor` fails."""

    def add_span_processor(self, span_processor):
        raise LookupError("refused")


def test_a_provider_that_refuses_processors(quiet_faults, caplog):
    """A failure while attaching is logged once and does not leave `init`."""
    otelier.init(app="orchestrator", tracer_provider=Refusing(shutdown_on_exit=False))
    assert otelier.get_agent().name == "orchestrator"
    assert any(record.levelno == logging.ERROR for record in caplog.records)


def test_a_fault_in_setting_up(monkeypatch, quiet_faults, caplog):
    """A fault of ours in setting up the SDK is logged and costs the SDK; the context works."""

    def broken(*_args):
        raise LookupError

    monkeypatch.setattr(_configurator, "set_up", broken)
    otelier.init(app="shop")
    assert "setup.sdk" in caplog.text
    with otelier.context(user_id="u-1"):
        assert otelier.get_context().user_id == "u-1"


def test_the_instrumentor_by_hand():
    """Whoever finds instrumentors by their entry point may switch otelier on and off by it, again and again."""
    activator = Activator()
    assert activator.instrumentation_dependencies() == ()
    for _ in range(2):
        activator.instrument()
        assert is_carried()
        activator.uninstrument()
        assert not is_carried()
