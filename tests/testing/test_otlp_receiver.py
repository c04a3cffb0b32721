"""The OTLP receiver, through the real exporters."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import logging
import signal
import socket
import subprocess
import sys
import threading
import zlib

import httpx
import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

from otelier.testing import OtlpReceiver, SpanRecord, SpanRecorder, _loopback
from otelier.testing.receiver import _receiver

RESOURCE = Resource({"service.name": "shop"})


def emit(url, compression=Compression.NoCompression):
    """Send one span with everything, three kinds of metrics and a log record; return the span as the SDK has it."""
    traces = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    traces.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces", compression=compression)))
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{url}/v1/metrics", compression=compression), 3.6e6)
    meters = MeterProvider([reader], resource=RESOURCE, shutdown_on_exit=False)
    logs = LoggerProvider(resource=RESOURCE, shutdown_on_exit=False)
    exporter = OTLPLogExporter(f"{url}/v1/logs", compression=compression)
    logs.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    tracer = traces.get_tracer("shop.tracer")
    other = SpanContext(trace_id=7, span_id=8, is_remote=False)
    with tracer.start_as_current_span("request", kind=SpanKind.SERVER) as parent:
        span = tracer.start_span(
            "work",
            kind=SpanKind.CLIENT,
            attributes={"user.id": "alice", "user.roles": ["admin", "buyer"], "price": 1.5, "paid": True, "n": 3},
            links=[Link(other, {"why": "retry"})],
        )
        span.add_event("asked", {"step": 1}, timestamp=5)
        span.set_status(Status(StatusCode.ERROR, "no money"))
        span.end()
        logs.get_logger("shop.logger").emit(
            body={"text": ["hello", 1]},
            severity_text="INFO",
            severity_number=SeverityNumber.INFO,
            attributes={"user.id": "alice"},
            event_name="shop.sold",
        )
        meter = meters.get_meter("shop.meter")
        meter.create_counter("calls", unit="{call}").add(2, {"agent": "triage"})
        meter.create_histogram("duration", unit="s").record(0.25, {"agent": "triage"})
        meter.create_gauge("level").set(1.5)
    for provider in (traces, meters, logs):
        provider.shutdown()
    return span, parent


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip, Compression.Deflate])
def test_everything_arrives_as_plain_data(compression):
    """Spans, points and log records come as they were emitted, compressed or not."""
    with OtlpReceiver() as receiver:
        span, parent = emit(receiver.url, compression)
        receiver.wait_for(spans=2, metrics=3, logs=1)
        work, request = receiver.spans
        assert work == SpanRecord.of(span)
        assert (request.kind, request.parent_id, request.status) == ("SERVER", None, "UNSET")
        assert work.parent_id == request.span_id == f"{parent.get_span_context().span_id:016x}"
        assert work.attributes == {
            "user.id": "alice",
            "user.roles": ("admin", "buyer"),
            "price": 1.5,
            "paid": True,
            "n": 3,
        }
        assert (work.kind, work.status, work.status_message) == ("CLIENT", "ERROR", "no money")
        assert [(event.name, event.time_ns, event.attributes) for event in work.events] == [("asked", 5, {"step": 1})]
        assert [(link.trace_id, link.span_id) for link in work.links] == [(f"{7:032x}", f"{8:016x}")]
        assert (work.scope, work.resource["service.name"]) == ("shop.tracer", "shop")
        assert work.duration_s >= 0

        points = {point.name: point for point in receiver.metrics}
        assert (points["calls"].kind, points["calls"].value, points["calls"].unit) == ("sum", 2, "{call}")
        assert (points["level"].kind, points["level"].value) == ("gauge", 1.5)
        duration = points["duration"]
        assert (duration.kind, duration.count, duration.sum, duration.min, duration.max) == (
            "histogram",
            1,
            0.25,
            0.25,
            0.25,
        )
        assert sum(duration.bucket_counts) == 1
        assert len(duration.bucket_counts) == len(duration.bounds) + 1
        assert duration.attributes == {"agent": "triage"}
        assert duration.exemplars[0].span_id == request.span_id

        (entry,) = receiver.logs
        assert (entry.body, entry.severity, entry.event_name) == ({"text": ("hello", 1)}, "INFO", "shop.sold")
        assert (entry.attributes, entry.trace_id, entry.span_id) == (
            {"user.id": "alice"},
            request.trace_id,
            request.span_id,
        )
        assert (entry.scope, entry.resource["service.name"]) == ("shop.logger", "shop")
        assert entry.time_ns > 0
        assert receiver.counts == {"spans": 2, "metrics": 3, "logs": 1, "requests": 4}


def test_a_recorded_span_reads_like_a_received_one():
    """The recorder's records and the receiver's are the same for the same spans."""
    recorder = SpanRecorder(resource={"service.name": "shop"})
    with OtlpReceiver() as receiver:
        exporter = OTLPSpanExporter(f"{receiver.url}/v1/traces")
        recorder.tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracer = recorder.tracer_provider.get_tracer("docs")
        with tracer.start_as_current_span("request", attributes={"tags": ["a", "b"]}) as span:
            span.add_event("step", {"n": 1})
            tracer.start_span("work", kind=SpanKind.PRODUCER).end()
        receiver.wait_for(spans=2)
        assert receiver.spans == recorder.records
        exporter.shutdown()


def test_waiting_tells_what_came():
    """`wait_for` counts what came in all, and says so when time is up."""
    with OtlpReceiver() as receiver:
        receiver.wait_for()
        with pytest.raises(TimeoutError, match=r"Waited 0.05 s for \{'spans': 1.*'requests': 0"):
            receiver.wait_for(spans=1, timeout_s=0.05)


def test_old_records_make_way_and_are_still_counted():
    """Memory is bounded: the newest records stay, the counts go on."""
    with OtlpReceiver(max_records=3) as receiver:
        traces = TracerProvider(shutdown_on_exit=False)
        traces.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{receiver.url}/v1/traces")))
        for number in range(5):
            traces.get_tracer("docs").start_span(f"span {number}").end()
        traces.shutdown()
        assert [span.name for span in receiver.spans] == ["span 2", "span 3", "span 4"]
        assert receiver.counts["spans"] == 5


def test_what_cannot_be_read_is_refused():
    """A wrong path, media type, encoding or body gets its status, and counts as nothing."""
    protobuf = {"content-type": "application/x-protobuf"}
    with OtlpReceiver() as receiver, httpx.Client(base_url=receiver.url) as client:
        assert client.get("/v1/traces").status_code == 404
        assert client.post("/v1/profiles", headers=protobuf).status_code == 404
        assert client.post("/v1/traces", json={}).status_code == 415
        assert client.post("/v1/traces", content=b"\xff\xff", headers=protobuf).status_code == 400
        for encoding in ("gzip", "deflate", "br"):
            headers = {**protobuf, "content-encoding": encoding}
            assert client.post("/v1/logs", content=b"nonsense", headers=headers).status_code == 400
        cut = gzip.compress(b"x" * 100)[:-9]
        assert client.post("/v1/logs", content=cut, headers={**protobuf, "content-encoding": "gzip"}).status_code == 400
        assert receiver.counts == {"spans": 0, "metrics": 0, "logs": 0, "requests": 0}
        done = client.post("/v1/traces", content=ExportTraceServiceRequest().SerializeToString(), headers=protobuf)
        assert (done.status_code, done.content) == (200, b"")
        assert receiver.counts["requests"] == 1


def test_what_other_senders_leave_out():
    """A metric without points, a point of a summary and an attribute without a value are read as what they are."""
    named = metrics_pb2.Metric(name="named")
    point = metrics_pb2.SummaryDataPoint(count=3, sum=1.5, attributes=[common_pb2.KeyValue(key="empty")])
    summary = metrics_pb2.Metric(name="summed", summary=metrics_pb2.Summary(data_points=[point]))
    scoped = metrics_pb2.ScopeMetrics(metrics=[named, summary])
    sent = ExportMetricsServiceRequest(resource_metrics=[metrics_pb2.ResourceMetrics(scope_metrics=[scoped])])
    with OtlpReceiver() as receiver:
        httpx.post(
            f"{receiver.url}/v1/metrics",
            content=sent.SerializeToString(),
            headers={"content-type": "application/x-protobuf"},
        )
    (found,) = receiver.metrics
    assert (found.name, found.count, found.sum, found.attributes) == ("summed", 3, 1.5, {"empty": None})


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large(chunked, monkeypatch):
    """A body beyond the bound is refused and the connection closed, however its length is told."""
    monkeypatch.setattr(_loopback, "MAX_BODY_BYTES", 100)
    with OtlpReceiver() as receiver:
        connection = http.client.HTTPConnection("127.0.0.1", receiver.port)
        with contextlib.closing(connection):
            connection.request("POST", "/v1/traces", iter([b"x" * 200]) if chunked else b"x" * 200)
            answer = connection.getresponse()
            assert (answer.status, answer.getheader("connection")) == (413, "close")
    assert receiver.counts["requests"] == 0


def test_a_chunked_body_with_trailers():
    """Headers behind a body that comes in chunks are read past, and the connection serves on."""
    head = b"POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\n"
    with OtlpReceiver() as receiver, socket.create_connection(("127.0.0.1", receiver.port)) as connection:
        for _ in range(2):
            connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n0\r\nx-sum: 1\r\nx-more: 2\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert receiver.counts["requests"] == 2


def test_a_server_that_fails(caplog):
    """An error in a server of a test's own is logged, and closes the connection."""

    class Failing(OtlpReceiver):
        def answer(self, received, exchange):
            raise LookupError("mine")

    with Failing() as receiver, pytest.raises(httpx.RemoteProtocolError):
        httpx.post(receiver.url)
    assert "Failing cannot answer a request." in caplog.text


