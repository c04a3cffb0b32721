"""`otelier.flush`: what waits is sent in time, whoever asks and whatever the providers do."""

from __future__ import annotations

import asyncio
import os
import threading
import time

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracer
from opentelemetry.trace import TracerProvider as ApiTracerProvider

import otelier
from otelier.telemetry import _flush, flush
from tests.programs import run
from tests.waiting import until


class Failing(TracerProvider):
    """A provider that cannot be flushed."""

    def force_flush(self, timeout_millis=30000):
        raise LookupError("flush")


def batched(exporter):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=60_000))
    return provider


def test_flush_sends_what_waits():
    """After `flush` the spans that waited in a batch are exported."""
    exporter = InMemorySpanExporter()
    provider = batched(exporter)
    otelier.init(tracer_provider=provider)
    provider.get_tracer("tests").start_span("work").end()
    assert exporter.get_finished_spans() == ()
    assert otelier.flush() is True
    assert len(exporter.get_finished_spans()) == 1
    provider.shutdown()


def test_flush_where_nothing_is_set():
    """With nothing switched on there is nothing to send."""
    assert otelier.flush() is True
    assert otelier.flush(timeout_s=0.5) is True


def test_flush_says_when_it_failed(quiet_faults):
    """A provider that fails costs the answer `False`, not an exception, and the others are still flushed."""
    exporter = InMemorySpanExporter()
    good, bad = batched(exporter), Failing(shutdown_on_exit=False)
    otelier.init(tracer_provider=bad)
    otelier.init(tracer_provider=good)
    good.get_tracer("tests").start_span("work").end()
    assert otelier.flush() is False
    assert len(exporter.get_finished_spans()) == 1
    good.shutdown()


def test_flush_where_a_queue_fails(quiet_faults, monkeypatch, caplog):
    """A fault of ours in sending what is queued costs the answer `False`, and the providers are still flushed."""

    def drain_all(_timeout_s):
        raise LookupError

    monkeypatch.setattr(_flush, "drain_all", drain_all)
    exporter = InMemorySpanExporter()
    provider = batched(exporter)
    otelier.init(tracer_provider=provider)
    provider.get_tracer("tests").start_span("work").end()
    assert otelier.flush() is False
    assert len(exporter.get_finished_spans()) == 1
    assert "telemetry.flush" in caplog.text
    provider.shutdown()


def test_flush_of_a_provider_whose_attributes_raise(quiet_faults, capfd, caplog):
    """A provider that raises when it is looked at costs the answer `False` and one line, not a thread's traceback."""

    class Raising(ApiTracerProvider):
        def __getattr__(self, name):
            raise LookupError(name)

        def get_tracer(self, *args, **kwargs):
            return NoOpTracer()

    exporter = InMemorySpanExporter()
    good, bad = batched(exporter), Raising()
    otelier.init(tracer_provider=bad)
    otelier.init(tracer_provider=good)
    good.get_tracer("tests").start_span("work").end()
    assert otelier.flush() is False
    assert "Exception in thread" not in capfd.readouterr().err
    assert "telemetry.flush" in caplog.text
    assert len(exporter.get_finished_spans()) == 1
    good.shutdown()


@pytest.mark.parametrize("timeout_s", [0.0, 0.2])
def test_flush_keeps_to_its_time(timeout_s):
    """An exporter that would take longer is told how long it may take, and the answer says that it was too slow."""
    asked = []

    class Slow(TracerProvider):
        def force_flush(self, timeout_millis=30000):
            asked.append(timeout_millis / 1000)
            time.sleep(min(timeout_millis / 1000, 60))
            return timeout_millis >= 60_000

    provider = Slow(shutdown_on_exit=False)
    otelier.init(tracer_provider=provider)
    assert otelier.flush(timeout_s=timeout_s) is False
    assert [given for given in asked if given > timeout_s] == []


