"""What is lost of telemetry: `flush` does not say that it arrived, a metric counts it, and a line tells it."""

from __future__ import annotations

import logging
import os
import threading
from concurrent import futures

import grpc
import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import Counter, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

import otelier
from otelier.telemetry import _flush
from otelier.testing._loopback import LoopbackServer
from tests.programs import run
from tests.waiting import until

LOST = "otelier.telemetry.lost"
REFUSALS = [400, 401, 403, 404, 413, 500]


class Backend(LoopbackServer):
    """A receiver that answers what it is told to, and keeps nothing."""

    def __init__(self, status=200):
        super().__init__()
        self.status = status

    def answer(self, received, exchange):
        exchange.send(self.status, {"content-type": "application/x-protobuf"}, b"")


class Failing(SpanExporter):
    """An exporter, of log records as well, that answers what it is told to, or raises it."""

    def __init__(self, answer):
        self.answer = answer
        self.seen = 0

    def export(self, spans):
        self.seen += len(spans)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def shutdown(self):
        pass


class Held(InMemorySpanExporter):
    """An exporter that waits until it may go on."""

    def __init__(self):
        super().__init__()
        self.entered = threading.Event()
        self.go_on = threading.Event()

    def export(self, spans):
        self.entered.set()
        assert self.go_on.wait(300)
        return super().export(spans)


@pytest.fixture
def backend():
    with Backend() as running:
        yield running


@pytest.fixture
def lost():
    """Switch otelier on; the result counts the losses, as a reader of the metric sees them."""
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader], shutdown_on_exit=False)
    otelier.init(meter_provider=meters)

    def counted():
        data = reader.get_metrics_data()
        points = [
            point
            for group in (data.resource_metrics if data else ())
            for scoped in group.scope_metrics
            for metric in scoped.metrics
            if metric.name == LOST
            for point in metric.data.data_points
        ]
        return {
            (point.attributes["otelier.telemetry.signal"], point.attributes["error.type"]): point.value
            for point in points
        }

    yield counted
    meters.shutdown()


def tracing(*processors, given=True, **options):
    provider = TracerProvider(shutdown_on_exit=False, **options)
    for processor in processors:
        provider.add_span_processor(processor)
    if given:
        otelier.init(tracer_provider=provider)
    return provider


def batched(exporter, **options):
    return BatchSpanProcessor(exporter, **{"schedule_delay_millis": 600_000, **options})


def end_spans(provider, count=1):
    for _ in range(count):
        provider.get_tracer("tests").start_span("work").end()


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "otelier"]


@pytest.mark.parametrize("status", REFUSALS)
def test_flush_is_false_for_spans_that_were_refused(backend, lost, status):
    """A receiver that refuses a batch for good makes `flush` say so, and each span of it counts as lost."""
    backend.status = status
    provider = tracing(batched(OTLPSpanExporter(f"{backend.url}/v1/traces")))
    end_spans(provider, 3)
    assert otelier.flush() is False
    assert lost() == {("traces", "export_failed"): 3}
    provider.shutdown()


@pytest.mark.parametrize("status", REFUSALS)
def test_flush_is_false_for_log_records_that_were_refused(backend, lost, status):
    """The same holds for log records."""
    backend.status = status
    provider = LoggerProvider(shutdown_on_exit=False)
    exporter = OTLPLogExporter(f"{backend.url}/v1/logs")
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter, schedule_delay_millis=600_000))
    otelier.init(logger_provider=provider)
    provider.get_logger("tests").emit(LogRecord(body="said"))
    assert otelier.flush() is False
    assert lost() == {("logs", "export_failed"): 1}
    provider.shutdown()


@pytest.mark.parametrize("status", REFUSALS)
def test_flush_is_false_for_metrics_that_were_refused(backend, lost, status):
    """And for metrics, whose sums are late and not lost: the next collection sends them again."""
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{backend.url}/v1/metrics"), 600_000)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    otelier.init(meter_provider=provider)
    provider.get_meter("tests").create_counter("calls").add(1)
    backend.status = status
    assert otelier.flush() is False
    assert lost() == {}
    backend.status = 200
    assert otelier.flush() is True
    provider.shutdown()


