"""`otelier demo` as a user runs it: against a second process that is nothing but an OTLP receiver, and broken off."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from urllib.parse import unquote

import pytest

from otelier.cli.demo import _processes
from otelier.cli.demo._processes import Service, ServiceError
from otelier.cli.demo._traffic import Ask, TrafficError, User, drive
from otelier.fields import BAGGAGE_KEYS
from otelier.testing import OpenAIServer
from tests.cli.children import OTELIER, demo_recording, environment, run

SERVICES = ("helpdesk", "payments", "refunds")


REFUND_LOG = ("assessed", "reserved", "approved")
"""What the workflow of the refund says."""


@contextlib.contextmanager
def second_process(out: Path):
    """A receiver in a process of its own; yields its address, and a function that ends it and returns its counts."""
    command = [sys.executable, "-m", "otelier.testing.receiver", "--port", "0", "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:

        def counts():
            process.send_signal(signal.SIGTERM)
            return json.loads(process.communicate(timeout=300)[0].splitlines()[-1])

        try:
            yield process.stdout.readline().strip(), counts
        finally:
            process.kill()


def test_the_main_job(tmp_path):
    """Everything that is shown has also arrived elsewhere, with its user and agent; nothing of it reached the model."""
    out, model_requests = tmp_path / "records.jsonl", tmp_path / "model.json"
    with second_process(out) as (url, counts):
        # What the user's shell says otherwise must not change what the demonstration shows.
        others = {"OTEL_TRACES_SAMPLER": "always_off", "OTEL_EXPORTER_OTLP_HEADERS": "x-key=one", "COLUMNS": "40"}
        command = demo_recording(model_requests, "--json")
        done = run(*command, timeout_s=300, OTEL_EXPORTER_OTLP_ENDPOINT=url, **others)
        received = counts()
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["problems"] == []
    assert shown["sent_to"] == url
    assert shown["took_s"] > 0  # how long it takes is for the closing line to say; a test would judge the machine

    records = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    signals = {one["name"]: one for one in shown["signals"]}
    assert received == {
        "spans": signals["spans"]["count"],
        "logs": signals["log records"]["count"],
        "metrics": signals["metric points"]["count"],
        "requests": shown["exports"],
    }
    homes = Counter((record["signal"], record["resource"]["service.name"]) for record in records)
    for name, kind in (("spans", "spans"), ("log records", "logs"), ("metric points", "metrics")):
        assert signals[name]["by_service"] == {service: homes[kind, service] for service in SERVICES}
        assert min(signals[name]["by_service"].values()) >= 5
    for name in ("spans", "calls to the model"):
        assert signals[name]["with_user"] == signals[name]["count"] > 20
    agents = signals["agents registered"]
    assert (agents["count"], agents["with_user"], agents["with_agent"]) == (5, 0, 5)
    told = sum(record.get("event_name") == "otelier.agent.registered" for record in records)
    assert told == 9  # the four named agents once more, with their prompts
    assert signals["log records"]["with_user"] == signals["log records"]["count"] - told > 20
    assert signals["calls to the model"]["with_agent"] == signals["calls to the model"]["count"]
    said = Counter(record["body"] for record in records if record["signal"] == "logs")
    outside = ("started a refund", *REFUND_LOG)
    assert [said[body] for body in outside] == [1] * len(outside)  # in a replay the body says nothing
    assert signals["log records"]["with_agent"] == signals["log records"]["count"] - len(outside)
    assert signals["metric points"]["with_user"] == 0

    rows = {(row["agent"], row["user"]): row for row in shown["usage"]}
    tenants = {user.partition("/")[0] for _, user in rows}
    assert tenants == {"acme", "globex"}
    ((unnamed, fingerprint),) = shown["known_by_prompt"].items()
    assert re.fullmatch("fp1:[0-9a-f]{64}", fingerprint)
    assert unnamed == f"agent-{fingerprint[4:12]}"
    assert {agent for agent, _ in rows} == {"triage", "billing", "auditor", "assessor", unnamed}
    assert all(
        row["input_tokens"] and row["output_tokens"] and row["p95_s"] >= row["p50_s"] > 0 for row in rows.values()
    )
    assert {pair: row["errors"] for pair, row in rows.items() if row["errors"]} == {("billing", "globex/erik"): 1}
    assert shown["total"]["calls"] == signals["calls to the model"]["count"]

    assert shown["total"]["calls"] + shown["repeated"] == shown["received"][-1]["requests"]

    check_trace(shown["trace"])
    check_refund(shown["refund"], records)
    check_baggage(shown["received"], signals["calls to the model"]["count"])
    check_records(records)
    check_metrics([record for record in records if record["signal"] == "metrics"], shown["total"])
    check_model_requests(json.loads(model_requests.read_text(encoding="utf-8")), records)


def check_trace(trace):
    """One trace of two services: the same user everywhere, each service's own agents, the caller on the second."""
    assert (trace[0]["name"], trace[0]["depth"], trace[0]["service"]) == ("POST /agents/{name}/chat", 0, "helpdesk")
    assert len({line["trace_id"] for line in trace}) == 1
    (user,) = {line["user"] for line in trace}
    assert user
    calls = [line for line in trace if line["name"] == "chat gpt-4.1"]
    assert [(line["service"], line["agent"], line["called_by"]) for line in calls] == [
        ("helpdesk", "triage", None),
        ("payments", "auditor", "billing"),
        ("helpdesk", "billing", None),
    ]
    (second,) = (number for number, line in enumerate(trace) if line["name"] == "POST /reviews")
    sent, served = trace[second - 1 : second + 1]
    assert (sent["service"], sent["agent"], sent["called_by"]) == ("helpdesk", "billing", None)
    assert (served["service"], served["agent"], served["called_by"]) == ("payments", "auditor", "billing")
    assert served["depth"] == sent["depth"] + 1
    assert {line["agent"] for line in trace if line["name"] == "look up account"} == {"billing"}