def test_flush_does_not_wait_for_an_exporter_that_hangs():
    """The SDK's batch processor exports in the thread that flushes it; the caller's time counts."""
    go_on = threading.Event()

    class Hanging(InMemorySpanExporter):
        def export(self, spans):
            go_on.wait(300)
            return super().export(spans)

    exporter = Hanging()
    provider = batched(exporter)
    otelier.init(tracer_provider=provider)
    provider.get_tracer("tests").start_span("work").end()
    try:
        assert otelier.flush(timeout_s=0.1) is False
        assert exporter.get_finished_spans() == ()
    finally:
        go_on.set()
    provider.shutdown()
    assert len(exporter.get_finished_spans()) == 1


class Waiting(TracerProvider):
    """A provider whose flush waits until it may go on, and counts how often it is asked."""

    def __init__(self):
        super().__init__(shutdown_on_exit=False)
        self.asked, self.given_s, self.done = [], [], []
        self.go_on = threading.Event()

    def force_flush(self, timeout_millis=30000):
        self.asked.append(len(self.done))
        self.given_s.append(timeout_millis / 1000)
        return self.go_on.wait(300)


def flushing():
    return [thread for thread in threading.enumerate() if thread.name == "otelier-flush"]


def test_flush_piles_up_no_threads():
    """However often `flush` is called while an exporter hangs, at most two threads wait for it."""
    provider = Waiting()
    otelier.init(tracer_provider=provider)
    try:
        assert [otelier.flush(0.01) for _ in range(20)] == [False] * 20
        assert len(flushing()) == 2
    finally:
        provider.go_on.set()
    until(lambda: flushing() == [])
    assert otelier.flush() is True


def test_who_flushes_at_once_shares_a_thread():
    """Callers that wait for a free thread share the next one, which begins after all of their work was done."""
    provider = Waiting()
    otelier.init(tracer_provider=provider)
    answers = []

    def work():
        provider.done.append(True)
        answers.append(otelier.flush(300))

    threads = [threading.Thread(target=work) for _ in range(12)]
    for number, thread in enumerate(threads):
        thread.start()
        until(lambda number=number: len(_flush._sends._deadlines) == number + 1)
    provider.go_on.set()
    for thread in threads:
        thread.join()
    assert answers == [True] * 12
    assert (len(provider.asked), provider.asked[-1]) == (3, 12)