def test_bodies_are_passed_on_unchanged():
    """A second endpoint gets the same bodies with their encoding, and the headers given for it."""
    with OtlpReceiver() as second:
        with OtlpReceiver(forward_to=second.url, headers={"authorization": "Bearer x"}) as first:
            emit(first.url, Compression.Gzip)
        assert first.counts == second.counts
        assert (first.spans, first.metrics, first.logs) == (second.spans, second.metrics, second.logs)
        assert first.forward_failures == 0


def test_forwarding_keeps_path_and_headers():
    """The endpoint's own path stands before `/v1/traces`, and the given headers are sent."""
    seen = []

    class Second(OtlpReceiver):
        def answer(self, received, exchange):
            seen.append((received.path, received.headers, received.body))
            exchange.send(200, {}, b"")

    body = zlib.compress(ExportTraceServiceRequest().SerializeToString())
    headers = {"content-type": "application/x-protobuf", "content-encoding": "deflate", "x-own": "stays"}
    with (
        Second() as second,
        OtlpReceiver(forward_to=f"{second.url}/otlp/", headers={"authorization": "Bearer x"}) as first,
    ):
        httpx.post(f"{first.url}/v1/traces", content=body, headers=headers)
        first.stop()
    ((path, got, forwarded),) = seen
    assert (path, forwarded) == ("/otlp/v1/traces", body)
    assert (got["content-type"], got["content-encoding"]) == ("application/x-protobuf", "deflate")
    assert got["authorization"] == "Bearer x"
    assert "x-own" not in got


