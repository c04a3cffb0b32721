"""`ContextLogProcessor`: the same attributes on every log record, sampled or not."""

from __future__ import annotations

import contextvars
import logging

import pytest
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind

import otelier
from otelier.faults import raise_faults
from otelier.identity import agent_id_for
from tests.fields.given import ATTRIBUTES, GIVEN
from tests.recording import LogCopies, Spans

try:
    from opentelemetry.instrumentation.logging.handler import LoggingHandler
except ImportError:  # until 1.40 it was the SDK's
    from opentelemetry.sdk._logs import LoggingHandler


def emit(spans, **given):
    """Emit one record and return its attributes."""
    record = LogRecord(**{"body": "said", "severity_number": SeverityNumber.INFO, **given})
    spans.logger_provider.get_logger("tests").emit(record)
    return dict(spans.logs[-1].attributes)


@pytest.fixture
def logger(spans):
    """A standard library logger whose records become OpenTelemetry's."""
    made = logging.getLogger("tests.app")
    handler = LoggingHandler(logger_provider=spans.logger_provider)
    made.addHandler(handler)
    yield made
    made.removeHandler(handler)


def test_a_record_carries_what_a_span_carries(spans):
    """A log record and a span made in the same place have the same attributes of ours."""
    with otelier.context(**GIVEN):
        assert emit(spans) == spans.born_here()
    assert emit(spans) == {}


def test_records_of_the_standard_library(spans, logger):
    """What `logging` writes carries the fields, beside what the call gave as `extra`."""
    with otelier.context(**GIVEN):
        logger.warning("low on %s", "stock", extra={"item": "tea"})
    (entry,) = spans.logs
    assert entry.body == "low on stock"
    assert entry.attributes["item"] == "tea"
    assert entry.attributes["user.id"] == "u-1"
    assert entry.attributes["gen_ai.agent.name"] == "triage"


@pytest.mark.parametrize("sampled", [True, False])
def test_sampled_or_not(spans, sampled, logger):
    """A record inside an unsampled span carries the fields as well."""
    provider = spans.tracer_provider if sampled else TracerProvider(sampler=ALWAYS_OFF)
    with provider.get_tracer("tests").start_as_current_span("request", kind=SpanKind.SERVER):
        otelier.set_context(user_id="u-1")
        logger.warning("said")
    assert [entry.attributes["user.id"] for entry in spans.logs] == ["u-1"]


@pytest.mark.parametrize("key", ["user.id", "user.roles", "session.id", "otelier.workflow.id", "otelier.tenant.id"])
def test_keys_that_are_present_are_kept(spans, key):
    """What a record brings itself stays; the other fields stand beside it."""
    with otelier.context(**GIVEN):
        attributes = emit(spans, attributes={key: "theirs"})
    assert attributes[key] == "theirs"
    assert len(attributes) == len(ATTRIBUTES)


@pytest.mark.parametrize("key", ["gen_ai.agent.name", "gen_ai.agent.id", "otelier.agent.id"])
def test_a_foreign_agent_is_kept_whole(spans, key):
    """A record that names another agent keeps that one alone."""
    with otelier.context(**GIVEN):
        attributes = emit(spans, attributes={key: "theirs"})
    assert {name: value for name, value in attributes.items() if "agent" in name} == {key: "theirs"}


def test_keys_given_as_extra_are_kept(spans, logger):
    """An `extra` of the program's own under one of our names stays."""
    with otelier.context(user_id="u-1"):
        logger.warning("said", extra={"user.id": "theirs"})
    assert spans.logs[0].attributes["user.id"] == "theirs"


def test_a_record_with_a_context_of_its_own(spans):
    """A record given a context has that context's fields, not the current one's."""
    with otelier.context(user_id="then"):
        then = trace.set_span_in_context(trace.INVALID_SPAN)
    with otelier.context(user_id="now"):
        assert emit(spans, context=then) == {"user.id": "then"}
        assert emit(spans)["user.id"] == "now"


def test_a_record_below_a_span_has_the_spans_fields(spans):
    """Where the context has no fields, the span's born ones count, and what a request hands down."""
    with otelier.context(user_id="u-1"):
        born = spans.tracer.start_span("work")
    with trace.use_span(born, end_on_exit=True):
        assert emit(spans) == {"user.id": "u-1"}
    with spans.open("request", kind=SpanKind.SERVER):
        contextvars.copy_context().run(otelier.set_context, user_id="late", agent="dependency")
        assert emit(spans) == {"user.id": "late"}


