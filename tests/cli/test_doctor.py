"""The diagnosis: what is active, what is wrong, what to do."""

from __future__ import annotations

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

import grpc
import pytest
from opentelemetry import _logs, metrics, propagate, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from typer.testing import CliRunner

import otelier
from otelier.cli._commands import app
from otelier.cli.demo._processes import standard_logging
from otelier.cli.doctor import _coexistence, _patches
from otelier.cli.doctor._findings import Finding
from otelier.cli.doctor._providers import providers
from otelier.testing import OtlpReceiver
from tests.cli.children import INSTRUMENT, OTELIER, run

SECRET = "s3cr3t"


def everything():
    """The findings of `otelier doctor` in this process."""
    done = CliRunner().invoke(app, ["doctor", "--json"])
    assert done.exit_code in (0, 1), done.output
    return [Finding(**one) for one in json.loads(done.stdout)]


def findings_of(area):
    """Those about *area*."""
    return [finding for finding in everything() if finding.area == area]


def found(findings, severity):
    return [finding.what for finding in findings if finding.severity == severity]


def one(findings, severity="warning"):
    (finding,) = [finding for finding in findings if finding.severity == severity]
    assert finding.why
    assert finding.do or severity == "note"
    return finding


def asked(*command, **environment):
    """The findings of a process of its own, and its exit code."""
    done = run(*command, "doctor", "--json", **environment)
    assert done.returncode in (0, 1), done.stderr
    return [(one["area"], one["severity"], one["what"]) for one in json.loads(done.stdout)], done


def package(folder, name, **groups):
    """An installed package that offers entry points, and holds nothing."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [line for group, entry in groups.items() for line in (f"[{group}]", entry)]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


# --- the command -----------------------------------------------------------------------------------------------
def test_a_plain_process_learns_how_to_see_more():
    """Nothing is set up there, which is no error; the doctor names the command that shows more."""
    findings, done = asked(OTELIER)
    assert done.returncode == 0
    assert not [what for _, severity, what in findings if severity == "error"]
    assert ("switches", "note", "this process does not run under opentelemetry-instrument") in findings
    assert ("providers", "note", "tracer provider: not set") in findings
    assert ("otelier", "note", "otelier is not switched on in this process") in findings
    assert ("patches", "note", "openai is not instrumented in this process") in findings


def test_under_opentelemetry_instrument_all_is_well():
    """With a collector there, every part is in place: processors, patches, exporters, the service's name."""
    with OtlpReceiver() as receiver:
        url = receiver.url
        findings, done = asked(
            INSTRUMENT,
            OTELIER,
            OTEL_EXPORTER_OTLP_ENDPOINT=url,
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_SERVICE_NAME="shop",
            **standard_logging(),
        )
    assert done.returncode == 0
    assert {severity for _, severity, _ in findings} == {"ok"}
    said = [what for _, _, what in findings]
    for part in (
        "this process runs under opentelemetry-instrument",
        "the service is called shop",
        "AgentSpanProcessor puts the fields on every span",
        "ContextLogProcessor puts the fields on every log record",
        "records of the standard `logging` go to the logger provider",
        f"traces, metrics and logs: OTLP http/protobuf to {url}",
        f"something listens at {url}",
        "thread pools carry the context",
        "openai is instrumented",
        "the propagator keeps user, session and agent out of `baggage`",
        "TraceContextTextMapPropagator, W3CBaggagePropagator",
        "no other instrumentation of openai is switched on",
    ):
        assert part in said


