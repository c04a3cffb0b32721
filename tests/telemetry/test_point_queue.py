"""The queue of metric points: nothing is lost, doubled or misattributed, whoever collects and whenever."""

from __future__ import annotations

import gc
import io
import threading
import weakref
from collections.abc import Callable

import pytest
from opentelemetry import trace
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import Histogram, MeterProvider, SimpleFixedSizeExemplarReservoir
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ConsoleMetricExporter,
    InMemoryMetricReader,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import DropAggregation, ExplicitBucketHistogramAggregation, View

from otelier import names
from otelier.faults import run_resets
from otelier.telemetry import point_queue
from otelier.telemetry._point_queue import drain_all
from tests.telemetry.metering import Call, Metering, collect, counts, run, span, span_context

LIMIT = 4_096


class Collected:
    """A point that tells how often it was recorded."""

    span_context = None

    def __init__(self) -> None:
        self.times = 0

    def record(self, context):
        self.times += 1


def test_points_wait_for_a_collection():
    """A point is recorded when a reader collects, not before, and once."""
    metering = Metering(InMemoryMetricReader())
    queue = point_queue(metering.provider)
    point = Collected()
    queue.put(point)
    assert point.times == 0
    metering.readers[0].collect()
    metering.readers[0].collect()
    assert point.times == 1


@pytest.mark.parametrize("temporality", [AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE])
def test_two_readers_count_exactly(temporality):
    """Each of two readers sees every value of every collection, whichever comes first."""
    first, second = (InMemoryMetricReader(preferred_temporality={Histogram: temporality}) for _ in range(2))
    metering = Metering(first, second)
    queue = point_queue(metering.provider)
    for round_ in range(1, 4):
        for _ in range(100):
            queue.put(metering.call())
        expected = 100 if temporality is AggregationTemporality.DELTA else 100 * round_
        readers = (first, second) if round_ % 2 else (second, first)
        assert [counts(reader) for reader in readers] == [[expected] * 3] * 2


def test_a_queue_is_one_per_provider():
    """The same provider always gives the same queue, another one another."""
    one, two = Metering(InMemoryMetricReader()), Metering(InMemoryMetricReader())
    assert point_queue(one.provider) is point_queue(one.provider)
    assert point_queue(one.provider) is not point_queue(two.provider)


def test_instrumenting_again_keeps_the_queue_working(caplog):
    """The observable is made once; asking again after a reset makes no second one, whose callback would be lost."""
    metering = Metering(InMemoryMetricReader())
    point_queue(metering.provider)
    run_resets()
    gc.collect()
    point_queue(metering.provider).put(metering.call())
    assert counts(metering.readers[0]) == [1, 1, 1]
    assert caplog.records == []


def test_the_queue_does_not_show_among_the_metrics():
    """The instrument whose callback records what waits has no point and no scope of its own in what is exported."""
    metering = Metering(InMemoryMetricReader())
    point_queue(metering.provider).put(metering.call())
    exported = metering.readers[0].get_metrics_data().resource_metrics[0].scope_metrics
    assert names.POINT_QUEUE not in [metric.name for scope in exported for metric in scope.metrics]
    assert len(exported) == 1


def test_a_queue_keeps_no_provider_alive():
    """A provider that its owner drops is gone, with its queue."""
    metering = Metering()
    queue = weakref.ref(point_queue(metering.provider))
    provider = weakref.ref(metering.provider)
    del metering
    gc.collect()
    assert (provider(), queue()) == (None, None)


# --- exemplars -------------------------------------------------------------------------------------------------
def test_exemplars_point_to_the_span_of_the_call():
    """Trace, span and value of an exemplar are the call's, whatever span is current at collection."""
    metering = Metering(InMemoryMetricReader())
    point_queue(metering.provider).put(metering.call(0.25, span=1))
    with trace.use_span(span(2)):
        (exemplar,) = collect(metering.readers[0])["duration"].exemplars
    assert (exemplar.trace_id, exemplar.span_id, exemplar.value) == (0xABC001, 0xDEF001, 0.25)


def test_an_unsampled_call_gets_no_exemplar():
    """A collection inside somebody's sampled span does not give that span as exemplar of an unsampled call."""
    metering = Metering(InMemoryMetricReader())
    point_queue(metering.provider).put(metering.call())
    with trace.use_span(span(2)):
        seen = collect(metering.readers[0])
    assert [list(seen[name].exemplars) for name in ("duration", "input", "output")] == [[], [], []]


