"""Raw threads that inherit: what they have of the request that started them, and for how long."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import subprocess
import sys
import threading

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import Context, attach, get_current
from opentelemetry.instrumentation.threading import ThreadingInstrumentor
from opentelemetry.trace import SpanKind

import otelier
from otelier.fields import entries_of, with_fields, with_inbound
from tests.recording import Spans


def user():
    return otelier.get_context().user_id


class Worker:
    """A thread that lives on and does what it is asked for: the loop that people write by hand."""

    def __init__(self, kind=threading.Thread):
        self._jobs, self._answers = queue.Queue(), queue.Queue()
        self.thread = kind(target=self._work) if kind is threading.Thread else kind(0, self._work)
        self.thread.daemon = True
        self.thread.start()

    def _work(self):
        while (job := self._jobs.get()) is not None:
            self._answers.put(job())

    def ask(self, job):
        self._jobs.put(job)
        return self._answers.get(timeout=60)

    def stop(self):
        self._jobs.put(None)
        self.thread.join()


@pytest.fixture(params=["ours first", "theirs first"])
def inheriting(request):
    """OpenTelemetry's threading instrumentation, on before or after otelier."""
    if request.param == "ours first":
        otelier.activate()
    ThreadingInstrumentor().instrument()
    otelier.activate()
    yield
    ThreadingInstrumentor().uninstrument()


@pytest.fixture
def start(inheriting):
    """Make workers, which end with the test."""
    workers = []

    def make(kind=threading.Thread):
        workers.append(Worker(kind))
        return workers[-1]

    yield make
    for worker in workers:
        worker.stop()


@pytest.fixture
def seen(spans):
    """What a worker is told for: by `get_context`, on a span, below a span of its own, and in the baggage."""

    def ask():
        with spans.open("own"):
            below = spans.born_here().get("user.id")
        sent = dict(entries_of(get_current())).get("user.id")
        return user(), spans.born_here().get("user.id"), below, sent

    return ask


def all_of(name):
    return (name,) * 4


@pytest.mark.parametrize("kind", [threading.Thread, threading.Timer])
def test_it_ends_with_the_request(spans, start, seen, kind):
    """A worker has the fields of the request that started it while that is open, then none, not the next one's."""
    with spans.open("first", SpanKind.SERVER):
        otelier.set_context(user_id="first")
        worker = start(kind)
        assert worker.ask(seen) == all_of("first")
    assert worker.ask(seen) == all_of(None)
    with spans.open("second", SpanKind.SERVER):
        otelier.set_context(user_id="second")
        assert worker.ask(seen) == all_of(None)
    assert worker.ask(lambda: baggage.get_all()) == {}


def test_the_span_itself_stays_current(spans, start):
    """The worker's current span is the request's own, as the instrumentation has it: attributes can be set there."""
    with spans.open("request") as request:
        otelier.set_context(user_id="a")
        worker = start()
        assert worker.ask(trace.get_current_span) is request


def test_a_value_set_in_the_parent_lives_as_long_as_the_parent(spans, start):
    """What was set in the request stays when the shorter span ends in which the worker was started."""
    with spans.open("request"):
        otelier.set_context(user_id="a")
        with spans.open("short"):
            otelier.set_context(agent="short")
            worker = start()
            assert worker.ask(otelier.get_context) == otelier.CallContext(user_id="a", agent="short")
        assert worker.ask(otelier.get_context) == otelier.CallContext(user_id="a")
    assert worker.ask(otelier.get_context) == otelier.CallContext()


def test_a_long_span_around_requests(spans, start):
    """Below a span as long as the process each message's values end with the message, and the process's stay."""
    with spans.open("main"):
        otelier.set_context(agent="bot")
        with spans.open("message", SpanKind.CONSUMER):
            otelier.set_context(user_id="first")
            worker = start()
        assert worker.ask(otelier.get_context) == otelier.CallContext(agent="bot")


