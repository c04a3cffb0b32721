"""Threads: pools inherit and forget, raw threads follow the threading instrumentation or the interpreter."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.threading import ThreadingInstrumentor

import otelier
from otelier.fields import _pools


def user():
    return otelier.get_context().user_id


def in_raw_thread(function):
    """Return what *function* gives in a thread of its own."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


@pytest.fixture(autouse=True)
def switched_on():
    """Pools are patched where otelier is switched on."""
    otelier.activate()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as one_thread:
        one_thread.submit(int).result()
        yield one_thread


def test_a_job_inherits_from_the_code_that_submits_it(pool):
    """Work given to a pool has the submitter's fields, whichever thread runs it and whenever."""
    for name in ("a", "b"):
        with otelier.context(user_id=name):
            job = pool.submit(user)
        assert job.result() == name


def test_map_inherits(pool):
    """`map` hands the fields on as `submit` does."""
    with otelier.context(user_id="u-1"):
        assert list(pool.map(lambda number: (number, user()), range(3))) == [(0, "u-1"), (1, "u-1"), (2, "u-1")]


def test_what_a_job_sets_ends_with_it(pool):
    """On a pool of one thread a job that sets nothing never sees what the job before it set."""

    def job(name):
        if name:
            otelier.set_context(user_id=name)
        return user()

    names = ["a", None, "b", None, None, "c"]
    assert [pool.submit(job, name).result() for name in names] == names
    assert user() is None


def test_what_a_job_sets_ends_with_it_also_when_it_fails(pool):
    """A job that raises leaves nothing to the next one, and its exception is its own."""
    error = LookupError("mine")

    def job():
        otelier.set_context(user_id="a")
        raise error

    with pytest.raises(LookupError) as raised:
        pool.submit(job).result()
    assert raised.value is error
    assert pool.submit(user).result() is None


def test_a_jobs_callback_does_not_see_what_the_job_set(pool):
    """A callback that runs on the worker when a job is done has none of the job's fields."""
    seen, held = [], threading.Event()

    def job():
        held.wait(timeout=300)
        otelier.set_context(user_id="a")

    done = pool.submit(job)
    done.add_done_callback(lambda future: seen.append(user()))
    held.set()
    done.result()
    pool.submit(int).result()
    assert seen == [None]


def test_a_job_submitted_without_fields_has_none(pool):
    """A job inherits also that nothing is set."""
    with otelier.context(user_id="a"):
        pool.submit(user).result()
    assert pool.submit(user).result() is None


def test_jobs_submitted_by_jobs_inherit():
    """A job's own jobs inherit what the job has set."""
    with ThreadPoolExecutor(2) as wide:

        def outer():
            otelier.set_context(user_id="a")
            return wide.submit(user).result()

        assert wide.submit(outer).result() == "a"
        assert wide.submit(user).result() is None


def test_a_pool_made_and_warm_before_anything_was_set(spans, pool):
    """A pool whose threads were running before otelier was used carries the fields and the span."""
    with spans.open("request") as request, otelier.context(user_id="a"):
        current, name = pool.submit(lambda: (trace.get_current_span(), user())).result()
    assert (current, name) == (request, "a")


def test_a_job_keeps_other_contextvars_of_its_thread(pool):
    """Only the OpenTelemetry Context is carried: a worker's own context variables are neither set nor lost."""
    mine = contextvars.ContextVar("mine", default=None)
    pool.submit(mine.set, "worker").result()
    mine.set("caller")
    with otelier.context(user_id="a"):
        assert pool.submit(mine.get).result() == "worker"


def test_jobs_keep_their_arguments_and_cancel(pool):
    """A submitted function gets its own arguments, keywords included, and a waiting job can be cancelled."""
    held = threading.Event()
    pool.submit(held.wait)
    waiting = pool.submit(user)
    assert waiting.cancel()
    held.set()
    assert pool.submit(lambda *a, **k: (a, k), 1, self=2, fn=3).result() == ((1,), {"self": 2, "fn": 3})