def check_refund(refund, records):
    """Two workers made one trace of the run; the cut-off step is one span, and everything was paid and asked once."""
    assert (refund["exit_code"], refund["status"], refund["result"]) == (-9, "completed", "payments/o-17 booked")
    reserve, pay = refund["bookings"]
    assert (reserve, pay) == ("refund-o-17:reserve", "refund-o-17:pay")
    assert refund["bank_requests"] == [reserve, reserve, pay]

    trace = refund["trace"]
    assert len({line["trace_id"] for line in trace}) == 1
    assert len({line["span_id"] for line in trace}) == len(trace)
    # A decision that took 10 s, on a busy machine, has `resume_workflow` around what follows it.
    shown, late = [], 0
    for line in trace:
        if line["name"] == "resume_workflow refund":  # a decision that took 10 s, on a busy machine
            late = 1
        elif "ASGI" not in line["name"]:
            shown.append((line["name"], line["depth"] - late))
    assert shown == [
        ("POST /orders/{order_id}/refund", 0),
        ("invoke_workflow refund", 1),
        ("run_step assess", 2),
        ("chat gpt-4.1", 3),
        ("POST", 4),
        ("run_step reserve", 2),
        ("POST", 3),
        ("wait_approval refund", 2),
        ("run_step pay", 2),
        ("POST", 3),
    ]
    assert {line["user"] for line in trace} == {"acme/alice"}
    by_name = {line["name"]: line for line in trace}
    assert {line["name"] for line in trace if line["recovered"]} == {"invoke_workflow refund"}
    assert {line["name"]: line["executions"] for line in trace if line["executions"] > 1} == {"run_step reserve": 2}
    processes = {name: by_name[f"run_step {name}"]["process"] for name in ("assess", "reserve", "pay")}
    assert processes == {"assess": "refunds 1", "reserve": "refunds 2", "pay": "refunds 2"}

    exported = [one for one in records if one["signal"] == "spans" and one["trace_id"] == trace[0]["trace_id"]]
    ids = [one["span_id"] for one in exported]
    assert len(ids) == len(set(ids))
    assert {one["parent_id"] for one in exported} - {None} <= set(ids)