def test_a_block_in_a_span(spans, start):
    """What a block gives lasts in a thread as long as the span around the block: the thread may be its last step."""
    with spans.open("request"):
        with otelier.context(user_id="a"):
            worker = start()
        assert worker.ask(user) == "a"
    assert worker.ask(user) is None


def test_a_block_without_a_span(start, seen):
    """Without a span the block is what ends."""
    with otelier.context(user_id="a"):
        worker = start()
        assert worker.ask(seen) == all_of("a")
    assert worker.ask(seen) == all_of(None)


def test_a_request_of_the_middleware(start):
    """A request that has no span ends with the middleware's block."""
    workers = []

    def app(environ, start_response):
        otelier.set_context(user_id="first")
        workers.append(start())
        return [workers[0].ask(user).encode()]

    assert otelier.ContextMiddleware(app)({}, None) == [b"first"]
    assert workers[0].ask(user) is None


def test_a_decorated_function(start):
    """What a decorator gives ends with the call."""

    @otelier.context(user_id="a")
    def call():
        worker = start()
        assert worker.ask(user) == "a"
        return worker

    otelier.set_context(agent="outside")
    assert call().ask(otelier.get_context) == otelier.CallContext(agent="outside")


def test_a_task(start):
    """Without a span and a block, what a task sets ends with the task."""

    async def main():
        otelier.set_context(agent="main")

        async def request():
            otelier.set_context(user_id="a")
            worker = start()
            assert worker.ask(user) == "a"
            return worker

        worker = await asyncio.create_task(request())
        return worker.ask(otelier.get_context)

    assert asyncio.run(main()) == otelier.CallContext(agent="main")


def test_a_program_without_requests(start):
    """What a program sets before everything else stays in its threads."""
    otelier.set_context(agent="batch")
    assert start().ask(otelier.get_context) == otelier.CallContext(agent="batch")


def test_a_request_that_is_not_sampled(start):
    """A span that is not recorded does not say when it ends: threads that it starts have nothing of it."""
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    spans = Spans(sampler=ALWAYS_OFF)
    with spans.open("request"):
        otelier.set_context(user_id="a")
        worker = start()
        assert worker.ask(user) is None
    assert worker.ask(user) is None


def test_late_values_of_the_request(spans, start):
    """What a request got from another thread reaches the worker's spans, and ends with the request as well."""
    with spans.open("request", SpanKind.SERVER):
        worker = start()
        otelier.set_context(user_id="late")
        assert worker.ask(spans.born_here)["user.id"] == "late"
    assert worker.ask(spans.born_here) == {}


def test_what_the_worker_began_in_time_goes_on(spans, start):
    """A span that the worker opened for the request has, and hands down, its fields also after the request."""
    with spans.open("request"):
        otelier.set_context(user_id="a")
        worker = start()
        own = worker.ask(lambda: spans.open("own"))
        worker.ask(own.__enter__)
    assert worker.ask(spans.born_here)["user.id"] == "a"
    worker.ask(lambda: own.__exit__(None, None, None))
    assert worker.ask(spans.born_here) == {}


def test_a_span_that_the_worker_is_handed(spans, start):
    """A worker whose request is over gives spans below the next request's span that one's user."""
    with spans.open("first", SpanKind.SERVER):
        otelier.set_context(user_id="first")
        worker = start()

    def job():
        with trace.use_span(second):
            return spans.born_here().get("user.id")

    with spans.open("second", SpanKind.SERVER) as second:
        otelier.set_context(user_id="second")
        assert worker.ask(job) == "second"


def test_what_the_worker_sets_itself(spans, start):
    """A block of the worker's own starts from what holds then, and gives it back."""
    with spans.open("request"):
        otelier.set_context(user_id="a")
        worker = start()

    def job():
        with otelier.context(session_id="s-1"):
            inside = otelier.get_context()
        return inside, otelier.get_context()

    assert worker.ask(job) == (otelier.CallContext(session_id="s-1"), otelier.CallContext())


