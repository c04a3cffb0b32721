"""`tool`: schemas from signatures, the context hidden from them, and the plain function kept."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Optional

import pydantic
import pytest

import otelier
from otelier import RunContext, tool
from otelier.errors import ToolArgumentsError, ToolError


@dataclass
class Shop(RunContext):
    shop: str = "s"


def properties(made):
    return made.parameters["properties"]


def test_the_schema_comes_from_signature_and_docstring():
    """Types, defaults and descriptions; no titles, and nothing else than what is there may be sent."""

    @tool
    def search(query: str, limit: int = 10, kind: Literal["a", "b"] = "a", tags: Optional[list[str]] = None) -> str:  # noqa: UP045
        """Search the shop.

        Looks everywhere.

        Args:
            query: What to look for,
                in words.
            limit (int): Most results.

        Returns:
            query: not a parameter.
        """
        return query

    assert search.description == "Search the shop.\n\nLooks everywhere."
    assert search.parameters == {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "What to look for, in words."},
            "limit": {"type": "integer", "default": 10, "description": "Most results."},
            "kind": {"type": "string", "enum": ["a", "b"], "default": "a"},
            "tags": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}], "default": None},
        },
        "required": ["query"],
        "additionalProperties": False,
    }


def test_nested_models_and_fields_of_pydantic():
    """A parameter may be a pydantic model or carry a `Field`; the function gets the model."""

    class Line(pydantic.BaseModel):
        title: str
        amount: int = 1

    def order(lines: list[Line], note: Annotated[str, pydantic.Field(max_length=3)] = "") -> str:
        return f"{lines[0].title} {note}"

    order.__annotations__["lines"] = list[Line]
    order.__annotations__["note"] = Annotated[str, pydantic.Field(max_length=3)]
    made = tool(order)
    assert properties(made)["note"] == {"type": "string", "maxLength": 3, "default": ""}
    assert made.bind({"lines": [{"title": "pen"}], "note": "abc"})() == "pen abc"
    with pytest.raises(ValueError, match=r"note: String should have at most 3 characters"):
        made.bind({"lines": [], "note": "abcd"})


def test_fields_as_defaults():
    """A `Field` in place of a default describes the parameter, several of them too, and its default is given."""
    count = pydantic.Field(3, ge=1, description="How many.", validation_alias="n")
    empty = pydantic.Field(default_factory=list)

    @tool
    def order(pens: int = count, pads: Annotated[int, pydantic.Field(le=5)] = count, notes=empty):
        return pens, pads, notes

    described = {"type": "integer", "minimum": 1, "default": 3, "description": "How many."}
    assert properties(order) == {"pens": described, "pads": {**described, "maximum": 5}, "notes": {}}
    assert order.bind({})() == (3, 3, [])
    assert order.bind({"pads": 5, "notes": ["a"]})() == (3, 5, ["a"])


def test_a_field_says_more_than_the_docstring():
    """A `Field` that describes its parameter is believed; one that does not leaves that to the docstring."""

    def order(
        amount: Annotated[int, pydantic.Field(description="of the field")],
        limit: int = pydantic.Field(5, ge=1, description="of the field"),
        note: str = pydantic.Field("", max_length=3),
        kind: Annotated[str, pydantic.Field(max_length=3)] = "",
    ) -> str:
        """Order.

        Args:
            amount: of the docstring
            limit: of the docstring
            note: of the docstring
            kind: of the docstring
        """
        return f"{amount} {limit} {note} {kind}"

    made = tool(order)
    assert [properties(made)[name]["description"] for name in ("amount", "limit", "note", "kind")] == [
        "of the field", "of the field", "of the docstring", "of the docstring",
    ]  # fmt: skip
    assert (properties(made)["limit"]["minimum"], properties(made)["kind"]["maxLength"]) == (1, 3)
    assert made.bind({"amount": 2})() == "2 5  "


def test_what_a_partial_gives_is_not_the_models():
    """The model neither sees nor replaces arguments that a `functools.partial` gives by name: a database, a user."""

    def orders(user: str, limit: int = 10, ctx: RunContext | None = None) -> str:
        return f"{user} {limit} {ctx}"

    made = tool(functools.partial(orders, user="alice"))
    assert list(properties(made)) == ["limit"]
    assert made.bind({"limit": 3}, "given")() == "alice 3 given"
    with pytest.raises(ToolArgumentsError, match="user: Extra inputs are not permitted"):
        made.bind({"user": "bob"})
    bound = tool(functools.partial(orders, ctx="mine"))
    assert list(properties(bound)) == ["user", "limit"]
    assert bound.bind({"user": "bob"}, "given")() == "bob 10 mine"


def test_names_that_pydantic_keeps_for_itself():
    """A parameter may have any name that Python allows."""

    @tool
    def odd(copy: str, schema: int, _hidden: bool, model_config: str = "m") -> tuple[object, ...]:
        return copy, schema, _hidden, model_config

    assert list(properties(odd)) == ["copy", "schema", "_hidden", "model_config"]
    assert odd.bind({"copy": "c", "schema": 1, "_hidden": True})() == ("c", 1, True, "m")


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (RunContext, "context"),
        (Shop, "shop"),
        (Optional[Shop], "shop"),  # noqa: UP045
        (Shop | None, "shop"),
        ("Shop | None", "shop"),
        (Optional["Shop"], "shop"),
        (Annotated[Shop, "mine"], "shop"),
        ("NowhereDefined", "ctx"),
        (int, "ctx"),
    ],
    ids=str,
)
def test_the_context_is_found_and_hidden(annotation, name):
    """By its annotation, also as text, or by the name `ctx` when that says nothing."""
    namespace: dict[str, Any] = {}
    exec(f"def work(a: int, {name}): return (a, {name})", {**globals()}, namespace)
    function = namespace["work"]
    function.__globals__["Shop"] = Shop
    function.__annotations__[name] = annotation
    made = tool(function)
    assert list(properties(made)) == ["a"]
    assert made.bind({"a": 1}, "given")() == (1, "given")


def test_classes_of_the_function_around():
    """Annotations that are text also name what stands in the function that the tool is made in, and is gone later."""

    def make():
        class Line(pydantic.BaseModel):
            title: str

        @dataclass
        class Basket(RunContext):
            size: int = 2

        class Shelf:
            @tool
            def put(self, line: Line, basket: Basket) -> str:
                return f"{line.title} {basket.size}"

        @tool(name="order")
        async def order(lines: list[Line], basket: Optional[Basket] = None) -> str:  # noqa: UP045
            return f"{lines[0].title} {basket and basket.size}"

        return order, Shelf(), Basket()

    order, shelf, basket = make()
    put = shelf.put
    assert (list(properties(order)), list(properties(put))) == (["lines"], ["line"])
    assert asyncio.run(order.bind({"lines": [{"title": "pen"}]}, basket)()) == "pen 2"
    assert put.bind({"line": {"title": "pen"}}, basket)() == "pen 2"


TYPED = """
from __future__ import annotations
from typing import TYPE_CHECKING, Annotated, Optional
import otelier
if TYPE_CHECKING:
    from otelier import RunContext
    from shop import Customer