def test_agents_have_the_same_id_on_records(spans):
    """A named agent has its derived id and its tier on records too."""
    with otelier.context(agent="triage"):
        assert emit(spans) == {
            "gen_ai.agent.name": "triage",
            "otelier.agent.id": agent_id_for("triage"),
            "otelier.agent.source": "agent",
        }


def test_nothing_else_of_the_record_changes(spans):
    """Body, severity, event name and trace stay the record's own."""
    with otelier.context(user_id="u-1"), spans.open("work") as span:
        emit(spans, body={"a": (1, 2)}, severity_text="WARN", event_name="thing.happened")
        (entry,) = spans.logs
        assert (entry.body, entry.severity, entry.event_name) == ({"a": (1, 2)}, "WARN", "thing.happened")
        assert entry.span_id == f"{span.context.span_id:016x}"


def test_the_programs_own_dict_is_left_alone(spans):
    """The mapping that a program gave as attributes is not written to."""
    given = {"item": "tea"}
    with otelier.context(user_id="u-1"):
        assert emit(spans, attributes=given) == {"item": "tea", "user.id": "u-1"}
    assert given == {"item": "tea"}


@pytest.mark.parametrize("make", [SimpleLogRecordProcessor, BatchLogRecordProcessor], ids=lambda made: made.__name__)
def test_before_an_exporting_processor(make):
    """Standing before it, the processor's attributes are what every exporter exports."""
    provider, exporter = LoggerProvider(), LogCopies()
    provider.add_log_record_processor(otelier.ContextLogProcessor())
    provider.add_log_record_processor(make(exporter))
    with otelier.context(user_id="u-1"):
        provider.get_logger("tests").emit(LogRecord(body="said"))
    provider.shutdown()
    assert exporter.attributes == [{"user.id": "u-1"}]


def test_behind_an_exporting_processor():
    """Standing behind one that exports at once, the processor comes too late: the order is what matters."""
    provider, exporter = LoggerProvider(), LogCopies()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    provider.add_log_record_processor(otelier.ContextLogProcessor())
    with otelier.context(user_id="u-1"):
        provider.get_logger("tests").emit(LogRecord(body="said"))
    provider.shutdown()
    assert exporter.attributes == [{}]


def test_several_of_them_change_nothing():
    """A second processor on one provider adds nothing."""
    provider, exporter = LoggerProvider(), LogCopies()
    for _ in range(2):
        provider.add_log_record_processor(otelier.ContextLogProcessor())
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    with otelier.context(**GIVEN):
        provider.get_logger("tests").emit(LogRecord(body="said"))
    provider.shutdown()
    assert [len(attributes) for attributes in exporter.attributes] == [len(ATTRIBUTES)]


class Broken:
    @property
    def log_record(self):
        raise LookupError(otelier.get_context().user_id)


def test_no_exception_ever_leaves(caplog):
    """A failure inside the processor never reaches the program that logs, and is logged once without the values."""
    raise_faults(False)
    with otelier.context(user_id="u-1"):
        for _ in range(3):
            otelier.ContextLogProcessor().on_emit(Broken())
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "u-1" not in caplog.text


def test_it_shuts_down_and_flushes_like_any_processor(spans):
    """`shutdown` and `force_flush` are allowed at any time."""
    processor = otelier.ContextLogProcessor()
    processor.shutdown()
    assert processor.force_flush() is True
    assert emit(spans, context=Context()) == {}


def test_ours_are_cut_without_a_word(monkeypatch, caplog):
    """Under a limit on the length of values ours are cut, and no warning of OpenTelemetry's is logged about it.

    Where log records are exported such a warning is a record too, is stamped with the same value, and causes the next.
    """
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "8")
    with otelier.context(user_id="user-1234567890", user_role="role-1234567890", session_id="s-1"):
        attributes = emit(Spans())
    assert (attributes["user.id"], attributes["user.roles"]) == ("user-123", ("role-123",))
    assert attributes["session.id"] == "s-1"
    assert caplog.messages == []


def test_ours_give_way_to_the_records_own(monkeypatch, caplog):
    """Under a limit on their number ours take the room that is left, and none of the record's own is dropped."""
    monkeypatch.setenv("OTEL_ATTRIBUTE_COUNT_LIMIT", "5")
    own = {f"own.{number}": number for number in range(4)}
    with otelier.context(user_id="u-1", session_id="s-1", workflow_id="w-1"):
        assert emit(Spans(), attributes=own) == {**own, "user.id": "u-1"}
    assert caplog.messages == []
