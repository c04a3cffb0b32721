"""One run of the demonstration: start everything, send traffic, stop the services, keep what they exported."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from otelier.cli._endpoints import without_secrets
from otelier.cli._steps import Steps
from otelier.cli.demo._destination import endpoint, headers
from otelier.cli.demo._missing import missing
from otelier.cli.demo._processes import HELPDESK, PAYMENTS, free_port, service
from otelier.cli.demo._received import Received, received, strayed
from otelier.cli.demo._report import known_by_prompt
from otelier.cli.demo._traffic import TOO_MUCH, USERS, drive
from otelier.testing import LogEntry, MetricPoint, OpenAIServer, OtlpReceiver, SpanRecord

LATENCIES_S = (0.18, 0.24, 0.31, 0.42, 0.55, 0.87)
"""Seconds a model takes to answer; the server deals them out by what is asked, alike in each run."""
CHUNK_LATENCY_S = 0.03
REFUSAL_LATENCY_S = 0.08
_RETRIES = "x-stainless-retry-count"
"""Header by which openai's client says how often it has sent a request before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one run exported, and what that lacks."""

    spans: tuple[SpanRecord, ...]
    logs: tuple[LogEntry, ...]
    metrics: tuple[MetricPoint, ...]
    exports: int
    """Export requests that brought them."""
    received: tuple[Received, ...]
    """What each server was sent in baggage."""
    repeated: int
    """Requests that the model's client sent again after a failure."""
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
        OtelierError: if a service does not start, answer or stop.
    """
    started_s = time.monotonic()
    forward_to = endpoint()
    sent_to = without_secrets(forward_to) if forward_to else None
    with (
        _complaints() as complaints,
        OpenAIServer(delay_s=LATENCIES_S, chunk_delay_s=CHUNK_LATENCY_S) as model,
        OtlpReceiver(forward_to=forward_to, headers=headers()) as receiver,
        service(PAYMENTS, model, receiver, port=free_port(), OTELIER_TRUST_INBOUND="true") as payments,
        service(HELPDESK, model, receiver, PAYMENTS_URL=payments.url) as helpdesk,
    ):
        model.fail(429, when=lambda request: TOO_MUCH in request.prompt, times=None, delay_s=REFUSAL_LATENCY_S)
        with steps.step("model server", f"replays recorded answers at {model.base_url}"):
            pass
        with steps.step("OTLP receiver", receiver.url + (f", sends everything on to {sent_to}" if sent_to else "")):
            pass
        payments.start()
        with steps.step(HELPDESK, helpdesk.command):
            helpdesk.start()
            helpdesk.wait()
        with steps.step(PAYMENTS, payments.command):
            payments.wait()
        requests = _send_traffic(helpdesk.port, steps)
        with steps.step("services", "stopping, which sends what they still hold") as say:
            helpdesk.stop()
            payments.stop()
            say("stopped, everything is sent")
        if sent_to:
            with steps.step("OTLP receiver", f"sending the rest on to {sent_to}") as say:
                receiver.stop()
                say(f"sent {receiver.counts['requests']} requests on to {sent_to}")
        to_model = [request.headers for request in model.requests]
    spans, logs, metrics = receiver.spans, receiver.logs, receiver.metrics
    problems = [*missing(spans, logs, metrics, requests=requests), *strayed(spans, to_model)]
    if len(known_by_prompt(spans)) != 1:
        problems.append(f"{len(known_by_prompt(spans))} agents are known by their prompt only; the services have one.")
    if receiver.forward_failures:
        lost = f"{receiver.forward_failures} of {receiver.counts['requests']} export requests"
        problems.append(f"{lost} did not arrive at {sent_to}. {' '.join(complaints)}")
    return Outcome(
        spans=spans,
        logs=logs,
        metrics=metrics,
        exports=receiver.counts["requests"],
        received=tuple(received(spans, to_model)),
        repeated=sum(_RETRIES in headers and headers[_RETRIES] != "0" for headers in to_model),
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
        tenants = {user.tenant_id for user in USERS}
        say(f"{sent} requests of {len(USERS)} users in {len(tenants)} tenants answered")
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