def check_baggage(received, calls):
    """What the servers really got: nothing from outside, every field between services, none for the model."""
    helpdesk, payments, model = received
    assert helpdesk == {"server": "helpdesk", "requests": 24, "senders": [], "fields": {}}
    asked = payments["requests"]
    assert asked > 5
    keys = ("user.id", "user.roles", "gen_ai.agent.name", "session.id", "otelier.workflow.id", "otelier.tenant.id")
    fields = dict.fromkeys(keys, asked)
    assert payments == {"server": "payments", "requests": asked, "senders": ["helpdesk"], "fields": fields}
    assert (model["server"], model["fields"]) == ("model's host", {})
    assert model["senders"] == ["helpdesk", "payments", "refunds"]  # traces reached it, so propagation was on
    assert model["requests"] >= calls


def check_records(records):
    """What the second process got: who each call was for, in which session, of which process, streamed or not."""
    spans = [record for record in records if record["signal"] == "spans"]
    calls = [span for span in spans if span["attributes"].get("gen_ai.operation.name") == "chat"]
    for span in calls:
        found = span["attributes"]
        assert found["session.id"] == found["gen_ai.conversation.id"] == f"{found['user.id'].replace('/', '-')}-morning"
        assert found["user.roles"] in (["admin"], ["customer"])
        assert found["otelier.tenant.id"] == found["user.id"].partition("/")[0]
        assert re.fullmatch(rf"{found['user.id'].replace('/', '-')}-\d", found["otelier.workflow.id"])
        named = found["gen_ai.agent.name"] in ("triage", "billing", "auditor", "assessor")
        assert found["otelier.agent.source"] == ("agent" if named else "fingerprint")
        assert found["otelier.agent.fingerprint"].startswith("fp1:")
    assert any(span["attributes"].get("gen_ai.request.stream") for span in calls)
    assert any(span["attributes"].get("openai.api.type") == "responses" for span in calls)
    failed = [span["attributes"]["error.type"] for span in calls if span["status"] == "ERROR"]
    assert failed == ["openai.RateLimitError"]
    for record in records:
        resource = record["resource"]
        assert resource["service.namespace"] == "otelier-demo"
        assert resource["service.name"] == resource["gen_ai.main_agent.name"]
        assert resource["deployment.environment.name"] == "demo"
    check_both_sides(spans, [record for record in records if record["signal"] == "logs"])


def check_both_sides(spans, logs):
    """Each trace is of one user, session and workflow in both services, and no agent crosses."""
    traces = defaultdict(list)
    for record in (*spans, *logs):
        if record["trace_id"] is not None:
            traces[record["trace_id"]].append(record)
    assert len(traces) == 24
    known = {span["span_id"]: span for span in spans}
    crossed = 0
    for trace in traces.values():
        for key in ("user.id", "user.roles", "session.id"):
            assert len({str(record["attributes"][key]) for record in trace}) == 1
        there = [record["attributes"] for record in trace if record["resource"]["service.name"] == "payments"]
        here = [record["attributes"] for record in trace if record["resource"]["service.name"] == "helpdesk"]
        assert {found["otelier.caller.agent.name"] for found in there} <= {"billing"}
        assert {found.get("gen_ai.agent.name") for found in there} <= {"auditor", None}
        assert not any(key.startswith("otelier.caller.") for found in here for key in found)
        assert not any(found.get("gen_ai.agent.name") == "auditor" for found in here)
        (root,) = (record for record in trace if record["signal"] == "spans" and record["parent_id"] is None)
        assert root["resource"]["service.name"] == "helpdesk"
        workflows = {found["otelier.workflow.id"] for found in there}
        assert workflows <= {root["attributes"]["otelier.workflow.id"]}
        served = [one for one in trace if one.get("kind") == "SERVER" and one is not root]
        crossed += len(served)
        for one in served:
            assert known[one["parent_id"]]["attributes"]["gen_ai.agent.name"] == "billing"
        assert len(served) == bool(there)
    assert crossed > 5