def test_nothing_secret_is_printed():
    """Neither headers nor passwords, keys in addresses or values of unknown variables appear, on either stream."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for endpoint in (
            f"http://me:{SECRET}@127.0.0.1:{silent.getsockname()[1]}/{SECRET}?key={SECRET}",
            f"http://{SECRET}:not-a-port",
        ):
            done = run(
                OTELIER,
                "doctor",
                OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
                OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
                OTEL_EXPORTER_OTLP_HEADERS=f"authorization=Bearer {SECRET},{SECRET}",
                OTEL_EXPORTER_OTLP_LOGS_HEADERS=f"x-key=a,{SECRET}==",
                OTEL_RESOURCE_ATTRIBUTES=f"password={SECRET}",
                OTELIER_SECRET=SECRET,
            )
            assert "OTEL_EXPORTER_OTLP_HEADERS" in done.stdout
            assert SECRET not in done.stdout + done.stderr


def test_an_error_is_in_the_exit_code_and_on_the_page():
    """What keeps everything from working ends with 1, says why and what to do, and hides no other area."""
    done = run(OTELIER, "doctor", OTEL_EXPORTER_OTLP_PROTOCOL="smoke-signals", OTEL_PROPAGATORS="pigeon")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert "  ✗ traces, metrics and logs: the OTLP protocol 'smoke-signals' is not known" in lines
    assert "    → Set OTEL_EXPORTER_OTLP_PROTOCOL to http/protobuf or grpc." in lines
    assert "  ✗ this check failed: ValueError" in lines
    assert "    Propagator pigeon not found. It is either misspelled or not installed." in lines
    assert "  ✓ no other instrumentation of openai is switched on" in lines
    assert lines[-1] == "3 errors, 0 warnings."
    assert max(map(len, lines)) <= 100


def test_a_terminal_without_unicode_is_no_error():
    """Signs that cannot be printed are replaced."""
    done = run(OTELIER, "doctor", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "? otelier" in done.stdout


# --- versions --------------------------------------------------------------------------------------------------
def test_versions_are_within_their_ranges():
    """What the tests run with is what otelier asks for."""
    findings = list(findings_of("versions"))
    assert found(findings, "error") == []
    assert any(finding.what.startswith("openai ") and ">=1.66,<4" in finding.what for finding in findings)


def test_a_version_out_of_range_is_an_error(tmp_path, monkeypatch):
    """The supported range and the line that installs it are said."""
    package(tmp_path, "openai")
    monkeypatch.syspath_prepend(str(tmp_path))
    finding = one(findings_of("versions"), "error")
    assert finding.what == "openai 1.0 is not supported"
    assert finding.do == 'pip install "openai>=1.66,<4"'


# --- switches --------------------------------------------------------------------------------------------------
def test_a_package_that_is_missing_is_an_error(monkeypatch):
    """What otelier cannot work without, and is not there, is an error that says how to install it."""

    def release_of(name):
        if name == "opentelemetry-sdk":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(_coexistence, "version", release_of)
    missing = [finding for finding in everything() if finding.what == "opentelemetry-sdk is not installed"]
    assert [(finding.severity, finding.do.split()[:2]) for finding in missing] == [("error", ["pip", "install"])]


def test_a_misspelt_variable_is_found(monkeypatch):
    """A variable of ours that does not exist changes nothing, which one wants to know."""
    monkeypatch.setenv("OTELIER_AP", "shop")
    finding = one(findings_of("switches"))
    assert finding.what == "OTELIER_AP is set, but otelier has no such variable"
    assert finding.do == "Did you mean OTELIER_APP?"


def test_a_variable_that_cannot_be_read_is_an_error(monkeypatch):
    """The value and the choices are said."""
    monkeypatch.setenv("OTELIER_DISABLED", "maybe")
    finding = one(findings_of("switches"), "error")
    assert finding.what == "OTELIER_DISABLED cannot be read"
    assert "'maybe'" in finding.why


@pytest.mark.parametrize(
    ("variable", "value", "what"),
    [
        ("OTELIER_DISABLED", "true", "otelier is switched off"),
        ("OTEL_SDK_DISABLED", "true", "OpenTelemetry is switched off"),
        ("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "flask, otelier", "patches of otelier are switched off: otelier"),
        ("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "*", "patches of otelier are switched off: *"),
    ],
)
def test_what_is_switched_off_is_a_warning(monkeypatch, variable, value, what):
    """Whoever wonders where the spans are finds the switch."""
    monkeypatch.setenv(variable, value)
    assert one(findings_of("switches")).what == what


# --- providers -------------------------------------------------------------------------------------------------
PROVIDERS = """
import json
from dataclasses import asdict
from opentelemetry import trace, _logs
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import ConsoleLogRecordExporter, SimpleLogRecordProcessor
import otelier
from otelier.cli.doctor._providers import providers
trace.set_tracer_provider(TracerProvider(sampler=ALWAYS_OFF))
logs = LoggerProvider()
logs.add_log_record_processor(SimpleLogRecordProcessor(ConsoleLogRecordExporter()))
logs.add_log_record_processor(otelier.ContextLogProcessor())
_logs.set_logger_provider(logs)
print(json.dumps([asdict(finding) for finding in providers(expected=True)]))
"""


def test_what_is_wrong_with_the_providers():
    """No processor of ours, the wrong order, a sampler that drops all, exporters missing, `logging` not connected."""
    done = run(sys.executable, "-c", PROVIDERS)
    assert done.returncode == 0, done.stderr
    said = {(one["severity"], one["what"]) for one in json.loads(done.stdout)}
    exporting = "SimpleLogRecordProcessor(ConsoleLogRecordExporter)"
    assert said == {
        ("ok", "tracer provider: opentelemetry TracerProvider with nothing on it"),
        ("warning", "the sampler drops every trace that starts here"),
        ("error", "AgentSpanProcessor is not on the tracer provider"),
        ("warning", "spans are recorded but not exported"),
        ("note", "meter provider: not set"),
        (
            "ok",
            f"logger provider: opentelemetry LoggerProvider with {exporting}, ContextLogProcessor",
        ),
        ("error", "ContextLogProcessor comes after a processor that exports"),
        ("warning", "records of the standard `logging` do not go to the logger provider"),
    }


def test_processors_of_ours_that_stand_twice(monkeypatch):
    """One processor of ours on a provider is right, a second one is named."""
    tracers, loggers = TracerProvider(shutdown_on_exit=False), LoggerProvider(shutdown_on_exit=False)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: tracers)
    monkeypatch.setattr(_logs, "get_logger_provider", lambda: loggers)

    def repeated():
        return [what for what in found(list(providers(expected=True)), "warning") if "is on one provider" in what]

    tracers.add_span_processor(otelier.AgentSpanProcessor())
    loggers.add_log_record_processor(otelier.ContextLogProcessor())
    assert repeated() == []
    tracers.add_span_processor(otelier.AgentSpanProcessor())
    loggers.add_log_record_processor(otelier.ContextLogProcessor())
    assert repeated() == [
        "AgentSpanProcessor is on one provider 2 times",
        "ContextLogProcessor is on one provider 2 times",
    ]


def test_a_provider_that_is_not_the_sdks_is_named(monkeypatch):
    """What stands on it cannot be seen, so nothing is claimed about it."""

    class ForeignProvider: ...

    monkeypatch.setattr(trace, "get_tracer_provider", ForeignProvider)
    monkeypatch.setattr(metrics, "get_meter_provider", ForeignProvider)
    findings = list(providers(expected=True))
    assert "tracer provider: tests ForeignProvider" in found(findings, "note")
    assert "meter provider: tests ForeignProvider" in found(findings, "note")
    assert found(findings, "error") == found(findings, "warning") == []


def test_a_provider_without_our_processor_is_an_error(monkeypatch):
    """Log records of a provider that `init` did not see carry no fields; a sampler that is not there says nothing."""
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.sampler = None
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: tracers)
    monkeypatch.setattr(_logs, "get_logger_provider", lambda: LoggerProvider(shutdown_on_exit=False))
    assert "ContextLogProcessor is not on the logger provider" in found(providers(expected=True), "error")
    monkeypatch.setattr(_logs, "get_logger_provider", lambda: socket)
    assert not [what for what in found(providers(expected=True), "error") if "ContextLogProcessor" in what]


def test_a_provider_that_records_nothing_is_set(monkeypatch):
    """A no-op provider that a program chose is named; only the one that waits for another counts as not set."""
    monkeypatch.setattr(trace, "get_tracer_provider", trace.NoOpTracerProvider)
    findings = list(providers(expected=True))
    assert "tracer provider: opentelemetry NoOpTracerProvider" in found(findings, "note")
    assert found(findings, "error") == []


# --- exporters -------------------------------------------------------------------------------------------------
def test_the_defaults_are_shown(monkeypatch):
    """Without a word, opentelemetry-distro sends everything by grpc to this machine."""
    monkeypatch.setattr("socket.create_connection", refuse)
    findings = list(findings_of("exporters"))
    assert found(findings, "ok") == ["traces, metrics and logs: OTLP grpc to http://localhost:4317, the default"]
    assert one(findings).what == "nothing answers at http://localhost:4317 (ConnectionRefusedError)"


def refuse(*_):
    raise ConnectionRefusedError


def test_each_signal_may_go_elsewhere(monkeypatch):
    """A signal's own variables win, and `none` is nothing."""
    with OtlpReceiver() as receiver:
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp,console")
        monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{receiver.url}/v1/traces")
        monkeypatch.setenv("OTEL_LOGS_EXPORTER", "console")
        assert [(finding.severity, finding.what) for finding in findings_of("exporters")] == [
            ("ok", f"traces: OTLP http/protobuf to {receiver.url}/v1/traces"),
            ("ok", "traces and logs: console"),
            ("ok", f"something listens at {receiver.url}/v1/traces"),
        ]


