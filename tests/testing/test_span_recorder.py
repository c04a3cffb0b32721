"""The span recorder: fresh providers, the same ids and times in each run, views that a test compares."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind

import otelier
from otelier.testing import SpanRecord, SpanRecorder, trace_tree

SECOND = 1_000_000_000


@pytest.fixture
def recorder():
    return SpanRecorder()


@pytest.fixture
def tracer(recorder):
    return recorder.tracer_provider.get_tracer("tests")


def test_ids_and_times_count_from_one(recorder, tracer):
    """Ids count per kind, the clock is a second later each time it is asked."""
    with tracer.start_as_current_span("first") as first:
        first.add_event("asked")
        tracer.start_span("inner").end()
    tracer.start_span("second").end()
    found = [(span.name, span.context.trace_id, span.context.span_id) for span in recorder.spans]
    assert found == [("inner", 1, 2), ("first", 1, 1), ("second", 2, 3)]
    assert [(span.start_time // SECOND, span.end_time // SECOND) for span in recorder.spans] == [(3, 4), (1, 5), (6, 7)]
    assert recorder.find("first").events[0].timestamp == 2 * SECOND


def test_given_times_are_kept(recorder, tracer):
    """Only times that nobody gave come from the clock."""
    span = tracer.start_span("work", start_time=10)
    span.add_event("asked", {}, 11)
    span.end(end_time=12)
    span = tracer.start_span("positional", None, SpanKind.CLIENT, None, (), 20)
    span.end(21)
    work, positional = recorder.spans
    assert (work.start_time, work.events[0].timestamp, work.end_time) == (10, 11, 12)
    assert (positional.start_time, positional.end_time) == (20, 21)


def test_exceptions_and_status_are_as_usual(recorder, tracer):
    """A ticking span is a span: exceptions are recorded with the recorder's time and the span has failed."""
    with pytest.raises(ZeroDivisionError), tracer.start_as_current_span("work"):
        _ = 1 / 0
    (event,) = recorder.find("work").events
    assert (event.name, event.timestamp) == ("exception", 2 * SECOND)
    assert recorder.tree() == "work INTERNAL ERROR"


def test_the_clock_is_the_recorders_alone(recorder, tracer):
    """Other providers, and two recorders, do not notice each other."""
    other = SpanRecorder()
    plain = TracerProvider(shutdown_on_exit=False).get_tracer("tests").start_span("plain")
    tracer.start_span("mine").end()
    other.tracer_provider.get_tracer("tests").start_span("theirs").end()
    plain.end()
    assert plain.end_time >= plain.start_time > 10**18
    assert recorder.find("mine").start_time == other.find("theirs").start_time == SECOND
    assert recorder.find("mine").context.span_id == other.find("theirs").context.span_id == 1


def test_a_clock_may_be_given():
    """With the real clock, durations are real."""
    recorder = SpanRecorder(clock=time.time_ns)
    before = time.time_ns()
    recorder.tracer_provider.get_tracer("tests").start_span("work").end()
    (span,) = recorder.records
    assert before <= span.start_ns <= span.end_ns <= time.time_ns()
    assert span.duration_s < 60


def test_nothing_is_global(recorder, tracer):
    """Making a recorder sets no provider."""
    tracer.start_span("work").end()
    assert trace.get_tracer_provider() is not recorder.tracer_provider
    assert metrics.get_meter_provider() is not recorder.meter_provider


def test_fields_stand_on_spans_and_logs(recorder, tracer):
    """The context's fields are stamped on spans, late ones too, and on log records; sampled or not."""
    logger = recorder.logger_provider.get_logger("tests")
    with otelier.context(user_id="alice", agent="triage"), tracer.start_as_current_span("request"):
        otelier.set_context(session_id="s-1")
        logger.emit(body="hello")
    assert recorder.tree("user.id", "session.id", "gen_ai.agent.name") == (
        "request INTERNAL user.id='alice' session.id='s-1' gen_ai.agent.name='triage'"
    )
    (entry,) = recorder.logs
    assert (entry.body, entry.span_id, entry.time_ns) == ("hello", f"{1:016x}", 2 * SECOND)
    assert (entry.attributes["user.id"], entry.attributes["session.id"]) == ("alice", "s-1")

    unsampled = SpanRecorder(sampler=ALWAYS_OFF)
    with otelier.context(user_id="bob"), unsampled.tracer_provider.get_tracer("tests").start_as_current_span("request"):
        unsampled.logger_provider.get_logger("tests").emit(body="hello")
    assert unsampled.spans == ()
    assert [entry.attributes["user.id"] for entry in unsampled.logs] == ["bob"]


