"""One run of the demonstration: starts the services, sends traffic, stops them, and keeps their telemetry."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from otelier.cli._endpoints import headers_of, parts_of, without_secrets
from otelier.cli._steps import Steps
from otelier.cli.demo._bank import Bank
from otelier.cli.demo._processes import HELPDESK, PAYMENTS, REFUNDS, free_port, service, worker
from otelier.cli.demo._refund import AT_ONCE, Refund, refund
from otelier.cli.demo._traffic import TOO_MUCH, USERS, drive
from otelier.errors import SettingError
from otelier.settings import quoted
from otelier.testing import LogEntry, MetricPoint, OpenAIServer, OtlpReceiver, SpanRecord

LATENCIES_S = (0.18, 0.24, 0.31, 0.42, 0.55, 0.87)
"""Seconds a model takes to answer; the server deals them out by what is asked, alike in each run."""
CHUNK_LATENCY_S = 0.03
REFUSAL_LATENCY_S = 0.08
_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
_HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The telemetry that one run exported."""

    spans: tuple[SpanRecord, ...]
    logs: tuple[LogEntry, ...]
    metrics: tuple[MetricPoint, ...]
    refund: Refund
    """What became of the refund."""
    exports: int
    """Export requests that brought them."""
    model_requests: tuple[Mapping[str, str], ...]
    """Headers of each request to the model's host, by lower-case name."""
    sent_to: str | None
    """Endpoint that got the same, as it may be printed; `None` without one."""
    send_failures: int
    """Export requests that did not arrive there."""
    problems: tuple[str, ...]
    """Telemetry that did not arrive, a sentence each."""
    took_s: float


def run(steps: Steps) -> Outcome:
    """Run the demonstration once.

    Raises:
        SettingError: if the environment names an endpoint that cannot be sent to.
        OtelierError: if a service does not start, answer or stop.
    """
    started_s = time.monotonic()
    forward_to = _endpoint()
    sent_to = without_secrets(forward_to) if forward_to else None
    with (
        _complaints() as complaints,
        OpenAIServer(delay_s=LATENCIES_S, chunk_delay_s=CHUNK_LATENCY_S) as model,
        OtlpReceiver(forward_to=forward_to, headers=_headers()) as receiver,
        Bank() as bank,
        tempfile.TemporaryDirectory(prefix="otelier-demo-") as folder,
        service(PAYMENTS, model, receiver, port=free_port(), OTELIER_TRUST_INBOUND="true") as payments,
        service(HELPDESK, model, receiver, PAYMENTS_URL=payments.url, OTELIER_ENGINE=_engine(folder)) as helpdesk,
        worker(1, model, receiver, BANK_URL=bank.url, **AT_ONCE, OTELIER_ENGINE=_engine(folder)) as first,
        worker(2, model, receiver, BANK_URL=bank.url, OTELIER_ENGINE=_engine(folder)) as second,
    ):
        model.fail(429, when=lambda request: TOO_MUCH in request.prompt, times=None, delay_s=REFUSAL_LATENCY_S)
        with steps.step("model server", f"replays recorded answers at {model.base_url}"):
            pass
        with steps.step("OTLP receiver", receiver.url + (f", sends everything on to {sent_to}" if sent_to else "")):
            pass
        payments.start()
        first.start()
        with steps.step(HELPDESK, helpdesk.command):
            helpdesk.start()
            helpdesk.wait()
        with steps.step(PAYMENTS, payments.command):
            payments.wait()
        with steps.step(REFUNDS, first.command):
            first.wait()
        requests = _send_traffic(helpdesk.port, steps)
        refunded = refund(steps, helpdesk.port, first, second, bank, receiver, _engine(folder))
        requests += 1
        with steps.step("services", "stopping, which exports what is pending") as show:
            helpdesk.stop()
            payments.stop()
            second.stop()
            show("stopped, everything is exported")
        if sent_to:
            with steps.step("OTLP receiver", f"sending the rest on to {sent_to}") as show:
                receiver.stop()
                show(f"sent {receiver.counts['requests']} requests on to {sent_to}")
    spans = receiver.spans
    problems: list[str] = []
    arrived = sum(span.kind == "SERVER" and span.parent_id is None for span in spans)
    if arrived != requests:
        problems.append(f"{requests} requests were sent, but {arrived} request traces arrived.")
    if receiver.forward_failures:
        lost = f"{receiver.forward_failures} of {receiver.counts['requests']} export requests"
        problems.append(f"{lost} did not arrive at {sent_to}. {' '.join(complaints)}")
    return Outcome(
        spans=spans,
        logs=receiver.logs,
        metrics=receiver.metrics,
        refund=refunded,
        exports=receiver.counts["requests"],
        model_requests=tuple(request.headers for request in model.requests),
        sent_to=sent_to,
        send_failures=receiver.forward_failures,
        problems=tuple(problems),
        took_s=time.monotonic() - started_s,
    )


def _engine(folder: str) -> str:
    """Return where the runs are kept, for all that ask it."""
    return f"file:{Path(folder) / 'runs.db'}"


def _send_traffic(port: int, steps: Steps) -> int:
    planned = sum(len(user.asks) for user in USERS)
    answers = 0
    lock = threading.Lock()
    with steps.step("traffic", f"0 of {planned} requests answered") as show:

        def count() -> None:
            nonlocal answers
            with lock:
                answers += 1
                show(f"{answers} of {planned} requests answered")

        sent = drive(port, answered=count)
        tenants = {user.tenant_id for user in USERS}
        show(f"{sent} requests of {len(USERS)} users in {len(tenants)} tenants answered")
    return sent


@contextmanager
def _complaints() -> Generator[list[str]]:
    """Yield the list that the servers' warnings go into, in place of the terminal."""
    found: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())
    logger = logging.getLogger("otelier.testing")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        logger.propagate = True


def _endpoint() -> str | None:
    """Return the OTLP endpoint that the user named; `None` for none.

    Raises:
        SettingError: if it cannot be sent to.
    """
    named = os.environ.get(_ENDPOINT, "").strip()
    protocol = os.environ.get(_PROTOCOL, "").strip().lower()
    if not named:
        return None
    parts = parts_of(named)
    if parts is None or parts.scheme not in ("http", "https"):
        raise SettingError(
            f"Cannot send to {_ENDPOINT}: it is not an HTTP address. Set one such as `http://localhost:4318`.",
            setting=_ENDPOINT,
        )
    if protocol not in ("", "http/protobuf"):
        raise SettingError(
            f"Cannot send to {_ENDPOINT} with {_PROTOCOL}={quoted(protocol)}: the demo speaks http/protobuf only. "
            f"Set {_PROTOCOL}=http/protobuf and name the endpoint's HTTP port, usually 4318.",
            setting=_PROTOCOL,
        )
    return named


def _headers() -> Mapping[str, str]:
    """Return the headers that go with what is sent there.

    Raises:
        SettingError: if they cannot be read.
    """
    found, unreadable = headers_of(os.environ.get(_HEADERS, ""))
    if unreadable:
        raise SettingError(
            f"Cannot read {_HEADERS}. Write it as `key=value,key=value` with percent-encoded values.",
            setting=_HEADERS,
        )
    return found