def check_metrics(points, total):
    """Spans and metrics count the same calls and tokens."""
    # Cumulative points come anew with each export: the last one of a series counts.
    latest = {
        (point["resource"]["service.name"], point["name"], str(sorted(point["attributes"].items()))): point
        for point in points
    }
    measured = Counter()
    for point in latest.values():
        if point["name"] == "gen_ai.client.operation.duration":
            measured["calls"] += point["count"]
        elif point["name"] == "gen_ai.client.token.usage":
            measured[f"{point['attributes']['gen_ai.token.type']}_tokens"] += point["sum"]
    assert measured == {key: total[key] for key in ("calls", "input_tokens", "output_tokens")}


def check_model_requests(requests, records):
    """No header of a request to the model's host has a field, by its name or by its value."""
    keys = {*BAGGAGE_KEYS, "otelier.agent.id", "otelier.caller.agent.name"}
    found = [record["attributes"].get(key) for record in records for key in keys]
    texts = {*keys, *(text for value in found for text in ([value] if isinstance(value, str) else value or ()))}
    assert {"acme/alice", "billing", "user.id"} <= texts
    assert len(requests) > 20
    for headers in requests:
        assert "traceparent" in headers
        assert [name for name, value in headers.items() if any(text in unquote(value) for text in texts)] == []


