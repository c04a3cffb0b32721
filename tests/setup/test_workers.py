"""Worker processes: gunicorn with and without preload, uvicorn with two workers, zero-code and with `init`."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from otelier.testing import OpenAIServer
from tests.programs import INSTRUMENT, environment, exporting_to
from tests.receiving import receiver_process
from tests.running.stage import calls_counted, eventually
from tests.serving import free_port, get_all

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="gunicorn needs a system that can fork"),
]

REQUESTS = 60

HEAD = """
import logging, os
import openai
from opentelemetry import metrics, trace
import otelier

{init}
client = openai.OpenAI()
tracer = trace.get_tracer("app")
counter = metrics.get_meter("app").create_counter("app.calls")


def work(path):
    name = path.strip("/")
    if name.startswith("u-"):
        otelier.set_context(user_id=name, agent=f"worker-{{os.getpid()}}")
    logging.getLogger("app").warning(name)
    with tracer.start_as_current_span(f"work {{name}}"):
        client.chat.completions.create(model="gpt-4.1", messages=[{{"role": "user", "content": name}}])
    counter.add(1, {{"pid": os.getpid()}})
    return str(os.getpid())
"""
WSGI = """

def app(environ, start_response):
    if environ["PATH_INFO"] == "/who":
        answer = str(os.getpid())
    else:
        with tracer.start_as_current_span("request", kind=trace.SpanKind.SERVER):
            answer = work(environ["PATH_INFO"])
    start_response("200 OK", [("content-type", "text/plain")])
    return [answer.encode()]
"""
ASGI = """
import asyncio

