"""AWS Lambda: Amazon's own runtime client by the command of the page, frozen as soon as a handler has returned."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.running.page import command, program
from tests.running.stage import calls_counted, eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="Amazon's runtime client is there for Linux only"),
]

ARN = "arn:aws:lambda:eu-central-1:123456789012:function:support"


class RuntimeApi(ThreadingHTTPServer):
    """The service that a runtime asks for events and gives answers to, after Amazon's documentation."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.events = queue.Queue()
        self.answers = queue.Queue()
        self.on_answer = lambda: None

    def handle_error(self, request, client_address):
        """Say nothing: the function is killed in the middle of a request."""

    @property
    def address(self):
        return f"127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):
        pass

    def do_GET(self):
        number, event = self.server.events.get()
        body = json.dumps(event).encode()
        headers = {
            "Lambda-Runtime-Aws-Request-Id": f"request-{number}",
            "Lambda-Runtime-Invoked-Function-Arn": ARN,
            "Lambda-Runtime-Deadline-Ms": "99999999999999",
            "Content-Type": "application/json",
        }
        self.answer(200, body, headers)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.on_answer()
        self.server.answers.put((self.path, body.decode()))
        self.answer(202, b"{}", {})

    def answer(self, status, body, headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def runtime_api():
    with RuntimeApi() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.002})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


FUNCTION = {
    "AWS_LAMBDA_FUNCTION_NAME": "support",
    "AWS_LAMBDA_FUNCTION_VERSION": "1",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
    "AWS_REGION": "eu-central-1",
    "_HANDLER": "app.handler",
}
FLUSH = """
    finally:
        otelier.flush()
"""


@pytest.mark.parametrize("flushing", [True, False])
def test_lambda(stage, model, runtime_api, flushing):
    """When the handler has answered, and is frozen, everything has arrived; without its own flush no log records."""
    assert program("def handler").count(FLUSH) == 1
    stage.write(
        "app.py", program("def handler").replace(FLUSH, FLUSH if flushing else "\n    finally:\n        pass\n")
    )
    where = {"using": "aws-lambda", "AWS_LAMBDA_RUNTIME_API": runtime_api.address}
    receiver, users = stage.receiver, []
    with stage.started(command("awslambdaric"), stop=signal.SIGKILL, **where, **FUNCTION) as running:
        runtime_api.on_answer = lambda: os.kill(running.process.pid, signal.SIGSTOP)
        for number, event in enumerate([{"user": "alice"}, {}]):
            os.kill(running.process.pid, signal.SIGCONT)
            runtime_api.events.put((number, event))
            path, body = runtime_api.answers.get(timeout=300)
            assert path.endswith(f"/request-{number}/response"), body
            users.append(event.get("user"))
            # The process is frozen: what comes now has been on its way.
            eventually(lambda: calls_counted(receiver) == len(users), "the metrics")
            for name in ("support", "chat gpt-4.1"):
                assert [span.attributes.get("user.id") for span in receiver.spans if span.name == name] == users
            logs = [entry for entry in receiver.logs if entry.scope == "app"]
            assert [entry.attributes.get("user.id") for entry in logs] == (users if flushing else [])
    runtime_api.events.put((2, {}))  # for a request that may still be waiting