def test_a_thread_that_is_shared_has_the_longest_time():
    """A caller with more time than the one that begins the shared thread gets all of it."""
    provider = Waiting()
    otelier.init(tracer_provider=provider)
    threads = [threading.Thread(target=otelier.flush, args=(time_s,)) for time_s in (30, 30, *[30] * 6, 300)]
    for number, thread in enumerate(threads):
        thread.start()
        until(lambda number=number: len(_flush._sends._deadlines) == number + 1)
    provider.go_on.set()
    for thread in threads:
        thread.join()
    assert len(provider.given_s) == 3
    assert provider.given_s[-1] > 200


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_flushes_while_its_parent_does():
    """Threads of the parent that hang in an exporter are none of the child's."""
    provider = Waiting()
    otelier.init(tracer_provider=provider)
    try:
        assert [otelier.flush(0.01) for _ in range(2)] == [False] * 2
        child = os.fork()
        if child == 0:
            provider.go_on.set()
            os._exit(0 if otelier.flush(60) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        provider.go_on.set()
    until(lambda: flushing() == [])


@pytest.mark.parametrize("timeout_s", [1, 1e300, float("inf")])
def test_flush_with_all_the_time_in_the_world(timeout_s):
    """Every number is a time, also one that no clock counts to."""
    assert otelier.flush(timeout_s=timeout_s) is True


@pytest.mark.parametrize("timeout_s", [None, "1"])
def test_flush_with_what_is_no_time(timeout_s):
    """What is no number is refused by the argument's name."""
    with pytest.raises(TypeError, match="timeout_s"):
        otelier.flush(timeout_s=timeout_s)


def test_flush_from_an_exporter_that_is_flushed():
    """A flush inside the one that runs waits no longer than asked, and the outer one answers for what it sent."""
    inner = []

    class Asking(InMemorySpanExporter):
        def export(self, spans):
            inner.append(otelier.flush(timeout_s=0.2))
            return super().export(spans)

    exporter = Asking()
    provider = batched(exporter)
    otelier.init(tracer_provider=provider)
    provider.get_tracer("tests").start_span("work").end()
    assert otelier.flush(timeout_s=60) is True
    assert (inner, len(exporter.get_finished_spans())) == ([False], 1)
    until(lambda: flushing() == [])
    provider.shutdown()


def test_flush_while_a_provider_shuts_down(caplog):
    """A provider that shuts down meanwhile costs a flush no exception; what waited is sent, late spans are one line."""
    exporter, held, go_on = InMemorySpanExporter(), threading.Event(), threading.Event()

    class Slow(SimpleSpanProcessor):
        def shutdown(self):
            held.set()
            go_on.wait(300)
            super().shutdown()

    provider = batched(exporter)
    provider.add_span_processor(Slow(InMemorySpanExporter()))
    otelier.init(tracer_provider=provider)
    tracer = provider.get_tracer("tests")
    tracer.start_span("before").end()
    shutting_down = threading.Thread(target=provider.shutdown)
    shutting_down.start()
    assert held.wait(60)
    try:
        assert otelier.flush(timeout_s=60) in (True, False)  # a provider that is shut down answers as its release does
        assert [span.name for span in exporter.get_finished_spans()] == ["before"]
        for _ in range(2):
            tracer.start_span("late").end()
        assert otelier.flush(timeout_s=60) is False
    finally:
        go_on.set()
    shutting_down.join()
    assert otelier.flush(timeout_s=60) in (True, False)
    lines = [record.getMessage() for record in caplog.records if record.name == "otelier" and record.levelno > 20]
    assert [line for line in lines if "so far" in line] == [lines[0]]
    assert "already_shutdown" in lines[0]
    until(lambda: flushing() == [])


AT_EXIT = """
import atexit, json
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
import otelier

exporter = InMemorySpanExporter()
provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=60_000))
otelier.init(tracer_provider=provider)
provider.get_tracer("tests").start_span("work").end()

@atexit.register
def last():
    print(json.dumps([otelier.flush(), len(exporter.get_finished_spans())]))
"""


def test_flush_while_the_interpreter_ends():
    """An exit handler flushes, although newer Pythons start no threads then."""
    ran = run(AT_EXIT)
    assert ran.answer == [True, 1]
    assert ran.lines("Traceback") == []


def test_flush_from_inside_the_package():
    """Code of otelier flushes by the same function, also on an event loop's thread and twice for a provider."""
    exporter = InMemorySpanExporter()
    provider = batched(exporter)
    for _ in range(2):
        otelier.init(tracer_provider=provider)
    provider.get_tracer("tests").start_span("work").end()

    async def step():
        return flush(timeout_s=60)

    assert flush is otelier.flush
    assert asyncio.run(step()) is True
    assert len(exporter.get_finished_spans()) == 1
    provider.shutdown()


def test_flush_of_a_provider_without_a_hash_that_takes_no_attributes(quiet_faults):
    """A provider is known by what it is: nothing is put into a set of providers, nor on the provider."""

    class Odd(ApiTracerProvider):
        __slots__ = ("asked",)
        __hash__ = None

        def __init__(self):
            self.asked = 0

        def __eq__(self, other):
            return True

        def get_tracer(self, *args, **kwargs):
            return NoOpTracer()

        def force_flush(self, timeout_millis=30000):
            self.asked += 1

    one, two = Odd(), Odd()
    for provider in (one, two, one):
        otelier.init(tracer_provider=provider)
    assert otelier.flush() is True
    assert (one.asked, two.asked) == (1, 1)
