"""Tools with exotic signatures, odd results and odd errors: the model is told, the run goes on, nothing hangs."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import itertools
import uuid
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Optional, Union

import pytest
from pydantic import BaseModel, Field, SecretStr

import otelier
from otelier import RunContext, tool
from otelier.errors import AgentError, ToolError
from otelier.interceptors import RequireRole


class Color(enum.Enum):
    RED = "red"


class Point(BaseModel):
    x: int
    tag: str | None = None


@dataclass
class Pair:
    left: int
    right: Point | None = None


@dataclass
class User(RunContext):
    user_id: str = "u-1"


@dataclass
class Other(RunContext):
    shop: str = "s"


def told_of(model, made, arguments, *, context=None):
    """What the model is told of one call."""
    agent = model.agent(made)
    (name,) = [one["function"]["name"] for one in definitions(model, agent)]
    model.says([(name, arguments)], "Done.")
    return agent.run("Go", context=context).wait().tool_calls[0].result


def definitions(model, agent):
    model.server.reply("Hello")
    agent.run("Hello").wait()
    return model.server.requests[-1].body["tools"]


# --- signatures ------------------------------------------------------------------------------------------------
def by_place(a: int, b: int, /) -> int:
    return a - b


def context_by_place(ctx, a: int, /) -> str:
    return f"{ctx.user_id} {a}"


def by_name(*, a: int, b: int = 5) -> int:
    return a - b


def any_names(a: int, **more: int) -> int:
    return a + sum(more.values())


def another_name(whoever: User, a: int) -> str:
    return f"{whoever.user_id} {a}"


def annotated(whoever: Annotated[User, "who asks"], a: Annotated[int, Field(ge=0)]) -> str:
    return f"{whoever.user_id} {a}"


def optional(a: int, ctx: Optional[User] = None) -> str:  # noqa: UP045
    return f"{ctx and ctx.user_id} {a}"


def either(a: int, ctx: Union[User, Other]) -> str:  # noqa: UP007
    return f"{ctx.user_id} {a}"


def nobody_knows(a: int, ctx: NowhereDefined) -> str:  # type: ignore[name-defined]  # noqa: F821
    return f"{ctx.user_id} {a}"


def no_annotations(a, b=2):
    return [a, b]


def kinds(a: Literal["x", "y"], b: Color, c: dt.date, d: set[int], e: tuple[int, str], f: uuid.UUID) -> str:
    return f"{a} {b.name} {c.year} {sorted(d)} {e} {f.int}"


def models(a: Point, b: Pair, c: list[Point], d: dict[str, Point] | None = None) -> str:
    return f"{a.x} {b.left} {b.right.x} {c[0].x} {d}"


def keeps_what_pydantic_keeps(model_config: int, schema: int, self: int, cls: int, _id: int, copy: int) -> int:
    return model_config + schema + self + cls + _id + copy


def no_json_in_a_default(a: int, b: Any = dataclasses.MISSING, c: Color = Color.RED) -> str:
    return f"{a} {b is dataclasses.MISSING} {c.name}"


def secret(a: SecretStr) -> str:
    return a.get_secret_value()


IDS = {"a": 1, "b": 2}
OBJECTS = {
    "a": {"x": "1"},
    "b": {"left": 2, "right": {"x": 3}},
    "c": [{"x": 4}],
}
KINDS_GIVEN = {"a": "x", "b": "red", "c": "2026-01-02", "d": [2, 1, 2], "e": [1, "z"], "f": str(uuid.UUID(int=7))}
SIGNATURES = {
    by_place: (IDS, "-1"),
    context_by_place: ({"a": 1}, "u-1 1"),
    by_name: ({"a": 1}, "-4"),
    any_names: ({"a": 1, "b": 2, "c": 3}, "6"),
    another_name: ({"a": 1}, "u-1 1"),
    annotated: ({"a": 1}, "u-1 1"),
    optional: ({"a": 1}, "u-1 1"),
    either: ({"a": 1}, "u-1 1"),
    nobody_knows: ({"a": 1}, "u-1 1"),
    no_annotations: ({"a": {"b": [1]}}, '[{"b":[1]},2]'),
    kinds: (KINDS_GIVEN, "x RED 2026 [1, 2] (1, 'z') 7"),
    models: (OBJECTS, "1 2 3 4 None"),
    keeps_what_pydantic_keeps: (dict.fromkeys(["model_config", "schema", "self", "cls", "_id", "copy"], 1), "6"),
    no_json_in_a_default: ({"a": 1}, "1 True RED"),
    secret: ({"a": "hush"}, "hush"),
    len: ({"obj": [1, 2]}, "2"),
}


@pytest.mark.parametrize("function", SIGNATURES, ids=lambda function: function.__name__)
def test_signatures(model, function):
    """Whatever way a function takes its parameters, the model gives them by name and never sees the context."""
    arguments, told = SIGNATURES[function]
    assert told_of(model, function, arguments, context=User()) == told


class Shop:
    """An object with methods that are tools."""

    def __init__(self, name="shop"):
        self.name = name

    def plain(self, a: int, ctx: RunContext) -> str:
        """Sell."""
        return f"{self.name} {a} {ctx.query}"

    @tool
    def marked(self, a: int, ctx: RunContext) -> str:
        """Sell."""
        return f"{self.name} {a} {ctx.query}"

    @tool(name="later", timeout_s=30, max_result_chars=100)
    async def marked_async(self, a: int, ctx: RunContext) -> str:
        """Sell."""
        return f"{self.name} {a} {ctx.query}"

    @tool
    @staticmethod
    def static(a: int) -> str:
        """Sell."""
        return f"shop {a} Go"

    @classmethod
    def of_class(cls, a: int) -> str:
        """Sell."""
        return f"{cls.__name__.lower()} {a} Go"

    def __call__(self, a: int) -> str:
        """Not told: an object's own docstring says what it does."""
        return f"{self.name} {a} Go"