@pytest.mark.parametrize("answering", [False, True], ids=["nobody there", "refused"])
def test_forwarding_failures_are_told_once(answering, caplog):
    """An endpoint that is away or refuses costs the sender nothing; one line says so, the rest are counted."""

    class Refusing(OtlpReceiver):
        def answer(self, received, exchange):
            exchange.send(503, {}, b"")

    with Refusing() as second:
        endpoint = second.url
        if not answering:
            second.stop()
        with caplog.at_level(logging.WARNING), OtlpReceiver(forward_to=endpoint) as first:
            emit(first.url)
    assert first.counts["spans"] == 2
    assert first.forward_failures == 4
    (line,) = [record.getMessage() for record in caplog.records if record.name == "otelier.testing"]
    assert line.startswith("Cannot forward to 127.0.0.1:")


def test_forwarding_to_an_endpoint_that_hangs(caplog, monkeypatch):
    """What cannot wait any more is dropped and counted, and stopping waits no longer than it may."""
    monkeypatch.setattr(_receiver, "WAITING", 1)
    arrived, goes_on = threading.Event(), threading.Event()

    class Hanging(OtlpReceiver):
        def answer(self, received, exchange):
            arrived.set()
            goes_on.wait(60)
            exchange.send(200, {}, b"")

    with Hanging() as second:
        forwarder = _receiver.Forwarder(second.url, {})
        forwarder.start()
        forwarder.put("/v1/traces", b"", {})
        assert arrived.wait(60)
        forwarder.put("/v1/traces", b"", {})
        forwarder.put("/v1/traces", b"", {})
        forwarder.stop(0.01)
        assert forwarder.failures == 2
        goes_on.set()
    (line,) = [record.getMessage() for record in caplog.records if record.name == "otelier.testing"]
    assert line.endswith("too much waits. More failures are only counted.")


def test_forwarding_needs_an_address():
    """What is no HTTP address is refused at once."""
    with pytest.raises(ValueError, match="it is no HTTP address"):
        OtlpReceiver(forward_to="127.0.0.1:4317")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_runs_as_a_process(tmp_path, number):
    """A process that is nothing but a receiver prints its URL, then its counts, and keeps each record as a line."""
    out = tmp_path / "received.jsonl"
    command = [sys.executable, "-m", "otelier.testing.receiver", "--port", "0", "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        emit(process.stdout.readline().strip())
        process.send_signal(number)
        printed, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")
    assert json.loads(printed) == {"spans": 2, "metrics": 3, "logs": 1, "requests": 4}
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert sorted(line["signal"] for line in lines) == ["logs", "metrics", "metrics", "metrics", "spans", "spans"]
    (work,) = [line for line in lines if line["signal"] == "spans" and line["name"] == "work"]
    assert work["attributes"]["user.roles"] == ["admin", "buyer"]
