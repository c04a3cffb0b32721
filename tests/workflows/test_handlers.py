"""Handlers: names, services, entities of every form, arguments, streams."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import sys
from decimal import Decimal
from enum import Enum
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from otelier.errors import CodecError, StepError, StreamElsewhere, WorkflowUseError
from otelier.workflows import Context, Handler, RunHandle, Worker, entity, function, workflow
from tests.workflows.working import (
    Lives,
    deadline,
    on_a_loop,
    opened,
    raises_sentence,
    run_once,
    waiting_for,
    worker_of,
)


async def _body(ctx: Context) -> None: ...


def test_a_handler_has_the_name_and_the_service_it_was_given():
    """The function's own name, or `name=`; `service=` where it does not belong to its worker's."""
    one = workflow(_body)
    other = function(name="billing", service="money", retries=2, backoff=0.5, timeout_s=3)(_body)
    assert (one.name, one.service, one.kind, repr(one)) == ("_body", None, "workflow", "<workflow _body>")
    assert (other.name, other.service, other.kind) == ("billing", "money", "function")
    assert (other.retries, other.backoff, other.timeout_s) == (2, 0.5, 3.0)
    assert (other.__name__, other.__wrapped__) == ("_body", _body)  # type: ignore[attr-defined]


@pytest.mark.parametrize("decorate", [workflow, function, entity.write, entity.read, entity("T").write])
def test_a_plain_function_is_refused(decorate: Any):
    """A body waits, so it is an `async def`."""

    def plain(ctx: Context) -> int:
        return 1

    with raises_sentence(TypeError, "plain", "Write it as `async def`", "`ctx.step`"):
        decorate(plain)


def test_a_handler_without_a_context_is_refused():
    """Its first parameter is the context."""

    async def none() -> None: ...
    async def named(*, ctx: Context) -> None: ...

    for one in (none, named):
        with raises_sentence(TypeError, one.__name__, "first parameter"):
            workflow(one)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"name": ""}, ValueError),
        ({"name": 5}, TypeError),
        ({"service": "a\nb"}, ValueError),
        ({"retries": -1}, ValueError),
        ({"retries": True}, TypeError),
        ({"backoff": float("inf")}, ValueError),
        ({"timeout_s": float("nan")}, ValueError),
        ({"timeout_s": "5"}, TypeError),
    ],
)
def test_wrong_facts_of_a_handler_are_refused(given: dict[str, Any], kind: type[Exception]):
    """Names are printable text, counts and times are finite."""
    with raises_sentence(kind, "Cannot use"):
        workflow(**given)(_body)


# --- entities ----------------------------------------------------------------------------------------------------
def test_entities_of_every_form_have_a_type_and_methods():
    """By name, of a class with `self` or without, of a lone function with `type=` or of its module."""
    counter = entity("Counter")

    @counter.write
    async def add(ctx: Context) -> None: ...

    @counter.read
    async def total(ctx: Context) -> None: ...

    @entity
    class Profile:
        async def update(self, ctx: Context, name: str) -> None: ...

        @entity.read
        async def show(ctx: Context) -> None: ...

        @staticmethod
        async def reset(ctx: Context) -> None: ...

        async def _private(self) -> None: ...

        def plain(self) -> int:
            return 1

    @entity.write
    async def lone(ctx: Context) -> None: ...

    @entity.read(type="Other", service="others")
    async def typed(ctx: Context) -> None: ...

    found = [add, total, Profile.update, Profile.show, Profile.reset, lone, typed]
    assert [(one.kind, one.name, one.service) for one in found] == [  # type: ignore[attr-defined]
        ("write", "Counter.add", None),
        ("read", "Counter.total", None),
        ("write", "Profile.update", None),
        ("read", "Profile.show", None),
        ("write", "Profile.reset", None),
        ("write", "test_handlers.lone", None),
        ("read", "Other.typed", "others"),
    ]
    assert not isinstance(Profile._private, Handler)
    assert Profile().plain() == 1
    with raises_sentence(TypeError, "Cannot make an entity of a int"):
        entity(5)  # type: ignore[arg-type]


def test_a_lone_function_of_a_program_has_the_name_of_its_file(monkeypatch: pytest.MonkeyPatch):
    """The type of a lone function of `__main__` is the name of what was started, so that it outlives the process."""
    main = ModuleType("__main__")
    main.__file__ = "/srv/orders.py"
    monkeypatch.setitem(sys.modules, "__main__", main)

    async def add(ctx: Context) -> None: ...

    add.__module__ = "__main__"
    assert entity.write(add).name == "orders.add"
    main.__spec__ = type("Spec", (), {"name": "shop.orders"})()  # type: ignore[assignment]
    assert entity.write(add).name == "orders.add"


def test_a_class_has_methods_with_self_and_an_instance_for_each_call():
    """`self` is a fresh instance; methods without it get the context first."""

    @entity
    class Basket:
        def __init__(self) -> None:
            self.seen = 0

        async def add(self, ctx: Context, by: int) -> int:
            self.seen += by
            return self.seen

        async def bare(ctx: Context, by: int) -> int:
            return by

    assert list(Basket.add.parameters) == list(Basket.bare.parameters) == ["by"]  # type: ignore[attr-defined]


@on_a_loop
async def test_methods_of_classes_run(place: str | None):
    """Both forms of methods run by `ctx.entity`."""

    @entity
    class Basket:
        def __init__(self) -> None:
            self.seen = 0

        async def add(self, ctx: Context, by: int) -> list[int]:
            self.seen += by
            ctx.set("n", await ctx.get("n", 0) + by)
            return [self.seen, await ctx.get("n")]

        @entity.read
        async def total(ctx: Context) -> Any:
            return [await ctx.get("n"), ctx.component_type, ctx.object_id, ctx.method_name]

    @workflow
    async def flow(ctx: Context) -> Any:
        basket = ctx.entity("Basket", "k")
        return [await basket.add(1), await basket.add(by=2), await basket.total()]

    found = await run_once(place, flow, others=(Basket.add, Basket.total))  # type: ignore[arg-type]
    assert found == [[1, 1], [2, 3], [3, "entity", "k", "total"]]


# --- what a worker takes -----------------------------------------------------------------------------------------
def _module(name: str, **members: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(members)
    for one in members.values():
        if isinstance(one, type):
            one.__module__ = name
    return module


def test_two_handlers_of_one_name_are_refused():
    """A stored run would not know which of them is its own; defined again it is the same one."""

    async def other(ctx: Context) -> None: ...

    one, two = workflow(_body), workflow(name="_body")(other)
    with raises_sentence(WorkflowUseError, "'shop' has two handlers named '_body'", "Rename one by `name=`"):
        Worker("shop", modules=[one, two], engine="memory:")
    Worker("shop", modules=[one, workflow(_body)], engine="memory:")
    Worker("shop", modules=[one, workflow(name="_body", service="other")(other)], engine="memory:")


def test_a_type_of_two_services_is_refused():
    """An entity's state is in one place."""
    write = entity("T").write(_body)

    async def other(ctx: Context) -> None: ...

    read = entity("T", service="elsewhere").read(other)
    with raises_sentence(WorkflowUseError, "Entity 'T'", "'shop'", "'elsewhere'", "one `service=`"):
        Worker("shop", modules=[write, read], engine="memory:")