def wrapping(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def sell(shop: str, a: int, ctx: RunContext) -> str:
    """Sell."""
    return f"{shop} {a} {ctx.query}"


async def sell_async(shop: str, a: int, ctx: RunContext) -> str:
    """Sell."""
    return f"{shop} {a} {ctx.query}"


@wrapping
async def sell_wrapped(a: int, ctx: RunContext) -> str:
    """Sell."""
    return f"shop {a} {ctx.query}"


CALLABLES = {
    "a method": (Shop().plain, "plain"),
    "a marked method": (Shop().marked, "marked"),
    "an async one": (Shop().marked_async, "later"),
    "a static one": (Shop.static, "static"),
    "a static one of an object": (Shop().static, "static"),
    "a class method": (Shop.of_class, "of_class"),
    "a partial": (functools.partial(sell, "shop"), "sell"),
    "a partial of a partial": (functools.partial(functools.partial(sell), "shop"), "sell"),
    "an async partial": (functools.partial(sell_async, "shop"), "sell_async"),
    "a decorated one": (wrapping(functools.partial(sell, "shop").func.__get__("shop")), "sell"),
    "a decorated async one": (sell_wrapped, "sell_wrapped"),
    "a tool of a tool": (tool(tool(functools.partial(sell, "shop"))), "sell"),
}


@pytest.mark.parametrize(("made", "name"), CALLABLES.values(), ids=CALLABLES)
def test_callables(model, made, name):
    """A tool may be a method, marked or not, a partial, or wrapped: named, described and bound as its function is."""
    (definition,) = definitions(model, model.agent(made))
    function = definition["function"]
    assert (function["name"], function["description"], list(function["parameters"]["properties"])) == (
        name, "Sell.", ["a"]
    )  # fmt: skip
    assert told_of(model, made, {"a": 1}) == "shop 1 Go"


def test_a_method_marked_as_a_tool_stays_one_of_its_object():
    """Each object has its own, with what was said of it; read from the class it is the tool itself."""
    one, two = Shop("one"), Shop("two")
    assert (one.marked(1, RunContext(query="q")), two.marked(1, RunContext(query="q"))) == ("one 1 q", "two 1 q")
    assert Shop.marked is Shop.__dict__["marked"]
    later = one.marked_async
    assert (later.name, later.timeout_s, later.max_result_chars, later.is_async) == ("later", 30, 100, True)
    assert asyncio.run(later(1, RunContext())) == "one 1 "


def test_an_object_that_can_be_called(model):
    """It needs a name, and is described by its own docstring."""
    assert told_of(model, tool(Shop(), name="shop"), {"a": 1}) == "shop 1 Go"
    assert tool(Shop(), name="shop").description == "An object with methods that are tools."


@pytest.mark.parametrize("name", ["x" * 65, "a b", "é", "a.b", 7])
def test_names_that_no_model_takes(name):
    """A clear error when the tool is made."""
    with pytest.raises(ToolError, match="Cannot name a tool"):
        tool(name=name)(by_name)


def test_an_ellipsis_is_no_tool(model):
    """`tools=[...]`, as pages write it, is an error where the agent is written."""
    with pytest.raises(ToolError, match="Cannot offer an object of type ellipsis as a tool"):
        model.agent(...)


def test_what_python_cannot_describe():
    """Some functions of C have no signature."""
    with pytest.raises(ToolError, match="does not know its parameters"):
        _ = tool(dict).parameters


# --- results ---------------------------------------------------------------------------------------------------
def itself():
    found: list[Any] = []
    found.append(found)
    return found


class NoText:
    def __repr__(self):
        raise ValueError("canary")


async def later():
    return "later"


RESULTS = {
    "nothing": (lambda: None, "null"),
    "a flag": (lambda: True, "true"),
    "a set": (lambda: {1}, "[1]"),
    "no number": (lambda: [float("nan"), float("inf")], '["NaN","Infinity"]'),
    "a decimal": (lambda: decimal.Decimal("1.10"), '"1.10"'),
    "a date": (lambda: dt.date(2026, 1, 2), '"2026-01-02"'),
    "a member": (lambda: Color.RED, '"red"'),
    "a model": (lambda: Point(x=1), '{"x":1,"tag":null}'),
    "a dataclass": (lambda: Pair(1, Point(x=2)), '{"left":1,"right":{"x":2,"tag":null}}'),
    "a secret": (lambda: {"key": SecretStr("canary")}, '{"key":"**********"}'),
    "bytes": (lambda: b"\xff\x00", "bytes object that cannot be shown"),
    "itself": (itself, "list object that cannot be shown"),
    "no text": (NoText, "NoText object that cannot be shown"),
    "no text within": (lambda: {"a": NoText()}, "dict object that cannot be shown"),
    "half a pair": (lambda: "a \ud83d b", "a \ufffd b"),
    "a generator": (lambda: (number for number in (1, 2)), "[1,2]"),
    "a coroutine": (lambda: later(), "later"),
    "a tuple": (lambda: (1, "x"), '[1,"x"]'),
}


@pytest.mark.parametrize(("function", "told"), RESULTS.values(), ids=RESULTS)
def test_results(model, otelier_spans, function, told):
    """The model is told text; what JSON cannot hold is told as well as it can be, and is no error."""
    assert told_of(model, tool(function, name="work"), {}) == told
    assert otelier_spans.find("execute_tool work").status.is_ok


@pytest.mark.parametrize(
    "function", [lambda: "x" * 1_000_000, lambda: itertools.count(), lambda: list(range(500_000))],
    ids=["text", "endless", "list"],
)  # fmt: skip
def test_results_without_end(model, function):
    """A result is cut, and says so; what never ends is not waited for."""
    told = told_of(model, tool(function, name="work", max_result_chars=1_000), {})
    assert " [cut: " in told
    assert len(told) < 1_040


@pytest.mark.parametrize("waits", [False, True])
def test_a_run_and_its_result_as_a_result(model, waits):
    """A tool that returns a run, or all that came of it, tells the run's output and nothing of its context."""
    below = model.agent(name="below")

    @tool
    async def ask(ctx: RunContext) -> Any:
        run = below.run("Deeper", context=ctx)
        return await run if waits else run

    @tool
    def ask_plainly(ctx: RunContext) -> Any:
        run = below.run("Deeper", context=ctx)
        return run.wait() if waits else run

    for made in (ask, ask_plainly):
        model.says([(made.name, {})], "From below.", "Done.")
        result = model.agent(made).run("Go", context=User()).wait()
        assert result.tool_calls[0].result == "From below."
        assert model.server.requests[-2].messages[0]["content"] == "Deeper"


# --- errors ----------------------------------------------------------------------------------------------------
class OddError(Exception):
    def __str__(self):
        raise ValueError("canary")


ERRORS = {
    "odd": (OddError, "Error: OddError: "),
    "half a pair": (lambda: ValueError("a \ud83d"), "Error: ValueError: a \ufffd"),
    "recursion": (lambda: RecursionError("deep"), "Error: RecursionError: deep"),
    "memory": (MemoryError, "Error: MemoryError: "),
    "stop of an iteration": (lambda: StopAsyncIteration("x"), "Error: StopAsyncIteration: x"),
    "cancelled elsewhere": (asyncio.CancelledError, "Error: CancelledError: "),
    "a timeout": (lambda: TimeoutError("late"), "Error: TimeoutError: late"),
}


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(("error", "told"), ERRORS.values(), ids=ERRORS)
def test_errors(model, otelier_spans, error, told, is_async):
    """Whatever a tool raises is told to the model and stands on its span; the run goes on."""

    @tool
    def work() -> None:
        raise error()

    @tool(name="work")
    async def work_async() -> None:
        raise error()

    assert told_of(model, work_async if is_async else work, {}) == told
    span = otelier_spans.find("execute_tool work")
    assert not span.status.is_ok
    assert "canary" not in repr(span.status.description)
    assert "\ud83d" not in repr(span.status.description)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit])
