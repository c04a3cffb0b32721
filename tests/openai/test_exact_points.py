"""The metric points of real calls: each arrives exactly once, with its exemplars, whoever collects and whenever."""

from __future__ import annotations

import gc
import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    PeriodicExportingMetricReader,
)

from otelier.openai import OpenAIInstrumentor
from otelier.telemetry import point_queue
from otelier.telemetry._point_queue import drain_all
from tests.openai.instant import OUTPUT, Instant, chat, replaying
from tests.telemetry.metering import run

DURATION, TOKENS = "gen_ai.client.operation.duration", "gen_ai.client.token.usage"
FIRST, GAPS = "gen_ai.client.operation.time_to_first_chunk", "gen_ai.client.operation.time_per_output_chunk"
BOTH = (AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE)
Series = tuple[str, str, Any]
"""Metric, the call's model, and the type of its tokens."""


class Seen:
    """What one reader saw, collection by collection."""

    def __init__(self, temporality: AggregationTemporality) -> None:
        self.is_delta = temporality is AggregationTemporality.DELTA
        self.counts: Counter[Series] = Counter()
        self.sums: Counter[Series] = Counter()
        self.exemplars: list[tuple[Series, int, int, float]] = []

    def add(self, data: Any) -> None:
        """Take what one collection gave."""
        if not self.is_delta:
            self.counts.clear()
            self.sums.clear()
        for name, point in _points(data):
            series = (name, point.attributes["gen_ai.request.model"], point.attributes.get("gen_ai.token.type"))
            self.counts[series] += point.count
            self.sums[series] += point.sum
            self.exemplars += [(series, one.trace_id, one.span_id, one.value) for one in point.exemplars]

    def check(self, spans: Iterable[Any]) -> None:
        """Every call of *spans* is here once: its counts, its sums, and exemplars that point to its span."""
        spans = [span for span in spans if "gen_ai.request.model" in span.attributes]
        asked = [span.attributes["gen_ai.request.model"] for span in spans]
        each_call = [(DURATION, None), (TOKENS, "input"), (TOKENS, "output")]
        once = {(metric, model, kind): 1 for model in asked for metric, kind in each_call}
        chunks = {series: count for series, count in self.counts.items() if series[0] in (FIRST, GAPS)}
        assert {series: count for series, count in self.counts.items() if series not in chunks} == once
        streamed = [span.attributes["gen_ai.request.model"] for span in spans if _is_stream(span)]
        per_stream = [(FIRST, 1), (GAPS, 3)]
        assert chunks == {(metric, model, None): count for model in streamed for metric, count in per_stream}
        for model in asked:
            number = int(model.partition("-")[2])
            assert self.sums[TOKENS, model, "input"] == number
            assert self.sums[TOKENS, model, "output"] == OUTPUT + number
        self._check_exemplars({span.attributes["gen_ai.request.model"]: span.context for span in spans})

    def _check_exemplars(self, contexts: dict[str, Any]) -> None:
        where = {(series[1], trace_id, span_id) for series, trace_id, span_id, _ in self.exemplars}
        assert where == {(model, context.trace_id, context.span_id) for model, context in contexts.items()}
        single = Counter(series for series, *_ in self.exemplars if series[0] != GAPS)  # one per bucket
        assert single == {series: 1 for series in self.counts if series[0] != GAPS}
        # A series has one value, so that is the exemplar's.
        assert all(value == self.sums[series] for series, _, _, value in self.exemplars if series[0] != GAPS)


def _points(data: Any) -> Iterator[tuple[str, Any]]:
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    yield metric.name, point


def _is_stream(span: Any) -> bool:
    return bool(span.attributes.get("gen_ai.request.stream"))


class Watched:
    """A reader that is collected by hand, and what it saw."""

    def __init__(self, temporality: AggregationTemporality = AggregationTemporality.DELTA) -> None:
        self.reader = InMemoryMetricReader(preferred_temporality={Histogram: temporality})
        self.seen = Seen(temporality)

    def collect(self) -> None:
        self.seen.add(self.reader.get_metrics_data())


