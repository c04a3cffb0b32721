"""`@otelier.context()` on plain and async functions, methods and other callables."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect

import pytest

import otelier
from otelier.errors import ContextValueError


def user():
    return otelier.get_context().user_id


def test_each_call_has_the_fields_and_leaves_none():
    """The fields are in force during the call and gone after it, arguments and result pass unchanged."""

    @otelier.context(user_id="u-1")
    def work(a, *rest, key=None, **more):
        return user(), a, rest, key, more

    assert work(1, 2, key=3, other=4) == ("u-1", 1, (2,), 3, {"other": 4})
    assert user() is None


def test_the_callers_other_fields_are_seen():
    """A decorated function adds to what its caller set, at each call anew."""

    @otelier.context(agent="billing")
    def work():
        return otelier.get_context()

    for name in ("a", "b"):
        with otelier.context(user_id=name):
            assert work() == otelier.CallContext(user_id=name, agent="billing")


def test_what_the_function_sets_ends_with_the_call():
    """`set_context` inside a decorated function does not reach its caller."""

    @otelier.context(user_id="u-1")
    def work():
        otelier.set_context(user_id="u-2", session_id="s-1")

    work()
    assert otelier.get_context() == otelier.CallContext()


def test_an_exception_passes_unchanged():
    """The function's own exception object reaches the caller, and the fields are restored."""
    error = KeyError("mine")

    @otelier.context(user_id="u-1")
    def work():
        raise error

    with pytest.raises(KeyError) as raised:
        work()
    assert raised.value is error
    assert user() is None


def test_it_may_call_itself():
    """A decorated function is re-entrant, with one decorator object for all calls."""

    @otelier.context(user_id="u-1")
    def count(depth):
        assert user() == "u-1"
        otelier.set_context(user_id=f"u-{depth}")
        if depth:
            count(depth - 1)
        return user()

    assert count(50) == "u-50"
    assert user() is None


def test_decorators_nest():
    """The decorator nearest to the function wins for the fields that both give."""

    @otelier.context(user_id="outer", session_id="s-1")
    @otelier.context(user_id="inner")
    def work():
        return otelier.get_context()

    assert work() == otelier.CallContext(user_id="inner", session_id="s-1")


def test_one_object_decorates_many_functions():
    """The same `context()` object may decorate several functions and open a block besides."""
    scope = otelier.context(user_id="u-1")
    first, second = scope(user), scope(lambda: first())
    assert (first(), second()) == ("u-1", "u-1")
    with scope:
        assert second() == "u-1"


def test_values_are_checked_where_the_function_is_decorated():
    """Where otelier is strict, a value that cannot be carried is refused at the decorator, before any call."""
    otelier.init(strict=True)
    with pytest.raises(ContextValueError, match="user_id"):
        otelier.context(user_id="\n")(user)
    with pytest.raises(TypeError, match="agent"):
        otelier.context(agent=7.5)(user)


def test_a_decorator_that_was_made_before_otelier_was_strict():
    """A wrong value is refused at the call where it was not yet known at the decorator that it should be."""
    decorated = otelier.context(user_id="\n", agent="billing")(otelier.get_context)
    assert decorated() == otelier.CallContext(agent="billing")
    otelier.init(strict=True)
    with pytest.raises(ContextValueError, match="user_id"):
        decorated()


def test_name_docstring_and_signature_stay():
    """A decorated function looks like the one it was made from."""

    @otelier.context(user_id="u-1")
    def work(a: int, *, b: str = "x") -> str:
        """Do the work."""

    assert (work.__name__, work.__doc__) == ("work", "Do the work.")
    assert str(inspect.signature(work)) == str(inspect.signature(work.__wrapped__))


@pytest.mark.parametrize("wrong", [None, 7, "work", [], ...], ids=repr)
def test_what_cannot_be_called_is_refused(wrong):
    """Decorating something that is no function is a `TypeError`."""
    with pytest.raises(TypeError):
        otelier.context(user_id="u-1")(wrong)


def test_a_class_is_refused():
    """A class is refused, since its instances would be made inside the block and used outside."""
    with pytest.raises(TypeError, match="Tool"):

        @otelier.context(user_id="u-1")
        class Tool:
            pass