def test_the_port_of_the_other_protocol_is_noticed(monkeypatch):
    """4317 and 4318 are easily mixed up."""
    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317")
    assert "http/protobuf is sent to port 4317" in found(findings_of("exporters"), "warning")


@pytest.mark.parametrize(
    ("environment", "what"),
    [
        ({"OTEL_TRACES_EXPORTER": "otpl"}, "traces: otpl"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4318"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://"}, None),
    ],
)
def test_an_exporter_that_cannot_work_is_an_error(monkeypatch, environment, what):
    """A name that is not installed, and an address that is none."""
    monkeypatch.setattr("socket.create_connection", refuse)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    finding = one(findings_of("exporters"), "error")
    assert what in (None, finding.what)


def test_an_exporter_whose_import_fails_is_an_error(monkeypatch, tmp_path):
    """An exporter that is installed and cannot be imported is no exporter."""
    monkeypatch.syspath_prepend(tmp_path)
    package(tmp_path, "broken-exporter", opentelemetry_traces_exporter="broken = nowhere_at_all:Exporter")
    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "broken")
    finding = one(findings_of("exporters"), "error")
    assert (finding.what, "It cannot be imported (ModuleNotFoundError)" in finding.why) == ("traces: broken", True)


def test_a_file_that_configures_the_sdk_is_noted(monkeypatch):
    """With a file of configuration nothing is claimed about the variables that it stands for."""
    monkeypatch.setenv("OTEL_CONFIG_FILE", "otel.yaml")
    (finding,) = findings_of("exporters")
    assert finding.what == "OTEL_CONFIG_FILE configures the SDK; the variables do not"