def test_flush_is_false_where_nobody_listens(lost):
    """A receiver that is not there takes nothing."""
    with Backend() as gone:
        url = gone.url
    provider = tracing(batched(OTLPSpanExporter(f"{url}/v1/traces", timeout=1)))
    end_spans(provider, 2)
    assert otelier.flush(timeout_s=300) is False
    # The SDK before 1.40 lets the error of its client pass.
    assert lost() in ({("traces", "export_failed"): 2}, {("traces", "ConnectionError"): 2})
    provider.shutdown()


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INVALID_ARGUMENT])
def test_flush_is_false_where_grpc_is_refused(lost, code):
    """The exporter over gRPC is seen as well."""

    class Refuses(grpc.GenericRpcHandler):
        def service(self, _call):
            return grpc.unary_unary_rpc_method_handler(lambda _request, context: context.abort(code, "no"))

    with futures.ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool, handlers=[Refuses()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        exporter = GrpcSpanExporter(f"http://127.0.0.1:{port}", insecure=True, timeout=5)
        provider = tracing(batched(exporter))
        end_spans(provider, 2)
        assert otelier.flush(timeout_s=300) is False
        assert lost() == {("traces", "export_failed"): 2}
        provider.shutdown()
        server.stop(None).wait()


def test_flush_is_true_when_the_receiver_is_back(backend, lost):
    """Each `flush` answers for what was given since the one before."""
    backend.status = 400
    provider = tracing(batched(OTLPSpanExporter(f"{backend.url}/v1/traces")))
    end_spans(provider)
    assert otelier.flush() is False
    backend.status = 200
    end_spans(provider)
    assert otelier.flush() is True
    assert lost() == {("traces", "export_failed"): 1}
    provider.shutdown()


def test_every_flush_at_once_knows_what_was_lost(lost):
    """Threads that flush at once all learn that a span was lost, whichever asks first; the next one does not."""
    go_on, answers = threading.Event(), []

    class HeldFailing(Failing):
        def export(self, spans):
            assert go_on.wait(300)
            return super().export(spans)

    provider = tracing(batched(HeldFailing(SpanExportResult.FAILURE)))

    def work():
        end_spans(provider)
        answers.append(otelier.flush(300))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for number, thread in enumerate(threads, 1):
        thread.start()
        until(lambda number=number: len(_flush._sends._deadlines) == number)  # each asks before anything is lost
    go_on.set()
    for thread in threads:
        thread.join()
    assert answers == [False] * 4
    assert otelier.flush() is True
    provider.shutdown()


def test_flush_knows_what_failed_before_it_was_called(lost):
    """What a processor tried to send by itself, and lost, is not forgotten when `flush` finds nothing waiting."""
    exporter = Failing(SpanExportResult.FAILURE)
    provider = tracing(batched(exporter, max_export_batch_size=1))
    end_spans(provider)
    for processor in provider._active_span_processor._span_processors:
        processor.force_flush()
    assert exporter.seen == 1
    assert otelier.flush() is False
    assert otelier.flush() is True
    provider.shutdown()


@pytest.mark.parametrize("make", [batched, SimpleSpanProcessor])
@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (SpanExportResult.FAILURE, {("traces", "export_failed"): 2}),
        (LookupError("no place"), {("traces", "LookupError"): 2}),
        (SpanExportResult.SUCCESS, {}),
        (None, {}),
    ],
)
def test_any_exporter_is_watched(lost, caplog, make, answer, found):
    """What an exporter answers or raises counts, whoever wrote it and whatever processor stands before it."""
    provider = tracing(make(Failing(answer)))
    end_spans(provider, 2)
    assert otelier.flush() is (not found)
    assert lost() == found
    provider.shutdown()


