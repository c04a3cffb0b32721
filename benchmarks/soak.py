"""Cost of an outage: 50 users at work while the receiver of their telemetry is killed, stalls, is slow and refuses.

Run: uv run python benchmarks/soak.py [--seconds 60] [--users 50]
    480 seconds are a soak; a minute shows that it works.

A program calls a model over real HTTP (`otelier.testing.OpenAIServer`), each user in a request of his own, and exports
spans, log records and metrics by OTLP, with the SDK's defaults. The receiver behaves and misbehaves in turn:

| phase | what it does |
|---|---|
| well | takes everything at once |
| killed | does not listen; what was connected is broken off |
| stalled | reads the request and never answers |
| slow | takes everything, after two seconds |
| 429, 503 | refuses with that status, to be tried again later |
| 400 | refuses for good |
| garbage | answers bytes that are no HTTP |

It keeps what it has answered with 200 and nothing else, and knows spans and log records by their ids and bodies. So
what was made is what was received and what otelier counted as lost, to the last one; else this fails, and it fails if
a call raised. Two runs before it say what CPU time a call takes without telemetry, and with the SDK alone: a span for
the request and a log record, and a receiver that behaves.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import itertools
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import openai
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind

import otelier
from otelier.testing import OpenAIServer
from otelier.testing._loopback import HttpExchange, HttpRequest, LoopbackServer

PHASES = ("killed", "stalled", "slow", "429", "503", "400", "garbage")
SLOW_S, THINK_S, MODEL_S = 2.0, 0.1, 0.05
LOST = "otelier.telemetry.lost"
LOGGER = "soak"


# --- the receiver ----------------------------------------------------------------------------------------------
class Receiver(LoopbackServer):
    """An OTLP receiver that does what its phase says."""

    def __init__(self) -> None:
        super().__init__()
        self.phase = "well"
        self.spans: set[bytes] = set()
        self.logs: set[str] = set()
        self.lost: dict[str, int] = {}
        self.answers: Counter[str] = Counter()
        self._turn = threading.RLock()
        self._changed = threading.Event()

    def enter(self, phase: str) -> None:
        """Begin *phase*; what is being answered well is answered first."""
        with self._turn:
            self.phase, changed, self._changed = phase, self._changed, threading.Event()
            changed.set()
            if phase == "killed":
                self._port = self.port
                self.stop()
            elif self._server is None:
                self.start()

    def answer(self, received: HttpRequest, exchange: HttpExchange) -> None:
        phase, changed = self.phase, self._changed
        if phase == "slow":
            changed.wait(SLOW_S)
        if phase == "stalled":
            changed.wait()
            exchange.drop()
        with self._turn:
            self.answers[phase] += 1
            if self._server is None:
                exchange.drop()
            if phase == "garbage":
                exchange.wfile.write(b"\x00\xffthis is no HTTP\r\n\r\n")
                exchange.drop()
            if phase.isdigit():
                exchange.send(int(phase), {"retry-after": "1"}, b"")
                return
            self._keep(received)
            exchange.send(200, {"content-type": "application/x-protobuf"}, b"")

    def _keep(self, received: HttpRequest) -> None:
        zipped = received.headers.get("content-encoding") == "gzip"
        body = gzip.decompress(received.body) if zipped else received.body
        if received.path == "/v1/traces":
            for spans in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.spans.update(span.span_id for scope in spans.scope_spans for span in scope.spans)
        elif received.path == "/v1/logs":
            for logs in ExportLogsServiceRequest.FromString(body).resource_logs:
                self.logs.update(log.body.string_value for scope in logs.scope_logs for log in scope.log_records)
        else:
            for metrics in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for metric in (one for scope in metrics.scope_metrics for one in scope.metrics if one.name == LOST):
                    for point in metric.sum.data_points:
                        said = {pair.key: pair.value.string_value for pair in point.attributes}
                        self.lost[f"{said['otelier.telemetry.signal']} {said['error.type']}"] = point.as_int


def misbehave(receiver: Receiver, seconds: float, ended: threading.Event) -> None:
    """Go through the phases, a good one before and after each."""
    phases = [phase for bad in PHASES for phase in ("well", bad)]
    for phase in phases:
        receiver.enter(phase)
        if ended.wait(seconds / (len(phases) + 1)):
            break
    receiver.enter("well")


# --- the program that is watched -------------------------------------------------------------------------------
class Made(SpanProcessor, LogRecordProcessor):
    """Counts what is made; `next` of a count is one step, whatever thread takes it."""

    def __init__(self) -> None:
        self.spans, self.logs = itertools.count(), itertools.count()

    def on_end(self, span: Any) -> None:
        next(self.spans)

    def on_emit(self, log_record: Any) -> None:
        next(self.logs)

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


class Users:
    """Users who ask a model again and again."""

    def __init__(self, count: int, base_url: str, name: str) -> None:
        self.calls, self.raised = 0, Counter[str]()
        self._name = name
        self._count = count
        self._client = openai.AsyncOpenAI(base_url=base_url, api_key="sk-none", max_retries=0, timeout=120)
        self._log = logging.getLogger(LOGGER)

    async def work(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        await asyncio.gather(*(self._work(number, until) for number in range(self._count)))
        await self._client.close()

    async def _work(self, number: int, until: float) -> None:
        from opentelemetry import trace

        await asyncio.sleep(THINK_S * number / self._count)
        while time.monotonic() < until:
            self.calls += 1
            try:
                with (
                    trace.get_tracer(LOGGER).start_as_current_span("request", kind=SpanKind.SERVER),
                    otelier.context(user_id=f"user-{number}", session_id=f"session-{number}", agent="soak"),
                ):
                    self._log.info("%s call %d", self._name, self.calls)
                    await self._client.chat.completions.create(
                        model="gpt-4.1", messages=[{"role": "user", "content": f"Hello, for the {self.calls}th time"}]
                    )
            except Exception as exc:
                self.raised[type(exc).__name__] += 1
            await asyncio.sleep(THINK_S)


def memory_mb() -> float:
    """Memory of this process that is really there."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def watch_memory(seen: list[float], ended: threading.Event) -> None:
    while not ended.wait(0.5):
        seen.append(memory_mb())


