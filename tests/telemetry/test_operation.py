"""An operation is one span and one metric point, however it ends; in a replay it is neither."""

from __future__ import annotations

import asyncio
from contextvars import copy_context

import pytest
from opentelemetry import trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, NoOpTracerProvider, SpanContext, SpanKind, StatusCode, TraceFlags

from otelier import names
from otelier.redaction import ContentGate
from otelier.settings import ContentMode
from otelier.telemetry import (
    Failure,
    Metering,
    OperationPoint,
    emit_event,
    finish_aside,
    is_replaying,
    live,
    replayed,
    start_operation,
    use_providers,
)

SCOPE = "otelier.docs"
OTHER_SPAN = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


class Point(OperationPoint):
    """Records its seconds, and whether it failed."""

    __slots__ = ()
    metering = Metering(SCOPE, lambda meter: meter.create_histogram("docs.duration", unit="s"))

    def __init__(self):
        super().__init__(self.metering)

    def record_on(self, instruments, context):
        instruments.record(self.seconds, self.error_attributes(), context)


@pytest.fixture
def reader():
    """A reader of the metrics provider that holds."""
    reader = InMemoryMetricReader()
    use_providers(meter_provider=MeterProvider([reader], shutdown_on_exit=False))
    return reader


def given(span_id, trace_id=1, *, sampled=True):
    """Ids and flag that a span is to have."""
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(sampled))


def points(reader):
    """Attributes, counts and exemplars of what was recorded."""
    return [
        (dict(point.attributes or {}), point.count, [one.span_id for one in point.exemplars])
        for point in histograms(reader)
    ]


def histograms(reader):
    """What was recorded, as the reader has it."""
    data = reader.get_metrics_data()
    return [
        point
        for group in (data.resource_metrics if data else ())
        for scoped in group.scope_metrics
        for metric in scoped.metrics
        if metric.name == "docs.duration"
        for point in metric.data.data_points
    ]


def test_what_an_operation_tells(otelier_spans, reader):
    """Name, scope, kind, links, times and attributes of the span are those that were asked for, and it is measured."""
    with start_operation(
        "work",
        get_current(),
        Point(),
        scope=SCOPE,
        kind=SpanKind.CONSUMER,
        attributes={"docs.size": 1},
        links=[Link(OTHER_SPAN)],
        start_time_ns=1_000,
    ) as operation:
        assert trace.get_current_span() is operation.span
        operation.attributes["docs.result"] = "ok"
        operation.end_time_ns = 5_000
    (span,) = otelier_spans.spans
    assert (span.name, span.instrumentation_scope.name, span.kind) == ("work", SCOPE, SpanKind.CONSUMER)
    assert (span.start_time, span.end_time) == (1_000, 5_000)
    assert (span.attributes["docs.size"], span.attributes["docs.result"]) == (1, "ok")
    assert [link.context for link in span.links] == [OTHER_SPAN]
    assert span.status.status_code is StatusCode.UNSET
    assert points(reader) == [({}, 1, [operation.span.get_span_context().span_id])]


def test_a_failure(otelier_spans, reader):
    """What ends the block ends the span as failed, in the metric too, and passes."""
    with pytest.raises(KeyError), start_operation("work", get_current(), Point(), scope=SCOPE):
        raise KeyError("a")
    (span,) = otelier_spans.spans
    assert (span.status.status_code, span.attributes[names.ERROR_TYPE]) == (StatusCode.ERROR, "KeyError")
    assert [found[0] for found in points(reader)] == [{names.ERROR_TYPE: "KeyError"}]


def test_a_failure_that_the_block_outlives(otelier_spans, reader):
    """What went wrong is reported although the block goes on."""
    with start_operation("work", get_current(), Point(), scope=SCOPE) as operation:
        operation.failure = Failure(type="rejected")
    (span,) = otelier_spans.spans
    assert (span.status.status_code, span.attributes[names.ERROR_TYPE]) == (StatusCode.ERROR, "rejected")
    assert [found[0] for found in points(reader)] == [{names.ERROR_TYPE: "rejected"}]


class Stop(Exception):
    """Ends an operation as it was meant to."""