def test_a_worker_takes_modules_their_names_and_handlers():
    """Modules by themselves or as text, with their entities' classes; all else is refused."""

    @entity
    class Basket:
        async def add(self, ctx: Context) -> None: ...

    module = _module("shop_module", flow=workflow(_body), Basket=Basket, number=5)
    worker = Worker("shop", modules=[module, __name__], engine="memory:")
    assert {("shop", "_body"), ("shop", "Basket.add"), ("shop", "here")} <= worker._handlers.keys()
    assert ("shop", "here") in Worker("shop", engine="memory:")._handlers
    with raises_sentence(WorkflowUseError, "has nothing to run"):
        Worker("shop", modules=[_module("empty")], engine="memory:")
    with raises_sentence(WorkflowUseError, "Cannot take handlers from a function"):
        Worker("shop", modules=[_body], engine="memory:")  # type: ignore[list-item]
    with pytest.raises(ModuleNotFoundError):
        Worker("shop", modules=["no_such_module"], engine="memory:")


@workflow
async def here(ctx: Context, number: int = 1) -> int:
    return number


# --- arguments ---------------------------------------------------------------------------------------------------
class Color(Enum):
    RED = "red"


@dataclasses.dataclass
class Line:
    sku: str
    price: Decimal


class Order(BaseModel):
    id: UUID
    at: dt.datetime
    lines: list[Line]
    color: Color = Color.RED


UUID_1 = UUID(int=1)
AT = dt.datetime(2026, 11, 16, tzinfo=dt.timezone.utc)


