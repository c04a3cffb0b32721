"""Requests that do everything at random, at once and one after another: none ever shows another one's fields."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.trace import SpanKind

import otelier

KINDS = [SpanKind.SERVER, SpanKind.CONSUMER, SpanKind.INTERNAL]


class Request:
    """One request: its number is in every value it sets, and every span it makes says whose it is."""

    def __init__(self, spans, number, kept):
        self.spans = spans
        self.number = number
        self.chance = random.Random(number)
        self.kept = kept
        self.anonymous = number % 4 == 0

    def value(self):
        return f"{self.number}/{self.chance.randrange(3)}"

    def some_fields(self):
        if self.anonymous:
            return {}
        names = self.chance.sample(
            ["user_id", "session_id", "workflow_id", "tenant_id", "user_role"], self.chance.randint(1, 3)
        )
        return {name: self.value() for name in names}

    def probe(self):
        """Make a span that says whose it is."""
        self.spans.born_here(f"probe {self.number}")

    def generator(self):
        with otelier.context(**self.some_fields()):
            self.probe()
            yield
            self.probe()
            yield

    async def async_generator(self):
        with otelier.context(**self.some_fields()):
            self.probe()
            yield
            await asyncio.sleep(0)
            yield

    def act(self, depth=0):
        """Do one thing that needs no loop."""
        move = self.chance.randrange(7)
        if move == 0:
            otelier.set_context(**self.some_fields())
        elif move == 1 and not self.anonymous:
            otelier.set_context(user_id="")
        elif move == 2 and depth < 3:
            with otelier.context(**self.some_fields()):
                self.act(depth + 1)
                self.probe()
        elif move == 3 and depth < 3:
            with self.spans.open(f"probe {self.number}", kind=self.chance.choice(KINDS)):
                self.act(depth + 1)
                self.probe()
        elif move == 4:
            for _ in otelier.context(**self.some_fields())(self.generator)():
                break
        elif move == 5:
            generator = self.generator()
            next(generator)
            self.kept.append(generator)
        else:
            self.close_one()
        self.probe()

    def close_one(self):
        """Close a generator that some request left open; another thread may take the last one first."""
        try:
            generator = self.kept.pop(self.chance.randrange(len(self.kept) or 1))
        except IndexError:
            return
        generator.close()

    async def act_async(self):
        """Do one thing on the loop."""
        move = self.chance.randrange(6)
        if move == 0:
            await asyncio.to_thread(self.act)
        elif move == 1:
            await asyncio.ensure_future(self.work(2))
        elif move == 2:
            task = asyncio.ensure_future(self.work(50))
            await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        elif move == 3:
            async for _ in self.async_generator():
                break
        else:
            self.act()
        await asyncio.sleep(0)
        self.probe()

    async def work(self, steps):
        for _ in range(steps):
            if self.chance.random() < 0.6:
                self.act()
            else:
                await self.act_async()

    async def serve(self):
        with self.spans.open(f"probe {self.number}", kind=SpanKind.SERVER):
            await self.work(8)

    def serve_in_thread(self):
        with self.spans.open(f"probe {self.number}", kind=self.chance.choice(KINDS)):
            for _ in range(10):
                self.act()


def strangers(spans):
    """Spans with a value that another request set, and spans of anonymous requests with any value at all."""
    found = []
    for span in spans.spans:
        number = int(span.name.removeprefix("probe "))
        for key, value in span.attributes.items():
            owner = (value[0] if isinstance(value, tuple) else value).split("/")[0]
            if int(owner) != number:
                found.append((number, key, value))
    return found


def test_requests_on_one_loop(spans, foreign_detaches):
    """100 requests at once on one loop, some with no user, each show their own values only."""
    kept: list = []

    async def main():
        await asyncio.gather(*(asyncio.ensure_future(Request(spans, number, kept).serve()) for number in range(100)))
        while orphans := asyncio.all_tasks() - {asyncio.current_task()}:  # their parents were cancelled
            await asyncio.wait(orphans)
        return otelier.get_context()

    assert asyncio.run(main()) == otelier.CallContext()
    kept.clear()
    assert strangers(spans) == []
    assert len(spans.spans) > 1000
    assert foreign_detaches == []


@pytest.mark.parametrize("threads", [1, 4])
def test_requests_on_reused_threads(spans, threads, foreign_detaches):
    """200 requests on the threads of a pool, left-over generators of one closed in another, never mix."""
    kept: list = []
    otelier.activate()
    with ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(Request(spans, number, kept).serve_in_thread) for number in range(200)]
        for job in jobs:
            job.result()
        assert pool.submit(otelier.get_context).result() == otelier.CallContext()
    assert strangers(spans) == []
    assert foreign_detaches == []
    kept.clear()


def test_requests_on_one_raw_thread(spans, foreign_detaches):
    """100 requests one after another on one thread of the program's own, each in its span only, never mix."""
    kept: list = []
    left = []

    def serve():
        for number in range(100):
            Request(spans, number, kept).serve_in_thread()
            left.append(otelier.get_context())

    thread = threading.Thread(target=serve)
    thread.start()
    thread.join()
    assert set(left) == {otelier.CallContext()}
    assert strangers(spans) == []
    assert foreign_detaches == []
