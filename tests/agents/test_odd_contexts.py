"""Contexts of every shape that Python has for a class: runs take them, keep their kind, and leave them as they are."""

from __future__ import annotations

import copy
import dataclasses
import functools
import pickle
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import InitVar, dataclass, field
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import pytest
from pydantic import BaseModel

from otelier import RunContext, tool
from otelier.agents.patterns import ExecutionContext

T = TypeVar("T")


@dataclass
class Required(RunContext):
    user_id: str
    db: Any


@dataclass(slots=True)
class Slotted(RunContext):
    user_id: str = "u-1"
    items: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class FrozenSlotted(RunContext):
    user_id: str = "u-1"


@dataclass
class Initial(RunContext):
    user_id: str = ""
    raw: InitVar[str | None] = None
    made: int = field(init=False, default=0)

    def __post_init__(self, raw: str | None) -> None:
        self.made += 1
        self.user_id = self.user_id or (raw or "")


@dataclass(kw_only=True)
class KeywordOnly(RunContext):
    user_id: str


@dataclass(eq=False)
class Identical(RunContext):
    user_id: str = "u-1"


@dataclass(order=True, unsafe_hash=True)
class Ordered(RunContext):
    user_id: str = "u-1"


class Undecorated(RunContext):
    user_id = "of the class"


class OwnInit(RunContext):
    def __init__(self, user_id: str) -> None:
        self.user_id = user_id


@dataclass
class Of(RunContext, Generic[T]):
    value: T | None = None


@dataclass
class Locked(RunContext):
    lock: Any = field(default_factory=threading.Lock)


@dataclass
class Guarded(RunContext):
    user_id: str = "u-1"

    def __post_init__(self) -> None:
        object.__setattr__(self, "_is_made", True)

    def __setattr__(self, name: str, value: object) -> None:
        if hasattr(self, "_is_made"):
            raise AttributeError(f"{name} is not to be set")
        object.__setattr__(self, name, value)


@dataclass
class Shadowing(RunContext):
    agent: str = "mine"  # type: ignore[assignment]
    get: str = "mine"  # type: ignore[assignment]
    child: str = "mine"  # type: ignore[assignment]
    run: str = "mine"


class Who(ABC):
    @abstractmethod
    def who(self) -> str: ...


@dataclass
class Abstract(RunContext, Who):
    user_id: str = "u-1"

    def who(self) -> str:
        return self.user_id


@dataclass(frozen=True)
class Left(RunContext):
    left: int = 1


@dataclass(frozen=True)
class Right(RunContext):
    right: int = 2


@dataclass(frozen=True)
class Both(Left, Right):
    both: int = 3


Dynamic = dataclasses.make_dataclass(
    "Dynamic", [("user_id", str)], bases=(RunContext,), frozen=True, namespace={"__module__": __name__}
)

SHAPES = {
    "required": lambda: Required("u-1", "db"),
    "slots": Slotted,
    "frozen slots": FrozenSlotted,
    "initial": lambda: Initial(raw="u-1"),
    "keyword only": lambda: KeywordOnly(user_id="u-1"),
    "ordered": Ordered,
    "undecorated": Undecorated,
    "generic": lambda: Of[int](value=3),
    "guarded": Guarded,
    "abstract": Abstract,
    "two frozen bases": Both,
    "dynamic": lambda: Dynamic("u-1"),
    "ready made": ExecutionContext,
    "no metadata": lambda: Required("u-1", "db", metadata=None),
}
UNCOPYABLE = {
    "identical": Identical, "own init": lambda: OwnInit("u-1"), "locked": Locked, "shadowing": Shadowing,
}  # fmt: skip


@tool
def look(ctx: RunContext) -> str:
    """Look at the context, and change what may be changed."""
    ctx.metadata["looked"] = True
    return f"{type(ctx).__name__} {ctx.query} {getattr(ctx, 'user_id', None)}"


def held(context):
    """What an object holds, as deep as its own containers go."""
    names = [one.name for one in dataclasses.fields(context)]
    found = {name: copy.copy(getattr(context, name, "missing")) for name in names if name != "lock"}
    return {**found, "__dict__": sorted(vars(context))}


@pytest.mark.parametrize("shape", [*SHAPES.values(), *UNCOPYABLE.values()], ids=[*SHAPES, *UNCOPYABLE])
def test_runs_take_every_shape(model, otelier_spans, shape):
    """A tool is given the same kind, with its fields and the query; the object that was passed is as it was."""
    context = shape()
    before = held(context)
    model.says([("look", {})], "Done.")
    result = model.agent(look).run("Go", context=context).wait()
    user = getattr(context, "user_id", None)
    assert result.tool_calls[0].result == f"{type(context).__name__} Go {user}"
    assert (type(result.context), result.context.metadata) == (type(context), {"looked": True})
    assert held(context) == before
    is_field = "user_id" in {one.name for one in dataclasses.fields(context)}
    assert otelier_spans.find("invoke_agent triage").attributes.get("user.id") == (user if is_field else None)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_they_are_copied_replaced_and_pickled(shape):
    """All that the standard library does with dataclasses works, and so do children."""
    context = shape().child(metadata={"a": [1]})
    for again in (copy.copy(context), copy.deepcopy(context), pickle.loads(pickle.dumps(context))):
        assert (type(again), again, again.agent) == (type(context), context, None)
    assert copy.deepcopy(context).metadata["a"] is not context.metadata["a"]
    assert dataclasses.replace(context, query="q").query == "q"
    assert context.child(query="q").with_metadata(b=2).metadata == {"a": [1], "b": 2}
    assert context.metadata == {"a": [1]}
    assert dataclasses.asdict(context)["metadata"] == {"a": [1]}
    assert "query" not in repr(context.child(query="a secret"))