async def app(scope, receive, send):
    if scope["path"] == "/who":
        answer = str(os.getpid())
    else:
        with tracer.start_as_current_span("request", kind=trace.SpanKind.SERVER):
            answer = await asyncio.to_thread(work, scope["path"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": answer.encode()})
"""
INIT = 'otelier.init(app="orchestrator", env="production")'


@contextlib.contextmanager
def served(command, folder: Path, port: int, variables):
    """Run a server and end it as an operator does; its output is shown when something fails."""
    output = folder / "output.txt"
    with output.open("w") as written:
        process = subprocess.Popen(command, cwd=folder, env=environment(**variables), stdout=written, stderr=written)
    try:
        wait_for_both(port, process, output)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=300)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        print(output.read_text())  # noqa: T201 -- pytest shows it when the test fails


def wait_for_both(port: int, process, output: Path) -> None:
    """Wait until two workers answer; a connection of its own for each request, since those are shared out."""
    deadline = time.monotonic() + 300
    workers = set()
    while time.monotonic() < deadline:
        assert process.poll() is None, output.read_text()
        with contextlib.suppress(OSError, http.client.HTTPException):
            workers |= set(get_all(port, ["/who"] * 8, at_once=4))
        if len(workers) == 2:
            return
        time.sleep(0.05)
    pytest.fail(f"Not all workers started: {workers} {output.read_text()}")


def drive(port: int) -> Counter:
    """Send requests, two in three with a user; returns which worker served how many."""
    return Counter(map(str, get_all(port, [f"/{user_of(n) or f'n-{n}'}" for n in range(REQUESTS)], at_once=4)))


SERVERS = {
    "gunicorn preload": (WSGI, ["-m", "gunicorn", "--workers", "2", "--preload"], INIT, False),
    "gunicorn": (WSGI, ["-m", "gunicorn", "--workers", "2"], INIT, False),
    "gunicorn gthread preload": (
        WSGI,
        ["-m", "gunicorn", "--workers", "2", "--preload", "--worker-class", "gthread", "--threads", "2"],
        INIT,
        False,
    ),
    "uvicorn": (ASGI, ["-m", "uvicorn", "--workers", "2"], INIT, False),
    "gunicorn preload, instrumented": (WSGI, ["-m", "gunicorn", "--workers", "2", "--preload"], "", True),
    "gunicorn preload, instrumented, init": (WSGI, ["-m", "gunicorn", "--workers", "2", "--preload"], INIT, True),
    "uvicorn, instrumented": (ASGI, ["-m", "uvicorn", "--workers", "2"], "", True),
    "uvicorn, instrumented, init": (ASGI, ["-m", "uvicorn", "--workers", "2"], INIT, True),
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SERVERS)
def test_every_worker_sends_everything_once(tmp_path, name):
    """From both workers every span, log record and call counted arrives, once, with its own request's user or none."""
    source, arguments, init, instrumented = SERVERS[name]
    (tmp_path / "served.py").write_text(HEAD.format(init=init) + source)
    port = free_port()
    where = ["--bind", f"127.0.0.1:{port}"] if "gunicorn" in arguments else ["--port", str(port), "--lifespan", "off"]
    command = [sys.executable, *arguments, *where, "served:app"]
    with OpenAIServer() as model, receiver_process(tmp_path) as receiver:
        # Under `opentelemetry-instrument` the logging instrumentation does this, and logs a warning when told twice.
        handler = {} if instrumented else {"OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true"}
        variables = {
            **exporting_to(receiver.url),
            **handler,
            "OPENAI_BASE_URL": model.base_url,
            "OPENAI_API_KEY": "sk-none",
            "UVICORN_TIMEOUT_WORKER_HEALTHCHECK": "60",  # on a busy machine workers take long to start
        }
        with served([INSTRUMENT, *command] if instrumented else command, tmp_path, port, variables):
            pids = drive(port)
            receiver.wait_for(spans=3 * REQUESTS, logs=REQUESTS, timeout_s=300)
            # uvicorn runs no exit handlers at SIGTERM: what is not sent by then is not sent at all.
            eventually(lambda: counted_by(receiver) == dict(pids), "the application's metrics")
            eventually(lambda: calls_counted(receiver) == REQUESTS, "the metrics of calls")
    assert sum(pids.values()) == REQUESTS == len(model.requests)
    assert len(pids) == 2, pids
    assert_spans(receiver, pids)
    assert_logs(receiver, pids)
    assert_metrics(receiver, pids)


def user_of(number: int) -> str | None:
    return None if number % 3 == 2 else f"u-{number}"


def assert_spans(receiver, pids) -> None:
    """Each request's spans are there once and carry its own user and its worker's agent, or neither."""
    work = {span.name: span for span in receiver.spans if span.name.startswith("work ")}
    assert sorted(work) == sorted(f"work {user_of(number) or f'n-{number}'}" for number in range(REQUESTS))
    for span_name in ("request", "chat gpt-4.1"):
        users = Counter(span.attributes.get("user.id") for span in receiver.spans if span.name == span_name)
        assert users == Counter(map(user_of, range(REQUESTS)))
    for name, span in work.items():
        user = name.removeprefix("work ") if name.startswith("work u-") else None
        assert span.attributes.get("user.id") == user
        assert span.attributes.get("gen_ai.agent.name", "worker-").startswith("worker-")
        assert (span.attributes.get("gen_ai.agent.name") is None) == (user is None)
    agents = {span.attributes.get("gen_ai.agent.name") for span in work.values()} - {None}
    assert agents == {f"worker-{pid}" for pid in pids}


def assert_logs(receiver, pids) -> None:
    """Each request's log record is there once, with its own user or none."""
    logs = [entry for entry in receiver.logs if entry.scope == "app"]
    assert Counter(entry.body for entry in logs) == Counter(
        user_of(number) or f"n-{number}" for number in range(REQUESTS)
    )
    for entry in logs:
        assert entry.attributes.get("user.id") == (entry.body if entry.body.startswith("u-") else None)


def counted_by(receiver) -> dict[str, float]:
    """What each worker has counted so far."""
    return {str(point.attributes["pid"]): point.value for point in receiver.metrics if point.name == "app.calls"}


def assert_metrics(receiver, pids) -> None:
    """What each worker counted adds up to the requests it served; calls are attributed to its agent or the app."""
    assert counted_by(receiver) == dict(pids)
    calls: dict[tuple[str, str], int] = {}
    for point in receiver.metrics:
        if point.name == "gen_ai.client.operation.duration":
            series = (point.resource["service.instance.id"], point.attributes.get("gen_ai.agent.name", "-"))
            calls[series] = max(calls.get(series, 0), point.count)
    assert sum(calls.values()) == REQUESTS
    agents = {agent for _, agent in calls if agent.startswith("worker-")}
    assert agents == {f"worker-{pid}" for pid in pids}