def tool(query: str, {parameter}) -> str: ...
"""


@pytest.mark.parametrize(
    ("parameter", "wanted"),
    [
        ("context: RunContext", ("context", False)),
        ("context: RunContext | None", ("context", True)),
        ("context: Optional[RunContext] = None", ("context", True)),
        ("context: Annotated[RunContext, 'said']", ("context", False)),
        ("context: otelier.RunContext", ("context", False)),
        ("ctx: Customer", ("ctx", False)),
        ("ctx: Customer | None = None", ("ctx", True)),
        ("ctx: shop.Customer", ("ctx", False)),
    ],
)
def test_a_context_imported_for_type_checkers_only(parameter, wanted):
    """`RunContext` is known though it is imported under `TYPE_CHECKING`; anything else there by the name `ctx`."""
    space = {}
    exec(TYPED.format(parameter=parameter), space)
    made = otelier.tool(space["tool"])
    assert list(made.parameters["properties"]) == ["query"]
    found = made._read[1]
    assert (found.name, found.optional, found.kind) == (*wanted, otelier.RunContext)


@pytest.mark.parametrize("parameter", ["context: Customer", "ctx: RunContext, order: Customer"])
def test_what_is_imported_for_type_checkers_only_and_not_known(parameter):
    """Another class imported there cannot be found, and the error says how to import it and what name helps."""
    space = {}
    exec(TYPED.format(parameter=parameter), space)
    with pytest.raises(otelier.errors.ToolError, match=r"'Customer'.*`if TYPE_CHECKING:`.*`ctx`"):
        _ = otelier.tool(space["tool"]).parameters


def test_a_name_of_the_module_means_what_it_means_there():
    """A class that a module calls `RunContext` itself is that class."""
    space = {}
    exec(
        "import pydantic\nclass RunContext(pydantic.BaseModel): ...\ndef tool(query: str, context: 'RunContext'): ...",
        space,
    )
    assert list(otelier.tool(space["tool"]).parameters["properties"]) == ["query", "context"]


def test_the_plain_function_is_kept():
    """`__wrapped__` is what was decorated, and calling the tool is calling that."""

    def plain(a: int, ctx: RunContext) -> int:
        """Doc."""
        return a

    made = tool(plain)
    assert made.__wrapped__ is plain
    assert (made(2, RunContext()), made.__name__, made.__doc__) == (2, "plain", "Doc.")

    @tool
    async def later(a: int) -> int:
        return a

    assert asyncio.run(later(3)) == 3


def test_what_no_model_can_give_is_refused():
    """Clear errors: names that nothing defines, types without a schema, arguments without names, two contexts."""

    def unknown(a: NowhereDefined) -> str:  # type: ignore[name-defined]  # noqa: F821
        return ""

    def opaque(a: object, b: Shopkeeper) -> str:
        return ""

    def many(*numbers: int) -> str:
        return ""

    def two(a: RunContext, b: Shop) -> str:
        return ""

    for function, said in [
        (unknown, "annotation 'NowhereDefined' of its parameter 'a'"),
        (opaque, "no JSON schema"),
        (many, r"\*numbers"),
        (two, "both 'a' and 'b'"),
    ]:
        with pytest.raises(ToolError, match=said):
            _ = tool(function).parameters
    with pytest.raises(ToolError, match="Cannot name a tool"):
        tool(name="find parcel")(two)


@pytest.mark.parametrize(
    "limit", [{"timeout_s": 0}, {"timeout_s": -1}, {"timeout_s": float("nan")}, {"max_result_chars": -1}], ids=str
)
def test_limits_that_let_nothing_through(limit):
    """Refused where they are written, and not at a call."""
    with pytest.raises(ToolError, match=f"Cannot limit tool 'sum' by `{next(iter(limit))}="):
        tool(name="sum", **limit)(sum)


@pytest.mark.parametrize("mistake", ["search", 1, object()], ids=["a name", "a number", "an object"])
def test_what_cannot_be_called_is_refused(mistake):
    """Such as a name where other packages take one: the message says how it is given here."""
    with pytest.raises(ToolError, match=r"cannot be called.*`@tool\(name=...\)`"):
        tool(mistake)


class Shopkeeper:
    """No type that JSON can hold."""


def test_a_context_of_another_class_is_a_clear_error(model):
    """The tool names what it asks for, and what the run has."""

    @tool
    def sell(ctx: Shop) -> str:
        return ctx.shop

    model.says([("sell", {})])
    with pytest.raises(ToolError, match="'sell' asks for a Shop, but the run's context is a RunContext"):
        model.agent(sell).run("Sell", context={"a": 1}).wait()


def test_a_tool_that_does_without_gets_none_for_another_class(model):
    """Where the function has a default or allows `None`, another class is as good as no context."""

    @tool
    def sell(ctx: Shop | None) -> str:
        return "none" if ctx is None else ctx.shop

    for context in (None, RunContext(), Shop()):
        model.says([("sell", {})], "Sold.")
        model.agent(sell).run("Sell", context=context).wait()
    assert [model.told(at) for at in (1, 3, 5)] == [["none"], ["none"], ["s"]]
    assert otelier.Tool is type(sell)