@pytest.mark.parametrize("make", [BatchLogRecordProcessor, SimpleLogRecordProcessor])
def test_exporters_of_logs_are_watched(lost, make, caplog):
    """An exporter of log records that raises loses them."""
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(make(Failing(OSError())))
    otelier.init(logger_provider=provider)
    provider.get_logger("tests").emit(LogRecord(body="said"))
    assert otelier.flush() is False
    assert lost() == {("logs", "OSError"): 1}
    provider.shutdown()


def test_what_finds_no_room_is_counted_exactly(lost):
    """Of spans that many threads end while the exporter hangs, each one is exported or counted as lost."""
    exporter = Held()
    provider = tracing(batched(exporter, max_queue_size=50, max_export_batch_size=10))
    end_spans(provider, 10)
    assert exporter.entered.wait(300)
    threads = [threading.Thread(target=end_spans, args=(provider, 100)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    exporter.go_on.set()
    assert otelier.flush() is False
    exported = len(exporter.get_finished_spans())
    assert lost() == {("traces", "queue_full"): 810 - exported}
    assert exported == 60
    provider.shutdown()


def test_what_waits_at_a_shutdown_without_time_is_counted(lost):
    """Spans that still wait when the shutdown of their provider has no more time are lost, and counted."""

    class Hurried(BatchSpanProcessor):
        def shutdown(self):
            return self._batch_processor.shutdown(timeout_millis=1)

    exporter = Held()
    processor = Hurried(exporter, schedule_delay_millis=600_000, max_queue_size=50, max_export_batch_size=10)
    provider = tracing(processor)
    end_spans(provider, 10)
    assert exporter.entered.wait(300)
    end_spans(provider, 7)
    provider.shutdown()
    assert lost() == {("traces", "shutdown"): 7}
    exporter.go_on.set()
    processor._batch_processor._worker_thread.join()  # what it still loses is not the next test's


@pytest.mark.parametrize("make", [batched, SimpleSpanProcessor])
def test_what_comes_after_shutdown_is_counted(lost, make, caplog):
    """A span that ends after its provider's shutdown is lost, and counted."""
    exporter = InMemorySpanExporter()
    provider = tracing(make(exporter))
    end_spans(provider)
    late = provider.get_tracer("tests").start_span("late")
    provider.shutdown()
    late.end()
    assert len(exporter.get_finished_spans()) == 1
    # The SDK before 1.40 hands what comes late to an exporter that refuses it.
    assert lost() in ({("traces", "already_shutdown"): 1}, {("traces", "export_failed"): 1})


@pytest.mark.parametrize("inner", [batched, SimpleSpanProcessor])
@pytest.mark.parametrize("around", ["Around", "Transparent"])
@pytest.mark.parametrize("when", ["made before", "made after"])
def test_what_comes_after_shutdown_through_somebody_elses(lost, inner, around, when, caplog):
    """A late span is counted once below a processor that hands on, and shutting that down twice raises nothing."""
    exporter = InMemorySpanExporter()
    if when == "made before":
        otelier.shutdown()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(globals()[around](inner(exporter)))
    otelier.init(tracer_provider=provider)
    end_spans(provider)
    late = provider.get_tracer("tests").start_span("late")
    provider.shutdown()
    late.end()
    provider.shutdown()
    assert len(exporter.get_finished_spans()) == 1
    assert lost() in ({("traces", "already_shutdown"): 1}, {("traces", "export_failed"): 1})


def test_a_fault_of_ours_at_shutdown(lost, quiet_faults, monkeypatch, caplog):
    """What fails in the counting reaches neither an export nor the shutdown of the user's provider."""
    exporter = InMemorySpanExporter()
    provider = tracing(batched(exporter))

    def fail(*args, **kwargs):
        raise LookupError("ours")

    monkeypatch.setattr("otelier.telemetry._exports._Pipeline._settle", fail)
    monkeypatch.setattr("otelier.telemetry._exports._Pipeline._count_late_comers", fail)
    end_spans(provider)
    assert otelier.flush() is True
    end_spans(provider)
    provider.shutdown()
    assert len(exporter.get_finished_spans()) == 2
    assert "telemetry.exports" in caplog.text


def test_methods_of_the_objects_own_come_back():
    """A method that a processor has as an attribute of its own is called, and stands there again after `shutdown`."""
    closed = []
    processor = SimpleSpanProcessor(InMemorySpanExporter())
    processor.shutdown = shut_down = lambda: closed.append(True)
    provider = tracing(processor)
    provider.shutdown()
    assert closed == [True]
    otelier.shutdown()
    assert processor.shutdown is shut_down


def test_logs_after_shutdown_are_counted(lost, caplog):
    """So is a log record."""
    provider = LoggerProvider(shutdown_on_exit=False)
    processor = BatchLogRecordProcessor(OTLPLogExporter("http://127.0.0.1:9/v1/logs"))
    provider.add_log_record_processor(processor)
    otelier.init(logger_provider=provider)
    logger = provider.get_logger("tests")
    processor.shutdown()
    logger.emit(LogRecord(body="said"))
    assert lost() == {("logs", "already_shutdown"): 1}


class OnlyRecorded(Sampler):
    """Records, and samples nothing."""

    def should_sample(self, *args, **kwargs):
        return SamplingResult(Decision.RECORD_ONLY)

    def get_description(self):
        return "OnlyRecorded"


@pytest.mark.parametrize("make", [batched, SimpleSpanProcessor])
def test_what_is_not_sampled_is_not_lost(lost, make):
    """Spans that nobody wanted to export are not counted, before a shutdown or after it."""
    provider = tracing(make(InMemorySpanExporter()), sampler=OnlyRecorded())
    end_spans(provider)
    assert otelier.flush() is True
    tracer = provider.get_tracer("tests")
    provider.shutdown()
    tracer.start_span("late").end()
    assert lost() == {}


def test_what_a_processor_leaves_out_is_not_lost(lost):
    """A processor that exports a part of the spans by intention loses nothing."""

    class Choosy(BatchSpanProcessor):
        def on_end(self, span):
            if span.name == "wanted":
                super().on_end(span)

    exporter = InMemorySpanExporter()
    provider = tracing(Choosy(exporter))
    end_spans(provider, 5)
    provider.get_tracer("tests").start_span("wanted").end()
    assert otelier.flush() is True
    assert len(exporter.get_finished_spans()) == 1
    provider.shutdown()
    assert lost() == {}


class Around(SpanProcessor):
    """Somebody else's processor, which hands on."""

    def __init__(self, processor):
        self.processor = processor

    def on_end(self, span):
        self.processor.on_end(span)

    def force_flush(self, timeout_millis=30000):
        return self.processor.force_flush(timeout_millis)

    def shutdown(self):
        self.processor.shutdown()


class Transparent:
    """A processor that is none by its class, and has everything from another one."""

    def __init__(self, processor):
        self._inner = processor

    def __getattr__(self, name):
        return getattr(self._inner, name)


@pytest.mark.parametrize("around", [lambda processor: processor, Around, Transparent])
@pytest.mark.parametrize("when", ["made before", "made before and added after", "made after"])
def test_whoever_made_the_provider_and_whenever(around, when):
    """Processors of others are watched: made before otelier is switched on or after, and inside another one."""
    provider = TracerProvider(shutdown_on_exit=False)
    if when == "made after":
        otelier.init(tracer_provider=provider)
    processor = around(batched(Failing(SpanExportResult.FAILURE)))
    if when == "made before and added after":
        otelier.init(tracer_provider=provider)
    provider.add_span_processor(processor)
    if when == "made before":
        otelier.init(tracer_provider=provider)
    end_spans(provider)
    assert otelier.flush() is False
    assert otelier.flush() is True
    provider.shutdown()


def test_two_processors_on_one_exporter(lost):
    """An exporter that two processors share is counted once for each of them."""
    exporter = Failing(SpanExportResult.FAILURE)
    provider = tracing(batched(exporter), batched(exporter))
    end_spans(provider, 3)
    assert otelier.flush() is False
    provider.shutdown()
    assert exporter.seen == 6
    assert lost() == {("traces", "export_failed"): 6}


def test_differences_are_lost_and_sums_come_again(backend, lost):
    """A counter that is exported as differences loses what was refused, and its points are counted."""
    exporter = OTLPMetricExporter(
        f"{backend.url}/v1/metrics", preferred_temporality={Counter: AggregationTemporality.DELTA}
    )
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, 600_000)], shutdown_on_exit=False)
    otelier.init(meter_provider=provider)
    meter = provider.get_meter("tests")
    calls = meter.create_counter("calls")
    calls.add(1, {"who": "a"})
    calls.add(1, {"who": "b"})
    meter.create_up_down_counter("level").add(1)
    backend.status = 400
    assert otelier.flush() is False
    assert lost() == {("metrics", "export_failed"): 2}
    backend.status = 200
    provider.shutdown()


