"""`@otelier.context()` on generator functions: driven step by step, and otherwise as if it were not there."""

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
    """The decorator, and none: the protocol of a generator is the same with both."""
    return request.param


def test_the_body_has_the_fields_and_the_consumer_does_not():
    """Between two steps the consumer sees its own fields only."""

    @otelier.context(user_id="u-1")
    def numbers():
        for number in range(3):
            assert user() == "u-1"
            yield number
        assert user() == "u-1"

    assert inspect.isgeneratorfunction(numbers)
    for _ in numbers():
        assert user() is None
    assert user() is None


def test_what_the_body_sets_stays_in_the_body():
    """A `set_context` in a decorated generator holds for its next steps and is never seen by the consumer."""

    @otelier.context(user_id="u-1")
    def numbers():
        otelier.set_context(session_id="s-1")
        yield otelier.get_context()
        yield otelier.get_context()

    for seen in numbers():
        assert seen == otelier.CallContext(user_id="u-1", session_id="s-1")
        assert otelier.get_context() == otelier.CallContext()


def test_what_the_consumer_sets_between_steps_stays():
    """The consumer's own `set_context` between two steps is neither undone nor seen by the body."""

    @otelier.context(user_id="u-1")
    def numbers():
        yield user()
        yield user()

    generator = numbers()
    assert next(generator) == "u-1"
    otelier.set_context(user_id="mine")
    assert next(generator) == "u-1"
    assert next(generator, None) is None
    assert user() == "mine"


def test_two_generators_taking_turns_do_not_mix():
    """Interleaved generators each see their own fields."""

    def made(name):
        @otelier.context(user_id=name)
        def seen():
            while True:
                yield user()

        return seen()

    first, second = made("a"), made("b")
    assert [(next(first), next(second), user()) for _ in range(3)] == [("a", "b", None)] * 3
    second.close()
    assert next(first) == "a"


def test_send_and_return_value(scope):
    """`send` reaches the body, and `return` reaches `yield from`."""

    @scope
    def total():
        result = 0
        while (received := (yield result)) is not None:
            result += received
        return f"total {result}"

    def outer():
        return (yield from total())

    generator = outer()
    assert [generator.send(value) for value in (None, 2, 3)] == [0, 2, 5]
    with pytest.raises(StopIteration) as end:
        generator.send(None)
    assert end.value.value == "total 5"


def test_send_before_the_start_is_refused(scope):
    """A value sent to a generator that has not started is Python's own `TypeError`."""

    @scope
    def numbers():
        yield 1

    with pytest.raises(TypeError, match="just-started"):
        numbers().send(1)


def test_throw_can_be_caught_and_answered(scope):
    """`throw` raises at the `yield`; what the body yields then is the answer."""
    error = ValueError("mine")

    @scope
    def numbers():
        try:
            yield 1
        except ValueError as caught:
            yield caught

    generator = numbers()
    next(generator)
    assert generator.throw(error) is error


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), asyncio.CancelledError()], ids=repr)
def test_throw_passes_when_nobody_catches(scope, error):
    """An exception thrown in and not caught comes out as the same object."""

    @scope
    def numbers():
        yield 1

    generator = numbers()
    next(generator)
    with pytest.raises(type(error)) as raised:
        generator.throw(error)
    assert raised.value is error
    with pytest.raises(StopIteration):
        next(generator)


def test_the_bodys_exception_passes(scope):
    """The body's own exception reaches the consumer unchanged."""
    error = LookupError("mine")

    @scope
    def numbers():
        yield 1
        raise error

    generator = numbers()
    next(generator)
    with pytest.raises(LookupError) as raised:
        next(generator)
    assert raised.value is error
    assert user() is None


def test_a_stop_iteration_in_the_body_is_an_error(scope):
    """`StopIteration` raised in the body becomes `RuntimeError`, as the language has it."""

    @scope
    def numbers():
        yield 1
        raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        list(numbers())


def test_a_stop_iteration_thrown_in_is_an_error(scope):
    """`StopIteration` thrown in and not caught becomes `RuntimeError`, as the language has it."""

    @scope
    def numbers():
        yield 1

    generator = numbers()
    next(generator)
    with pytest.raises(RuntimeError, match="StopIteration"):
        generator.throw(StopIteration())


def test_close_runs_the_bodys_clean_up(scope):
    """`close` raises `GeneratorExit` in the body, whose clean-up runs at once."""
    ended = []

    @scope
    def numbers():
        try:
            yield 1
        except GeneratorExit:
            ended.append("exit")
            raise
        finally:
            ended.append("finally")

    generator = numbers()
    next(generator)
    generator.close()
    assert ended == ["exit", "finally"]
    generator.close()


def test_a_body_that_ignores_close_is_an_error(scope):
    """A body that yields on `GeneratorExit` is Python's own `RuntimeError`."""

    @scope
    def numbers():
        try:
            yield 1
        except GeneratorExit:
            yield 2

    generator = numbers()
    next(generator)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        generator.close()


def test_a_generator_never_started_runs_nothing(scope):
    """Making a generator runs none of its body, and closing it neither."""

    @scope
    def numbers():
        pytest.fail("the body ran")
        yield

    numbers().close()


def test_arguments_are_bound_when_it_is_called(scope):
    """Wrong arguments are refused with Python's `TypeError`, at the latest at the first step."""

    @scope
    def numbers(start):
        yield start

    assert list(numbers(4)) == [4]
    with pytest.raises(TypeError, match="argument"):
        list(numbers())


def test_clean_up_at_collection_has_the_fields():
    """A decorated generator broken off and dropped cleans up with its own fields, the consumer's untouched."""
    seen = []

    @otelier.context(user_id="u-1")
    def numbers():
        try:
            yield 1
        finally:
            seen.append(user())

    otelier.set_context(user_id="mine")
    for _ in numbers():
        break
    gc.collect()
    assert seen == ["u-1"]
    assert user() == "mine"


def test_a_span_open_across_yields_is_not_the_consumers(spans):
    """A span that a decorated generator holds open is the parent inside, and not of the consumer's spans."""

    @otelier.context(user_id="u-1")
    def numbers():
        with spans.open("producing"):
            for number in range(2):
                spans.born_here("inside")
                yield number

    for _ in numbers():
        spans.born_here("outside")
    finished = {span.name: span for span in spans.spans}
    assert finished["outside"].parent is None
    assert finished["inside"].parent.span_id == finished["producing"].context.span_id
    assert spans.users("inside") == ["u-1", "u-1"]
    assert spans.users("outside") == [None, None]