def test_tree_shows_parents_children_and_traces(recorder, tracer):
    """Children stand below their parents in the order they began; names may be chosen; orphans say so."""
    with tracer.start_as_current_span("request", kind=SpanKind.SERVER) as request:
        late = tracer.start_span("late", attributes={"n": 2})
        with tracer.start_as_current_span("early", attributes={"n": 1, "user.id": "alice"}):
            tracer.start_span("deep", attributes={"user.id": "alice"}).end()
        late.end()
    tracer.start_span("another", kind=SpanKind.CONSUMER).end()
    assert recorder.tree("user.id", "n") == (
        "request SERVER\n"
        "  late INTERNAL n=2\n"
        "  early INTERNAL user.id='alice' n=1\n"
        "    deep INTERNAL user.id='alice'\n"
        "another CONSUMER"
    )
    below = [span for span in recorder.records if span.name != request.name]
    assert trace_tree(below).splitlines()[0] == "late INTERNAL (parent elsewhere)"
    assert trace_tree([]) == ""


def test_finding_names_what_there_is(recorder, tracer):
    """`find` wants exactly one span, and else says what there is."""
    with pytest.raises(LookupError, match=r"Found 0 spans named 'work'.*Finished spans: none"):
        recorder.find("work")
    for _ in range(2):
        tracer.start_span("work").end()
    with pytest.raises(LookupError, match=r"Found 2 spans named 'work'.*'work', 'work'"):
        recorder.find("work")


def test_open_spans_are_seen(recorder, tracer):
    """A span is open from its start to its end, wherever it ends."""
    first, second = tracer.start_span("first"), tracer.start_span("second")
    assert [span.name for span in recorder.open_spans] == ["first", "second"]
    with ThreadPoolExecutor(1) as pool:
        pool.submit(first.end).result()
    assert [span.name for span in recorder.open_spans] == ["second"]
    second.end()
    assert recorder.open_spans == ()


def test_metrics_are_plain_and_looking_changes_nothing(recorder):
    """Values add up however often they are looked at; exemplars know their spans."""
    meter = recorder.meter_provider.get_meter("tests")
    counter = meter.create_counter("calls", unit="{call}")
    duration = meter.create_histogram("duration", unit="s")
    level = meter.create_up_down_counter("level")
    meter.create_observable_gauge("watched", [lambda options: [metrics.Observation(4)]])
    with recorder.tracer_provider.get_tracer("tests").start_as_current_span("request"):
        counter.add(2, {"agent": "triage"})
        duration.record(0.5)
    level.add(3)
    expected = {
        "calls": [{"attributes": {"agent": "triage"}, "value": 2}],
        "duration": [{"attributes": {}, "count": 1, "sum": 0.5, "min": 0.5, "max": 0.5}],
        "level": [{"attributes": {}, "value": 3}],
        "watched": [{"attributes": {}, "value": 4}],
    }
    assert recorder.metrics() == recorder.metrics() == expected
    counter.add(1, {"agent": "triage"})
    counter.add(1, {"agent": "billing"})
    duration.record(1.5)
    level.add(-1)
    assert recorder.metrics() == {
        "calls": [
            {"attributes": {"agent": "billing"}, "value": 1},
            {"attributes": {"agent": "triage"}, "value": 3},
        ],
        "duration": [{"attributes": {}, "count": 2, "sum": 2.0, "min": 0.5, "max": 1.5}],
        "level": [{"attributes": {}, "value": 2}],
        "watched": [{"attributes": {}, "value": 4}],
    }
    (point,) = [point for point in recorder.metric_points if point.name == "duration"]
    assert (point.unit, sum(point.bucket_counts)) == ("s", 2)
    assert [(one.value, one.span_id) for one in point.exemplars] == [(0.5, f"{1:016x}")]