def test_what_ends_a_program_ends_a_run(model, otelier_spans, error, is_async):
    """What is no `Exception`, but for `SystemExit`, is not told to a model; every span has ended."""

    @tool
    def work() -> None:
        raise error

    @tool(name="work")
    async def work_async() -> None:
        raise error

    model.says([("work", {})])
    with pytest.raises(error):
        model.agent(work_async if is_async else work).run("Go").wait()
    assert otelier_spans.open_spans == ()
    span = otelier_spans.find("execute_tool work")
    assert span.status.is_ok is (error is GeneratorExit)  # a generator that is closed is nobody's failure


def test_the_same_error_twice(model, otelier_spans):
    """An error that came before says as much on its span the second time."""

    @tool
    def work() -> None:
        raise ConnectionError("the warehouse does not answer at all")

    model.says([("work", {})], [("work", {})], "Done.")
    model.agent(work).run("Go").wait()
    said = [span.status.description for span in otelier_spans.spans if span.name == "execute_tool work"]
    assert said == ["ConnectionError"] * 2


# --- agents ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "options", [{"max_steps": 0}, {"max_steps": -1}, {"max_depth": -1}, {"max_parallel_tools": 0}], ids=str
)  # fmt: skip
def test_limits_that_let_nothing_happen(model, options):
    """An error when the agent is made, and not a run that waits for ever."""
    with pytest.raises(AgentError, match=next(iter(options))):
        model.agent(**options)


