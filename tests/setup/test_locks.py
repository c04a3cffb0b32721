"""Forks and signals in the middle of our work: nothing waits for a thread that is not there, or for itself."""

from __future__ import annotations

import os

import pytest

from tests.programs import run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

PROGRAM = """
import faulthandler, json, os, signal, sys, threading, time, warnings
from opentelemetry import trace
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider
import otelier

warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads is what this is about
sys.setswitchinterval(1e-5)
tracer = TracerProvider().get_tracer("app")
request = tracer.start_span("request", kind=trace.SpanKind.SERVER)
stop = False


def late():
    number = 0
    while not stop:
        with trace.use_span(request):
            number += 1
            otelier.set_context(user_id=f"u-{number % 3}", agent=f"a-{number}")


def names():
    number = 0
    while not stop:
        number += 1
        otelier.init(app=f"app-{number}")
        otelier.get_agent()


def child():
    faulthandler.dump_traceback_later(230)
    signal.alarm(240)  # a child that hangs is ended by this
    otelier.init(app="child", tracer_provider=TracerProvider())
    own = tracer.start_span("child")  # the SDK's own lock of a parent's span may be held for ever
    with trace.use_span(own), otelier.context(user_id="u-1"):
        otelier.set_context(agent="child")
        assert otelier.get_agent().name == "child"
    otelier.flush(timeout_s=1)


# Everything is used once before: an import that is under way at a fork is the interpreter's own matter.
otelier.init(app="orchestrator")
with trace.use_span(request), otelier.context(user_id="u-1"):
    otelier.set_context(agent="a-0")
otelier.flush(timeout_s=1)
threads = [threading.Thread(target=target, daemon=True) for target in (late, late, names)]
for thread in threads:
    thread.start()
ended = []
for _ in range(40):
    time.sleep(0.002)
    pid = os.fork()
    if pid == 0:
        try:
            child()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    ended.append(os.waitpid(pid, 0)[1])
    if ended[-1]:
        break
stop = True
print(json.dumps(ended))
"""


def test_children_do_not_hang():
    """40 forks beside threads that set fields and call `init`: every child sets, reads, calls `init` and ends."""
    ran = run(PROGRAM, measured=False)
    assert ran.answer == [0] * 40, ran.err


HANDLER = """
import json, signal, time
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
import otelier

tracer = TracerProvider().get_tracer("app")
handled = 0


def handler(number, frame):
    global handled
    handled += 1
    with trace.use_span(other):  # the SDK's lock of one span is its own matter
        otelier.set_context(session_id=f"s-{handled % 3}")


request = tracer.start_span("request", kind=trace.SpanKind.SERVER)
other = tracer.start_span("other", kind=trace.SpanKind.SERVER)
signal.signal(signal.SIGALRM, handler)
until = time.monotonic() + 40
with trace.use_span(request):
    while handled < 1000 and time.monotonic() < until:
        before = handled
        signal.setitimer(signal.ITIMER_REAL, 0.0001)  # once: a handler must not interrupt itself
        while handled == before:
            otelier.set_context(user_id="u-1", agent="triage")
print(json.dumps(handled))
"""


def test_a_signal_handler_may_set_fields_in_the_middle_of_setting_them():
    """`set_context` may be called anywhere, also by a handler or finaliser that interrupts another call of it."""
    assert run(HANDLER, measured=False).answer > 100
