"""The OTLP receiver: takes export requests, keeps and counts their records, and may forward them."""

from __future__ import annotations

import dataclasses
import gzip
import http.client
import json
import os
import queue
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError

from otelier.testing._loopback import HttpExchange, HttpRequest, LoopbackServer, log
from otelier.testing._records import LogEntry, MetricPoint, SpanRecord
from otelier.testing.receiver import _decode

if TYPE_CHECKING:
    from typing_extensions import Self

_PASSED_ON = ("content-type", "content-encoding", "user-agent")
_PROTOBUF = {"content-type": "application/x-protobuf"}
_TEXT = {"content-type": "text/plain; charset=utf-8"}


class OtlpReceiver(LoopbackServer):
    """A small OTLP receiver on 127.0.0.1 (HTTP, protobuf, gzip) that keeps what it receives as plain data.

    Args:
        port: Port on 127.0.0.1; 0 picks a free one.
        max_records: Most records kept of each signal; the oldest are dropped, `counts` includes them.
        out: File to which each record is appended as one line of JSON; `None` writes none.
        forward_to: OTLP/HTTP endpoint to which each body is forwarded unchanged; `None` forwards nothing. The first
            failure is logged, and `forward_failures` counts all of them.
        headers: Headers for `forward_to`.

    Example:
        >>> from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        >>> from opentelemetry.sdk.trace import TracerProvider
        >>> from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        >>> from otelier.testing import OtlpReceiver
        >>> with OtlpReceiver() as receiver:
        ...     provider = TracerProvider()
        ...     provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(receiver.url + "/v1/traces")))
        ...     provider.get_tracer("docs").start_span("work", attributes={"user.id": "alice"}).end()
        ...     receiver.wait_for(spans=1)
        ...     provider.shutdown()
        ...     [(span.name, span.attributes["user.id"]) for span in receiver.spans]
        [('work', 'alice')]
    """

    def __init__(
        self,
        *,
        port: int = 0,
        max_records: int = 100_000,
        out: str | os.PathLike[str] | None = None,
        forward_to: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(port=port)
        self._news = threading.Condition()
        self._spans: deque[SpanRecord] = deque(maxlen=max_records)
        self._metrics: deque[MetricPoint] = deque(maxlen=max_records)
        self._logs: deque[LogEntry] = deque(maxlen=max_records)
        self._counts = {"spans": 0, "metrics": 0, "logs": 0, "requests": 0}
        self._out_path = Path(out) if out is not None else None
        self._out: TextIO | None = None
        self._forwarder = Forwarder(forward_to, headers or {}) if forward_to is not None else None

    def start(self) -> Self:
        """Start listening."""
        if self._out_path is not None:
            self._out = self._out_path.open("a", encoding="utf-8")
        if self._forwarder is not None:
            self._forwarder.start()
        return super().start()

    def stop(self) -> None:
        """Stop listening, forward what is pending, and close the file."""
        super().stop()
        if self._forwarder is not None:
            self._forwarder.stop()
        if self._out is not None:
            self._out.close()
            self._out = None

    @property
    def spans(self) -> tuple[SpanRecord, ...]:
        """Spans in the order in which they arrived."""
        with self._news:
            return tuple(self._spans)

    @property
    def metrics(self) -> tuple[MetricPoint, ...]:
        """Data points of metrics in the order in which they arrived; each export adds its points again."""
        with self._news:
            return tuple(self._metrics)

    @property
    def logs(self) -> tuple[LogEntry, ...]:
        """Log records in the order in which they arrived."""
        with self._news:
            return tuple(self._logs)

    @property
    def counts(self) -> dict[str, int]:
        """Totals received: `spans`, `metrics` (data points), `logs` (records) and `requests`."""
        with self._news:
            return dict(self._counts)

    @property
    def forward_failures(self) -> int:
        """Number of bodies that did not reach `forward_to`."""
        return self._forwarder.failures if self._forwarder is not None else 0

    def wait_for(self, *, spans: int = 0, metrics: int = 0, logs: int = 0, timeout_s: float = 10.0) -> None:
        """Wait until at least this much has been received in total.

        Raises:
            TimeoutError: if it does not arrive within *timeout_s* seconds; the message says what has arrived.
        """
        wanted = {"spans": spans, "metrics": metrics, "logs": logs}
        deadline = time.monotonic() + timeout_s
        with self._news:
            while any(self._counts[signal] < count for signal, count in wanted.items()):
                if not self._news.wait(deadline - time.monotonic()) and time.monotonic() >= deadline:
                    raise TimeoutError(f"Waited {timeout_s} s for {wanted}, and got {self._counts}.")

    def answer(self, received: HttpRequest, exchange: HttpExchange) -> None:
        """Take one export request; runs in the connection's thread."""
        signal = received.path.removeprefix("/v1/") if received.method == "POST" else ""
        if signal not in _DECODERS:
            exchange.send(404, _TEXT, b"This is an OTLP receiver: POST /v1/traces, /v1/metrics or /v1/logs.")
            return
        if received.headers.get("content-type", "").split(";")[0] != "application/x-protobuf":
            exchange.send(415, _TEXT, b"Only OTLP as application/x-protobuf is read here.")
            return
        try:
            body = _unpack(received.body, received.headers.get("content-encoding", ""))
            records = list(_DECODERS[signal](body))
        except (DecodeError, OSError, EOFError, ValueError, zlib.error) as exc:
            exchange.send(400, _TEXT, f"The body cannot be read: {type(exc).__name__}.".encode())
            return
        if self._forwarder is not None:
            headers = {name: value for name, value in received.headers.items() if name in _PASSED_ON}
            self._forwarder.put(received.path, received.body, headers)
        self._keep(records)
        exchange.send(200, _PROTOBUF, b"")

    def _keep(self, records: list[Any]) -> None:
        with self._news:
            self._counts["requests"] += 1
            for record in records:
                kept, signal = self._kept_as(record)
                kept.append(record)
                self._counts[signal] += 1
                if self._out is not None:
                    self._out.write(json.dumps({"signal": signal, **dataclasses.asdict(record)}, default=str) + "\n")
            if self._out is not None:
                self._out.flush()
            self._news.notify_all()

    def _kept_as(self, record: SpanRecord | MetricPoint | LogEntry) -> tuple[deque[Any], str]:
        if isinstance(record, SpanRecord):
            return self._spans, "spans"
        return (self._metrics, "metrics") if isinstance(record, MetricPoint) else (self._logs, "logs")


_DECODERS: Mapping[str, Callable[[bytes], Iterable[Any]]] = {
    "traces": _decode.spans,
    "metrics": _decode.metrics,
    "logs": _decode.logs,
}


def _unpack(body: bytes, encoding: str) -> bytes:
    if encoding in ("", "identity"):
        return body
    if encoding == "gzip":
        return gzip.decompress(body)
    if encoding == "deflate":
        return zlib.decompress(body)
    raise ValueError("unknown content-encoding")


WAITING = 1000
TIMEOUT_S = 10.0


class Forwarder:
    """Posts each body, unchanged and in its order, to the endpoint's `/v1/traces`, `/v1/metrics` and `/v1/logs`."""

    def __init__(self, endpoint: str, headers: Mapping[str, str]) -> None:
        where = urlsplit(endpoint)
        if where.scheme not in ("http", "https") or not where.hostname:
            raise ValueError(
                f"Cannot forward to {endpoint!r}: it is no HTTP address. Give one such as `http://127.0.0.1:4318`."
            )
        # The standard library's own client, so that no HTTP instrumentation makes spans of this.
        self._connect = http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
        self._host, self._port, self._path = where.hostname, where.port, where.path.rstrip("/")
        self._headers = dict(headers)
        self._waiting: queue.Queue[tuple[str, bytes, Mapping[str, str]] | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name="OtlpReceiver forward", daemon=True)
        self.failures = 0
        """Bodies that did not arrive."""

    def start(self) -> None:
        """Start passing on."""
        self._thread.start()

    def stop(self, timeout_s: float = TIMEOUT_S) -> None:
        """Pass on what still waits, for *timeout_s* seconds at most."""
        try:
            self._waiting.put(None, timeout=timeout_s)
        except queue.Full:
            self._failed("it takes too long")
        self._thread.join(timeout_s)

    def put(self, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Pass *body* on soon; never waits."""
        try:
            self._waiting.put_nowait((path, body, headers))
        except queue.Full:
            self._failed("too much waits")

    def _run(self) -> None:
        while (one := self._waiting.get()) is not None:
            try:
                self._post(*one)
            except (OSError, http.client.HTTPException) as exc:
                self._failed(f"{type(exc).__name__}: {exc}")

    def _post(self, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        connection = self._connect(self._host, self._port, timeout=TIMEOUT_S)
        try:
            connection.request("POST", self._path + path, body, {**headers, **self._headers})
            answer = connection.getresponse()
            answer.read()
            if answer.status >= 300:
                self._failed(f"it answered {answer.status} {answer.reason}")
        finally:
            connection.close()

    def _failed(self, why: str) -> None:
        self.failures += 1
        if self.failures == 1:
            log.warning("Cannot forward to %s:%s: %s. More failures are only counted.", self._host, self._port, why)
