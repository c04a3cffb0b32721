"""`otelier.propagate()`: a function bound to the context of the place that bound it."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import attach

import otelier
from tests.fields.given import GIVEN


def user():
    return otelier.get_context().user_id


def in_raw_thread(function, *args, **kwargs):
    """Return what *function* gives in a thread of its own."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*args, **kwargs)))
    thread.start()
    thread.join()
    return results[0]


def bound(function, **fields):
    """Bind *function* where *fields* are set."""
    with otelier.context(**fields):
        return otelier.propagate(function)


def test_a_raw_thread_gets_every_field():
    """A bound function has the fields of the place that bound it, in any thread, after that place has ended."""
    assert in_raw_thread(bound(otelier.get_context, **GIVEN)) == otelier.CallContext(**GIVEN)


def test_the_span_and_the_baggage_go_along(spans):
    """A bound function's spans are children of the span that was current, and the application's baggage is there."""
    attach(baggage.set_baggage("tenant", "blue"))
    with spans.open("request"), otelier.context(user_id="u-1"):
        job = otelier.propagate(lambda: (spans.born_here("job"), baggage.get_baggage("tenant")))
    assert in_raw_thread(job) == ({"user.id": "u-1"}, "blue")
    finished = {span.name: span for span in spans.spans}
    assert finished["job"].parent.span_id == finished["request"].context.span_id


def test_it_is_called_like_the_function():
    """Arguments, result and exception pass unchanged."""
    error = LookupError("mine")

    def work(a, *rest, fail=False, **more):
        if fail:
            raise error
        return a, rest, more

    job = otelier.propagate(work)
    assert job(1, 2, key=3) == (1, (2,), {"key": 3})
    with pytest.raises(LookupError) as raised:
        job(1, fail=True)
    assert raised.value is error


def test_what_it_sets_stays_in_that_call():
    """A bound function changes neither its caller's fields nor those of its next call, in one thread or two."""

    def work(name):
        before = user()
        otelier.set_context(user_id=name)
        return before, user()

    job = bound(work, user_id="u-1")
    otelier.set_context(user_id="caller")
    assert [job("x"), job("y"), in_raw_thread(job, "z")] == [("u-1", "x"), ("u-1", "y"), ("u-1", "z")]
    assert user() == "caller"


def test_it_replaces_the_fields_of_the_place_that_calls_it():
    """A bound function sees nothing of the context it is called in, also where nothing was set when it was bound."""
    job = otelier.propagate(otelier.get_context)
    with otelier.context(**GIVEN):
        assert job() == otelier.CallContext()


def test_it_may_run_in_many_threads_at_once():
    """One bound function may run in several threads at the same time."""
    barrier = threading.Barrier(4)

    def work(number):
        otelier.set_context(session_id=f"s-{number}")
        barrier.wait(timeout=300)
        return user(), otelier.get_context().session_id

    job = bound(work, user_id="u-1")
    with ThreadPoolExecutor(4) as pool, otelier.context(user_id="pool"):
        assert list(pool.map(job, range(4))) == [("u-1", f"s-{number}") for number in range(4)]


def test_coroutine_functions():
    """A bound coroutine function stays one, and holds its fields over each `await`."""

    async def work():
        await asyncio.sleep(0)
        return user()

    job = bound(work, user_id="u-1")
    assert inspect.iscoroutinefunction(job)

    async def main():
        otelier.set_context(user_id="mine")
        return await job(), user()

    assert asyncio.run(main()) == ("u-1", "mine")


@pytest.mark.parametrize(
    "is_kind", [inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction]
)
def test_a_bound_function_is_of_the_same_kind(is_kind):
    """Frameworks that look whether a function is async, or a generator function, see what they would see without us."""

    async def coroutine():
        pass

    def generator():
        yield

    async def async_generator():
        yield

    for function in (user, coroutine, generator, async_generator, functools.partial(coroutine)):
        assert is_kind(otelier.propagate(function)) == is_kind(function)
        assert inspect.signature(otelier.propagate(function)) == inspect.signature(function)


def test_a_bound_function_as_a_method():
    """A function that is bound in a class body is given its instance, as before."""
    with otelier.context(user_id="u-1"):

        class Callback:
            @otelier.propagate
            def fire(self, event):
                return self, event, user()

    callback = Callback()
    assert callback.fire("done") == (callback, "done", "u-1")
    assert Callback.fire(callback, "done") == (callback, "done", "u-1")


