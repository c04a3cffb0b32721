"""Spans and events: what is emitted is what the official instrumentation emits."""

from __future__ import annotations

import asyncio
import json

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanKind, StatusCode

from otelier import names
from otelier.faults import warn_once
from otelier.redaction import ContentGate
from otelier.settings import ContentMode
from otelier.telemetry import (
    Failure,
    emit_event,
    end_span,
    failure_of,
    foreign_fault,
    start_operation,
    use_providers,
)
from tests.telemetry.metering import span

OPEN = ContentGate(ContentMode.SPAN_ONLY)


@pytest.fixture
def tracer():
    return TracerProvider(shutdown_on_exit=False).get_tracer("test")


@pytest.fixture
def open_span(tracer):
    return tracer.start_span("chat gpt-4.1", Context(), SpanKind.CLIENT, {names.OPERATION: "chat"})


def test_a_client_span_is_a_child_of_its_context():
    """Kind, name, start attributes and parent are as asked; the span is not made current."""
    parent = span(1)
    use_providers(tracer_provider=TracerProvider(shutdown_on_exit=False))
    child = start_operation(
        "chat",
        trace.set_span_in_context(parent, Context()),
        scope="otelier.docs",
        kind=SpanKind.CLIENT,
        attributes={names.OPERATION: "chat"},
    ).span
    assert (child.name, child.kind, dict(child.attributes)) == (
        "chat",
        SpanKind.CLIENT,
        {"gen_ai.operation.name": "chat"},
    )
    assert child.parent.span_id == parent.get_span_context().span_id
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_ending_writes_the_attributes_and_the_time(open_span):
    """What was learned stands on the span, its end may be in the past, its status is left unset."""
    end_span(open_span, {names.INPUT_TOKENS: 12, names.FINISH_REASONS: ("stop",)}, end_time_ns=open_span.start_time + 5)
    assert open_span.attributes[names.INPUT_TOKENS] == 12
    assert open_span.attributes[names.FINISH_REASONS] == ("stop",)
    assert open_span.end_time - open_span.start_time == 5
    assert open_span.status.status_code is StatusCode.UNSET


def test_a_span_may_end_with_nothing_learned(open_span):
    """Without attributes a span just ends, now."""
    end_span(open_span)
    assert dict(open_span.attributes) == {names.OPERATION: "chat"}
    assert open_span.end_time >= open_span.start_time


class HostError(Exception):
    """An exception with a module and a class name to show."""