def test_what_counts_as_a_failure(otelier_spans, reader):
    """An exception that is no failure leaves status and metric alone."""
    with (
        pytest.raises(Stop),
        start_operation(
            "work", get_current(), Point(), scope=SCOPE, is_failure=lambda error: not isinstance(error, Stop)
        ),
    ):
        raise Stop
    assert otelier_spans.spans[0].status.status_code is StatusCode.UNSET
    assert [found[0] for found in points(reader)] == [{}]


def test_a_cancelled_operation(otelier_spans, reader):
    """Nobody waits any more, and nothing failed."""
    with pytest.raises(asyncio.CancelledError), start_operation("work", get_current(), Point(), scope=SCOPE):
        raise asyncio.CancelledError
    (span,) = otelier_spans.spans
    assert (span.status.status_code, span.attributes[names.CANCELLED]) == (StatusCode.UNSET, True)
    assert [found[0] for found in points(reader)] == [{}]


def test_a_forced_id(otelier_spans):
    """A resumed operation has the id that it had before; what is around it and below has ids of its own."""
    with start_operation("work", get_current(), scope=SCOPE, span_context=given(0xABCDEF)):
        with start_operation("below", get_current(), scope=SCOPE):
            pass
        trace.get_tracer("app").start_span("app").end()
    found = {span.name: span for span in otelier_spans.spans}
    assert found["work"].context.span_id == 0xABCDEF
    assert found["below"].parent.span_id == found["app"].parent.span_id == 0xABCDEF
    assert len({span.context.span_id for span in otelier_spans.spans}) == 3


class Never(Sampler):
    """A sampler that drops everything, and remembers what it was asked about."""

    def __init__(self):
        self.asked = []

    def should_sample(self, parent_context, trace_id, name, *args, **kwargs):
        self.asked.append(name)
        return SamplingResult(Decision.DROP)

    def get_description(self):
        return "Never"


@pytest.fixture
def sampled_by():
    """A sampler that is asked about spans, and what is exported beside it."""
    exporter, sampler = InMemorySpanExporter(), Never()
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    use_providers(tracer_provider=provider)
    return sampler, exporter.get_finished_spans


def test_a_root_with_given_ids_and_flag(sampled_by):
    """The root of a resumed trace has its ids, the flag from its first life and no parent; no sampler is asked."""
    sampler, exported = sampled_by
    attributes = {"docs.size": 1}
    with start_operation("root", Context(), scope=SCOPE, span_context=given(5, 7), attributes=attributes) as operation:
        step = given(6, 7)
        with start_operation("step", get_current(), scope=SCOPE, span_context=step):
            pass
        start_operation("other", get_current(), scope=SCOPE).end()
    where = operation.span.get_span_context()
    assert (where.trace_id, where.span_id, where.trace_flags.sampled) == (7, 5, True)
    found = {span.name: span for span in exported()}
    assert (found["root"].parent, found["root"].attributes["docs.size"]) == (None, 1)
    assert (found["step"].context.span_id, found["step"].parent.span_id) == (6, 5)
    assert sampler.asked == ["other"]


def test_a_root_whose_given_flag_is_off(otelier_spans):
    """A trace that was not sampled in its first life is not in its next one, and has its ids all the same."""
    use = given(5, 7, sampled=False)
    with start_operation("root", Context(), scope=SCOPE, span_context=use) as operation:
        start_operation("step", get_current(), scope=SCOPE, span_context=given(6, 7, sampled=False)).end()
    where = operation.span.get_span_context()
    assert (where.trace_id, where.span_id, where.trace_flags.sampled) == (7, 5, False)
    assert otelier_spans.spans == ()


def test_recorded_times(otelier_spans, reader):
    """An operation made afterwards, as a wait is, has its recorded start and end, and the time between is measured."""
    operation = start_operation("wait", get_current(), Point(), scope=SCOPE, start_time_ns=5 * 10**9)
    operation.end_time_ns = 65 * 10**9
    operation.end()
    (span,) = otelier_spans.spans
    assert (span.start_time, span.end_time) == (5 * 10**9, 65 * 10**9)
    assert [round(point.sum) for point in histograms(reader)] == [60]


