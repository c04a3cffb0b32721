"""OpenTelemetry's variables for sampling, propagation and limits, and other vendors' distros."""

from __future__ import annotations

import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

import otelier
from otelier.testing import SpanRecorder
from tests.running.page import command


# --- sampling --------------------------------------------------------------------------------------------------
class Asking(Sampler):
    """Writes down what it is given, and keeps spans of one user only."""

    def __init__(self):
        self.given = []

    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None):
        self.given.append(dict(attributes or {}))
        kept = otelier.get_context().user_id == "alice"
        return SamplingResult(Decision.RECORD_AND_SAMPLE if kept else Decision.DROP, attributes)

    def get_description(self):
        return "Asking"


def test_head_samplers_decide_before_fields_are_stamped():
    """A sampler is given the attributes that a span starts with, none of ours; it may ask `get_context`."""
    sampler = Asking()
    recorder = SpanRecorder(sampler=sampler)
    tracer = recorder.tracer_provider.get_tracer("tests")
    for user in ("alice", "bob"):
        with otelier.context(user_id=user):
            tracer.start_span("work", attributes={"order": 1}).end()
    assert sampler.given == [{"order": 1}, {"order": 1}]
    assert [span.attributes["user.id"] for span in recorder.spans] == ["alice"]


SAMPLED = """
import logging
import otelier
from opentelemetry import trace

for number in range(60):
    with trace.get_tracer("app").start_as_current_span("request", kind=trace.SpanKind.SERVER):
        otelier.set_context(user_id=f"u-{number}")
        logging.getLogger("app").warning(number)
        trace.get_tracer("app").start_span("work").end()
"""


@pytest.mark.slow
def test_what_is_sampled_carries_the_fields(stage):
    """Every span that is exported has its user, which is what a tail sampler decides by; logs are all there."""
    stage.write("app.py", SAMPLED)
    ran = stage.run(command("OTEL_TRACES_SAMPLER_ARG"))
    assert ran.code == 0, ran.err
    users = {name: Counter() for name in ("request", "work")}
    for span in stage.receiver.spans:
        users[span.name][span.attributes["user.id"]] += 1
    assert users["request"] == users["work"]
    assert set(users["request"].values()) == {1}
    assert 0 < len(users["request"]) < 60
    logs = Counter(entry.attributes["user.id"] for entry in stage.receiver.logs if entry.scope == "app")
    assert logs == {f"u-{number}": 1 for number in range(60)}


# --- propagators -----------------------------------------------------------------------------------------------
class Listening(BaseHTTPRequestHandler):
    def log_message(self, format, *args):
        pass

    def do_GET(self):
        self.server.seen.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(204)
        self.end_headers()


REQUESTING = """
import sys
import requests
import otelier

with otelier.context(user_id="alice"):
    requests.get(sys.argv[1])
"""


@pytest.fixture
def host():
    """A host inside, which keeps the headers of what it is asked."""
    with HTTPServer(("127.0.0.1", 0), Listening) as server:
        server.seen = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.002})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("propagators", ["tracecontext", "tracecontext,baggage"])
def test_without_the_baggage_propagator_nothing_travels(stage, host, propagators):
    """Without `baggage` among the propagators a host inside gets the trace alone, and with it the fields."""
    stage.write("app.py", REQUESTING)
    script = command("OTEL_PROPAGATORS=").replace("tracecontext", propagators)
    ran = stage.run(script.replace("app.py", f"app.py http://127.0.0.1:{host.server_port}"))
    assert ran.code == 0, ran.err
    (seen,) = host.seen
    assert "traceparent" in seen
    assert seen.get("baggage") == ("user.id=alice" if "baggage" in propagators else None)
    assert [span.attributes["user.id"] for span in stage.receiver.spans] == ["alice"]


# --- limits ----------------------------------------------------------------------------------------------------
LIMITED = """
import logging
import otelier
from opentelemetry import trace

tracer = trace.get_tracer("app")
fields = {"user_id": "user-1234567890", "user_role": "administrator", "agent": "billing", "session_id": "s-1"}
start = {f"start.{number}": number for number in range(4)}

with tracer.start_as_current_span("late", attributes=start) as span:
    otelier.set_context(user_id="former-1234567890")
    otelier.set_context(**fields)
    logging.getLogger("app").warning("said")
with otelier.context(**fields):
    for later in (10, 11):
        with tracer.start_as_current_span(f"later: {later}", attributes=start) as span:
            for number in range(later):
                span.set_attribute(f"later.{number}", number)
"""