def test_the_last_metrics_are_lost_at_shutdown(backend, lost):
    """After a shutdown no collection sends anything again: then the points of sums are lost too."""
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{backend.url}/v1/metrics"), 600_000)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    otelier.init(meter_provider=provider)
    provider.get_meter("tests").create_counter("calls").add(1)
    backend.status = 400
    provider.shutdown()
    assert lost() == {("metrics", "export_failed"): 1}


def test_the_number_arrives_when_the_backend_is_back(backend):
    """The metric of an outage is a sum, so it reaches the receiver that was away."""
    seen = []
    backend.answer = lambda received, exchange: (
        seen.append(LOST.encode() in received.body),
        exchange.send(backend.status, {}, b""),
    )
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{backend.url}/v1/metrics"), 600_000)
    meters = MeterProvider([reader], shutdown_on_exit=False)
    otelier.init(meter_provider=meters)
    provider = tracing(batched(OTLPSpanExporter(f"{backend.url}/v1/traces")))
    end_spans(provider)
    backend.status = 400
    assert otelier.flush() is False
    backend.status = 200
    seen.clear()
    assert otelier.flush() is True
    assert seen == [True]
    provider.shutdown()
    meters.shutdown()


def test_nothing_lost_is_no_point_and_no_line(lost, caplog):
    """A process that loses nothing does not speak of it."""
    provider = tracing(batched(InMemorySpanExporter()))
    end_spans(provider, 3)
    assert otelier.flush() is True
    provider.shutdown()
    otelier.shutdown()
    assert lost() == {}
    assert warnings_of(caplog) == []