def test_a_span_that_ends_in_a_replay_is_withheld(sampled_by, reader):
    """It will be made again with the same id: it ends without its sampled flag, and no exporter gets it."""
    _, exported = sampled_by
    operation = start_operation("work", Context(), Point(), scope=SCOPE, span_context=given(5))
    assert operation.span.get_span_context().trace_flags.sampled
    token = attach(replayed(get_current()))
    operation.end()
    detach(token)
    assert not operation.span.is_recording()
    assert not operation.span.get_span_context().trace_flags.sampled
    assert exported() == ()
    assert points(reader) == []


def test_a_span_that_is_withheld(sampled_by, reader):
    """Where the body is left to be resumed elsewhere, span and point stay here; the exception passes."""
    _, exported = sampled_by
    operation = start_operation("work", Context(), Point(), scope=SCOPE, span_context=given(5))
    operation.withheld = True
    with pytest.raises(Stop), operation:
        raise Stop
    assert not operation.span.is_recording()
    assert exported() == ()
    assert points(reader) == []


def test_a_forced_id_of_another_provider():
    """Where the provider is not the SDK's the id is the provider's to choose."""
    use_providers(tracer_provider=NoOpTracerProvider())
    with start_operation("work", get_current(), scope=SCOPE, span_context=given(5)) as operation:
        assert operation.span.get_span_context().span_id != 5


def test_content_of_a_long_operation(otelier_spans):
    """Content too long for the event loop is redacted beside it, and the span ends as of when the block ended."""

    async def work():
        with start_operation("work", get_current(), scope=SCOPE, gate=ContentGate(ContentMode.SPAN_ONLY)) as operation:
            operation.show({"docs.text": "password=hunter2 " * 5_000})

    asyncio.run(work())
    assert finish_aside()
    (span,) = otelier_spans.spans
    assert "[REDACTED" in span.attributes["docs.text"]
    assert "hunter2" not in span.attributes["docs.text"]


def test_long_content_is_shown_as_it_was(otelier_spans):
    """What its owner changes after it was shown changes nothing on the span, though it is redacted later."""

    async def work():
        content = {"text": "first " * 20_000, "more": ["first"]}
        with start_operation("work", get_current(), scope=SCOPE, gate=ContentGate(ContentMode.SPAN_ONLY)) as operation:
            operation.show({"docs.content": content})
            content["text"] = "second"
            content["more"].append("second")

    asyncio.run(work())
    assert finish_aside()
    (span,) = otelier_spans.spans
    assert "first" in span.attributes["docs.content"]
    assert "second" not in span.attributes["docs.content"]


def test_an_operation_of_a_replay_that_ends_after_it(otelier_spans, reader):
    """What began in a replay is not measured either where the replay is over when it ends."""
    operation = start_operation("wait", replayed(get_current()), Point(), scope=SCOPE)
    operation.end()
    assert otelier_spans.spans == ()
    assert points(reader) == []


def test_a_replay_is_silent(otelier_spans, reader):
    """What is reported while code runs again was reported the first time: no span, no point, no event."""
    around = trace.set_span_in_context(trace.NonRecordingSpan(OTHER_SPAN), replayed(get_current()))
    with start_operation("work", around, Point(), scope=SCOPE, span_context=given(5)) as operation:
        assert is_replaying()
        operation.show({"docs.text": "a"})
        operation.attributes["a"] = 1
        assert trace.get_current_span().get_span_context() == OTHER_SPAN
        Point().put()
        emit_event(SCOPE, "docs.example", {}, get_current())
        with start_operation("first time", live(get_current()), Point(), scope=SCOPE):
            assert not is_replaying()
            emit_event(SCOPE, "docs.live", {}, get_current())
    assert [span.name for span in otelier_spans.spans] == ["first time"]
    assert otelier_spans.spans[0].parent == OTHER_SPAN
    assert [found[:2] for found in points(reader)] == [({}, 1)]
    assert [record.event_name for record in otelier_spans.logs] == ["docs.live"]


def test_an_operation_with_an_empty_context_is_not_the_replays(otelier_spans, reader):
    """An operation with an empty context of its own is reported in the middle of a replay: that context marks none."""
    token = attach(replayed(get_current()))
    try:
        start_operation("work", Context(), Point(), scope=SCOPE).end()
        emit_event(SCOPE, "docs.example", {}, Context())
    finally:
        detach(token)
    assert [span.name for span in otelier_spans.spans] == ["work"]
    assert [record.event_name for record in otelier_spans.logs] == ["docs.example"]