@pytest.mark.parametrize(
    ("exc", "kind"),
    [
        (ValueError("x"), "ValueError"),
        (json.JSONDecodeError("x", "", 0), "json.decoder.JSONDecodeError"),
        (HostError("x"), f"{__name__}.HostError"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_a_failed_span_names_the_class_of_the_exception(open_span, exc, kind):
    """`error.type` is the qualified class, built-in ones bare; the metrics get the same."""
    end_span(open_span, {names.INPUT_TOKENS: 12}, failure=exc)
    assert open_span.attributes[names.ERROR_TYPE] == kind
    assert open_span.attributes[names.INPUT_TOKENS] == 12
    assert open_span.end_time is not None


def test_a_failed_span_has_the_message_and_no_event(open_span):
    """Status ERROR with class and, where content may go, message; no exception event, as the official one has it."""
    end_span(open_span, failure=ValueError("model not found"), gate=OPEN)
    status = open_span.status
    assert (status.status_code, status.description) == (StatusCode.ERROR, "ValueError: model not found")
    assert open_span.events == ()


def test_half_a_pair_in_the_message_costs_no_batch(open_span):
    """Half a pair of UTF-16, which no exporter can write, is replaced."""
    end_span(open_span, failure=ValueError("what \ud83d was said"), gate=OPEN)
    assert open_span.status.description == "ValueError: what \ufffd was said"
    assert encode_spans([open_span]).SerializeToString()


def test_secrets_in_the_message_are_redacted(open_span):
    """A provider's message repeats the key; the span does not."""
    end_span(open_span, failure=ValueError("Incorrect API key provided: sk-proj-abcdef0123456789."), gate=OPEN)
    assert open_span.status.description == "ValueError: Incorrect API key provided: [REDACTED:api-key]."


@pytest.mark.parametrize("gate", [None, ContentGate(ContentMode.NO_CONTENT), ContentGate(ContentMode.EVENT_ONLY)])
def test_without_content_no_word_of_a_message_leaves(open_span, gate):
    """Where spans carry no content the status is the class alone."""
    end_span(open_span, failure=ValueError("Alice was not found"), gate=gate)
    assert open_span.status.description == "ValueError"


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit()], ids=lambda one: type(one).__name__)
def test_a_span_that_was_left_has_not_failed(open_span, error):
    """A cancelled task and a closed generator leave the status unset, say so, and give metrics no error."""
    end_span(open_span, failure=error, gate=OPEN)
    assert open_span.status.status_code is StatusCode.UNSET
    assert dict(open_span.attributes) == {names.OPERATION: "chat", names.CANCELLED: True}


class BrokenProcessor(SpanProcessor):
    """A processor of somebody's that fails whenever a span ends."""

    def on_end(self, span):
        raise OSError("the disk of Alice is full")


@pytest.mark.parametrize("end", [end_span, lambda span: end_span(span, failure=ValueError())])
def test_a_foreign_processor_that_fails_is_told_once(tracer, caplog, end):
    """Ending a span never raises: what a processor raises is a line with its class, once."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BrokenProcessor())
    for _ in range(2):
        end(provider.get_tracer("test").start_span("work"))
    (record,) = caplog.records
    assert "OSError was raised as a span was written or ended" in record.getMessage()
    assert "Alice" not in record.getMessage()


class BrokenSpan(NonRecordingSpan):
    """A span of somebody's that takes neither attributes nor a status."""

    ended = False

    def set_attributes(self, attributes):
        raise OSError("Alice")

    def set_status(self, status, description=None):
        raise OSError("Alice")

    def end(self, end_time=None):
        self.ended = True


@pytest.mark.parametrize("failure", [None, TimeoutError("too slow")])
def test_a_span_that_takes_no_attributes_is_ended(caplog, failure):
    """A span whose class raises over its attributes or its status is ended all the same, which is told once."""
    broken = BrokenSpan(trace.INVALID_SPAN_CONTEXT)
    end_span(broken, {names.INPUT_TOKENS: 12}, failure=failure)
    assert broken.ended
    (record,) = caplog.records
    assert record.getMessage().startswith("OSError was raised as a span was written or ended, by its class or")


def test_foreign_faults_leave_room_for_warnings(caplog):
    """However many classes of exceptions others raise, later warnings of other kinds are logged."""
    for number in range(300):
        foreign_fault(type(f"Odd{number}Error", (Exception,), {})())
    warn_once("key", "told")
    assert [record.getMessage()[:5] for record in caplog.records] == [f"{__name__}"[:5], "told"]


def test_a_message_that_cannot_be_read_leaves_the_span_ended(open_span):
    """An exception whose `str` raises still ends its span as failed."""

    class Mute(Exception):
        def __str__(self):
            raise RuntimeError("no words")

    end_span(open_span, failure=Mute(), gate=OPEN)
    assert open_span.status.status_code is StatusCode.ERROR
    assert open_span.status.description == failure_of(Mute()).type
    assert open_span.end_time is not None


def test_an_error_event_fails_a_span_without_an_exception(open_span):
    """A stream's error event has a code and a message of its own, which is redacted too."""
    end_span(open_span, failure=Failure(type="server_error", message="token=abc123"), gate=OPEN)
    assert open_span.attributes[names.ERROR_TYPE] == "server_error"
    assert open_span.status.description == "server_error: token=[REDACTED:secret]"


def test_an_event_carries_its_span_and_structured_data():
    """The log record has the event's name, attributes as they are, a time, and the span's ids."""
    provider = LoggerProvider(shutdown_on_exit=False)
    seen = []

    class Keeps:
        def on_emit(self, log):
            seen.append(log.log_record)

    provider.add_log_record_processor(Keeps())
    attributes = {names.INPUT_MESSAGES: [{"role": "user", "parts": [{"type": "text", "content": "Hello"}]}]}
    use_providers(logger_provider=provider)
    emit_event(
        "test",
        names.INFERENCE_DETAILS,
        attributes,
        trace.set_span_in_context(span(4), Context()),
    )
    (record,) = seen
    assert record.event_name == names.INFERENCE_DETAILS
    assert record.attributes[names.INPUT_MESSAGES][0]["parts"][0] == {"type": "text", "content": "Hello"}
    assert (record.trace_id, record.span_id) == (0xABC004, 0xDEF004)
    assert record.timestamp == record.observed_timestamp > 0
