"""The switches: all of otelier off, its patches off, OpenTelemetry's SDK off."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from opentelemetry import baggage
from opentelemetry._logs import LogRecord

import otelier
from otelier.redaction import content_gate
from otelier.settings import ContentMode
from tests.programs import exporting_to, run
from tests.recording import pools_carry

CREATE = openai.resources.chat.Completions.create
PATCHES = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
CHAT = {"gen_ai.operation.name": "chat"}


def switch_on(spans):
    otelier.init(
        app="orchestrator",
        env="production",
        tracer_provider=spans.tracer_provider,
        meter_provider=spans.meter_provider,
        logger_provider=spans.logger_provider,
    )


def openai_patched():
    return openai.resources.chat.Completions.create is not CREATE


def test_by_default_everything_is_on(spans):
    """Without a switch `init` stamps, carries into pools and instruments openai."""
    switch_on(spans)
    assert (pools_carry(), openai_patched()) == (True, True)


@pytest.mark.parametrize("text", ["true", "TRUE", "1", "yes", "on", " true "])
def test_otelier_disabled_switches_everything_off(spans, monkeypatch, caplog, text):
    """`OTELIER_DISABLED`: no attribute, no baggage, no patch; the program's own calls go on, and one line says so."""
    monkeypatch.setenv("OTELIER_DISABLED", text)
    caplog.set_level(logging.INFO, logger="otelier")
    switch_on(spans)
    with otelier.context(user_id="u-1", agent="triage"), spans.open("work"):
        otelier.set_context(session_id="s-1")
        spans.born_here(attributes=CHAT)
        spans.logger_provider.get_logger("tests").emit(LogRecord(body="said"))
        assert dict(baggage.get_all()) == {}
    assert spans["work"] == {}
    assert spans["probe"] == CHAT
    assert [dict(entry.attributes) for entry in spans.logs] == [{}]
    assert (pools_carry(), openai_patched()) == (False, False)
    assert [record.getMessage() for record in caplog.records if "OTELIER_DISABLED" in record.getMessage()]
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: "mine").result() == "mine"


@pytest.mark.parametrize("text", ["false", "0", "no", "off", ""])
def test_otelier_disabled_says_no(spans, monkeypatch, text):
    """A switch that says no, or nothing, switches nothing off."""
    monkeypatch.setenv("OTELIER_DISABLED", text)
    switch_on(spans)
    with otelier.context(user_id="u-1"):
        assert spans.born_here()["user.id"] == "u-1"


@pytest.mark.parametrize("names", ["otelier", "*", "httpx, otelier ,flask"])
def test_disabled_instrumentations_switch_off_patches_only(spans, monkeypatch, names):
    """`otelier` or `*` among the disabled instrumentations: no patch, while spans and logs are stamped as ever."""
    monkeypatch.setenv(PATCHES, names)
    switch_on(spans)
    assert (pools_carry(), openai_patched()) == (False, False)
    with otelier.context(user_id="u-1"):
        assert spans.born_here()["user.id"] == "u-1"
        assert baggage.get_baggage("user.id") == "u-1"
        spans.logger_provider.get_logger("tests").emit(LogRecord(body="said"))
    assert spans.logs[0].attributes["user.id"] == "u-1"
    assert spans.born_here(attributes=CHAT)["gen_ai.agent.name"] == "orchestrator"


def test_without_patches_set_context_patches_nothing(monkeypatch):
    """With patches off, using the fields patches no thread pool either."""
    monkeypatch.setenv(PATCHES, "otelier")
    otelier.set_context(user_id="u-1")
    assert not pools_carry()


def test_openai_alone_can_be_left_out(spans, monkeypatch):
    """`otelier-openai` among the disabled instrumentations leaves openai alone and nothing else."""
    monkeypatch.setenv(PATCHES, "otelier-openai")
    switch_on(spans)
    assert (pools_carry(), openai_patched()) == (True, False)


@pytest.mark.parametrize("names", ["", "otelier-openai"])
def test_the_mode_of_content_is_forgotten_with_the_rest(monkeypatch, names):
    """After `shutdown` runs of agents ask the environment anew, also where openai was left alone."""
    monkeypatch.setenv(PATCHES, names)
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "span_only")
    otelier.activate()
    assert content_gate().mode is ContentMode.SPAN_ONLY
    otelier.shutdown()
    monkeypatch.delenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT")
    assert content_gate().mode is ContentMode.NO_CONTENT


def test_foreign_names_switch_nothing_of_ours_off(spans, monkeypatch):
    """Names of other instrumentations, `openai` among them, are not ours."""
    monkeypatch.setenv(PATCHES, "openai,httpx")
    switch_on(spans)
    assert (pools_carry(), openai_patched()) == (True, True)


def test_the_sdk_disabled_leaves_the_context_alone(monkeypatch):
    """`OTEL_SDK_DISABLED` in a program that calls `init`: the fields work, and nothing fails."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    otelier.init(app="orchestrator")
    with otelier.context(user_id="u-1"):
        assert otelier.get_context().user_id == "u-1"
        assert baggage.get_baggage("user.id") == "u-1"
    with ThreadPoolExecutor(1) as pool, otelier.context(user_id="u-2"):
        assert pool.submit(lambda: otelier.get_context().user_id).result() == "u-2"
    assert otelier.get_agent().name == "orchestrator"


PROGRAM = """
import json
import otelier
from opentelemetry import trace

calls = []
with trace.get_tracer("app").start_as_current_span("work") as span:
    otelier.set_context(user_id="u-1")
    calls.append("once")
    attributes = dict(getattr(span, "attributes", None) or {})
    inside = otelier.get_context().user_id
print(json.dumps({"calls": calls, "span": attributes.get("user.id"), "inside": inside}))
"""
NO_EXPORT = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}


def test_the_sdk_disabled_sends_nothing(receiver):
    """`OTEL_SDK_DISABLED` with an exporter configured: `init` works, the fields work, and nothing is sent."""
    program = "import otelier\notelier.init()\n" + PROGRAM
    ran = run(program, OTEL_SDK_DISABLED="true", **exporting_to(receiver.url))
    assert (ran.answer["calls"], ran.answer["span"], ran.answer["inside"]) == (["once"], None, "u-1")
    assert receiver.counts["requests"] == 0


@pytest.mark.parametrize(
    ("variables", "span", "inside"),
    [
        ({}, "u-1", "u-1"),
        ({"OTEL_SDK_DISABLED": "true"}, None, "u-1"),
        ({"OTELIER_DISABLED": "true"}, None, ...),
        ({PATCHES: "otelier"}, "u-1", "u-1"),
        ({PATCHES: "*"}, "u-1", "u-1"),
        ({"OTELIER_DISABLED": "perhaps"}, ..., ...),
    ],
    ids=str,
)
def test_under_opentelemetry_instrument(variables, span, inside):
    """Each switch under `opentelemetry-instrument`: the program's call happens once, and spans are stamped or not."""
    ran = run(PROGRAM, instrumented=True, **{**NO_EXPORT, **variables})
    answer = ran.answer
    assert answer["calls"] == ["once"]
    if span is not ...:
        assert answer["span"] == span
    if inside is not ...:
        assert answer["inside"] == inside
    assert "u-1" not in ran.err