def test_losses_are_one_line_and_a_sum_at_the_end(lost, caplog):
    """The first loss of a kind is a WARNING, further ones are silent for a while, and shutdown says the sum once."""
    caplog.set_level(logging.INFO, logger="otelier")
    provider = tracing(SimpleSpanProcessor(Failing(SpanExportResult.FAILURE)))
    caplog.clear()
    end_spans(provider, 50)
    assert [line.split(":")[0] for line in warnings_of(caplog)] == ["1 spans are lost so far (export_failed, Failing)"]
    caplog.clear()
    otelier.shutdown()
    otelier.shutdown()
    assert warnings_of(caplog) == ["This process has lost telemetry: 50 spans (export_failed)."]
    provider.shutdown()


def test_lines_come_again_after_a_while(lost, caplog, monkeypatch):
    """An outage that lasts is told again, with the number so far."""
    monkeypatch.setattr("otelier.telemetry._losses.REPEAT_S", 0.0)
    provider = tracing(SimpleSpanProcessor(Failing(SpanExportResult.FAILURE)))
    end_spans(provider, 2)
    assert [line.split()[0] for line in warnings_of(caplog)] == ["1", "2"]
    provider.shutdown()


def test_lines_that_are_exported_themselves_end(lost, caplog):
    """A line about lost log records that is a log record too makes no endless row of them."""
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(Failing(OSError())))
    otelier.init(logger_provider=provider)

    class Handler(logging.Handler):
        def emit(self, record):
            provider.get_logger("tests").emit(LogRecord(body=record.getMessage()))

    handler = Handler()
    logging.getLogger("otelier").addHandler(handler)
    try:
        provider.get_logger("tests").emit(LogRecord(body="said"))
    finally:
        logging.getLogger("otelier").removeHandler(handler)
    assert lost() == {("logs", "OSError"): 2}
    provider.shutdown()