def test_on_another_threads_loop():
    """A bound coroutine function given to a loop in another thread takes its fields there."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def work():
        await asyncio.sleep(0)
        return user()

    job = bound(work, user_id="u-1")
    try:
        assert asyncio.run_coroutine_threadsafe(job(), loop).result(timeout=300) == "u-1"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_generator_functions():
    """Bound generator functions run each step with their fields, and lend none to the consumer."""

    def numbers():
        yield user()
        yield user()

    async def async_numbers():
        yield user()
        await asyncio.sleep(0)
        yield user()

    async def main():
        return [(inside, user()) async for inside in bound(async_numbers, user_id="u-1")()]

    assert [(inside, user()) for inside in bound(numbers, user_id="u-1")()] == [("u-1", None)] * 2
    assert asyncio.run(main()) == [("u-1", None)] * 2


def test_callbacks_of_a_loop():
    """A bound callback has its own fields, whatever the loop's callback context is."""

    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        loop.call_soon(bound(lambda: done.set_result(user()), user_id="u-1"))
        return await done

    assert asyncio.run(main()) == "u-1"


def test_name_docstring_and_signature_stay():
    """A bound function looks like the one it was made from."""

    def work(a: int) -> str:
        """Do the work."""

    job = otelier.propagate(work)
    assert (job.__name__, job.__doc__, job.__wrapped__) == ("work", "Do the work.", work)
    assert inspect.signature(job) == inspect.signature(work)


@pytest.mark.parametrize("callable_", [functools.partial(otelier.get_context), len, str.upper, print])
def test_any_callable_can_be_bound(callable_):
    """Partials, methods and built-ins can be bound."""
    assert callable(otelier.propagate(callable_))


@pytest.mark.parametrize("wrong", [None, 7, "work", ...], ids=repr)
def test_what_cannot_be_called_is_refused(wrong):
    """Binding something that is no function is a `TypeError`."""
    with pytest.raises(TypeError):
        otelier.propagate(wrong)


def test_bound_again_the_inner_binding_wins():
    """A function bound twice runs with the fields of its first binding."""
    assert bound(bound(user, user_id="first"), user_id="second")() == "first"


def roundtrip(function):
    return pickle.loads(pickle.dumps(function))


@pytest.mark.parametrize("field", GIVEN)
def test_each_field_survives_pickling(field):
    """A pickled bound function carries each field alone."""
    assert roundtrip(bound(otelier.get_context, **{field: GIVEN[field]}))() == otelier.CallContext(
        **{field: GIVEN[field]}
    )


def test_a_pickled_function_carries_all(spans):
    """Pickled, a bound function keeps fields, span and the application's baggage; ours come out as ours."""
    attach(baggage.set_baggage("tenant", "blue"))
    with spans.open("request") as request, otelier.context(**GIVEN):
        job = roundtrip(otelier.propagate(where))
    context, span, bag = job()
    assert context == otelier.CallContext(**GIVEN)
    assert span.is_remote
    assert (span.trace_id, span.span_id) == (request.context.trace_id, request.context.span_id)
    assert bag["tenant"] == "blue"
    assert bag["user.id"] == "u-1"
    assert in_raw_thread(job) == (context, span, bag)
    otelier.clear_context()
    assert dict(baggage.get_all()) == {"tenant": "blue"}


def where():
    return otelier.get_context(), trace.get_current_span().get_span_context(), dict(baggage.get_all())


async def async_where():
    await asyncio.sleep(0)
    return otelier.get_context()


@pytest.mark.parametrize("together", [True, False])
def test_a_pickled_identity_is_the_same_one(together):
    """Whether a name belongs to its id is carried along: the agent is the same on both sides."""
    if together:
        otelier.set_context(agent="triage", agent_id="a-1")
    else:
        otelier.set_context(agent="triage")
        otelier.set_context(agent_id="a-1")
    here = otelier.get_agent()
    assert here.name == ("triage" if together else None)
    job = otelier.propagate(otelier.get_agent)
    otelier.clear_context()
    assert roundtrip(job)() == here


def test_a_pickled_coroutine_function_stays_one():
    """A pickled bound coroutine function is awaited as before."""
    job = roundtrip(bound(async_where, user_id="u-1"))
    assert inspect.iscoroutinefunction(job)
    assert asyncio.run(job()) == otelier.CallContext(user_id="u-1")


def test_a_bound_function_can_be_copied():
    """Copies of a bound function, made by frameworks that do so, keep its fields."""
    job = bound(user, user_id="u-1")
    assert (copy.copy(job)(), copy.deepcopy(job)()) == ("u-1", "u-1")


def test_a_function_that_cannot_be_pickled_says_so():
    """Binding is always possible; pickling what cannot be pickled is Python's own error."""
    job = otelier.propagate(lambda: None)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(job)


def test_baggage_that_is_no_text_stays_behind():
    """Entries that only this process can hold do not keep a function from being pickled."""
    attach(baggage.set_baggage("lock", threading.Lock()))
    assert "lock" not in roundtrip(otelier.propagate(where))()[2]