def test_an_endpoint_with_tls(monkeypatch):
    """Behind TLS it is seen that something listens, and no more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"https://127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        assert f"something listens at {endpoint}" in found(findings_of("exporters"), "ok")


# --- patches ---------------------------------------------------------------------------------------------------
def test_patches_that_did_not_go_in(monkeypatch):
    """Where otelier is on, each patch that is missing is an error, and a client that carries no fields a warning."""
    otelier.activate()
    monkeypatch.setattr(_patches, "is_carried", lambda: False)
    monkeypatch.setattr(_patches, "is_held_back", lambda: False)
    monkeypatch.setitem(sys.modules, "aiohttp.client_reqrep", ModuleType("aiohttp.client_reqrep"))
    otelier.shutdown()
    otelier.activate()
    findings = everything()
    assert "thread pools do not carry the context" in found(findings, "error")
    assert "the propagator writes user, session and agent into `baggage`" in found(findings, "error")
    warnings = [what for what in found(findings, "warning") if "does not carry the fields" in what]
    assert [what.split()[0] for what in warnings] == ["aiohttp"]


def test_fields_that_no_propagator_carries(monkeypatch):
    """Without baggage among the propagators the fields stay, which may be meant."""
    otelier.activate()
    monkeypatch.setattr(propagate, "_HTTP_TEXT_FORMAT", TraceContextTextMapPropagator())
    assert "the fields stay in this process" in found(findings_of("baggage"), "note")


# --- propagators -----------------------------------------------------------------------------------------------
def test_propagators_without_the_trace_are_a_warning(monkeypatch):
    """With baggage alone each process starts traces of its own."""
    from opentelemetry import propagate
    from opentelemetry.baggage.propagation import W3CBaggagePropagator

    monkeypatch.setattr(propagate, "_HTTP_TEXT_FORMAT", W3CBaggagePropagator())
    finding = one(findings_of("propagators"))
    assert (finding.what, finding.do) == ("W3CBaggagePropagator", "Add tracecontext to OTEL_PROPAGATORS.")


# --- coexistence ------------------------------------------------------------------------------------------------
def test_another_instrumentation_of_openai_is_a_warning(tmp_path):
    """It is found by its entry point, under opentelemetry-instrument too, and the way out is named."""
    package(tmp_path, "other-openai", opentelemetry_instrumentor="openai = other_openai:Instrumentor")
    (tmp_path / "other_openai.py").write_text("class Instrumentor:\n    def instrument(self, **given): ...\n")
    findings, done = asked(INSTRUMENT, OTELIER, PYTHONPATH=str(tmp_path), OTEL_TRACES_EXPORTER="none",
                           OTEL_METRICS_EXPORTER="none", OTEL_LOGS_EXPORTER="none")  # fmt: skip
    assert done.returncode == 0
    assert ("coexistence", "warning", "2 packages instrument openai: other-openai, otelier") in findings


def test_an_instrumentation_that_ours_lives_with_is_no_warning(tmp_path, monkeypatch):
    """Ours leaves the calls to it; two of those beside each other count twice, whatever ours does."""
    official = "openai = opentelemetry.instrumentation.genai.openai:OpenAIInstrumentor"
    package(tmp_path, "official", opentelemetry_instrumentor=official)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert found(findings_of("coexistence"), "warning") == []
    assert found(findings_of("coexistence"), "ok") == [
        "official reports calls to openai; otelier gives its spans user, session and agent"
    ]
    package(tmp_path, "other", opentelemetry_instrumentor="openai = openinference.instrumentation.openai:Instrumentor")
    finding = one(findings_of("coexistence"))
    assert finding.what == "2 packages instrument openai: official, other"
    assert finding.do == "Uninstall all but one of them."


def test_another_instrumentation_that_is_switched_off_is_no_warning(tmp_path, monkeypatch):
    """Whoever followed the advice is not given it again."""
    package(tmp_path, "other-openai", opentelemetry_instrumentor="openai = other_openai:Instrumentor")
    monkeypatch.syspath_prepend(str(tmp_path))
    finding = one(findings_of("coexistence"))
    assert "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=openai leaves otelier's" in finding.do
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "openai")
    assert found(findings_of("coexistence"), "warning") == []
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "otelier-openai")
    assert found(findings_of("coexistence"), "ok") == ["other-openai instruments openai, and otelier does not"]


def test_an_instrumentation_of_agents_is_none_of_openai(tmp_path, monkeypatch):
    """The Agents SDK is another library."""
    package(tmp_path, "agents", opentelemetry_instrumentor="openai_agents = agents_sdk:Instrumentor")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert found(findings_of("coexistence"), "warning") == []


def test_a_second_distro_is_a_warning(tmp_path, monkeypatch):
    """Which one sets OpenTelemetry up is then a matter of luck, until one is chosen."""
    package(tmp_path, "vendor-distro", opentelemetry_distro="vendor = vendor_distro:Distro")
    monkeypatch.syspath_prepend(str(tmp_path))
    finding = one(findings_of("coexistence"))
    assert finding.what == "2 packages offer a distro: opentelemetry-distro, vendor-distro"
    assert finding.do == "Choose one: OTEL_PYTHON_DISTRO=distro or vendor"
    monkeypatch.setenv("OTEL_PYTHON_DISTRO", "vendor")
    assert found(findings_of("coexistence"), "note") == ["vendor-distro is the distro"]


def test_a_package_that_traces_openai_by_a_call_is_noted(tmp_path, monkeypatch):
    """No entry point shows it, and whether it is in use only the program knows."""
    package(tmp_path, "langfuse")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert found(findings_of("coexistence"), "note") == ["langfuse 1.0 is installed"]


# --- the whole -------------------------------------------------------------------------------------------------
def test_asking_changes_nothing():
    """A second diagnosis of the same process finds the same."""
    assert everything() == everything()


# --- what speaks at the other end ------------------------------------------------------------------------------
@pytest.fixture
def grpc_receiver():
    """A receiver of gRPC, on a port of its own."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop(None).wait()