def program(seconds: float, users: int, base_url: str, endpoint: str | None, with_otelier: bool) -> None:
    """Work, and print what came of it; without *endpoint* there is no telemetry."""
    made, reader = Made(), InMemoryMetricReader()
    providers = set_up(made, reader, endpoint, with_otelier) if endpoint else []
    ended, memory = threading.Event(), [memory_mb()]
    threading.Thread(target=watch_memory, args=(memory, ended), daemon=True).start()
    asyncio.run(Users(users, base_url, "early").work(min(seconds / 10, 5)))  # imports and caches
    at_work = Users(users, base_url, "late")
    before_s = time.process_time()
    asyncio.run(at_work.work(seconds))
    cpu_s = time.process_time() - before_s
    ended.set()
    delivered = [otelier.flush(timeout_s=60.0), otelier.flush(timeout_s=60.0)]
    for provider in providers:
        provider.shutdown()
    told = {
        "calls": at_work.calls, "raised": dict(at_work.raised), "cpu_us": 1e6 * cpu_s / at_work.calls,
        "spans": next(made.spans), "logs": next(made.logs), "lost": losses(reader), "flushed": delivered,
        "memory_mb": {"begin": memory[0], "middle": memory[len(memory) // 2], "most": max(memory), "end": memory[-1]},
    }  # fmt: skip
    print(json.dumps(told))


def set_up(made: Made, reader: InMemoryMetricReader, endpoint: str, with_otelier: bool) -> list[Any]:
    """Set providers up as a program does, with one that counts what is made."""
    from opentelemetry import _logs, metrics, trace
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.logging.handler import LoggingHandler
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    spans, logs = TracerProvider(shutdown_on_exit=False), LoggerProvider(shutdown_on_exit=False)
    exporting = PeriodicExportingMetricReader(OTLPMetricExporter(f"{endpoint}/v1/metrics"), 5_000)
    meters = MeterProvider([exporting, reader], shutdown_on_exit=False)
    trace.set_tracer_provider(spans)
    metrics.set_meter_provider(meters)
    _logs.set_logger_provider(logs)
    if with_otelier:
        otelier.init(app="soak")
    spans.add_span_processor(made)
    spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces")))
    logs.add_log_record_processor(made)
    logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(f"{endpoint}/v1/logs")))
    logging.getLogger(LOGGER).setLevel(logging.INFO)
    logging.getLogger(LOGGER).addHandler(LoggingHandler(logger_provider=logs))
    return [spans, logs]


