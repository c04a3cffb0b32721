"""What the doctor says of a Restate server, its workers and its clock."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

pytest.importorskip("restate", reason="the extra `restate` is not installed")

from otelier.cli.doctor._findings import Finding
from otelier.cli.doctor._workflows import workflows
from otelier.workflows import Client
from tests.cli.children import OTELIER, run
from tests.cli.working import working
from tests.waiting import until
from tests.workflows.restating import RestateServer, free_port


@contextmanager
def answering(version: str, date: float | None = None) -> Iterator[str]:
    """A server that keeps nothing, and takes no requests of clients; yields its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say({"version": version, "deployments": []})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self._say({"rows": []})

        def _say(self, body: Any) -> None:
            text = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def date_time_string(self, timestamp: Any = None) -> str:
            return formatdate(date, usegmt=True)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"restate://127.0.0.1:{free_port()}?admin={server.server_port}"
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def found(engine: str, monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    monkeypatch.setenv("OTELIER_ENGINE", engine)
    return list(workflows())


def told(findings: list[Finding], *severities: str) -> list[str]:
    return [one.what for one in findings if one.severity in severities]


def test_without_a_server_it_says_how_to_start_one():
    """In one error, and the exit code is 1."""
    engine = f"restate://127.0.0.1:{free_port()}?admin={free_port()}"
    done = run(OTELIER, "doctor", "--json", OTELIER_ENGINE=engine)
    (finding,) = [one for one in json.loads(done.stdout) if one["area"] == "workflows"]
    assert (done.returncode, finding["severity"], finding["what"]) == (
        1,
        "error",
        f"the engine {engine} cannot be used",
    )
    assert "npx @restatedev/restate-server" in finding["why"]


def test_a_password_in_an_address_is_not_printed():
    """Such an address is refused, and shown without it."""
    done = run(OTELIER, "doctor", OTELIER_ENGINE="restate://ops:hunter2secret@127.0.0.1")
    assert done.returncode == 1
    assert "hunter2secret" not in done.stdout + done.stderr


def test_a_server_that_is_too_old_is_an_error(monkeypatch):
    """With the version that it needs, and nothing else is asked of it."""
    with answering("1.6.2") as engine:
        (finding,) = found(engine, monkeypatch)
    assert finding.severity == "error"
    assert "server 1.6.2 at" in finding.what
    assert "1.7.12 or later" in str(finding.do)


@pytest.mark.parametrize(("ahead_s", "words"), [(-3_600, "behind this machine's"), (3_600, "ahead of this machine's")])
def test_clocks_that_are_apart_are_a_warning(ahead_s, words, monkeypatch):
    """By how much, since deadlines and traces have times of both."""
    with answering("1.7.12", time.time() + ahead_s) as engine:
        (warning,) = told(found(engine, monkeypatch), "warning")
    assert words in warning
    assert "1 h 0 min" in warning or "59 min" in warning


@pytest.mark.restate
def test_workers_are_told_and_those_that_are_gone_too(restate, monkeypatch):
    """With version, URL, services and open runs; of one that is gone the server's words, and no id of a run."""
    assert told(found(restate.address, monkeypatch), "note") == ["no worker is registered with it"]
    client = Client(restate.address)
    with working(restate.address, "tests.workflows.shop", "--version", "2"):
        asyncio.run(client.start("shop", "order", "o-1", workflow_id="secret-customer"))
        until(lambda: asyncio.run(client.run("secret-customer")).health == "waiting approval", every_s=0.05)
        findings = found(restate.address, monkeypatch)
        assert told(findings, "warning", "error") == []
        ok = told(findings, "ok")
        assert ok[0] == f"runs are kept on Restate's server 1.7.12 at {restate.address}"
        assert ok[1] == "the server's clock and this machine's agree"
        assert ok[2].startswith("version 2 at http://127.0.0.1:")
        assert ok[2].endswith("/v2 has bank, shop, shop.Stock; 1 open run began there")
        assert ok[3:5] == [
            "open runs: 1 waiting approval",
            "they were started by code of these versions: 1 of version 2",
        ]
        assert told(findings, "note")[0].startswith("1 decision is waited for, the oldest for ")
    until(lambda: any("tries" in one for one in told(found(restate.address, monkeypatch), "warning")), every_s=0.05)
    findings = found(restate.address, monkeypatch)
    gone, tried = (one for one in findings if one.severity == "warning")
    assert gone.what.endswith("has bank, shop, shop.Stock; the server does not reach it")
    assert "New runs begin there and 1 open run began there: they wait for it." in str(gone.why)
    assert "Connection refused" in str(gone.why)
    assert f"PATCH /deployments/{_deployment(restate)} of" in str(gone.do)
    assert tried.what == "the server tries 1 call of workers again and again"
    assert "Connection refused" in str(tried.why)
    assert "secret-customer" not in str(findings)


@pytest.mark.restate
def test_an_ingress_that_does_not_answer_is_an_error(restate, monkeypatch):
    """The admin side may be right, and the other port not."""
    engine = f"restate://127.0.0.1:{free_port()}?admin={restate.admin}"
    (error,) = told(found(engine, monkeypatch), "error")
    assert error == "its ingress does not answer, only its admin side does"


def _deployment(restate: RestateServer) -> str:
    """Return the id of the deployment with the service `shop`."""
    (row,) = restate.rows("SELECT deployment_id AS id FROM sys_service WHERE name = 'shop'")
    return str(row["id"])
