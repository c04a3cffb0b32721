"""Other processes: a bound function carries the fields to a spawned one, a forked one has them already."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import otelier

PROGRAM = """
import concurrent.futures, json, multiprocessing, sys

from opentelemetry import baggage, trace
from opentelemetry.context import attach
from opentelemetry.sdk.trace import TracerProvider

import otelier


def job(number=0):
    provider = TracerProvider()
    provider.add_span_processor(otelier.AgentSpanProcessor())
    span = provider.get_tracer("child").start_span("job")
    return {
        "attributes": dict(span.attributes),
        "trace": f"{span.context.trace_id:032x}",
        "parent": f"{span.parent.span_id:016x}" if span.parent else None,
        "tenant": baggage.get_baggage("tenant"),
        "number": number,
    }


def report(connection, function):
    connection.send(function())


def in_process(method, function):
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    process = context.Process(target=report, args=(theirs, function))
    process.start()
    answer = ours.recv()
    process.join()
    return answer


if __name__ == "__main__":
    method = sys.argv[1]
    tracer = TracerProvider().get_tracer("parent")
    context = multiprocessing.get_context(method)
    attach(baggage.set_baggage("tenant", "blue"))
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        with tracer.start_as_current_span("request") as span, otelier.context(
            user_id="u-1", user_role="admin", agent="triage", session_id="s-1", workflow_id="w-1", tenant_id="t-1"
        ):
            bound = otelier.propagate(job)
            answers = {
                "process": in_process(method, bound),
                "pool": pool.submit(bound, 1).result(),
                "map": list(pool.map(bound, [2, 3]))[1],
            }
        answers["afterwards"] = pool.submit(job).result()
    answers["trace"] = f"{span.context.trace_id:032x}"
    answers["span"] = f"{span.context.span_id:016x}"
    print(json.dumps(answers))
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_bound_function_carries_the_fields_to_another_process(tmp_path, method):
    """In a spawned process, alone or of a pool, a bound function's spans have the fields, the trace and the parent.

    The pool's next job, which was not bound, has none of them.
    """
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    run = [sys.executable, str(program), method]
    done = subprocess.run(run, capture_output=True, text=True, timeout=300, check=False)
    assert done.stderr == ""
    answers = json.loads(done.stdout)
    for where in ("process", "pool", "map"):
        answer = answers[where]
        assert answer["attributes"] == {
            "user.id": "u-1",
            "user.roles": ["admin"],
            "gen_ai.agent.name": "triage",
            "otelier.agent.id": answer["attributes"]["otelier.agent.id"],
            "otelier.agent.source": "agent",
            "session.id": "s-1",
            "otelier.workflow.id": "w-1",
            "otelier.tenant.id": "t-1",
        }
        assert (answer["trace"], answer["parent"]) == (answers["trace"], answers["span"])
        assert answer["tenant"] == "blue"
    assert answers["map"]["number"] == 3
    assert answers["afterwards"]["attributes"] == {}
    assert answers["afterwards"]["parent"] is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_forked_process_has_the_fields_of_its_fork():
    """What is set when a process forks is set in the child, and what the child sets stays there."""
    with otelier.context(user_id="parent"):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                before = otelier.get_context().user_id
                otelier.set_context(user_id="child")
                os.write(writing, f"{before} {otelier.get_context().user_id}".encode())
            finally:
                os._exit(0)
        os.close(writing)
        os.waitpid(child, 0)
        assert os.read(reading, 100) == b"parent child"
        os.close(reading)
        assert otelier.get_context().user_id == "parent"
