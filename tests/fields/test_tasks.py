"""asyncio: tasks inherit, and nothing passes from one task to another, also below one and the same span."""

from __future__ import annotations

import asyncio
import contextvars
import random
import sys

import pytest
from opentelemetry.trace import SpanKind

import otelier


def user():
    return otelier.get_context().user_id


def name_of(number):
    """Two users in three, and every third task has none."""
    return None if number % 3 == 2 else f"u-{number}"


async def serve(spans, number, *, turns=4):
    """One caller's work: sets its user if it has one, and makes spans while others take their turns."""
    name = name_of(number)
    await asyncio.sleep(0)
    if name is not None:
        otelier.set_context(user_id=name, session_id=f"s-{number}")
    for _ in range(turns):
        with spans.open(f"work {number}"):
            await asyncio.sleep(0)
            spans.born_here(f"call {number}")
        await asyncio.sleep(0)
    assert user() == name


def assert_not_mixed(spans, numbers):
    """Every span of every caller has that caller's user and session, or none."""
    wrong = []
    expected = {number: (name_of(number), f"s-{number}" if name_of(number) else None) for number in numbers}
    for span in spans.spans:
        what, _, number = span.name.partition(" ")
        if what not in ("work", "call"):
            continue
        seen = (span.attributes.get("user.id"), span.attributes.get("session.id"))
        if seen != expected[int(number)]:
            wrong.append((span.name, seen))
    assert wrong == []


def test_a_task_inherits_from_the_code_that_starts_it():
    """A task has what was set where it was created, not what is set there later."""

    async def main():
        otelier.set_context(user_id="before")
        task = asyncio.ensure_future(asyncio.sleep(0, user))
        otelier.set_context(user_id="after")
        return (await asyncio.ensure_future(read())), (await task)()

    async def read():
        return user()

    assert asyncio.run(main()) == ("after", "after")


def test_a_running_task_keeps_what_it_was_started_with():
    """What its creator sets later does not reach a task that exists."""

    async def read():
        await asyncio.sleep(0)
        return user()

    async def main():
        otelier.set_context(user_id="before")
        task = asyncio.ensure_future(read())
        otelier.set_context(user_id="after")
        return await task

    assert asyncio.run(main()) == "before"


def test_what_a_task_sets_ends_with_it():
    """A task's `set_context` reaches neither its creator nor its siblings."""

    async def setter():
        otelier.set_context(user_id="theirs")

    async def main():
        await asyncio.ensure_future(setter())
        return user()

    assert asyncio.run(main()) is None


def test_a_thousand_interleaved_tasks_never_mix(spans):
    """A thousand tasks taking turns, a third of them without a user, each see only their own."""

    async def main():
        await asyncio.gather(*(serve(spans, number) for number in range(1000)))

    asyncio.run(main())
    assert len(spans.spans) == 8000
    assert_not_mixed(spans, range(1000))


@pytest.mark.parametrize("kind", [SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CONSUMER], ids=lambda kind: kind.name)
@pytest.mark.parametrize("order", ["in order", "shuffled", "nobody first", "nobody last"])
def test_200_tasks_below_one_span_never_mix(spans, kind, order):
    """200 tasks with different users, and some with none, below ONE span: each has its own user or none."""
    numbers = list(range(200))
    if order == "shuffled":
        random.Random(7).shuffle(numbers)
    elif order != "in order":
        numbers.sort(key=lambda number: (name_of(number) is None) == (order == "nobody last"))

    async def main():
        with spans.open("batch", kind=kind):
            await asyncio.gather(*(serve(spans, number) for number in numbers))

    asyncio.run(main())
    assert_not_mixed(spans, numbers)


@pytest.mark.parametrize("kind", [SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CONSUMER], ids=lambda kind: kind.name)
def test_tasks_one_after_another_below_one_span_never_mix(spans, kind):
    """Tasks that run one by one below one span, as a consumer's messages do, never see each other's fields."""

    async def main():
        with spans.open("poll", kind=kind):
            for number in range(30):
                await asyncio.ensure_future(serve(spans, number))

    asyncio.run(main())
    assert_not_mixed(spans, range(30))