@workflow
async def typed(
    ctx: Context, order: Order, day: dt.date, tags: set[str], blob: bytes, pair: tuple[int, str], note: Any = (1, 2)
) -> Order:
    assert isinstance(order.lines[0].price, Decimal)
    assert (day, tags, blob, pair) == (dt.date(2026, 1, 2), {"a"}, b"\xff", (1, "x"))
    line = await ctx.step("line", _line)
    assert line == Line("b", Decimal("0.10"))
    plain = await ctx.step("plain", lambda: Line("c", Decimal(3)))
    assert plain == {"sku": "c", "price": "3"}
    both = await ctx.step("both", lambda: (1, (2, 3)))
    assert both == [1, [2, 3]]
    order.lines.append(line)
    return order.model_copy(update={"color": Color.RED})


def _line() -> Line:
    return Line("b", Decimal("0.10"))


@on_a_loop
async def test_arguments_results_and_steps_have_their_annotated_types(place: str | None):
    """Models, dataclasses, dates, `Decimal`, `UUID`, enums, sets, bytes and tuples come back by annotation; without one
    they are the plain data that a replay sees."""
    order = Order(id=UUID_1, at=AT, lines=[Line("a", Decimal("9.90"))])
    with Lives(2)() as lives:
        found = await run_once(place, typed, order, dt.date(2026, 1, 2), {"a"}, blob=b"\xff", pair=(1, "x"))
    assert lives.cut
    assert found == Order(id=UUID_1, at=AT, lines=[*order.lines, Line("b", Decimal("0.10"))])


@workflow
async def many(ctx: Context, first: int, /, second: int = 2, *rest: int, key: str = "k", **more: Any) -> Any:
    return [first, second, list(rest), key, more]


@workflow
async def optional(ctx: Context, data: dict[str, Any] | None = None, *, flag: bool = False) -> Any:
    return [data, flag]


@workflow
async def one_dict(ctx: Context, data: dict[str, Any]) -> Any:
    return data


@workflow
async def keyword(ctx: Context, *, number: int) -> Any:
    return number


@on_a_loop
async def test_arguments_are_bound_as_python_binds_them(place: str | None):
    """By place, by name, with defaults, `*args` and `**kwargs`; what does not fit is refused where it is called."""
    async with opened(place) as engine, worker_of(engine, many, optional, one_dict, keyword, here) as worker:

        async def call(handler: Handler, *args: Any, **kwargs: Any) -> Any:
            return await (await worker.start(handler, *args, **kwargs)).result()

        assert await call(many, 1) == [1, 2, [], "k", {}]
        assert await call(many, 1, 3, 4, 5, key="x", other=[1]) == [1, 3, [4, 5], "x", {"other": [1]}]
        assert await call(optional) == [None, False]
        assert await call(optional, {"flag": True}) == [{"flag": True}, False]
        assert await call(optional, flag=True) == [None, True]
        assert await call(one_dict, {"data": 1}) == {"data": 1}
        assert await call(one_dict, {"a": 1}) == {"a": 1}
        assert await call(keyword, number=3) == 3
        assert await call(here) == 1
        for args, kwargs in (((), {}), ((1, 2), {}), ((), {"wrong": 1})):
            with raises_sentence(TypeError, "Cannot call workflow one_dict", "argument"):
                await worker.start(one_dict, *args, **kwargs)
        with raises_sentence(CodecError, "the input of one_dict"):
            await worker.start(one_dict, 5)
        with raises_sentence(TypeError, "Cannot start"):
            await worker.start(_body)  # type: ignore[arg-type]
        with raises_sentence(WorkflowUseError, "does not have workflow typed"):
            await worker.start(typed, 1)


TASKS: list[tuple[Handler, Any, Any]] = [
    (one_dict, {"data": {"a": 1}}, {"a": 1}),
    (one_dict, {"other": 1}, {"other": 1}),
    (one_dict, {}, {}),
    (keyword, {"number": 2}, 2),
    (keyword, 2, 2),
    (here, None, 1),
    (here, 7, 7),
    (optional, {"data": {"x": 1}, "flag": True}, [{"x": 1}, True]),
    (optional, {"x": 1}, [{"x": 1}, False]),
    (many, 1, [1, 2, [], "k", {}]),
]
WRONG: list[tuple[Handler, Any, str, tuple[str, ...]]] = [
    (one_dict, None, "CodecError", ("`data` of one_dict",)),
    (one_dict, 5, "CodecError", ("`data` of one_dict",)),
    (here, "many", "CodecError", ("`number` of here",)),
    (typed, {"order": 1}, "TypeError", ("Cannot call workflow typed", "order, day, tags", "a dict with their names")),
    (_none := workflow(name="none")(_body), 5, "TypeError", ("Cannot call workflow none", "none")),
]


