"""Pools of every kind, and whoever else patches them."""

from __future__ import annotations

import asyncio
import concurrent.futures.process
import concurrent.futures.thread
import functools
import itertools
import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.pool import ThreadPool

import pytest
import wrapt
from opentelemetry.instrumentation.threading import ThreadingInstrumentor
from opentelemetry.instrumentation.utils import unwrap

import otelier
from otelier.fields import carry_into_pools, stop_carrying
from tests.recording import pools_carry

SUBMIT = ThreadPoolExecutor.submit


def user(_=None):
    return otelier.get_context().user_id


def set_user(name, _=None):
    otelier.set_context(user_id=name)


# --- others' patches -------------------------------------------------------------------------------------------------
class Plain:
    """A plain function over `submit`, as logfire's; it puts back what it found, whatever came since."""

    def put_in(self):
        self.before = before = ThreadPoolExecutor.submit

        def submit(pool, fn, /, *args, **kwargs):
            return before(pool, functools.partial(fn, *args, **kwargs))

        ThreadPoolExecutor.submit = self.patch = submit

    def take_out(self):
        ThreadPoolExecutor.submit = self.before


class Careful(Plain):
    """A plain function that is put back only where it is what stands there."""

    def take_out(self):
        if ThreadPoolExecutor.submit is self.patch:
            super().take_out()


class Wrapt:
    """A wrapper of wrapt's, as most instrumentations have it."""

    def put_in(self):
        wrapt.wrap_function_wrapper(
            ThreadPoolExecutor, "submit", lambda wrapped, _, args, kwargs: wrapped(*args, **kwargs)
        )

    def take_out(self):
        unwrap(ThreadPoolExecutor, "submit")


class Threading:
    """OpenTelemetry's threading instrumentation."""

    def put_in(self):
        ThreadingInstrumentor().instrument()

    def take_out(self):
        ThreadingInstrumentor().uninstrument()


OTHERS = (Plain, Careful, Wrapt, Threading)


def orders():
    """Every order in which ours and two others come and go, each once."""
    events = ("ours in", "ours out", "a in", "a out", "b in", "b out")
    return [
        order
        for order in itertools.permutations(events)
        if all(order.index(f"{who} in") < order.index(f"{who} out") for who in ("ours", "a", "b"))
    ]


@pytest.mark.parametrize(("a", "b"), list(itertools.combinations_with_replacement(OTHERS, 2)))
def test_beside_others_in_every_order(a, b):
    """Whoever patches `submit` when, with wrapt or without, and takes it out again: jobs run, as their submitters."""
    if a is b is Threading:
        pytest.skip("There is one instrumentation of threading.")
    for order in orders():
        others = {"a": a(), "b": b()}
        inside = set()
        for event in order:
            who, _, way = event.partition(" ")
            inside ^= {who}
            if who == "ours":
                carry_into_pools() if way == "in" else stop_carrying()
            else:
                others[who].put_in() if way == "in" else others[who].take_out()
            if "ours" in inside:
                assert pools_carry(), (order, event)
            else:
                with ThreadPoolExecutor(1) as pool:
                    assert pool.submit(lambda: "mine").result() == "mine"
        ThreadPoolExecutor.submit = SUBMIT


def test_with_blocks_patch_nothing():
    """Neither the import nor a block nor a call of `set_context` patches a pool: only switching on does."""
    modules = (concurrent.futures.thread, concurrent.futures.process, multiprocessing.pool, threading)

    def standing():
        members = {f"{module.__name__}.{name}": value for module in modules for name, value in vars(module).items()}
        for place, kind in list(members.items()):
            if isinstance(kind, type):
                members.update({f"{place}.{name}": value for name, value in vars(kind).items()})
        return members

    stood = standing()

    def patched():
        return {name for name, value in standing().items() if value is not stood.get(name)}

    with otelier.context(user_id="never seen before"):
        otelier.set_context(session_id="never seen before")
        otelier.propagate(user)()
    assert patched() == set()
    assert not pools_carry()
    otelier.activate()
    assert patched() >= {
        "concurrent.futures.thread._WorkItem.run",
        "concurrent.futures.process._process_worker",
        "multiprocessing.pool.worker",
        "multiprocessing.pool.Pool.map",
        "threading.Thread.start",
    }
    assert pools_carry()
    otelier.shutdown()
    assert patched() == set()
    assert not pools_carry()


def test_a_plain_function_over_submit_and_new_values():
    """Values that were never set before, below another's plain patch, end in no recursion."""
    otelier.activate()
    other = Plain()
    other.put_in()
    try:
        for number in range(50):
            with otelier.context(user_id=f"u-{number}"), ThreadPoolExecutor(1) as pool:
                assert pool.submit(user).result() == f"u-{number}"

        async def main():
            with otelier.context(user_id="looked up"):
                await asyncio.get_running_loop().getaddrinfo("localhost", 80)
                return await asyncio.get_running_loop().run_in_executor(None, user)

        assert asyncio.run(main()) == "looked up"
    finally:
        other.take_out()