def test_an_operation_that_is_closed_in_another_context(otelier_spans):
    """A coroutine that is closed in another context than it ran in ends its operation, and changes nothing there."""

    async def work():
        with start_operation("work", get_current(), scope=SCOPE):
            await asyncio.sleep(0)

    steps = work()
    copy_context().run(lambda: (attach(Context({"docs.user": "alice"})), steps.send(None)))
    here = Context({"docs.user": "bob"})
    token = attach(here)
    try:
        steps.close()
        assert get_current() is here
    finally:
        detach(token)
    assert [span.name for span in otelier_spans.spans] == ["work"]
    assert otelier_spans.open_spans == ()


def test_an_operation_without_a_block(otelier_spans, reader):
    """Whoever starts an operation may end it elsewhere, as a wait does that another task ends."""
    operation = start_operation("wait", get_current(), Point(), scope=SCOPE)
    assert not trace.get_current_span().is_recording()
    operation.end(TimeoutError())
    (span,) = otelier_spans.spans
    assert span.attributes[names.ERROR_TYPE] == "TimeoutError"
    assert [found[0] for found in points(reader)] == [{names.ERROR_TYPE: "TimeoutError"}]


def test_an_operation_that_is_ended_in_its_block(otelier_spans, reader, caplog):
    """It ends there, once: the end of the block adds no point, and no warning of the SDK."""
    with start_operation("work", get_current(), Point(), scope=SCOPE) as operation:
        operation.failure = TimeoutError("late")
        operation.end()
    assert otelier_spans.find("work").attributes["error.type"] == "TimeoutError"
    ((attributes, count, _),) = points(reader)
    assert (attributes, count) == ({"error.type": "TimeoutError"}, 1)
    assert caplog.records == []


class Broken(NoOpTracerProvider):
    """A provider whose tracers raise."""

    def get_tracer(self, *args, **kwargs):
        raise OSError


def test_a_fault_costs_the_span_only(quiet_faults, reader):
    """The block runs whatever a provider does."""
    use_providers(tracer_provider=Broken())
    with start_operation("work", Context(), Point(), scope=SCOPE) as operation:
        done = True
    assert done
    assert operation.span.get_span_context().span_id == 0
    assert [found[1] for found in points(reader)] == [1]


def broken(*_args, **_kwargs):
    raise LookupError


def test_a_fault_in_what_an_operation_tells(otelier_spans, reader, monkeypatch, quiet_faults, caplog):
    """Content that cannot be redacted, an end and a point that fail cost that alone: the block's outcome stands."""
    gate = ContentGate(ContentMode.SPAN_ONLY)
    with monkeypatch.context() as patch:
        patch.setattr(ContentGate, "values", broken)
        with start_operation("content", get_current(), Point(), scope=SCOPE, gate=gate) as operation:
            operation.show({"docs.text": "hunter2"})
    with pytest.raises(KeyError), start_operation("outcome", get_current(), Point(), scope=SCOPE, is_failure=broken):
        raise KeyError
    with monkeypatch.context() as patch:
        patch.setattr(Metering, "now", broken)
        with start_operation("point", get_current(), Point(), scope=SCOPE):
            pass
    assert [span.name for span in otelier_spans.spans] == ["content", "outcome", "point"]
    assert otelier_spans.find("outcome").attributes[names.ERROR_TYPE] == "KeyError"
    assert "docs.text" not in otelier_spans.find("content").attributes
    assert sum(count for _, count, _ in points(reader)) == 2
    assert "telemetry.content" in caplog.text
    assert "telemetry.operation" in caplog.text


def test_a_fault_in_long_content(otelier_spans, monkeypatch, quiet_faults):
    """A fault of ours in redacting content beside the event loop costs that content; the span ends."""
    redacted = ContentGate.values

    def values(gate, content, *, most=None):
        return broken() if most is None else redacted(gate, content, most=most)

    monkeypatch.setattr(ContentGate, "values", values)

    async def work():
        with start_operation("work", get_current(), scope=SCOPE, gate=ContentGate(ContentMode.SPAN_ONLY)) as operation:
            operation.show({"docs.text": "word " * 50_000})

    asyncio.run(work())
    assert finish_aside()
    assert "docs.text" not in otelier_spans.find("work").attributes
