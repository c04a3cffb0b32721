"""Nothing of a block, a call or a span stays behind when it is over."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
import weakref

import pytest

import otelier


def grown(repeat):
    """Return by how many bytes the process grew between the 200th and the 2,000th repetition of *repeat*."""
    sizes = {}

    def at(number):
        if number in (200, 2000):
            gc.collect()
            sizes[number] = tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        asyncio.run(repeat(at))
    finally:
        tracemalloc.stop()
    return sizes[2000] - sizes[200]


def planned(make_tick):
    """A callback that plans itself anew from inside its own block, as heartbeats and polls do."""

    async def repeat(at):
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        count = 0

        def plan(function):
            nonlocal count
            count += 1
            at(count)
            if count < 2001:
                loop.call_soon(function)
            else:
                done.set_result(None)

        make_tick(plan)()
        await done

    return repeat


def block(plan):
    def tick():
        with otelier.context(agent="poller"):
            plan(tick)

    return tick


def nested_blocks(plan):
    def tick():
        with otelier.context(agent="poller"), otelier.context(user_id="u-1"):
            plan(tick)

    return tick


def decorator(plan):
    @otelier.context(agent="poller")
    def tick():
        plan(tick)

    return tick


def set_context(plan):
    def tick():
        otelier.set_context(agent="poller")
        plan(tick)

    return tick


def propagate(plan):
    def tick():
        plan(otelier.propagate(tick))

    return tick


@pytest.mark.parametrize(
    "make_tick", [block, nested_blocks, decorator, set_context, propagate], ids=lambda made: made.__name__
)
def test_a_callback_that_plans_itself_anew(make_tick):
    """However often code plans itself again from inside its block, earlier blocks are let go."""
    assert grown(planned(make_tick)) < 50_000


def test_a_task_that_starts_its_successor():
    """A chain of tasks, each started inside the block of the one before while that is still open, stays small."""

    async def repeat(at):
        done = asyncio.get_running_loop().create_future()
        running = None

        async def link(number):
            nonlocal running
            with otelier.context(agent="poller", session_id=f"s-{number % 5}"):
                at(number)
                if number < 2001:
                    running = asyncio.ensure_future(link(number + 1))
                else:
                    done.set_result(None)
                await asyncio.sleep(0)

        await link(1)
        await done
        await running

    assert grown(repeat) < 50_000


def test_spans_are_let_go(spans):
    """A span that has ended is kept alive by nothing of ours."""
    ended = []

    def request():
        with spans.open("request") as span, otelier.context(user_id="u-1"):
            otelier.set_context(session_id="s-1")
            ended.append(weakref.ref(span))

    request()
    spans.clear()
    gc.collect()
    assert ended[0]() is None


def test_a_chain_of_requests_that_each_start_the_next(spans):
    """A chain of tasks that each set values, in a span and without one, and start the next one, stays small."""

    async def repeat(at):
        done = asyncio.get_running_loop().create_future()
        running = None

        async def link(number):
            nonlocal running
            with spans.tracer_provider.get_tracer("tests").start_as_current_span("link"):
                otelier.set_context(user_id=f"u-{number % 5}")
                otelier.set_context(session_id=f"s-{number % 5}")
            otelier.set_context(agent=f"a-{number % 5}")
            at(number)
            spans.clear()
            if number < 2001:
                running = asyncio.ensure_future(link(number + 1))
            else:
                done.set_result(None)
            await asyncio.sleep(0)

        await link(1)
        await done

    assert grown(repeat) < 50_000