def test_shutdown_leaves_exporters_as_they_were(lost):
    """After `otelier.shutdown` nothing of ours is on processors, exporters and classes."""
    made = BatchSpanProcessor.__init__
    exporter = InMemorySpanExporter()
    processor = batched(exporter)
    provider = tracing(processor)
    otelier.shutdown()
    assert BatchSpanProcessor.__init__ is not made
    assert "export" not in vars(exporter)
    assert "shutdown" not in vars(processor)
    assert "emit" not in vars(processor._batch_processor)
    provider.shutdown()


def test_where_patches_are_not_wanted(monkeypatch):
    """`otelier` among the disabled instrumentations leaves the SDK's objects alone."""
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "otelier")
    exporter = InMemorySpanExporter()
    provider = tracing(batched(exporter))
    assert "export" not in vars(exporter)
    provider.shutdown()


def test_exporters_that_take_no_attribute(lost, caplog):
    """An exporter whose class takes no attributes exports as before; one line says that failures stay unknown."""

    class Slotted:
        __slots__ = ("seen",)

        def __init__(self):
            self.seen = 0

        def export(self, spans):
            self.seen += len(spans)
            return SpanExportResult.FAILURE

        def shutdown(self):
            pass

    exporter = Slotted()
    provider = tracing(batched(exporter))
    otelier.init(tracer_provider=provider)
    end_spans(provider)
    assert otelier.flush() is True
    assert exporter.seen == 1
    (line,) = [line for line in warnings_of(caplog) if "not all counted" in line]
    assert "Slotted" in line
    provider.shutdown()


FORKING = """
import os, traceback, warnings
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
import otelier
from tests.programs import run

warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads is what this is about


class Exporter(SpanExporter):
    answer = SpanExportResult.FAILURE

    def export(self, spans):
        return self.answer


exporter, reader = Exporter(), InMemoryMetricReader()
provider = TracerProvider()
otelier.init(tracer_provider=provider, meter_provider=MeterProvider([reader]))
provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=600_000))


def end(count):
    for _ in range(count):
        provider.get_tracer("app").start_span("work").end()


def lost():
    data = reader.get_metrics_data()
    return [p.value for r in (data.resource_metrics if data else ()) for s in r.scope_metrics
            for m in s.metrics if m.name == "otelier.telemetry.lost" for p in m.data.data_points]


end(3)
assert otelier.flush() is False
end(2)
pid = os.fork()
if pid == 0:
    failed = 1
    try:
        reader.get_metrics_data()  # a reader in memory still holds what the parent collected
        exporter.answer = SpanExportResult.SUCCESS
        assert otelier.flush() is True, "what waited in the parent is the parent's"
        assert lost() == [], lost()
        exporter.answer = SpanExportResult.FAILURE
        end(1)
        assert otelier.flush() is False
        assert lost() == [1], lost()
        failed = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(failed)
assert os.waitpid(pid, 0)[1] == 0
assert otelier.flush() is False
assert lost() == [5], lost()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_counts_its_own():
    """What the parent lost before the fork, and what waits in it, is not the child's."""
    ran = run(FORKING)
    assert ran.code == 0, ran.err
