"""`with otelier.context()` in a generator's own body: seen by its consumer, never by another request."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import otelier


def user():
    return otelier.get_context().user_id


def numbers(name="inside", cleaned=None):
    with otelier.context(user_id=name):
        try:
            yield 1
            yield 2
        finally:
            if cleaned is not None:
                cleaned.append(user())


async def async_numbers(name="inside"):
    with otelier.context(user_id=name):
        yield 1
        await asyncio.sleep(60)
        yield 2


def test_drained_it_restores():
    """A generator that runs to its end gives back what was there before its first step."""
    otelier.set_context(user_id="mine")
    assert [user() for _ in numbers()] == ["inside", "inside"]
    assert user() == "mine"


def test_closed_in_the_consumers_context_it_restores():
    """Closed where it was started, a generator gives back what was there."""
    otelier.set_context(user_id="mine")
    generator = numbers()
    next(generator)
    generator.close()
    assert user() == "mine"


def test_broken_off_it_lasts_until_the_consumers_span_ends(spans):
    """A generator that is broken off and kept lends its fields to its consumer, and no further than its span."""
    kept = []
    with spans.open("request"):
        kept.append(numbers())
        next(kept[0])
        assert user() == "inside"
    assert user() is None
    kept.clear()
    gc.collect()
    assert user() is None


def test_broken_off_it_ends_with_its_job():
    """In a thread pool a generator broken off leaves nothing to the thread's next job."""
    kept = []

    def job():
        kept.append(numbers())
        next(kept[-1])

    otelier.activate()
    with ThreadPoolExecutor(1) as pool, otelier.context(session_id="s-1"):
        pool.submit(job).result()
        assert pool.submit(otelier.get_context).result() == otelier.CallContext(session_id="s-1")
    kept.clear()


def test_broken_off_it_ends_with_its_task():
    """In asyncio a generator broken off leaves nothing to other tasks."""
    kept = []

    async def consumer():
        kept.append(numbers())
        next(kept[-1])
        return user()

    async def main():
        first = await asyncio.ensure_future(consumer())
        return first, user()

    assert asyncio.run(main()) == ("inside", None)
    kept.clear()


def test_collected_in_another_thread_it_changes_nothing_there():
    """A generator finished by another thread neither changes that thread's fields nor logs anything."""
    generators = [numbers()]
    next(generators[0])
    seen = []

    def finish():
        otelier.set_context(user_id="theirs")
        generators.pop().close()
        seen.append(user())

    thread = threading.Thread(target=finish)
    thread.start()
    thread.join()
    assert seen == ["theirs"]


def test_finished_in_another_request_it_changes_nothing_there(spans):
    """A generator left over from one request and finished in the next leaves the next one's fields alone."""
    generators = [numbers("first")]
    with spans.open("first request"):
        next(generators[0])
    with spans.open("second request"):
        otelier.set_context(user_id="second")
        generators.pop().close()
        assert user() == "second"
        spans.born_here()
    assert spans["probe"] == {"user.id": "second"}


def test_generators_taking_turns_leave_nothing():
    """Generators that take turns on one thread restore what was there before all of them."""
    first, second = numbers("a"), numbers("b")
    next(first)
    next(second)
    first.close()
    second.close()
    assert user() is None


def test_an_exception_thrown_in_restores():
    """`throw` leaves the block as any exception does."""
    generator = numbers()
    next(generator)
    with pytest.raises(LookupError):
        generator.throw(LookupError())
    assert user() is None


async def broken_off_by_break(generator):
    async for _ in generator:
        break


async def broken_off_by_cancel(generator):
    async def consume():
        async for _ in generator:
            pass

    task = asyncio.ensure_future(consume())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def broken_off_by_exception(generator):
    async def consume():
        async for _ in generator:
            raise LookupError

    with pytest.raises(LookupError):
        await consume()


async def broken_off_in_another_task(generator):
    async def first():
        await generator.__anext__()

    await asyncio.ensure_future(first())
    await asyncio.ensure_future(generator.aclose())


async def broken_off_at_the_end_of_the_loop(generator, kept=[]):  # noqa: B006 -- it shall outlive the loop
    await generator.__anext__()
    kept.append(generator)


ENDINGS = [
    broken_off_by_break,
    broken_off_by_cancel,
    broken_off_by_exception,
    broken_off_in_another_task,
    broken_off_at_the_end_of_the_loop,
]


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__)
def test_async_generators_broken_off_never_reach_another_task(ending, foreign_detaches):
    """However its consumer leaves it, an async generator's fields reach no other task, and nothing is logged."""
    seen = []

    async def another():
        for _ in range(3):
            seen.append(user())
            await asyncio.sleep(0)

    async def main():
        other = asyncio.ensure_future(another())
        await asyncio.ensure_future(ending(async_numbers()))
        gc.collect()
        await asyncio.ensure_future(another())
        await other
        return user()

    assert asyncio.run(main()) is None
    assert seen == [None] * 6
    assert user() is None
    assert foreign_detaches == []


def test_async_generator_broken_off_lasts_until_the_consumers_span_ends(spans):
    """What an async generator lends to its consumer ends with the consumer's span."""

    async def main():
        generator = async_numbers()
        with spans.open("request"):
            await generator.__anext__()
            spans.born_here("between")
        spans.born_here("after")
        await generator.aclose()
        spans.born_here("later")

    asyncio.run(main())
    assert spans["between"] == {"user.id": "inside"}
    assert spans["after"] == {}
    assert spans["later"] == {}


def test_a_thousand_broken_off_never_mix(spans, foreign_detaches):
    """A thousand requests that each break a generator off see their own user only."""

    async def request(number):
        with spans.open("request"):
            otelier.set_context(user_id=f"u-{number}")
            async for _ in async_numbers(f"inner-{number}"):
                break
            await asyncio.sleep(0)
            return spans.born_here().get("user.id") in (f"u-{number}", f"inner-{number}")

    async def main():
        return await asyncio.gather(*(asyncio.ensure_future(request(number)) for number in range(1000)))

    assert all(asyncio.run(main()))
    assert foreign_detaches == []
