"""Work beside an event loop: done in order, waited for, bounded."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import threading

import pytest

from otelier.redaction import MOST_ON_A_LOOP, set_redactions
from otelier.telemetry import _aside, do_aside, finish_aside
from otelier.testing import SpanRecorder
from tests.openai.conftest import instrumenting, serving

MODE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


def test_jobs_are_done_in_their_order_in_another_thread():
    """One job after the other, none on the thread that gave it, also after one that raises."""
    seen = []

    def fails():
        raise ValueError("not ours")

    for number in range(20):
        assert do_aside(lambda number=number: seen.append((number, threading.current_thread())))
        assert do_aside(fails)
    assert finish_aside(30)
    assert [number for number, _ in seen] == list(range(20))
    assert threading.current_thread() not in {thread for _, thread in seen}


def test_too_many_jobs_are_refused(caplog):
    """What waits holds on to contents, so there is a bound, told once; after it there is room again."""
    goes_on = threading.Event()
    try:
        assert do_aside(goes_on.wait)
        given = [do_aside(lambda: None) for _ in range(_aside.MAX_WAITING + 2)]
        assert given[: _aside.MAX_WAITING - 1] == [True] * (_aside.MAX_WAITING - 1)
        assert given[-1] is False
        assert not finish_aside(0)
    finally:
        goes_on.set()
    assert finish_aside(30)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "64 long contents wait for their redaction"
    ]
    assert do_aside(lambda: None)
    assert finish_aside(30)


class Panic(BaseException):
    """What extensions written in Rust raise when they panic."""


@pytest.mark.parametrize("error", [Panic, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_no_exception_ends_the_thread(error):
    """Whatever a job raises, the jobs after it are done."""
    seen = []

    def fails():
        raise error

    assert do_aside(fails)
    assert do_aside(lambda: seen.append("done"))
    assert finish_aside(30)
    assert seen == ["done"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_replaced(monkeypatch):
    """What waits then is not done, as `finish_aside` says, until the next job starts another thread."""
    seen, goes_on = [], threading.Event()

    def fails():
        goes_on.wait()
        raise ValueError("not ours")

    def dies(_exc):
        raise SystemExit

    monkeypatch.setattr(_aside, "_report", dies)
    assert do_aside(fails)
    assert do_aside(lambda: seen.append("first"))
    goes_on.set()
    assert not finish_aside(30)
    assert seen == []
    assert do_aside(lambda: seen.append("second"))
    assert finish_aside(30)
    assert seen == ["first", "second"]


def test_a_thread_that_cannot_start_costs_its_job_only(monkeypatch, caplog):
    """Where no thread can be started the job is refused, which is told once; later ones are done."""

    def start(_thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert not do_aside(lambda: None)
        assert not do_aside(lambda: None)
    assert finish_aside(0)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["No thread could redact a long content"]
    assert do_aside(lambda: None)
    assert finish_aside(30)


def test_a_finaliser_gives_a_job_in_the_middle():
    """A collection may end a stream while another job is given, in the same thread, and neither waits for the other."""
    seen, given = [], []

    def collected(phase, _info):
        if phase == "stop" and len(given) < 300:  # else each job would lead to the next, without an end
            given.append(None)
            do_aside(lambda: seen.append("finaliser"))

    threshold = gc.get_threshold()
    gc.callbacks.append(collected)
    try:
        gc.set_threshold(1, 1_000, 1_000)
        for _ in range(50):
            do_aside(lambda: seen.append("call"))
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(collected)
    assert finish_aside(30)
    assert {"finaliser", "call"} <= set(seen)


def test_a_process_ends_after_its_jobs():
    """The interpreter waits for what is under way, before its exit handlers run."""
    program = """
import atexit, time
from otelier.telemetry import do_aside
atexit.register(lambda: print("exit"))
do_aside(lambda: (time.sleep(0.2), print("done")))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.split() == ["done", "exit"]


@pytest.mark.parametrize("size", [1_000, 3_000_000])
def test_a_long_content_does_not_hold_up_the_loop(monkeypatch, size):
    """The call returns before its content is redacted; span and event then have it, cut, with the time of the call."""
    monkeypatch.setenv(MODE, "span_and_event")
    threads = []

    # A user's redactor runs where the work of redaction is done.
    def redactor(text):
        if text.startswith("my password="):
            threads.append(threading.current_thread().name)
        return text

    set_redactions([redactor])
    prompt = "my password=hunter2 " * (size // 20)

    async def main(api):
        async with api.async_client() as client:
            return await api.call_async(client, "chat", messages=[{"role": "user", "content": prompt}])

    recorder = SpanRecorder()
    with instrumenting(recorder), serving() as api:
        asyncio.run(main(api))
        asyncio.run(main(api))
    for span in recorder.records:
        (message,) = json.loads(span.attributes["gen_ai.input.messages"])
        assert len(span.attributes["gen_ai.input.messages"]) <= 250_000
        assert message["parts"][0]["content"].startswith("my password=[REDACTED:secret] my")
        assert "hunter2" not in repr(span)
    assert len(recorder.spans) == len(recorder.logs) == 2
    where = threading.main_thread().name if size <= MOST_ON_A_LOOP else "otelier-content"
    assert set(threads) == {where}


def test_a_job_that_waits_for_itself():
    """A job that flushes, as a redactor of the user's may, is told at once that not all is done."""
    answers = []
    assert do_aside(lambda: answers.append(finish_aside(300)))
    assert finish_aside(30)
    assert answers == [False]


def test_a_job_given_as_the_thread_ends(monkeypatch):
    """A job that comes when the thread has found nothing left is done by that thread."""
    seen, do_jobs = [], _aside._do_jobs

    def with_a_late_one():
        do_jobs()
        if seen == ["first"]:
            assert do_aside(lambda: seen.append("second"))

    def first():
        goes_on.wait(300)
        seen.append("first")

    goes_on = threading.Event()
    monkeypatch.setattr(_aside, "_do_jobs", with_a_late_one)
    assert do_aside(first)
    goes_on.set()
    assert finish_aside(30)
    assert seen == ["first", "second"]