def test_the_page_and_an_endpoint_that_is_not_there():
    """Five tables without colours within 100 columns; that they are nowhere else is a sentence and the exit code."""
    with socket.socket() as taken:  # by one that does not listen
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        done = run(OTELIER, "demo", timeout_s=300, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://me:s3cr3t@127.0.0.1:{port}")
    assert done.returncode == 1
    assert re.search(rf"did not arrive at http://127\.0\.0\.1:{port}\..*Connection refused", done.stderr)
    for words in ("uvicorn {}.helpdesk:app", "uvicorn {}.payments:app", "otelier worker {}.refunds"):
        assert f"opentelemetry-instrument {words.format('otelier.cli.demo.apps')}" in done.stderr

    lines = done.stdout.splitlines()
    titles = [line for line in lines if line and not line.startswith((" ", "─"))]
    assert [re.split(r", in |, with| of ", title)[0] for title in titles] == [
        "One trace",
        "A refund over a crash",
        "Baggage that each server received with its requests",
        "Calls to the model per agent and user",
        "Exported by the services",
        titles[-1],
    ]
    assert re.fullmatch(r"Done in \d+ s\. What to do next:", titles[-1])
    assert [line.split("  ")[1] for line in lines[lines.index(titles[-1]) + 1 :]] == [
        'otelier.init(app="my-service")',
        "otelier worker my_module",
        "otelier doctor",
    ]
    assert " 39 calls took 41 requests to the model's host: its client retries what fails." in lines
    refunded = " The bank got 3 requests with 2 idempotency keys, and booked 2; the model was asked once."
    assert titles[1].startswith("A refund over a crash of its worker, ")
    assert lines.index(titles[1]) < lines.index(refunded) < lines.index(titles[2])
    assert " A person decided: otelier approve refund-o-17 --name refund --approver ann --role billing" in lines
    across = "user_id, user_role, session_id, workflow_id, tenant_id reach payments: it trusts inbound baggage."
    assert lines.index(f" {across}") > lines.index(titles[2])
    assert " The agent does not: spans there name billing as the caller, and auditor as the agent." in lines
    known = re.compile(r" (agent-([0-9a-f]{8})) is identified by its prompt only, fingerprint fp1:\2[0-9a-f]{8}…")
    ((unnamed, _),) = known.findall(done.stdout)
    assert sum(line.startswith(f" {unnamed}  ") for line in lines) == 2
    assert max(map(len, lines)) <= 100
    both = done.stdout + done.stderr
    assert "\x1b" not in both
    assert "s3cr3t" not in both
    assert "Warning" not in both


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "the demo speaks http/protobuf only"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4318"}, "it is not an HTTP address"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://s3cr3t:port"}, "it is not an HTTP address"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "s3cr3t"}, "Cannot read OTEL_EXPORTER_OTLP_HEADERS"),
    ],
)
def test_what_cannot_be_sent_to_is_said_at_once(given, said):
    """Before anything is started, in one line, without what may be secret."""
    done = run(OTELIER, "demo", **{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4317", **given})
    assert done.returncode == 1
    assert done.stdout == ""
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert "s3cr3t" not in done.stderr


def test_a_service_that_cannot_start():
    """What it said is part of the error."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Service("otelier.cli.demo.apps.payments:app", {"OPENAI_API_KEY": "none"}, port=port) as service:
            service.start()
            with pytest.raises(ServiceError, match=rf"(?s)payments:app` did not start.*bind on address.*{port}"):
                service.wait()


STUBBORN = """
import asyncio, signal

async def app(scope, receive, send):
    while (await receive())["type"] != "lifespan.startup": pass
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # in place of the server's own handler
    await send({"type": "lifespan.startup.complete"})
    await asyncio.sleep(600)
"""


def test_a_service_that_does_not_stop(monkeypatch, tmp_path):
    """One that has ended before it was asked to, or does not end then, is an error with its output."""
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    monkeypatch.setattr(_processes, "STOP_TIMEOUT_S", 0.5)
    environment = {"OPENAI_API_KEY": "none", "PYTHONPATH": str(tmp_path), "OTEL_SDK_DISABLED": "true"}
    with Service("stubborn:app", environment) as service:
        service.start()
        service.wait()
        with pytest.raises(ServiceError, match="did not end within 0 s"):
            service.stop()
        service._process.kill()
        service._process.wait()
        with pytest.raises(ServiceError, match="ended by itself with -9"):
            service.stop()


def test_without_opentelemetry_instrument(monkeypatch, tmp_path):
    """Where its script is not to be found, the error says what to install."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with Service("nothing:app", {}) as service, pytest.raises(ServiceError, match="pip install"):
        service.start()


def test_answers_that_do_not_come():
    """A service that answers wrongly, or not at all, is an error that names the request; other users stop then."""
    user = User(user_id="acme/alice", role="admin", asks=(Ask(path="/a", message="Hi"), Ask(path="/b", message="Hi")))
    with OpenAIServer() as server, pytest.raises(TrafficError, match="answered /a of acme/alice with 404 instead"):
        drive(server.port, (user,))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(TrafficError, match="did not answer /a of acme/alice: ConnectionRefusedError"):
        drive(port, (user,))


def is_service(child):
    """Whether the process of that number is there and serves; others are short-lived, such as `uname`."""
    with contextlib.suppress(OSError):
        command = Path(f"/proc/{child}/cmdline").read_bytes()
        return b"uvicorn" in command or b"apps.refunds" in command
    return False


@pytest.mark.parametrize("started", [1, 3])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_breaking_it_off_leaves_nothing_behind(number, started):
    """Ctrl-C while a service starts ends it too, and the one that runs already."""
    with subprocess.Popen(
        [OTELIER, "demo"],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # A shell that runs us in the background has us ignore Ctrl-C, and a child inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        children = []
        while sum(is_service(child) for child in children) < started:
            assert process.poll() is None
            time.sleep(0.01)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(number)
        assert process.wait(300) not in (0, None)
        for child in children:
            with pytest.raises(ProcessLookupError):
                os.kill(int(child), 0)