def exported(monkeypatch, protocol, url):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    return list(findings_of("exporters"))


def test_grpc_to_a_receiver_of_http(monkeypatch):
    """On whatever port it listens, it is asked what it speaks, and what to set is said; nothing else is sent."""
    with OtlpReceiver() as receiver:
        finding = one(exported(monkeypatch, "grpc", receiver.url), "error")
        assert finding.what == "grpc is sent to a receiver of http/protobuf"
        assert finding.do.startswith("Set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf")
        assert not receiver.spans


def test_http_to_a_receiver_of_grpc(monkeypatch, grpc_receiver):
    """And the other way round."""
    finding = one(exported(monkeypatch, "http/protobuf", grpc_receiver), "error")
    assert finding.what == "http/protobuf is sent to a receiver of grpc"


def test_receivers_of_what_they_are_sent(monkeypatch, grpc_receiver):
    """A receiver that speaks the exporter's protocol is in order, and so is one that says nothing."""
    with OtlpReceiver() as receiver, socket.create_server(("127.0.0.1", 0)) as silent:
        quiet = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for protocol, url in (("grpc", grpc_receiver), ("http/protobuf", receiver.url), ("grpc", quiet)):
            assert {finding.severity for finding in exported(monkeypatch, protocol, url)} == {"ok"}, protocol