@on_a_loop
async def test_the_input_of_a_task_is_passed_by_name_or_as_the_one_argument(place: str | None):
    """A dict whose keys fit goes by name, anything else is the one argument; what fits neither fails the run."""

    @workflow
    async def flow(ctx: Context) -> Any:
        return await ctx.parallel(*(ctx.task("shop", one.name, given) for one, given, _ in TASKS))

    @workflow
    async def wrong(ctx: Context, number: int) -> Any:
        one, given, kind, parts = WRONG[number]
        try:
            await ctx.task("shop", one.name, given)
        except Exception as exc:
            found = exc.type if isinstance(exc, StepError) else type(exc).__name__
            return [found == kind, all(part in str(exc) for part in parts), str(exc)]

    others = (one_dict, keyword, here, optional, many, typed, _none)
    async with opened(place) as engine, worker_of(engine, flow, wrong, *others) as worker:
        assert await (await worker.start(flow)).result() == [found for _, _, found in TASKS]
        for number in range(len(WRONG)):
            found = await (await worker.start(wrong, number)).result()
            assert found[:2] == [True, True], found


# --- streams -----------------------------------------------------------------------------------------------------
@function
async def story(ctx: Context, words: int) -> Any:
    for number in range(words):
        yield await ctx.step("word", lambda number=number: f"word {number}")
        if number == 1:
            await ctx.signal("on", timeout_ms=60_000, default=None)


@on_a_loop
async def test_a_handler_that_yields_gives_the_list_and_streams_it_live(place: str | None):
    """Its result is the list of what it yielded; `handle.stream()` yields it as it comes, each piece once."""
    async with opened(place) as engine, worker_of(engine, story) as worker:
        handle = await worker.start(story, 4, workflow_id="r")
        seen: list[str] = []
        with Lives(0)(lambda run_id: bool(seen)):
            async for word in handle.stream():
                seen.append(word)
                if len(seen) == 2:
                    await engine.signal("r", "on", None)
        assert seen == await handle.result() == [f"word {i}" for i in range(4)]
        assert [word async for word in handle.stream()] == seen


@on_a_loop
async def test_a_stream_that_is_read_no_more_leaves_nothing_behind(place: str | None):
    """A reader that is cancelled while it waits leaves no task, and the run goes on."""

    async def read(handle: RunHandle) -> None:
        async for _ in handle.stream():
            got.set()

    async with opened(place) as engine, worker_of(engine, story) as worker, deadline():
        handle, got = await worker.start(story, 4, workflow_id="r"), asyncio.Event()
        reading = asyncio.ensure_future(read(handle))
        await got.wait()
        await waiting_for(engine, "r", "signal on")
        reading.cancel()
        await asyncio.wait((reading,))
        assert reading.cancelled()
        assert [one for one in asyncio.all_tasks() if "Queue.get" in repr(one.get_coro())] == []
        await engine.signal("r", "on", None)
        assert len(await handle.result(60)) == 4


@on_a_loop
async def test_a_stream_ends_with_the_failure_of_its_run(place: str | None):
    """What was yielded before comes, then the error is raised."""

    @function
    async def breaks(ctx: Context) -> Any:
        yield 1
        await ctx.step("fail", lambda: {}["none"])

    async with opened(place) as engine, worker_of(engine, breaks, here) as worker:
        seen: list[Any] = []
        stream = (await worker.start(breaks)).stream()
        seen.append(await anext(stream))
        with pytest.raises(KeyError):
            await anext(stream)
        assert seen == [1]
        with raises_sentence(StreamElsewhere, "result()"):
            await anext((await worker.start(here)).stream())


@on_a_loop
async def test_a_stream_is_elsewhere_for_who_is_in_another_process_or_body(place: str | None):
    """In a body a child's pieces cannot be read, since a replay would not see the same."""

    @workflow
    async def flow(ctx: Context) -> Any:
        handle = ctx.spawn(story, 1)
        with raises_sentence(StreamElsewhere, "cannot be read in a body", "`result()`"):
            handle.stream()
        return await handle.result()

    assert await run_once(place, flow, others=(story,)) == ["word 0"]