class Exporter(MetricExporter):
    """Keeps what a periodic reader exports."""

    def __init__(self, temporality: AggregationTemporality) -> None:
        super().__init__(preferred_temporality={Histogram: temporality})
        self.seen = Seen(temporality)

    def export(self, metrics_data: Any, timeout_millis: float = 10_000, **_: Any) -> MetricExportResult:
        self.seen.add(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Nothing to do."""


@pytest.fixture
def metering(recorder):
    """Switches instrumentation on, for readers; off again with the test."""
    kept = []  # nothing waits for a provider that is gone

    def begin(*readers: Any) -> MeterProvider:
        kept.append(provider := MeterProvider(readers, shutdown_on_exit=False))
        instrument(recorder, provider)
        return provider

    yield begin
    if OpenAIInstrumentor().is_instrumented_by_opentelemetry:
        OpenAIInstrumentor().uninstrument()


def instrument(recorder: Any, provider: MeterProvider) -> None:
    OpenAIInstrumentor().instrument(tracer_provider=recorder.tracer_provider, meter_provider=provider)


@pytest.fixture
def client():
    """A client that is answered at once."""
    with Instant() as client:
        yield client


def call(client: Any, number: int) -> None:
    """Make call *number*; its span's tokens and its model say which it was."""
    client.chat.completions.create(**chat(number))


def stream(client: Any, number: int) -> None:
    """Make call *number* as a stream, and read it."""
    usage = {"include_usage": True}
    assert len(list(client.chat.completions.create(**chat(number, stream=True, stream_options=usage)))) == 4


# --- readers ---------------------------------------------------------------------------------------------------
def test_every_reader_sees_every_call_once(recorder, metering, client):
    """Readers of both temporalities, collected in turn, each see every call and every stream once."""
    watched = [Watched(temporality) for temporality in 2 * BOTH]
    metering(*(one.reader for one in watched))
    with replaying() as http:
        for round_ in range(4):
            for number in range(10):
                call(client, 100 * round_ + number + 1)
            stream(http, 100 * round_ + 50)
            for one in watched[round_:] + watched[:round_]:
                one.collect()
    assert len(recorder.spans) == 44
    for one in watched:
        one.seen.check(recorder.spans)


def test_prometheus_sees_every_call_once(recorder, metering, client, request):
    """Scrapes count each call once, beside a reader of deltas."""
    prometheus = pytest.importorskip("opentelemetry.exporter.prometheus")
    registry = pytest.importorskip("prometheus_client").REGISTRY
    beside = Watched()
    provider = metering(prometheus.PrometheusMetricReader(), beside.reader)
    request.addfinalizer(provider.shutdown)  # it leaves Prometheus' registry

    def scraped() -> Counter[Any]:
        samples = [sample for metric in registry.collect() for sample in metric.samples]
        told = [one for one in samples if "gen_ai_request_model" in one.labels and one.name.endswith("_count")]
        assert {one.value for one in told} <= {1.0}
        return Counter((one.labels["gen_ai_request_model"], one.labels.get("gen_ai_token_type")) for one in told)

    for number in (1, 2, 3):
        call(client, number)
        assert scraped() == {(f"m-{seen + 1}", kind): 1 for seen in range(number) for kind in (None, "input", "output")}
    beside.collect()
    beside.seen.check(recorder.spans)


# --- how it is switched on -------------------------------------------------------------------------------------
def test_instrumented_twice(recorder, metering, client):
    """Instrumenting again, with or without uninstrumenting between, doubles nothing and loses nothing that waits."""
    watched = Watched()
    provider = metering(watched.reader)
    call(client, 1)
    instrument(recorder, provider)
    call(client, 2)
    OpenAIInstrumentor().uninstrument()
    call(client, 3)
    instrument(recorder, provider)
    call(client, 4)
    watched.collect()
    OpenAIInstrumentor().uninstrument()
    watched.collect()
    instrument(recorder, provider)
    call(client, 5)
    watched.collect()
    assert [span.name for span in recorder.spans] == [f"chat m-{number}" for number in (1, 2, 4, 5)]
    watched.seen.check(recorder.spans)


def test_a_provider_that_is_dropped(recorder, client):
    """Points that wait when the last name of a provider goes arrive with the next collection, and so do later ones."""
    watched = Watched()
    instrument(recorder, MeterProvider([watched.reader], shutdown_on_exit=False))
    call(client, 1)
    gc.collect()
    call(client, 2)
    watched.collect()
    OpenAIInstrumentor().uninstrument()
    watched.seen.check(recorder.spans)


def test_a_stream_that_outlives_the_instrumentation(recorder, metering):
    """A stream that is read on after uninstrumenting still arrives, once."""
    watched = Watched()
    metering(watched.reader)
    with replaying() as http:
        open_stream = http.chat.completions.create(**chat(1, stream=True, stream_options={"include_usage": True}))
        next(open_stream)
        OpenAIInstrumentor().uninstrument()
        watched.collect()
        assert watched.seen.counts == {}
        list(open_stream)
    watched.collect()
    watched.seen.check(recorder.spans)


def test_streams_without_room(recorder, metering):
    """Where other streams hold all the room, chunks are recorded as they come, and each arrives once as well."""
    watched = [Watched(temporality) for temporality in BOTH]
    provider = metering(*(one.reader for one in watched))
    queue = point_queue(provider)
    rooms = list(iter(queue.reserve_for_stream, None))
    with replaying() as http:
        stream(http, 1)
        rooms.clear()
        stream(http, 2)
    for one in watched:
        one.collect()
        one.seen.check(recorder.spans)


PROGRAM = f"""
    import os, sys
    sys.path.insert(0, {str(Path(__file__).parents[2])!r})
    from collections import Counter
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import Histogram, MeterProvider
    from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from otelier.openai import OpenAIInstrumentor
    from otelier.telemetry._point_queue import drain_all
    from tests.openai.instant import Instant, chat, replaying

    reader = InMemoryMetricReader(preferred_temporality={{Histogram: AggregationTemporality.DELTA}})
    provider = MeterProvider([reader])
    client = Instant()
    trace.set_tracer_provider(TracerProvider())

    def call(*numbers):
        for number in numbers:
            client.chat.completions.create(**chat(number))

    def seen():
        data = reader.get_metrics_data()
        points = [point for resource in (data.resource_metrics if data else ()) for scope in resource.scope_metrics
                  for metric in scope.metrics for point in metric.data.data_points]
        assert {{(point.count, len(point.exemplars)) for point in points}} <= {{(1, 1)}}
        return dict(Counter(point.attributes["gen_ai.request.model"] for point in points))
"""


def test_a_provider_set_late():
    """Calls before a global provider is set go nowhere; all later ones arrive once, whoever is given the provider."""
    printed = run(
        PROGRAM
        + """
    OpenAIInstrumentor().instrument()
    call(1, 2)
    metrics.set_meter_provider(provider)
    call(3, 4)
    print(seen(), seen())
    call(5)
    OpenAIInstrumentor().uninstrument()
    OpenAIInstrumentor().instrument(meter_provider=provider)
    call(6)
    drain_all()
    print(seen(), seen())
    """
    )
    assert printed.splitlines() == ["{'m-3': 3, 'm-4': 3} {}", "{'m-5': 3, 'm-6': 3} {}"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork():
    """What waited at a fork arrives in the parent, once; the child reports its own calls alone."""
    printed = run(
        PROGRAM
        + """
    OpenAIInstrumentor().instrument(meter_provider=provider)
    call(1, 2)
    if (child := os.fork()) == 0:
        call(3)
        print("child", seen(), seen(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    call(4)
    print("parent", seen(), seen())
    """
    )
    assert printed.splitlines() == ["child {'m-3': 3} {}", "parent {'m-1': 3, 'm-2': 3, 'm-4': 3} {}"]


# --- flush and shutdown ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("temporality", BOTH)
def test_flush_and_shutdown(recorder, metering, client, temporality):
    """Two exporters get every call once: some at a flush, some after a drain, the rest at shutdown."""
    exporters = Exporter(temporality), Exporter(temporality)
    provider = metering(*(PeriodicExportingMetricReader(each, export_interval_millis=3_600_000) for each in exporters))
    call(client, 1)
    assert provider.force_flush()
    call(client, 2)
    assert drain_all()
    call(client, 3)
    assert provider.force_flush()
    call(client, 4)
    assert drain_all()
    call(client, 5)
    provider.shutdown()
    for exporter in exporters:
        exporter.seen.check(recorder.spans)


# --- many ------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_eight_threads_that_fill_the_queue(recorder, metering, client):
    """Eight threads make more calls than may wait: both readers see each of them once."""
    watched = [Watched(temporality) for temporality in BOTH]
    metering(*(one.reader for one in watched))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: call(client, number), range(1, 4_401)))
    for one in watched:
        one.collect()
    # A busy machine may need more than one collection's time for so many, and the rest waits for the next.
    assert drain_all(timeout_s=300)
    for one in watched:
        one.collect()
    for one in watched:
        one.seen.check(recorder.spans)
    assert len(recorder.spans) == 4_400


def test_eight_threads_and_two_collectors(recorder, metering, client):
    """Eight threads make calls and streams while two readers collect all the time: each arrives once in both."""
    watched = [Watched(temporality) for temporality in BOTH]
    metering(*(one.reader for one in watched))
    done = threading.Event()

    def keep_collecting(one: Watched) -> None:
        while not done.is_set():
            one.collect()

    with replaying() as http, ThreadPoolExecutor(10) as pool:
        collectors = [pool.submit(keep_collecting, one) for one in watched]
        calls = [pool.submit(stream, http, n) if n % 10 == 0 else pool.submit(call, client, n) for n in range(1, 401)]
        for each in calls:
            each.result()
        done.set()
        for each in collectors:
            each.result()
    for one in watched:
        one.collect()
        one.seen.check(recorder.spans)
    assert len(recorder.spans) == 400