def test_a_thread_that_a_worker_starts(spans, start):
    """A worker's own threads have its fields no longer than itself."""
    with spans.open("request"):
        otelier.set_context(user_id="a")
        worker = start()
        inner = worker.ask(start)
        assert inner.ask(user) == "a"
    assert inner.ask(user) is None


def test_propagate_carries_further(spans, inheriting):
    """A thread that is bound to the request with `propagate` keeps its fields after it."""
    ended, answers = threading.Event(), []

    def work():
        ended.wait(timeout=60)
        answers.append((user(), spans.born_here().get("user.id")))

    with spans.open("request"):
        otelier.set_context(user_id="a")
        thread = threading.Thread(target=otelier.propagate(work))
        thread.start()
    ended.set()
    thread.join()
    assert answers == [("a", "a")]


def test_tasks_keep_what_they_inherit(spans, inheriting):
    """A task that outlives its request still belongs to it: only threads do not."""

    async def main():
        ended = asyncio.Event()

        async def background():
            await ended.wait()
            return user()

        with spans.open("request"):
            otelier.set_context(user_id="a")
            task = asyncio.create_task(background())
            await asyncio.sleep(0)
        ended.set()
        return await task

    assert asyncio.run(main()) == "a"


def test_without_inheritance_nothing_is_added(spans):
    """Where neither the instrumentation nor the interpreter inherits, a thread starts with nothing."""
    if getattr(sys.flags, "thread_inherit_context", 0):
        pytest.skip("this interpreter's threads inherit")
    otelier.activate()
    with spans.open("request"):
        otelier.set_context(user_id="a")
        worker = Worker()
        assert (worker.ask(user), worker.ask(spans.born_here)) == (None, {})
        worker.stop()


def test_a_hand_made_loop_needs_a_block(spans):
    """What a job of a hand-made loop sets stays in the loop's thread; in a `context()` block it ends with the job."""
    otelier.activate()
    worker = Worker()
    worker.ask(lambda: otelier.set_context(user_id="first"))
    assert worker.ask(user) == "first"
    worker.ask(otelier.clear_context)

    def job():
        with otelier.context():
            otelier.set_context(user_id="second")

    worker.ask(job)
    assert worker.ask(user) is None
    worker.stop()


def test_fields_that_travel_end_too(spans, start):
    """The worker's requests carry the fields while the request is open, and none afterwards."""
    sent = []

    def job():
        with spans.open("call"):
            sent.append(set(dict(entries_of(get_current()))))

    with spans.open("request"):
        otelier.set_context(user_id="a")
        worker = start()
        worker.ask(job)
    worker.ask(job)
    assert sent == [{"user.id"}, set()]


@pytest.mark.skipif(not hasattr(sys.flags, "thread_inherit_context"), reason="Python 3.14 has this flag")
def test_where_the_interpreter_inherits():
    """A thread that inherits by the interpreter itself has a lease as well."""
    program = """
import queue, threading, otelier
otelier.activate()
jobs, answers = queue.Queue(), queue.Queue()
def work():
    while jobs.get():
        answers.put(otelier.get_context().user_id)
with otelier.context(user_id="a"):
    thread = threading.Thread(target=work)
    thread.start()
    jobs.put(True)
    during = answers.get()
jobs.put(True)
print(during, answers.get())
jobs.put(False)
"""
    run = [sys.executable, "-X", "thread_inherit_context=1", "-c", program]
    assert subprocess.run(run, capture_output=True, text=True, check=True, timeout=60).stdout.strip() == "a None"


def test_what_is_set_in_a_phase_is_leased_for_the_request(spans, start, seen):
    """A worker has what a phase of its request set until the request's span ends, as without the phase."""
    tracer = spans.tracer_provider.get_tracer("fastapi")
    with spans.open("request", kind=SpanKind.SERVER):
        with tracer.start_as_current_span("fastapi.dependencies"):
            otelier.set_context(user_id="alice")
        with tracer.start_as_current_span("fastapi.endpoint"):
            worker = start()
        assert worker.ask(user) == "alice"
    assert worker.ask(user) is None