def test_a_pool_with_a_submit_of_its_own():
    """A subclass that submits in its own way is carried into as well."""

    class Counting(ThreadPoolExecutor):
        count = 0

        def submit(self, fn, /, *args, **kwargs):
            self.count += 1
            return super().submit(fn, *args, **kwargs)

    otelier.activate()
    with Counting(1) as pool, otelier.context(user_id="a"):
        assert (pool.submit(user).result(), pool.count) == ("a", 1)


def test_jobs_that_wait_while_otelier_is_switched_off_and_on():
    """A job submitted before a switch runs after it, once."""
    otelier.activate()
    held = threading.Event()
    with ThreadPoolExecutor(1) as pool, otelier.context(user_id="a"):
        pool.submit(held.wait)
        before = pool.submit(user)
        otelier.shutdown()
        between = pool.submit(lambda: "ran")
        otelier.activate()
        after = pool.submit(user)
        held.set()
        assert (before.result(), between.result(), after.result()) == ("a", "ran", "a")


# --- multiprocessing.pool --------------------------------------------------------------------------------------------
WAYS = {
    "apply": lambda pool, job, given: pool.apply(job, (given,)),
    "apply_async": lambda pool, job, given: pool.apply_async(func=job, args=(given,)).get(),
    "map": lambda pool, job, given: pool.map(job, [given])[0],
    "map_async": lambda pool, job, given: pool.map_async(job, [given]).get()[0],
    "starmap": lambda pool, job, given: pool.starmap(job, [(given,)])[0],
    "starmap_async": lambda pool, job, given: pool.starmap_async(job, [(given,)]).get()[0],
    "imap": lambda pool, job, given: next(pool.imap(job, [given])),
    "imap in chunks": lambda pool, job, given: next(iter(pool.imap(job, [given], chunksize=2))),
    "imap_unordered": lambda pool, job, given: next(pool.imap_unordered(job, [given])),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_thread_pool_of_multiprocessing(way):
    """A job has its submitter's fields, and what it sets ends with it, by every way to give one."""
    otelier.activate()
    call = WAYS[way]
    with ThreadPool(1) as pool:
        with otelier.context(user_id="a"):
            assert call(pool, user, None) == "a"
        assert call(pool, user, None) is None
        call(pool, set_user, "b")
        assert call(pool, user, None) is None
    with otelier.context(user_id="a"):
        pool.join()


def test_each_item_of_a_chunk_is_a_job():
    """What the function sets for one item of `map` does not reach the next one in the same chunk."""
    otelier.activate()

    def job(name):
        before = user()
        set_user(name)
        return before

    with ThreadPool(1) as pool, otelier.context(user_id="a"):
        assert pool.map(job, ["x", "y", "z"], chunksize=3) == ["a", "a", "a"]


@pytest.mark.parametrize("make", [lambda: ThreadPoolExecutor(1), lambda: ThreadPool(1)], ids=["futures", "pool"])
@pytest.mark.parametrize("instrumented", [False, True])
def test_a_pool_that_a_request_made_serves_others(spans, make, instrumented):
    """A pool whose threads the first request started never gives its fields to the jobs of others, open or ended."""
    otelier.activate()
    if instrumented:
        ThreadingInstrumentor().instrument()
    answers = []
    try:
        with spans.open("first"):
            otelier.set_context(user_id="first")
            pool = make()
            answers.append(submit(pool, user))
            with otelier.context(user_id="second"):
                answers.append(submit(pool, user))
            otelier.clear_context()
            answers.append(submit(pool, user))
        answers.append(submit(pool, user))
        with spans.open("third"):
            otelier.set_context(user_id="third")
            answers.append(submit(pool, user))
            submit(pool, lambda _: spans.tracer.start_span("in the job").end())
    finally:
        if instrumented:
            ThreadingInstrumentor().uninstrument()
        pool.__exit__(None, None, None)
    assert answers == ["first", "second", None, None, "third"]
    assert spans.users("in the job") == ["third"]


def submit(pool, job):
    return pool.submit(job, None).result() if hasattr(pool, "submit") else pool.apply(job, (None,))


@pytest.mark.parametrize("instrumented", [False, True])
def test_callbacks_of_a_pool_have_no_fields_of_who_made_it(spans, instrumented):
    """What a pool's own threads call when a job is done is not told for the request that started them."""
    otelier.activate()
    if instrumented:
        ThreadingInstrumentor().instrument()
    seen = []
    try:
        with spans.open("first"):
            otelier.set_context(user_id="first")
            with ThreadPool(1) as pool:
                pool.apply_async(user, callback=lambda _: seen.append(user())).get()
                pool.close()
                pool.join()
    finally:
        if instrumented:
            ThreadingInstrumentor().uninstrument()
    assert seen == [None]


# --- processes -------------------------------------------------------------------------------------------------------
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("kind", ["futures", "multiprocessing"])
def test_a_forked_pool_forgets_between_jobs(kind):
    """A worker process is born in the request that made the pool and is not its user; what a job sets ends with it."""
    otelier.activate()
    fork = multiprocessing.get_context("fork")
    with otelier.context(user_id="first"):
        pool = ProcessPoolExecutor(1, mp_context=fork) if kind == "futures" else fork.Pool(1)
        with pool:
            answers = [submit(pool, user)]
            submit(pool, functools.partial(set_user, "second"))
            answers.append(submit(pool, user))
            answers.append(submit(pool, otelier.propagate(user)))
    assert answers == [None, None, "first"]