def test_run_in_executor_inherits():
    """Work given to a loop's executor has the fields of the code that gave it, and leaves none."""

    async def main():
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as one_thread:
            with otelier.context(user_id="a"):
                first = await loop.run_in_executor(one_thread, user)
                await loop.run_in_executor(one_thread, lambda: otelier.set_context(user_id="b"))
            return first, await loop.run_in_executor(one_thread, user), await loop.run_in_executor(None, user)

    assert asyncio.run(main()) == ("a", None, None)


def test_to_thread_inherits():
    """`asyncio.to_thread` inherits, and what is set there stays there."""

    async def main():
        with otelier.context(user_id="a"):
            first = await asyncio.to_thread(user)
        await asyncio.to_thread(otelier.set_context, user_id="b")
        return first, user(), await asyncio.to_thread(user)

    assert asyncio.run(main()) == ("a", None, None)


def test_anyio_threads_inherit():
    """anyio's worker threads inherit, and what is set there stays there."""

    async def main():
        with otelier.context(user_id="a"):
            first = await anyio.to_thread.run_sync(user)
        await anyio.to_thread.run_sync(lambda: otelier.set_context(user_id="b"))
        return first, user(), await anyio.to_thread.run_sync(user)

    assert anyio.run(main) == ("a", None, None)


def test_anyio_from_thread_goes_back_with_the_threads_fields():
    """Async code called from an anyio worker thread has that thread's fields."""

    async def ask():
        return user()

    def work():
        with otelier.context(user_id="thread"):
            return anyio.from_thread.run(ask)

    async def main():
        return await anyio.to_thread.run_sync(work)

    assert anyio.run(main) == "thread"


@pytest.mark.skipif(getattr(sys.flags, "thread_inherit_context", 0), reason="this interpreter's threads inherit")
def test_a_raw_thread_inherits_nothing():
    """A thread of one's own starts with nothing set."""
    with otelier.context(user_id="a"):
        assert in_raw_thread(otelier.get_context) == otelier.CallContext()


def test_a_raw_thread_inherits_under_threading_instrumentation(spans):
    """Where OpenTelemetry's threading instrumentation is on, a raw thread has its starter's fields."""
    ThreadingInstrumentor().instrument()
    try:
        with otelier.context(user_id="a"):
            assert in_raw_thread(user) == "a"
            with ThreadPoolExecutor(1) as pool:
                assert pool.submit(user).result() == "a"
        assert in_raw_thread(user) is None
    finally:
        ThreadingInstrumentor().uninstrument()


@pytest.mark.skipif(not hasattr(sys.flags, "thread_inherit_context"), reason="Python 3.14 has this flag")
@pytest.mark.parametrize("inherits", [0, 1])
def test_a_raw_thread_follows_the_interpreters_flag(inherits):
    """Where `sys.flags.thread_inherit_context` is set a raw thread has its starter's fields, else none."""
    program = """
import threading, otelier
otelier.activate()
with otelier.context(user_id="a"):
    thread = threading.Thread(target=lambda: print(otelier.get_context().user_id))
    thread.start(); thread.join()
"""
    run = [sys.executable, "-X", f"thread_inherit_context={inherits}", "-c", program]
    seen = subprocess.run(run, capture_output=True, text=True, check=True, timeout=300).stdout.strip()
    assert seen == ("a" if inherits else "None")


@pytest.mark.parametrize("place", ["_bound", "_for_thread"])
def test_a_fault_costs_a_job_its_fields(monkeypatch, quiet_faults, caplog, place):
    """A fault of ours in handing the fields to a job, or to a pool's thread, costs the fields; the job is done."""

    def broken(*_args):
        raise LookupError

    monkeypatch.setattr(_pools, place, broken)
    with ThreadPoolExecutor(1) as pool, otelier.context(user_id="u-1"):
        assert pool.submit(pow, 2, 3).result() == 8
    assert "otelier failed in fields." in caplog.text
