"""One run of the demonstration: start everything, send traffic, stop the service, keep what it exported."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import files

from otelier.cli._endpoints import headers_of, parts_of, without_secrets
from otelier.cli._steps import Steps
from otelier.cli.demo._processes import Service
from otelier.cli.demo._report import known_by_prompt, missing
from otelier.cli.demo._traffic import TOO_MUCH, USERS, drive
from otelier.errors import SettingError
from otelier.testing import LogEntry, MetricPoint, OpenAIServer, OtlpReceiver, SpanRecord

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
_HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"

LATENCIES_S = (0.18, 0.24, 0.31, 0.42, 0.55, 0.87)
"""Seconds a model takes to answer; the server deals them out by what is asked, alike in each run."""
CHUNK_LATENCY_S = 0.03
REFUSAL_LATENCY_S = 0.08


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one run exported, and what that lacks."""

    spans: tuple[SpanRecord, ...]
    logs: tuple[LogEntry, ...]
    metrics: tuple[MetricPoint, ...]
    exports: int
    """Export requests that brought them."""
    sent_to: str | None
    """Endpoint that got the same, as it may be printed; `None` without one."""
    send_failures: int
    """Export requests that did not arrive there."""
    problems: tuple[str, ...]
    """What should have arrived and has not, a sentence each."""
    took_s: float


def run(steps: Steps) -> Outcome:
    """Run the demonstration once.

    Raises:
        SettingError: if the environment names an endpoint that cannot be sent to.
        OtelierError: if the service does not start, answer or stop.
    """
    started_s = time.monotonic()
    endpoint = _endpoint()
    sent_to = without_secrets(endpoint) if endpoint else None
    with (
        _complaints() as complaints,
        OpenAIServer(delay_s=LATENCIES_S, chunk_delay_s=CHUNK_LATENCY_S) as model,
        OtlpReceiver(forward_to=endpoint, headers=_headers()) as receiver,
        Service("otelier.cli.demo.app:app", _environment(model, receiver)) as service,
    ):
        model.fail(429, when=lambda request: TOO_MUCH in request.prompt, times=None, delay_s=REFUSAL_LATENCY_S)
        with steps.step("model server", f"replays recorded answers at {model.base_url}"):
            pass
        with steps.step("OTLP receiver", receiver.url + (f", sends everything on to {sent_to}" if sent_to else "")):
            pass
        with steps.step("service", service.command):
            service.start()
        requests = _send_traffic(service.port, steps)
        with steps.step("service", "stopping, which sends what it still holds") as say:
            service.stop()
            say("stopped, everything is sent")
        if sent_to:
            with steps.step("OTLP receiver", f"sending the rest on to {sent_to}") as say:
                receiver.stop()
                say(f"sent {receiver.counts['requests']} requests on to {sent_to}")
    spans, logs, metrics = receiver.spans, receiver.logs, receiver.metrics
    problems = missing(spans, logs, metrics, requests=requests)
    if len(known_by_prompt(spans)) != 1:
        problems.append(f"{len(known_by_prompt(spans))} agents are known by their prompt only; the service has one.")
    if receiver.forward_failures:
        lost = f"{receiver.forward_failures} of {receiver.counts['requests']} export requests"
        problems.append(f"{lost} did not arrive at {sent_to}. {' '.join(complaints)}")
    return Outcome(
        spans=spans,
        logs=logs,
        metrics=metrics,
        exports=receiver.counts["requests"],
        sent_to=sent_to,
        send_failures=receiver.forward_failures,
        problems=tuple(problems),
        took_s=time.monotonic() - started_s,
    )


def _send_traffic(port: int, steps: Steps) -> int:
    planned = sum(len(user.asks) for user in USERS)
    answers = 0
    lock = threading.Lock()
    with steps.step("traffic", f"0 of {planned} requests answered") as say:

        def count() -> None:
            nonlocal answers
            with lock:
                answers += 1
                say(f"{answers} of {planned} requests answered")

        sent = drive(port, answered=count)
        tenants = {user.user_id.partition("/")[0] for user in USERS}
        say(f"{sent} requests of {len(USERS)} users in {len(tenants)} tenants answered")
    return sent


def _environment(model: OpenAIServer, receiver: OtlpReceiver) -> Mapping[str, str]:
    """Return the variables of the service: what a user would set, and where the two servers are."""
    return {
        "OPENAI_API_KEY": "not-needed",
        "OPENAI_BASE_URL": model.base_url,
        "OTELIER_APP": "orchestrator",
        "OTELIER_ENV": "demo",
        "OTEL_SERVICE_NAME": "otelier-demo",
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "otel,otelier",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_LOGS_EXPORTER": "otlp",
        **_standard_logging(),
    }


def _standard_logging() -> Mapping[str, str]:
    """Return what makes the standard `logging` export: its instrumentation does since 0.61b0, the SDK did before."""
    found = files("opentelemetry-instrumentation-logging") or ()
    if any(file.name == "handler.py" for file in found):
        return {}
    return {"OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true"}


def _endpoint() -> str | None:
    endpoint = os.environ.get(_ENDPOINT, "").strip()
    protocol = os.environ.get(_PROTOCOL, "").strip().lower()
    if not endpoint:
        return None
    parts = parts_of(endpoint)
    if parts is None or parts.scheme not in ("http", "https"):
        raise SettingError(
            f"Cannot send to {_ENDPOINT}: it is no HTTP address. Name one such as `http://localhost:4318`.",
            setting=_ENDPOINT,
        )
    if protocol not in ("", "http/protobuf"):
        raise SettingError(
            f"Cannot send to {_ENDPOINT} with {_PROTOCOL}={protocol!r}: the demo speaks http/protobuf only. "
            f"Set {_PROTOCOL}=http/protobuf and name the endpoint's HTTP port, usually 4318.",
            setting=_PROTOCOL,
        )
    return endpoint


def _headers() -> Mapping[str, str]:
    headers, unreadable = headers_of(os.environ.get(_HEADERS, ""))
    if unreadable:
        raise SettingError(
            f"Cannot read {_HEADERS}. Write it as `key=value,key=value` with percent-encoded values.",
            setting=_HEADERS,
        )
    return headers


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