def test_the_middlewares_request_is_leased(start):
    """A worker has what a request without a span set until the middleware has served it."""
    started = []

    def app(environ, start_response):
        otelier.set_context(user_id="alice")
        started.append(start())
        return [started[0].ask(user)]

    assert otelier.ContextMiddleware(app)({}, None) == ["alice"]
    assert started[0].ask(user) is None


def test_late_values_of_the_middlewares_request_are_leased(spans, start):
    """So it is with what another thread of that request set: the worker's spans have it no longer than the request."""
    started = []

    def app(environ, start_response):
        thread = threading.Thread(target=contextvars.copy_context().run, args=(identify,))
        thread.start()
        thread.join()
        started.append(start())
        return [started[0].ask(spans.born_here).get("user.id")]

    def identify():
        otelier.set_context(user_id="alice")

    served = otelier.ContextMiddleware(app)({}, None)
    assert started[0].ask(spans.born_here) == {}
    assert served == ["alice"]


# --- what the worker sets itself --------------------------------------------------------------------------------------
def in_a_request(spans, inside):
    with spans.open("request", SpanKind.SERVER):
        otelier.set_context(user_id="a")
        inside()


def in_a_block(spans, inside):
    with otelier.context(user_id="a"):
        inside()


def in_a_middleware(spans, inside):
    def app(environ, start_response):
        otelier.set_context(user_id="a")
        inside()
        return []

    otelier.ContextMiddleware(app)({}, None)


def in_a_task(spans, inside):
    async def request():
        otelier.set_context(user_id="a")
        inside()

    asyncio.run(request())


PLACES = pytest.mark.parametrize("place", [in_a_request, in_a_block, in_a_middleware, in_a_task])


def set_step():
    otelier.set_context(workflow_id="step")


def enter_step():
    otelier.context(workflow_id="step").__enter__()


def enter_noted_step():
    attach(with_fields(get_current(), notes={"otelier.run.id": "r-1"}, workflow_id="step"))


def arrive_step():
    attach(with_inbound(get_current(), workflow_id="step", agent="caller"))


CHANGES = pytest.mark.parametrize("change", [set_step, enter_step, enter_noted_step, arrive_step])


@PLACES
@CHANGES
def test_what_a_worker_sets_outlives_the_request_alone(spans, start, seen, place, change):
    """A value that a worker sets stays with it; those of the request that started it still end with the request."""
    workers = []

    def inside():
        workers.append(worker := start())
        worker.ask(change)
        assert worker.ask(otelier.get_context) == otelier.CallContext(user_id="a", workflow_id="step")
        assert worker.ask(seen) == all_of("a")

    place(spans, inside)
    (worker,) = workers
    assert worker.ask(otelier.get_context) == otelier.CallContext(workflow_id="step")
    assert worker.ask(seen) == all_of(None)
    assert worker.ask(lambda: set(dict(entries_of(get_current())))) == {"otelier.workflow.id"}
    assert worker.ask(spans.born_here)["otelier.workflow.id"] == "step"
    worker.ask(lambda: otelier.set_context(session_id="s"))
    assert worker.ask(otelier.get_context) == otelier.CallContext(workflow_id="step", session_id="s")


@PLACES
def test_a_block_that_outlives_the_request(spans, start, seen, place):
    """A worker's loop in a block of its own is told for the request no longer than that is open."""
    block, workers = otelier.context(workflow_id="indexer"), []

    def inside():
        workers.append(worker := start())
        worker.ask(block.__enter__)
        worker.ask(lambda: otelier.set_context(session_id="s"))
        assert worker.ask(seen) == all_of("a")

    place(spans, inside)
    (worker,) = workers
    assert worker.ask(otelier.get_context) == otelier.CallContext(workflow_id="indexer", session_id="s")
    assert worker.ask(seen) == all_of(None)
    worker.ask(lambda: block.__exit__(None, None, None))
    assert worker.ask(otelier.get_context) == otelier.CallContext()