def test_an_unsampled_call_that_is_recorded_at_once_gets_no_exemplar():
    """The same holds where nothing waits, here because the point is one too many."""
    metering = Metering(InMemoryMetricReader())
    queue = point_queue(metering.provider)
    with trace.use_span(span(2)):
        for _ in range(LIMIT + 1):
            queue.put(metering.call())
        seen = collect(metering.readers[0])
    assert list(seen["duration"].exemplars) == []


# --- a full queue ----------------------------------------------------------------------------------------------
def test_a_full_queue_records_one_old_point_per_put():
    """At most 4,096 points wait; from then on each put also records the oldest."""
    metering = Metering(InMemoryMetricReader())
    queue = point_queue(metering.provider)
    points = [Collected() for _ in range(LIMIT + 3)]
    for point in points:
        queue.put(point)
    assert [point.times for point in points] == [1, 1, 1] + [0] * LIMIT
    assert queue.drain()
    assert {point.times for point in points} == {1}


def test_eight_threads_and_a_collector_lose_nothing():
    """Eight threads put more than fits while a reader collects all the time: every point arrives exactly once."""
    reader = InMemoryMetricReader(preferred_temporality={Histogram: AggregationTemporality.DELTA})
    metering = Metering(reader)
    queue = point_queue(metering.provider)
    seen, done = [], threading.Event()

    def put():
        for _ in range(1_500):
            queue.put(metering.call())

    def keep_collecting():
        while not done.is_set():
            seen.append(counts(reader))

    collector = threading.Thread(target=keep_collecting)
    collector.start()
    threads = [threading.Thread(target=put) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    collector.join()
    seen.append(counts(reader))
    assert [sum(column) for column in zip(*seen)] == [12_000] * 3


def test_eight_threads_that_drain_record_each_point_once():
    """However many threads flush at the same time, no point is recorded twice."""
    metering = Metering(InMemoryMetricReader())
    queue = point_queue(metering.provider)
    points = [Collected() for _ in range(LIMIT)]
    for point in points:
        queue.put(point)
    threads = [threading.Thread(target=queue.drain) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {point.times for point in points} == {1}


def test_a_point_put_while_one_is_recorded_waits():
    """A finaliser may end a stream while this thread records, inside the SDK's locks; it must not record then."""
    metering = Metering(InMemoryMetricReader())
    queue = point_queue(metering.provider)
    late = Collected()

    class Finaliser(Collected):
        def record(self, context):
            super().record(context)
            queue.put(late)
            queue.record_now(late)
            assert late.times == 0

    queue.put(Finaliser())
    assert queue.drain()
    assert late.times == 0
    assert queue.drain()
    assert late.times == 2


class Interrupting(SimpleFixedSizeExemplarReservoir):
    """What a histogram asks inside its lock, here interrupted by a garbage collection that finds something to do."""

    finaliser: Callable[[], None] | None = None

    def collect(self, point_attributes):
        if Interrupting.finaliser is not None:
            trash = Trash()
            trash.itself = trash
            del trash
            gc.collect()
        return super().collect(point_attributes)


class Trash:
    """A circle that only a garbage collection ends, such as a stream that something refers back to."""

    def __del__(self):
        finaliser, Interrupting.finaliser = Interrupting.finaliser, None
        if finaliser is not None:
            finaliser()


@pytest.fixture
def interrupted(monkeypatch):
    """A provider whose first collection is interrupted by what the test puts there, in a queue with room for two."""
    monkeypatch.setattr("otelier.telemetry._point_queue.MAX_POINTS", 2)
    monkeypatch.setattr(Interrupting, "finaliser", None)

    class CollectsAtTheEnd(InMemoryMetricReader):
        def shutdown(self, timeout_millis: float = 30_000, **kwargs):
            self.collect()

    reader = CollectsAtTheEnd(preferred_temporality={Histogram: AggregationTemporality.DELTA})
    view = View(instrument_name="*", exemplar_reservoir_factory=lambda _: lambda **given: Interrupting(size=1))
    return Metering(reader, views=[view])


def in_time(work: Callable[[], object]) -> bool:
    """Whether *work* ends; a thread that waits for itself does not."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(20)
    return not thread.is_alive()


@pytest.mark.parametrize("way", ["full queue", "long stream", "shutdown"])
def test_a_finaliser_inside_the_sdks_locks(interrupted, way):
    """A garbage collection inside the SDK may end streams there: their points wait and are not lost."""
    queue, (reader,) = point_queue(interrupted.provider), interrupted.readers
    queue.put(interrupted.call())
    rooms = [queue.reserve_for_stream() for _ in range(5)]

    def end_streams() -> None:
        for room in rooms:
            if way == "long stream":
                room.put(interrupted.call(), 100_000)
            else:
                queue.put(interrupted.call())

    Interrupting.finaliser = end_streams
    if way == "shutdown":
        assert in_time(interrupted.provider.shutdown)
        assert Interrupting.finaliser is None
        return
    seen = []
    assert in_time(lambda: seen.append(counts(reader)))
    seen.append(counts(reader))
    assert [sum(each) for each in zip(*seen)] == [6, 6, 6]


def test_a_queue_that_a_finaliser_overfilled(interrupted):
    """Further points bring the queue back to its size, two for each, so that no caller pays for all."""
    queue, (reader,) = point_queue(interrupted.provider), interrupted.readers
    queue.put(interrupted.call())
    late = [Collected() for _ in range(5)]
    Interrupting.finaliser = lambda: [queue.put(point) for point in late]
    assert in_time(reader.collect)
    assert [point.times for point in late] == [0] * 5
    for expected in (2, 4, 5):
        queue.put(Collected())
        assert sum(point.times for point in late) == expected


# --- flush, shutdown, exit -------------------------------------------------------------------------------------
def test_drain_all_records_what_waits_everywhere():
    """`drain_all` leaves no point waiting, in any queue."""
    metering = Metering(InMemoryMetricReader()), Metering(InMemoryMetricReader())
    points = [Collected(), Collected()]
    for meter, point in zip(metering, points):
        point_queue(meter.provider).put(point)
    assert drain_all()
    assert [point.times for point in points] == [1, 1]


def test_drain_tells_when_time_ran_out():
    """A drain without time records a little and says so; the rest still waits."""
    metering = Metering(InMemoryMetricReader())
    queue = point_queue(metering.provider)
    points = [Collected() for _ in range(100)]
    for point in points:
        queue.put(point)
    assert not drain_all(timeout_s=0.0)
    assert 0 < sum(point.times for point in points) < 100
    assert drain_all()


def hourly_reader(out):
    return PeriodicExportingMetricReader(ConsoleMetricExporter(out), export_interval_millis=3_600_000)


def test_flushing_the_provider_needs_no_help_of_ours():
    """`force_flush` of a provider exports what waits: it collects."""
    metering = Metering(hourly_reader(out := io.StringIO()))
    point_queue(metering.provider).put(metering.call())
    metering.provider.force_flush()
    assert out.getvalue().count('"count": 1') == 3
    metering.provider.shutdown()


def test_shutting_the_provider_down_exports_what_waits():
    """The last collection of a reader that is shut down holds every point."""
    metering = Metering(hourly_reader(out := io.StringIO()))
    queue = point_queue(metering.provider)
    for _ in range(5):
        queue.put(metering.call())
    metering.provider.shutdown()
    assert out.getvalue().count('"count": 5') == 3


def test_nothing_waits_after_shutdown():
    """What is put after shutdown is recorded at once, and so is what still waited, a little with each put."""
    metering = Metering(InMemoryMetricReader())
    queue = point_queue(metering.provider)
    waited = [Collected() for _ in range(3)]
    for point in waited:
        queue.put(point)
    metering.provider.shutdown()
    late = [Collected() for _ in range(4)]
    for point in late:
        queue.put(point)
    assert [point.times for point in waited + late] == [1] * 7


def test_a_provider_that_is_shut_down_already_takes_points(caplog):
    """A queue made after shutdown records at once and does not raise."""
    metering = Metering(InMemoryMetricReader())
    metering.provider.shutdown()
    point = Collected()
    point_queue(metering.provider).put(point)
    assert point.times == 1


def test_exit_exports_what_waits():
    """Points that wait when the interpreter ends are exported by the provider's own exit handler."""
    printed = run(
        """
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
        from otelier.telemetry import point_queue

        reader = PeriodicExportingMetricReader(ConsoleMetricExporter(), export_interval_millis=3_600_000)
        provider = MeterProvider([reader])
        counter = provider.get_meter("test").create_counter("calls")

        class Call:
            span_context = None
            def record(self, context):
                counter.add(1, {}, context)

        for _ in range(3):
            point_queue(provider).put(Call())
        """
    )
    assert '"value": 3' in printed


# --- providers of every kind -----------------------------------------------------------------------------------
@pytest.mark.parametrize("provider", [NoOpMeterProvider(), MeterProvider(shutdown_on_exit=False)])
def test_nothing_waits_where_nobody_collects(provider):
    """With a no-op provider or one without readers a point is recorded at once."""
    point = Collected()
    queue = point_queue(provider)
    queue.put(point)
    assert point.times == 1
    assert queue.reserve_for_stream() is None


def test_nothing_waits_with_a_disabled_sdk(monkeypatch):
    """`OTEL_SDK_DISABLED` gives no-op meters, whose callbacks never run."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    point = Collected()
    point_queue(Metering(InMemoryMetricReader()).provider).put(point)
    assert point.times == 1


class Wrapper:
    """A provider around the SDK's, as other packages have."""


class Changed(Wrapper):
    """A provider whose inside has the SDK's names with another meaning."""

    _shutdown = None
    _measurement_consumer = None


class Renamed(Wrapper):
    """A provider that has some of the names only."""

    class _measurement_consumer:
        _reader_storages = ()

    _shutdown = False


@pytest.mark.parametrize("kind", [Wrapper, Changed, Renamed])
def test_a_provider_unlike_the_sdks_is_recorded_inline(kind):
    """Where the SDK's inside cannot be seen, one trick is off and the rest works."""
    metering = Metering(InMemoryMetricReader())
    point_queue(kind()).put(metering.call())
    assert counts(metering.readers[0]) == [1, 1, 1]


def test_a_reader_that_comes_later_starts_the_waiting():
    """Points wait as soon as somebody will collect them."""
    metering = Metering()
    if not hasattr(metering.provider, "add_metric_reader"):
        pytest.skip("this SDK cannot add readers")
    queue = point_queue(metering.provider)
    reader = InMemoryMetricReader()
    metering.provider.add_metric_reader(reader)
    queue.put(metering.call())
    assert counts(reader) == [1, 1, 1]
    metering.provider.remove_metric_reader(reader)
    point = Collected()
    queue.put(point)
    assert point.times == 1


def test_views_see_queued_values():
    """A view that drops an instrument or changes its buckets holds for values that waited."""
    views = [
        View(instrument_name="duration", aggregation=ExplicitBucketHistogramAggregation((1.0,))),
        View(instrument_name="input", aggregation=DropAggregation()),
    ]
    metering = Metering(InMemoryMetricReader(), views=views)
    point_queue(metering.provider).put(metering.call())
    seen = collect(metering.readers[0])
    assert tuple(seen["duration"].bucket_counts) == (1, 0)
    assert "input" not in seen


def test_prometheus_scrapes_queued_values():
    """A scrape collects, so it shows what waited."""
    prometheus = pytest.importorskip("opentelemetry.exporter.prometheus")
    registry = pytest.importorskip("prometheus_client")
    metering = Metering(prometheus.PrometheusMetricReader())
    for _ in range(3):
        point_queue(metering.provider).put(metering.call())
    text = registry.generate_latest().decode()
    metering.provider.shutdown()
    assert [line[-3:] for line in text.splitlines() if line.startswith("duration_seconds_count")] == ["3.0"]


LATE = """
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from otelier.telemetry import point_queue

    calls = metrics.get_meter("test").create_counter("calls")

    class Call:
        span_context = None
        def record(self, context):
            calls.add(1, {}, context)

    def seen():
        data = reader.get_metrics_data()
        points = {m.name: m.data.data_points[0].value for r in data.resource_metrics for s in r.scope_metrics
                  for m in s.metrics} if data else {}
        return points.get("calls")

    queue = point_queue()
    queue.put(Call())
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
"""


def test_a_global_provider_may_be_set_late():
    """Before it is set nothing waits; afterwards points do, in the provider's one queue."""
    printed = run(
        LATE
        + """
    metrics.set_meter_provider(provider)
    point_queue(provider).put(Call())
    queue.put(Call())
    print(seen(), point_queue() is point_queue(provider))
    """
    )
    assert printed == "2 True"


def test_a_provider_set_during_a_collection_is_found_after_it():
    """A first put inside a callback must not register another one there: the SDK would wait for itself."""
    printed = run(
        LATE
        + """
    metrics.set_meter_provider(provider)
    provider.get_meter("test").create_observable_counter("asks", callbacks=[lambda _: queue.put(Call()) or []])
    print(seen())
    queue.put(Call())
    print(seen())
    """
    )
    assert printed.splitlines() == ["1", "3"]


# --- faults ----------------------------------------------------------------------------------------------------
def test_a_raising_instrument_loses_only_its_own_point(quiet_faults, caplog):
    """One point that raises is reported, and the others are recorded."""
    metering = Metering(InMemoryMetricReader())
    queue = point_queue(metering.provider)

    class Broken(Collected):
        def record(self, context):
            raise LookupError("no such instrument")

    for point in (metering.call(), Broken(), metering.call()):
        queue.put(point)
    assert counts(metering.readers[0]) == [2, 2, 2]
    assert [record.levelname for record in caplog.records] == ["ERROR"]


# --- streams ---------------------------------------------------------------------------------------------------
def test_a_stream_is_one_point_and_gives_its_room_back():
    """A stream's chunk times wait as one point; recorded, they free their share of the budget."""
    metering = Metering(InMemoryMetricReader())
    queue = point_queue(metering.provider)
    for _ in range(3):
        room = queue.reserve_for_stream()
        point = Collected()
        room.put(point, 60_000)  # twice does not fit, so the next round needs the room back
        assert point.times == 0
        metering.readers[0].collect()
        assert point.times == 1


def test_a_streams_exemplar_is_its_span():
    """A stream's point carries the stream's span."""
    metering = Metering(InMemoryMetricReader())
    room = point_queue(metering.provider).reserve_for_stream()
    room.put(Call(metering.histograms, span_context=span_context(3)), 200)
    (exemplar,) = collect(metering.readers[0])["duration"].exemplars
    assert exemplar.span_id == 0xDEF003


def test_a_stream_that_outgrows_the_room_is_recorded_at_once():
    """No more than 65,536 values wait: a longer stream records when it ends."""
    metering = Metering(InMemoryMetricReader())
    queue = point_queue(metering.provider)
    waiting, point = Collected(), Collected()
    queue.put(waiting)
    queue.reserve_for_stream().put(point, 70_000)
    assert (point.times, waiting.times) == (1, 0)


def test_streams_without_room_are_told_at_their_start():
    """Where all room is taken a new stream records as it goes; a stream that is dropped makes room again."""
    metering = Metering(InMemoryMetricReader())
    queue = point_queue(metering.provider)
    rooms = []
    while (room := queue.reserve_for_stream()) is not None:
        rooms.append(room)
    assert len(rooms) * 64 == 65_536
    rooms.pop()
    del room
    assert queue.reserve_for_stream() is not None


# --- fork ------------------------------------------------------------------------------------------------------
FORK = """
    import os
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from otelier.telemetry import point_queue

    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    calls = provider.get_meter("test").create_counter("calls")

    class Call:
        span_context = None
        def record(self, context):
            calls.add(1, {}, context)

    def seen():
        data = reader.get_metrics_data()
        points = {m.name: m.data.data_points[0].value for r in data.resource_metrics for s in r.scope_metrics
                  for m in s.metrics}
        return points["calls"]

    queue = point_queue(provider)
    for _ in range(5):
        queue.put(Call())
"""


def test_a_fork_starts_with_an_empty_queue():
    """The child records its own points only; the parent's stay the parent's."""
    printed = run(
        FORK
        + """
    room = queue.reserve_for_stream()
    if (child := os.fork()) == 0:
        queue.put(Call())
        print("child", seen(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print("parent", seen())
    """
    )
    assert printed.splitlines() == ["child 1", "parent 5"]


@pytest.mark.parametrize("first", ["queue.put(Call())", "queue.drain()"])
def test_a_fork_without_hooks_is_noticed(first):
    """A host that forks below Python runs no hooks; the process id tells, at a put or at the drain."""
    printed = run(
        FORK
        + f"""
    queue.drain()
    waited = seen()
    queue.forget()
    queue._pid = -1  # as after such a fork
    {first}
    queue.put(Call())
    print(waited, seen() - waited)
    """
    )
    assert printed == ("5 2" if "put" in first else "5 1")