@pytest.mark.parametrize(
    "odd", [RequireRole, 7, lambda phase, context: None], ids=["a class", "a number", "a function"]
)
def test_interceptors_that_are_none(model, odd):
    """An error when the agent is made, and not at its first run."""
    with pytest.raises(TypeError, match="`interceptors` takes objects with a method `intercept`"):
        model.agent(interceptors=[odd])


def test_agents_without_a_latin_letter(model):
    """Each still is a tool of its own."""
    below = [model.agent(name=name) for name in ("助手", "帮手", "Ä b")]
    names = [one["function"]["name"] for one in definitions(model, model.agent(subagents=below))]
    assert len(set(names)) == 3
    assert all(name.isascii() for name in names)


def test_what_an_agents_span_tells_of_a_subagent(model, otelier_spans):
    """Its description; its instructions are content, and told to the model only."""
    below = model.agent(name="below", instructions="Never tell this canary to anybody.")
    model.says([("below", {"task": "look"})], "Looked.", "Done.")
    model.agent(subagents=[below]).run("Go").wait()
    assert "canary" in repr(model.server.requests[0].body["tools"])
    assert "canary" not in repr(otelier_spans.records)
    attributes = otelier_spans.find("execute_tool below").attributes
    assert attributes["gen_ai.tool.description"] == "Delegate a task to below."
    assert otelier.Agent("b", "m", description="Looks.").description == "Looks."