# --- instrumentations ------------------------------------------------------------------------------------------
def without(monkeypatch, tmp_path, *packages):
    """Make it look as if none of our packages were installed but *packages*."""
    for name, entry in packages:
        package(tmp_path, name, **({"opentelemetry_instrumentor": entry} if entry else {}))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])


def test_a_client_without_its_instrumentation(monkeypatch, tmp_path):
    """A client that is installed and not instrumented carries no fields; what to install is said."""
    without(monkeypatch, tmp_path, ("requests", ""), ("httpx", ""), ("otel-httpx", "httpx = acme:Httpx"))
    assert found(findings_of("instrumentations"), "ok") == ["requests made with httpx carry the trace and the fields"]
    finding = one(findings_of("instrumentations"), "note")
    assert finding.what == "requests is installed, but its instrumentation is not on"
    assert finding.do.endswith("pip install opentelemetry-instrumentation-requests")


@pytest.mark.parametrize("off", ["httpx", "*"])
def test_a_client_whose_instrumentation_is_switched_off(monkeypatch, tmp_path, off):
    """One that is switched off is not on; what switched it off is said, and nobody is told to install it."""
    without(monkeypatch, tmp_path, ("httpx", ""), ("otel-httpx", "httpx = acme:Httpx"))
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", off)
    variable = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
    finding = one(findings_of("instrumentations"), "note")
    assert finding.what == f"httpx is installed, but its instrumentation is disabled by {variable}"
    assert finding.do == f"If your program uses it: Remove {off} from {variable}."