@pytest.mark.parametrize("kind", [SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CONSUMER], ids=lambda kind: kind.name)
def test_one_user_only_below_one_span_does_not_spread(spans, kind):
    """A single task with a user among tasks with none below one span keeps it to itself."""

    async def with_user():
        otelier.set_context(user_id="u-1")
        for _ in range(3):
            await asyncio.sleep(0)
            spans.born_here("with")

    async def without():
        for _ in range(5):
            await asyncio.sleep(0)
            spans.born_here("without")

    async def main():
        with spans.open("batch", kind=kind):
            await asyncio.gather(without(), with_user(), without())

    asyncio.run(main())
    assert spans.users("with") == ["u-1"] * 3
    assert spans.users("without") == [None] * 10


def test_agents_below_one_span_never_mix(spans):
    """Tasks that act as different agents below one request span each have their own agent, others have none."""

    async def act(name):
        if name:
            otelier.set_context(agent=name)
        for _ in range(3):
            await asyncio.sleep(0)
            spans.born_here(f"call {name}")

    async def main():
        with spans.open("request", kind=SpanKind.SERVER):
            await asyncio.gather(act("triage"), act(None), act("billing"), act(None))

    asyncio.run(main())
    for name in ("triage", "billing", None):
        assert {call.get("gen_ai.agent.name") for call in spans.named(f"call {name}")} == {name}


@pytest.mark.parametrize("how", ["set", "block", "decorator"])
def test_cancelled_tasks_leave_nothing(spans, how, foreign_detaches):
    """200 tasks cancelled half-way, inside spans and blocks, leave no field, no open context and no log record."""

    async def caller(number):
        if how == "set":
            with spans.open("request", kind=SpanKind.SERVER):
                otelier.set_context(user_id=f"u-{number}")
                await asyncio.sleep(60)
        elif how == "block":
            with otelier.context(user_id=f"u-{number}"), spans.open("request"):
                await asyncio.sleep(60)
        else:
            await otelier.context(user_id=f"u-{number}")(asyncio.sleep)(60)

    async def main():
        tasks = [asyncio.ensure_future(caller(number)) for number in range(200)]
        await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended)
        spans.born_here("after")
        return user()

    assert asyncio.run(main()) is None
    assert spans["after"] == {}
    assert foreign_detaches == []


def test_callbacks_inherit_from_the_code_that_plans_them():
    """`call_soon` and `call_later` run with what was set where they were planned."""

    async def main():
        loop = asyncio.get_running_loop()
        seen = []
        with otelier.context(user_id="planned"):
            loop.call_soon(lambda: seen.append(user()))
            loop.call_later(0.001, lambda: seen.append(user()))
        await asyncio.sleep(0.02)
        return seen, user()

    assert asyncio.run(main()) == (["planned", "planned"], None)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Runner and task contexts came with Python 3.11")
def test_a_task_in_a_context_of_its_own():
    """A task given another `contextvars` context has what is set there."""

    async def read():
        return user()

    async def main():
        elsewhere = contextvars.Context()
        elsewhere.run(otelier.set_context, user_id="elsewhere")
        otelier.set_context(user_id="here")
        return await asyncio.get_running_loop().create_task(read(), context=elsewhere)

    assert asyncio.run(main()) == "elsewhere"


def test_task_left_behind_keeps_its_fields_after_its_request(spans):
    """A background task started in a request keeps the request's fields when the request is over."""

    async def background():
        await asyncio.sleep(0.01)
        spans.born_here("background")

    async def main():
        with spans.open("request", kind=SpanKind.SERVER):
            otelier.set_context(user_id="u-1")
            task = asyncio.ensure_future(background())
        spans.born_here("after")
        await task

    asyncio.run(main())
    assert spans["background"] == {"user.id": "u-1"}
    assert spans["after"] == {}