def losses(reader: InMemoryMetricReader) -> dict[str, int]:
    """What the metric says."""
    data = reader.get_metrics_data()
    metrics = [m for r in (data.resource_metrics if data else ()) for s in r.scope_metrics for m in s.metrics]
    points = [point for metric in metrics if metric.name == LOST for point in metric.data.data_points]
    return {f"{p.attributes['otelier.telemetry.signal']} {p.attributes['error.type']}": p.value for p in points}


# --- the report ------------------------------------------------------------------------------------------------
def run(
    seconds: float, users: int, base_url: str, endpoint: str | None = None, *, with_otelier: bool = True
) -> tuple[dict[str, Any], list[str]]:
    """Run the program in a process of its own; return what it told and the lines that it logged."""
    command = [sys.executable, __file__, "--seconds", str(seconds), "--users", str(users), "--program", base_url]
    command += [endpoint] if endpoint else []
    command += [] if with_otelier else ["--sdk-alone"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1]), done.stderr.splitlines()


def report(seconds: float, users: int) -> bool:
    """Soak, and print the figures; return whether they add up."""
    with OpenAIServer(delay_s=MODEL_S) as model, Receiver() as receiver:
        short = max(seconds / 8, 5)
        plain, _ = run(short, users, model.base_url)
        with Receiver() as behaving:
            sdk, _ = run(short, users, model.base_url, behaving.url, with_otelier=False)
        ended = threading.Event()
        misbehaving = threading.Thread(target=misbehave, args=(receiver, seconds, ended))
        misbehaving.start()
        told, lines = run(seconds, users, model.base_url, receiver.url)
        ended.set()
        misbehaving.join()
    lost = told["lost"]
    print(f"{users} users, {seconds:.0f} s; answers of the receiver: {dict(receiver.answers)}")
    print(f"calls: {told['calls']} made, {sum(told['raised'].values())} raised {told['raised'] or ''}")
    right = not told["raised"]
    for signal, made, received in (("traces", "spans", receiver.spans), ("logs", "logs", receiver.logs)):
        counted = sum(count for kind, count in lost.items() if kind.split()[0] == signal)
        missing = told[made] - len(received)
        right = right and missing == counted
        reasons = {kind.split()[1]: count for kind, count in lost.items() if kind.split()[0] == signal}
        print(
            f"{made}: {told[made]} made, {len(received)} received, {missing} lost, {counted} counted as lost {reasons}"
        )
    print(f"the receiver was told of the losses: {receiver.lost == lost}")
    print(f"flush at the end, and again: {told['flushed']}")
    cpu = {"without telemetry": plain, "SDK alone": sdk, "soak": told}
    print("CPU of a call:", ", ".join(f"{which['cpu_us']:.0f} us {name}" for name, which in cpu.items()))
    memory = {name: round(mb) for name, mb in told["memory_mb"].items()}
    print(f"memory in MB: {memory}, without telemetry {round(plain['memory_mb']['end'])}")
    ours = [line for line in lines if " lost " in line or "did not arrive" in line]
    print(f"{len(lines)} lines on stderr, {len(ours)} of them ours:", *ours, sep="\n  ")
    print("It adds up." if right else "It does not add up.")
    return right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long")
    parser.add_argument("--users", type=int, default=50, help="how many at once")
    parser.add_argument("--program", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--sdk-alone", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.program:
        base_url, endpoint = (*given.program, None)[:2]
        program(given.seconds, given.users, base_url, endpoint, not given.sdk_alone)
    elif not report(given.seconds, given.users):
        sys.exit(1)


if __name__ == "__main__":
    main()