@PLACES
def test_a_decorated_loop_that_outlives_the_request(spans, start, seen, place):
    """So it is where the loop is a function with fields of its own, here a generator."""
    steps = []

    @otelier.context(workflow_id="indexer")
    def loop():
        while True:
            yield seen(), otelier.get_context()

    def inside():
        steps.append((start(), loop()))
        assert steps[0][0].ask(lambda: next(steps[0][1]))[0] == all_of("a")

    place(spans, inside)
    worker, stepping = steps[0]
    assert worker.ask(lambda: next(stepping)) == (all_of(None), otelier.CallContext(workflow_id="indexer"))
    worker.ask(stepping.close)


def test_what_the_request_said_again(spans, start, seen):
    """A worker that sets what the request began with has that value alone, and not what came late to the request."""
    otelier.set_context(workflow_id="w")
    with spans.open("request", SpanKind.SERVER):
        otelier.set_context(workflow_id="other", user_id="a")
        worker = start()
        worker.ask(lambda: otelier.set_context(user_id="", workflow_id="w"))
        assert worker.ask(seen) == all_of(None)
    assert worker.ask(otelier.get_context) == otelier.CallContext(workflow_id="w")
    assert worker.ask(seen) == all_of(None)


def test_late_values_below_what_a_worker_sets(spans, start):
    """What a request got late goes into what the worker sets then, and ends with the request, in a longer block too."""
    with otelier.context(agent="bot"):
        with spans.open("request", SpanKind.SERVER):
            worker = start()
            otelier.set_context(user_id="late")
            worker.ask(set_step)
            assert worker.ask(user) == "late"
        assert worker.ask(otelier.get_context) == otelier.CallContext(agent="bot", workflow_id="step")
    assert worker.ask(otelier.get_context) == otelier.CallContext(workflow_id="step")


def test_a_value_set_in_a_span_of_the_workers_own(spans, start):
    """A span that the worker began for the request keeps its fields beside what is set in it, until it ends."""
    with spans.open("request"):
        otelier.set_context(user_id="a")
        worker = start()
        own = worker.ask(lambda: spans.open("own"))
        worker.ask(own.__enter__)
        worker.ask(set_step)
    assert worker.ask(spans.born_here)["user.id"] == "a"
    assert worker.ask(spans.born_here)["otelier.workflow.id"] == "step"
    worker.ask(lambda: own.__exit__(None, None, None))
    assert worker.ask(spans.born_here) == {}


def test_a_message_that_a_worker_reads_for_another(spans, start, seen):
    """A message of somebody else's that begins during the request goes on without the request's user."""
    with spans.open("request", SpanKind.SERVER):
        otelier.set_context(user_id="a")
        worker = start()
        message = worker.ask(
            lambda: spans.tracer.start_as_current_span("message", context=Context(), kind=SpanKind.CONSUMER)
        )
        worker.ask(message.__enter__)
        worker.ask(set_step)
    assert worker.ask(otelier.get_context) == otelier.CallContext(workflow_id="step")
    assert worker.ask(seen) == all_of(None)
    worker.ask(lambda: message.__exit__(None, None, None))


def test_threads_of_a_worker_that_sets_something(spans, start, seen):
    """A worker's own threads have what it set until its block ends, and the request's until that ends."""
    with spans.open("request", SpanKind.SERVER):
        otelier.set_context(user_id="a")
        worker, block = start(), otelier.context(workflow_id="indexer")
        worker.ask(block.__enter__)
        inner, other = worker.ask(start), worker.ask(start)
        assert inner.ask(otelier.get_context) == otelier.CallContext(user_id="a", workflow_id="indexer")
        worker.ask(lambda: block.__exit__(None, None, None))
        assert other.ask(seen) == all_of("a")
    assert inner.ask(otelier.get_context) == other.ask(otelier.get_context) == otelier.CallContext()
    assert inner.ask(seen) == all_of(None)