def limited(stage, containing):
    """Run the program under the page's limit; return its spans by name."""
    stage.write("app.py", LIMITED)
    ran = stage.run(command(containing))
    assert ran.code == 0, ran.err
    return {span.name: span.attributes for span in stage.receiver.spans}


@pytest.mark.slow
def test_values_are_cut(stage):
    """Values of ours are cut on spans and log records, and a later one replaces what was cut."""
    expected = {
        "user.id": "user-1234567",
        "user.roles": ["administrato"],
        "session.id": "s-1",
        "gen_ai.agent.name": "billing",
        "otelier.agent.source": "agent",
    }
    spans = limited(stage, "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT")
    (said,) = [entry.attributes for entry in stage.receiver.logs if entry.body == "said"]
    for attributes in (*spans.values(), said):
        assert expected.items() <= attributes.items()
        assert len(attributes["otelier.agent.id"]) == 12


@pytest.mark.slow
def test_the_oldest_attributes_go_first(stage):
    """A span with too many attributes loses those of its start first, then ours, the user first of all."""
    spans = limited(stage, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT")
    ours = {"user.id", "user.roles", "session.id", "gen_ai.agent.name", "otelier.agent.id", "otelier.agent.source"}
    assert set(spans["late"]) == ours | {f"start.{number}" for number in range(4)}
    assert set(spans["later: 10"]) == ours | {f"later.{number}" for number in range(10)}
    assert set(spans["later: 11"]) == ours - {"user.id"} | {f"later.{number}" for number in range(11)}


# --- distros ---------------------------------------------------------------------------------------------------
VENDOR = """
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.distro import BaseDistro
from opentelemetry.sdk._configuration import _BaseConfigurator
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


class VendorsProvider(TracerProvider):
    pass


def start():
    provider = VendorsProvider(resource=Resource({"telemetry.distro.name": "vendor"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


class Distro(BaseDistro):
    def _configure(self, **kwargs):
        pass

    def load_instrumentor(self, entry_point, **kwargs):
        if entry_point.name.startswith("vendor"):
            super().load_instrumentor(entry_point, **kwargs)


class Configurator(_BaseConfigurator):
    def _configure(self, **kwargs):
        start()


class LateConfigurator(_BaseConfigurator):
    def _configure(self, **kwargs):
        pass
"""
ENTRY_POINTS = """
[opentelemetry_distro]
vendor = vendor:Distro

[opentelemetry_configurator]
vendor = vendor:{configurator}
"""
SERVED = """
import otelier
import openai
from opentelemetry import trace
{start}
with trace.get_tracer("app").start_as_current_span("request", kind=trace.SpanKind.SERVER):
    otelier.set_context(user_id="alice", agent="billing")
    openai.OpenAI().chat.completions.create(model="gpt-4.1", messages=[{{"role": "user", "content": "Hello"}}])
"""


@pytest.mark.slow
@pytest.mark.parametrize("sets", ["before", "in the program"])
def test_another_distro(stage, model, sets):
    """A distro that sets a provider of its own, loads no instrumentor but its own, or sets the provider late."""
    info = stage.folder / "vendor-1.0.dist-info"
    info.mkdir()
    stage.write("vendor.py", VENDOR)
    stage.write("vendor-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: vendor\nVersion: 1.0\n")
    late = sets != "before"
    configurator = "LateConfigurator" if late else "Configurator"
    stage.write("vendor-1.0.dist-info/entry_points.txt", ENTRY_POINTS.format(configurator=configurator))
    stage.write("app.py", SERVED.format(start="import vendor; vendor.start()" if late else ""))
    ran = stage.run(command("OTEL_PYTHON_DISTRO"))
    assert ran.code == 0, ran.err
    spans = {span.name: span for span in stage.receiver.spans}
    assert set(spans) == {"request", "chat gpt-4.1"}
    for span in spans.values():
        assert (span.attributes["user.id"], span.attributes["gen_ai.agent.name"]) == ("alice", "billing")
        assert span.resource["telemetry.distro.name"] == "vendor"