@pytest.mark.parametrize("off", ["openai_agents", "*"])
def test_an_agents_sdk_whose_instrumentation_is_switched_off(monkeypatch, tmp_path, off):
    """The instrumentation of the OpenAI Agents SDK that is there and switched off is not to be installed either."""
    without(monkeypatch, tmp_path, ("openai-agents", ""), ("oi-agents", "openai_agents = acme:Agents"))
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", off)
    finding = one(findings_of("instrumentations"), "warning")
    assert finding.what.endswith("its instrumentation is disabled by OTEL_PYTHON_DISABLED_INSTRUMENTATIONS")
    assert finding.do == f"Remove {off} from OTEL_PYTHON_DISABLED_INSTRUMENTATIONS."


def test_a_client_whose_instrumentation_was_not_switched_on():
    """In a process that otelier is on in, being installed is not enough."""
    otelier.activate()
    findings = {finding.what: finding.do for finding in findings_of("instrumentations")}
    do = findings["httpx is installed, but its instrumentation is not on"]
    assert do is not None
    assert "pip install" not in do


def test_a_client_whose_instrumentation_cannot_be_imported(monkeypatch, tmp_path):
    """Where otelier is on, an instrumentation that cannot be imported is one that is not on."""
    without(monkeypatch, tmp_path, ("httpx", ""), ("otel-httpx", "httpx = nowhere_at_all:Httpx"))
    otelier.activate()
    assert "httpx is installed, but its instrumentation is not on" in found(findings_of("instrumentations"), "note")


def test_names_that_no_instrumentation_has(monkeypatch, tmp_path):
    """A name in OTEL_PYTHON_DISABLED_INSTRUMENTATIONS that nothing has is a warning, with what is near to it."""
    without(monkeypatch, tmp_path, ("otel-requests", "requests = acme:Requests"))
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "request,*")
    finding = one(findings_of("instrumentations"))
    assert "names request, but" in finding.what
    assert finding.do == "Did you mean requests?"


def test_fastapi_makes_spans_of_its_own(monkeypatch, tmp_path):
    """Its own telemetry is noted where its instrumentation is not there."""
    without(monkeypatch, tmp_path)
    (tmp_path / "fastapi-0.165.0.dist-info").mkdir()
    (tmp_path / "fastapi-0.165.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: fastapi\nVersion: 0.165.0\n"
    )
    assert found(findings_of("instrumentations"), "note") == ["fastapi 0.165.0 creates its own spans"]
    package(tmp_path, "otel-fastapi", opentelemetry_instrumentor="fastapi = acme:FastAPI")
    assert found(findings_of("instrumentations"), "note") == []


def test_the_agents_sdk_without_an_instrumentation(monkeypatch, tmp_path):
    """Its agents make no spans by themselves: a warning, until an instrumentation is there."""
    without(monkeypatch, tmp_path, ("openai-agents", ""))
    assert "openai-agents 1.0 is installed" in one(findings_of("instrumentations")).what
    package(tmp_path, "openinference-agents", opentelemetry_instrumentor="openai_agents = acme:Agents")
    assert found(findings_of("instrumentations"), "ok") == ["the OpenAI Agents SDK has an instrumentation"]


def test_the_tenants_on_metrics(monkeypatch):
    """The list is shown like other settings, and one that is too long is an error."""
    monkeypatch.setenv("OTELIER_METRIC_TENANTS", "globex, acme")
    assert "OTELIER_METRIC_TENANTS=acme,globex" in found(findings_of("switches"), "ok")
    monkeypatch.setenv("OTELIER_METRIC_TENANTS", ",".join(map(str, range(101))))
    assert "at most 100" in one(findings_of("switches"), "error").why


def test_a_value_that_init_refuses(monkeypatch):
    """Hosts that are none are an error here, as `init` has it, and nothing of them is shown."""
    monkeypatch.setenv("OTELIER_PROPAGATE_TO", f"https://tok:{SECRET}@x/")
    finding = one(findings_of("switches"), "error")
    assert finding.what == "OTELIER_PROPAGATE_TO cannot be read"
    assert SECRET not in f"{finding} {list(findings_of('switches'))}"
    monkeypatch.setenv("OTELIER_PROPAGATE_TO", "*.example.com")
    monkeypatch.setenv("OTELIER_APP", "a\nb")
    assert one(findings_of("switches"), "error").what == "OTELIER_APP cannot be read"