@pytest.mark.parametrize("beside", [(), ("up_down", "gauge", "watched", "watched_up_down")])
@pytest.mark.parametrize("flushes", [0, 1, 3])
def test_a_flush_loses_nothing(recorder, beside, flushes):
    """What a flush collects stays in the recorder: every kind of instrument, whatever others there are."""
    meter = recorder.meter_provider.get_meter("tests")
    calls, duration = meter.create_counter("calls"), meter.create_histogram("duration")
    sizes = iter(range(5, 100, 5))
    meter.create_observable_counter("seen", [lambda options: [metrics.Observation(next(sizes))]])
    if "up_down" in beside:
        meter.create_up_down_counter("up_down").add(7)
        meter.create_gauge("gauge").set(8)
        meter.create_observable_gauge("watched", [lambda options: [metrics.Observation(4)]])
        meter.create_observable_up_down_counter("watched_up_down", [lambda options: [metrics.Observation(3)]])
    otelier.init(meter_provider=recorder.meter_provider)
    for _ in range(flushes):
        calls.add(1)
        duration.record(2.0)
        assert otelier.flush()
        assert recorder.meter_provider.force_flush()
    calls.add(1)
    duration.record(4.0)
    found = recorder.metrics()
    levels = {"up_down": 7, "gauge": 8, "watched": 4, "watched_up_down": 3}
    assert {name: found[name] for name in levels if name in found} == {
        name: [{"attributes": {}, "value": levels[name]}] for name in beside
    }
    assert found["calls"] == [{"attributes": {}, "value": flushes + 1}]
    assert found["seen"] == [{"attributes": {}, "value": 5 * (2 * flushes + 1)}]
    (point,) = found["duration"]
    assert (point["count"], point["sum"], point["max"]) == (flushes + 1, 2.0 * flushes + 4.0, 4.0)


def test_clear_forgets_and_counts_anew(recorder, tracer):
    """After `clear` a test starts as with a new recorder; while a span is open, ids go on."""
    counter = recorder.meter_provider.get_meter("tests").create_counter("calls")
    counter.add(1)
    recorder.logger_provider.get_logger("tests").emit(body="hello")
    held = tracer.start_span("held")
    tracer.start_span("work").end()
    recorder.clear()
    assert (recorder.spans, recorder.logs, recorder.metrics()) == ((), (), {})
    tracer.start_span("next").end()
    assert recorder.find("next").context.span_id == 3
    held.end()
    recorder.clear()
    counter.add(5)
    tracer.start_span("next").end()
    assert recorder.find("next").context.span_id == 1
    assert recorder.metrics() == {"calls": [{"attributes": {}, "value": 5}]}


def test_many_threads_and_tasks_record_together(recorder, tracer):
    """Every span is there once, with an id of its own."""

    async def task(number):
        with tracer.start_as_current_span(f"task {number}"):
            await asyncio.sleep(0)

    async def main():
        await asyncio.gather(*(task(number) for number in range(100)))

    def thread(number):
        with tracer.start_as_current_span(f"thread {number}"):
            pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(thread, range(100)))
    asyncio.run(main())
    assert len({span.context.span_id for span in recorder.spans}) == len(recorder.spans) == 200
    assert recorder.open_spans == ()


def test_logs_of_the_standard_library(recorder):
    """A handler of OpenTelemetry's logging instrumentation writes into the recorder; time is when it was logged."""
    handlers = pytest.importorskip("opentelemetry.instrumentation.logging.handler")  # the SDK's own until 0.60b
    handler = handlers.LoggingHandler(logger_provider=recorder.logger_provider)
    log = logging.getLogger("tests.recorder")
    log.addHandler(handler)
    try:
        with otelier.context(user_id="alice"):
            log.warning("sold %s", "out")
    finally:
        log.removeHandler(handler)
    (entry,) = recorder.logs
    assert (entry.body, entry.severity, entry.scope) == ("sold out", "WARN", "tests.recorder")
    assert entry.attributes["user.id"] == "alice"
    assert recorder.logger_provider.force_flush()


def test_a_span_made_by_hand():
    """A span without ids, as a test of an exporter may make one, is shown with those that stand for none."""
    record = SpanRecord.of(ReadableSpan("made by hand"))
    assert (record.name, record.trace_id, record.span_id) == ("made by hand", "0" * 32, "0" * 16)
