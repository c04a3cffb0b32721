"""`@otelier.context()` on async generator functions: driven step by step, broken off anywhere without a trace."""

from __future__ import annotations

import asyncio
import gc
import inspect

import pytest

import otelier


def user():
    return otelier.get_context().user_id


def plain(function):
    return function


@pytest.fixture(params=[plain, otelier.context(user_id="u-1")], ids=["plain", "decorated"])
def scope(request):
    """The decorator, and none: the protocol of an async generator is the same with both."""
    return request.param


def test_the_body_has_the_fields_and_the_consumer_does_not():
    """The fields hold in the body over every `await` and `yield`; between steps the consumer sees its own."""

    @otelier.context(user_id="u-1")
    async def numbers():
        for number in range(3):
            await asyncio.sleep(0)
            assert user() == "u-1"
            yield number

    async def main():
        otelier.set_context(user_id="mine")
        async for _ in numbers():
            assert user() == "mine"
            await asyncio.sleep(0)
        return user()

    assert inspect.isasyncgenfunction(numbers)
    assert asyncio.run(main()) == "mine"


def test_what_the_body_sets_stays_in_the_body():
    """A `set_context` in the body holds for its next steps and is never seen by the consumer."""

    @otelier.context(user_id="u-1")
    async def numbers():
        otelier.set_context(session_id="s-1")
        yield otelier.get_context()
        yield otelier.get_context()

    async def main():
        async for seen in numbers():
            assert seen == otelier.CallContext(user_id="u-1", session_id="s-1")
            assert otelier.get_context() == otelier.CallContext()

    asyncio.run(main())


def test_asend_athrow_and_aclose(scope):
    """`asend`, `athrow` and `aclose` reach the body, and what it answers comes back."""
    error = ValueError("mine")
    ended = []

    @scope
    async def talk():
        received = yield "first"
        try:
            try:
                yield received
            except ValueError as caught:
                yield caught
        finally:
            ended.append(True)

    async def main():
        generator = talk()
        assert await generator.asend(None) == "first"
        assert await generator.asend("hello") == "hello"
        assert await generator.athrow(error) is error
        await generator.aclose()
        await generator.aclose()
        with pytest.raises(StopAsyncIteration):
            await generator.__anext__()

    asyncio.run(main())
    assert ended == [True]


@pytest.mark.parametrize("error", [ValueError("mine"), asyncio.CancelledError()], ids=repr)
def test_an_exception_thrown_in_passes_when_nobody_catches(scope, error):
    """An exception thrown in and not caught comes out as the same object."""

    @scope
    async def numbers():
        yield 1

    async def main():
        generator = numbers()
        await generator.__anext__()
        with pytest.raises(type(error)) as raised:
            await generator.athrow(error)
        return raised.value

    assert asyncio.run(main()) is error


def test_the_bodys_exception_passes(scope):
    """The body's own exception reaches the consumer unchanged."""
    error = LookupError("mine")

    @scope
    async def numbers():
        yield 1
        raise error

    async def main():
        with pytest.raises(LookupError) as raised:
            async for _ in numbers():
                pass
        return raised.value, user()

    assert asyncio.run(main()) == (error, None)


def test_a_stop_async_iteration_in_the_body_is_an_error(scope):
    """`StopAsyncIteration` raised in the body becomes `RuntimeError`, as the language has it."""

    @scope
    async def numbers():
        yield 1
        raise StopAsyncIteration

    async def main():
        async for _ in numbers():
            pass

    with pytest.raises(RuntimeError, match="StopAsyncIteration"):
        asyncio.run(main())


def test_a_body_that_ignores_close_is_an_error(scope):
    """A body that yields on `GeneratorExit` is Python's own `RuntimeError`."""

    @scope
    async def numbers():
        try:
            yield 1
        except GeneratorExit:
            yield 2

    async def main():
        generator = numbers()
        await generator.__anext__()
        await generator.aclose()

    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        asyncio.run(main())


def broken_off_by_break(generator):
    async def consume():
        async for _ in generator:
            break

    return consume()


def broken_off_by_return(generator):
    async def consume():
        async for _ in generator:
            return

    return consume()


async def broken_off_by_exception(generator):
    async def consume():
        async for _ in generator:
            raise LookupError

    with pytest.raises(LookupError):
        await consume()


async def broken_off_by_cancel(generator):
    async def consume():
        async for _ in generator:
            await asyncio.sleep(60)

    task = asyncio.ensure_future(consume())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def broken_off_in_another_task(generator):
    async def first():
        await generator.__anext__()

    await asyncio.ensure_future(first())
    await asyncio.ensure_future(generator.aclose())


async def broken_off_while_it_waits(generator):
    await generator.__anext__()
    waiting = asyncio.ensure_future(generator.__anext__())
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


ENDINGS = [
    broken_off_by_break,
    broken_off_by_return,
    broken_off_by_exception,
    broken_off_by_cancel,
    broken_off_in_another_task,
    broken_off_while_it_waits,
]


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__)
def test_broken_off_anywhere_it_leaves_nothing(ending, foreign_detaches):
    """However its consumer leaves it, a decorated async generator cleans up with its fields and leaks none."""
    seen = []

    @otelier.context(user_id="u-1")
    async def numbers():
        try:
            yield 1
            await asyncio.sleep(60)
            yield 2
        finally:
            seen.append(user())

    async def main():
        otelier.set_context(user_id="mine")
        await ending(numbers())
        gc.collect()
        await asyncio.sleep(0.01)
        return user()

    assert asyncio.run(main()) == "mine"
    gc.collect()
    assert seen == ["u-1"]
    assert foreign_detaches == []


def test_left_to_the_end_of_the_loop(caplog):
    """A decorated async generator still open when the loop shuts down is finished there once, with its fields."""
    seen, kept = [], []

    @otelier.context(user_id="u-1")
    async def numbers():
        try:
            yield 1
        finally:
            await asyncio.sleep(0.01)
            seen.append(user())

    async def main():
        kept.extend(numbers() for _ in range(3))
        for generator in kept:
            await generator.__anext__()

    asyncio.run(main())
    assert seen == ["u-1"] * 3
    assert caplog.records == []


def test_steps_of_one_generator_in_many_tasks():
    """A decorated async generator may be stepped from one task after another: its fields stay its own."""

    @otelier.context(user_id="u-1")
    async def numbers():
        while True:
            yield user()

    async def main():
        generator = numbers()

        async def step(name):
            otelier.set_context(user_id=name)
            return await generator.__anext__(), user()

        steps = [await asyncio.ensure_future(step(f"task-{number}")) for number in range(10)]
        await generator.aclose()
        return steps

    assert asyncio.run(main()) == [("u-1", f"task-{number}") for number in range(10)]


def test_its_spans_carry_its_fields(spans):
    """Spans made in the body carry the body's fields, spans of the consumer its own."""

    @otelier.context(user_id="u-1")
    async def numbers():
        for number in range(3):
            spans.born_here("body")
            yield number

    async def main():
        with otelier.context(user_id="mine"):
            async for _ in numbers():
                with spans.open("consumer"):
                    await asyncio.sleep(0)

    asyncio.run(main())
    with otelier.context(user_id="u-1"):
        assert [span.attributes["user.id"] for span in spans.spans] == ["u-1", "mine"] * 3