def test_what_init_made_is_not_made_again():
    """A child is no new object to the class: values that `__post_init__` counted or filled in stay."""
    made = Initial(raw="u-1")
    assert (made.child(query="q").made, made.with_metadata(a=1).user_id) == (1, "u-1")


@dataclass
class Counted(RunContext):
    user_role: str = "guest"

    @functools.cached_property
    def rights(self) -> str:
        return f"{self.user_role} asks {self.query!r}"


def test_what_a_cached_property_computed_is_not_handed_on(model):
    """It belongs to the fields that it was computed from: a run's child has another query, or another role."""

    @tool
    def see(ctx: Counted) -> str:
        """Say what it may."""
        return ctx.rights

    context = Counted()
    assert context.rights == "guest asks ''"
    assert context.child(user_role="admin").rights == "admin asks ''"
    model.says([("see", {})], "Done.")
    assert model.agent(see).run("Go", context=context).tool_calls[0].result == "guest asks 'Go'"
    assert context.rights == "guest asks ''"


def test_metadata_may_have_any_key_and_is_never_shared():
    """Also names of `get`'s own parameters; the dict that was given stays the caller's."""
    given = {"key": 2, "default": 3, "metadata": 4}
    assert RunContext().with_metadata(**given).metadata == given
    child = RunContext().child(metadata=given)
    child.metadata["more"] = 5
    assert "more" not in given


def test_a_default_factory_makes_one_for_each():
    """Two contexts never share a default."""
    assert Slotted().items is not Slotted().items
    assert RunContext().metadata is not RunContext().metadata


class Model(BaseModel):
    user_id: str = "u-1"


@dataclass
class NoContext:
    user_id: str = "u-1"


@pytest.mark.parametrize(
    "odd", [7, "text", [("a", 1)], Required, NoContext(), Model(), {1, 2}], ids=lambda odd: type(odd).__name__
)
def test_what_is_no_context(model, odd):
    """A clear error where the run is made, and none is asked."""
    with pytest.raises(TypeError, match="must be a RunContext, a mapping or `None`"):
        model.agent().run("Go", context=odd)
    with pytest.raises(TypeError, match="must be a RunContext, a mapping or `None`"):
        model.agent().stream("Go", context=odd)


@pytest.mark.parametrize(
    "given", [{}, {"a": 1}, {1: 2}, {"user_id": "u-1"}, MappingProxyType({"a": 1})], ids=str
)  # fmt: skip
def test_a_mapping_is_metadata(model, otelier_spans, given: Mapping[Any, Any]):
    """Whatever its keys are called, nothing of it is a field, and the mapping itself is left alone."""
    before = dict(given)
    model.says([("look", {})], "Done.")
    result = model.agent(look).run("Go", context=given).wait()
    assert result.context.metadata == {**before, "looked": True}
    assert given == before
    assert "user.id" not in otelier_spans.find("invoke_agent triage").attributes


@pytest.mark.parametrize("metadata", ["text", [1], 7])
def test_metadata_that_is_no_mapping(model, metadata):
    """A clear error."""
    with pytest.raises(TypeError, match="metadata of a Slotted must be a dict, not a"):
        model.agent().run("Go", context=Slotted(metadata=metadata)).wait()


def test_one_context_for_many_threads(model):
    """One object may serve runs in many threads at once."""
    model.server.reply(tool_calls=[("look", {})], when=lambda request: not request.answers_tool, times=None)
    context, agent = Slotted(metadata={"plan": "pro"}), model.agent(look)
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda number: agent.run(f"q-{number}", context=context).wait(), range(40)))
    assert [result.tool_calls[0].result for result in results] == [f"Slotted q-{number} u-1" for number in range(40)]
    assert context == Slotted(metadata={"plan": "pro"})


def test_the_context_of_a_result(model):
    """It may be kept, pickled, and given to the next run, which keeps the first query and knows its own agent."""
    model.says("One.", "Two.")
    first = model.agent(name="one").run("First", context=Slotted()).wait().context
    kept = pickle.loads(pickle.dumps(first))
    assert (kept, kept.agent.name) == (first, "one")
    second = model.agent(name="two").run("Second", context=kept).wait().context
    assert (second.query, second.agent.name, kept.agent.name) == ("First", "two", "one")
