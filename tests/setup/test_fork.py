"""`os.fork`: children send their own telemetry and none of their parent's, whether they call `init` or not."""

from __future__ import annotations

import os
import threading
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from otelier.testing import OpenAIServer
from tests.programs import exporting_to, run
from tests.receiving import receiver_process

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork"),
]

PROGRAM = """
import logging, os, sys, warnings
import openai
from opentelemetry import metrics, trace
import otelier

warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads is what this is about
again = sys.argv[1] == "again"
otelier.init(app="orchestrator", env="production")
counter = metrics.get_meter("app").create_counter("app.calls")
client = openai.OpenAI()


def work(name):
    with trace.get_tracer("app").start_as_current_span("request"):
        otelier.set_context(user_id=f"u-{name}", agent=name)
        logging.getLogger("app").warning(name)
        client.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": "Hello"}])
        counter.add(1, {"who": name})


def child(name, depth):
    if again:
        otelier.init(app="orchestrator", env="production")
    assert otelier.get_context().user_id == "inherited", "what was set at the fork is set in the child"
    otelier.clear_context()
    work(name)
    if depth:
        fork(name + ".child", depth - 1)
    assert otelier.flush(timeout_s=120)


def fork(name, depth):
    otelier.set_context(user_id="inherited")
    pid = os.fork()
    if pid == 0:
        try:
            child(name, depth)
        except BaseException:
            logging.getLogger("app").exception("child failed")
            os._exit(1)
        os._exit(0)
    otelier.clear_context()
    assert os.waitpid(pid, 0)[1] == 0


work("parent before")
fork("first", 1)
fork("second", 0)
work("parent after")
assert otelier.flush(timeout_s=120)
"""
NAMES = ["parent before", "first", "first.child", "second", "parent after"]


@pytest.mark.parametrize("again", ["once", "again"])
@pytest.mark.parametrize("instrumented", [False, True], ids=["init", "opentelemetry-instrument"])
def test_every_process_sends_its_own_once(tmp_path, again, instrumented):
    """Parent, children and grandchild: each span, log record and metric point arrives once, with its own user."""
    with OpenAIServer() as model, receiver_process(tmp_path) as receiver:
        variables = {
            **exporting_to(receiver.url),
            # Nothing is collected or sent before the fork but by `flush`: what waits there must not be sent twice.
            "OTEL_METRIC_EXPORT_INTERVAL": "600000",
            "OTEL_BSP_SCHEDULE_DELAY": "600000",
            "OTEL_BLRP_SCHEDULE_DELAY": "600000",
            "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true",
            "OPENAI_BASE_URL": model.base_url,
            "OPENAI_API_KEY": "sk-none",
        }
        ran = run(PROGRAM, again, instrumented=instrumented, timeout_s=300, **variables)
    assert ran.code == 0, ran.err
    assert len(model.requests) == len(NAMES)
    for span_name in ("request", "chat gpt-4.1"):
        sent = [span for span in receiver.spans if span.name == span_name]
        assert Counter(span.attributes["gen_ai.agent.name"] for span in sent) == Counter(NAMES)
        assert all(span.attributes["user.id"] == f"u-{span.attributes['gen_ai.agent.name']}" for span in sent)
    logs = [entry for entry in receiver.logs if entry.scope == "app"]
    assert Counter(entry.body for entry in logs) == Counter(NAMES)
    assert all(entry.attributes["user.id"] == f"u-{entry.body}" for entry in logs)
    assert_metrics(receiver)


def assert_metrics(receiver):
    """Each process reports what it did itself; what its parent did is only the parent's."""
    durations = [point for point in receiver.metrics if point.name == "gen_ai.client.operation.duration"]
    assert {point.attributes["gen_ai.agent.name"] for point in durations} == set(NAMES)
    assert {point.count for point in durations} == {1}
    reporting = Counter(
        (point.attributes["gen_ai.agent.name"], point.resource["service.instance.id"]) for point in durations
    )
    by_agent = Counter(agent for agent, _ in reporting)
    assert by_agent == Counter(NAMES), "an agent's calls were reported by two processes"


SHARING = """
import os, warnings
from opentelemetry import metrics, trace
from opentelemetry._logs import get_logger
import otelier

warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads is what this is about
otelier.init(app="orchestrator")


def export():
    with trace.get_tracer("app").start_as_current_span("work"):
        get_logger("app").emit(body="said")
        metrics.get_meter("app").create_counter("app.calls").add(1)
    assert otelier.flush(timeout_s=120)


export()
pid = os.fork()
if pid == 0:
    export()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
export()
"""


class Connections(ThreadingHTTPServer):
    """Takes exports, and writes down over which connection each one came."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Taking)
        self.ports = defaultdict(list)


class _Taking(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.ports[self.path].append(self.client_address[1])
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_a_child_has_connections_of_its_own():
    """A child of a parent that has exported before does not send over its parent's open connections."""
    with Connections() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.002})
        thread.start()
        variables = {
            **exporting_to(f"http://127.0.0.1:{server.server_port}"),
            "OTEL_METRIC_EXPORT_INTERVAL": "600000",
            "OTEL_BSP_SCHEDULE_DELAY": "600000",
            "OTEL_BLRP_SCHEDULE_DELAY": "600000",
        }
        ran = run(SHARING, **variables)
        server.shutdown()
        thread.join()
    assert ran.code == 0, ran.err
    assert set(server.ports) == {"/v1/traces", "/v1/logs", "/v1/metrics"}
    for ports in server.ports.values():
        parents, child, parents_again, *_ = ports
        assert parents == parents_again != child