def test_forgotten_parentheses_are_refused():
    """`@otelier.context` without a call is a `TypeError`, not a function that silently sets nothing."""
    with pytest.raises(TypeError):

        @otelier.context
        def work():
            pass


def test_methods_of_every_kind():
    """Methods, class methods, static methods and properties can be decorated from inside."""
    scope = otelier.context(user_id="u-1")

    class Tool:
        @scope
        def method(self):
            return self, user()

        @classmethod
        @scope
        def class_method(cls):
            return cls, user()

        @staticmethod
        @scope
        def static_method():
            return user()

        @property
        @scope
        def user(self):
            return user()

    tool = Tool()
    assert tool.method() == (tool, "u-1")
    assert tool.class_method() == (Tool, "u-1")
    assert (tool.static_method(), tool.user) == ("u-1", "u-1")


def test_callables_that_are_no_functions():
    """Partials, bound methods, built-ins and callable objects can be decorated."""

    class Callable:
        def __call__(self, suffix):
            return f"{user()}{suffix}"

        bound = __call__

    scope = otelier.context(user_id="u-1")
    assert scope(functools.partial(Callable(), "!"))() == "u-1!"
    assert scope(Callable())("?") == "u-1?"
    assert scope(Callable().bound)(".") == "u-1."
    assert scope(len)("four") == 4


def test_async_functions():
    """A decorated coroutine function stays one; fields hold across each `await` and end with the call."""

    @otelier.context(user_id="u-1")
    async def work():
        before = user()
        await asyncio.sleep(0)
        otelier.set_context(session_id="s-1")
        await asyncio.sleep(0)
        return before, otelier.get_context()

    async def main():
        result = await work()
        return result, otelier.get_context()

    assert inspect.iscoroutinefunction(work)
    assert asyncio.run(main()) == (
        ("u-1", otelier.CallContext(user_id="u-1", session_id="s-1")),
        otelier.CallContext(),
    )


def test_async_functions_take_the_context_where_they_are_awaited():
    """A coroutine made in one place and awaited in another runs with the fields of the place that runs it."""

    @otelier.context(agent="billing")
    async def work():
        return otelier.get_context()

    async def main():
        with otelier.context(user_id="made"):
            coroutine = work()
        with otelier.context(user_id="awaited"):
            return await coroutine

    assert asyncio.run(main()) == otelier.CallContext(user_id="awaited", agent="billing")


def test_interleaved_async_calls_do_not_mix():
    """Calls of decorated coroutine functions that take turns each see their own fields only."""

    def made(name):
        @otelier.context(user_id=name)
        async def work():
            seen = set()
            for _ in range(5):
                seen.add(user())
                await asyncio.sleep(0)
            return seen

        return work

    async def main():
        return await asyncio.gather(*(made(f"u-{number}")() for number in range(50)))

    assert asyncio.run(main()) == [{f"u-{number}"} for number in range(50)]


def test_a_cancelled_async_call_restores():
    """Cancellation passes through a decorated coroutine function and leaves nothing set."""

    @otelier.context(user_id="u-1")
    async def work():
        await asyncio.sleep(60)

    async def main():
        try:
            await asyncio.wait_for(work(), timeout=0.01)
        except asyncio.TimeoutError:
            return user()

    assert asyncio.run(main()) is None


def test_a_coroutine_that_is_closed_elsewhere_leaves_nothing():
    """A decorated coroutine that its task left half-way may be closed from any other context, and logs nothing."""
    seen = []

    @otelier.context(user_id="u-1")
    async def work():
        try:
            await asyncio.sleep(0)
        finally:
            seen.append(user())

    coroutine = work()
    contextvars.copy_context().run(coroutine.send, None)
    otelier.set_context(user_id="mine")
    coroutine.close()
    assert user() == "mine"
    assert len(seen) == 1


def test_async_callables_that_are_no_functions():
    """Partials of coroutine functions and objects with an async `__call__` are awaited inside the block."""

    class Callable:
        async def __call__(self):
            await asyncio.sleep(0)
            return user()

    async def plain():
        await asyncio.sleep(0)
        return user()

    scope = otelier.context(user_id="u-1")
    assert asyncio.run(scope(functools.partial(plain))()) == "u-1"
    assert asyncio.run(scope(Callable())()) == "u-1"
