"""What is stored as JSON comes back as it was, or is refused with its place."""

from __future__ import annotations

import dataclasses
import enum
import json
import subprocess
import sys
import types
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import pydantic
import pytest

from otelier import codec
from otelier.errors import CodecError, NotJsonError, OtelierError


class Color(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Address(pydantic.BaseModel):
    street: str
    since: date = date(2026, 1, 2)


class Aliased(pydantic.BaseModel):
    name: str = pydantic.Field(alias="fullName")


@dataclasses.dataclass(frozen=True)
class Order:
    id: UUID
    paid: Decimal
    address: Address
    sizes: tuple[int, ...] = ()
    color: Color = Color.RED
    wait: timedelta = timedelta(hours=1)
    parent: Order | None = None


ORDER = Order(UUID(int=7), Decimal("9.90"), Address(street="Ring 1"), (1, 2))
ROUND_TRIPS: dict[str, tuple[Any, Any]] = {
    "model": (Address(street="Ring 1"), Address),
    "model by alias": (Aliased(fullName="Ann"), Aliased),
    "dataclass": (dataclasses.replace(ORDER, parent=ORDER), Order),
    "enum": (Color.RED, Color),
    "number enum": (Level.HIGH, Level),
    "tuple": ((1, "a"), tuple[int, str]),
    "set": ({1, 2}, set[int]),
    "frozenset": (frozenset({"a"}), frozenset[str]),
    "bytes": (b"\xff\x00", bytes),
    "bytes in a dict": ({"a": b"\xff"}, dict[str, bytes]),
    "datetime": (datetime(2026, 11, 16, 8, 30, 0, 123456, tzinfo=timezone.utc), datetime),
    "naive datetime": (datetime.fromisoformat("2026-11-16"), datetime),
    "date": (date(2026, 11, 16), date),
    "time": (time(8, 30), time),
    "timedelta": (timedelta(days=2, microseconds=5), timedelta),
    "decimal": (Decimal("0.10"), Decimal),
    "uuid": (UUID(int=1), UUID),
    "numbers as keys": ({1: "a"}, dict[int, str]),
    "optional": (None, Address | None),
    "literal": ("a", Literal["a", "b"]),
    "list of models": ([Address(street="a"), Address(street="b")], list[Address]),
    "big number": (10**30, int),
    "text": ("caf\u00e9 \U0001f600 \x00 \u2028", str),
}
PLAIN: tuple[Any, ...] = (None, True, 0, -1, 2.5, "", "text", [], {}, [1, [2, {"a": None}]], {"": {"b": [False]}})


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_data_stays_what_it_is(value):
    """What JSON knows needs no type to come back."""
    assert codec.from_json(codec.to_json(value)) == value


@pytest.mark.parametrize(("value", "as_type"), ROUND_TRIPS.values(), ids=ROUND_TRIPS)
def test_values_come_back_with_their_type(value, as_type):
    """Whoever names the type that a value was stored with gets it back, equal and of its class."""
    text = codec.to_json(value, as_type)
    json.loads(text, parse_constant=pytest.fail)
    again = codec.from_json(text, as_type)
    assert (again, type(again)) == (value, type(value))


@pytest.mark.parametrize("name", ["model", "dataclass", "enum", "tuple", "datetime", "timedelta", "decimal", "uuid"])
def test_types_with_a_form_in_json_need_no_name_to_be_written(name):
    """Models, dataclasses, enums, tuples, times, `Decimal` and `UUID` are written alike with their type and without."""
    value, as_type = ROUND_TRIPS[name]
    assert codec.to_json(value) == codec.to_json(value, as_type)


class Words(str):
    pass


class Count(int):
    pass


class Share(float):
    pass


def test_subclasses_are_written_as_what_they_are():
    """A member of a `str` enum, or a number of one's own, is its text or number."""
    assert codec.to_plain([Words("a"), Count(1), Share(0.5), True]) == ["a", 1, 0.5, True]
    assert [type(one) for one in codec.to_plain([Words("a"), Count(1), Share(0.5)])] == [str, int, float]
    assert codec.to_json(types.MappingProxyType({Words("a"): 1})) == '{"a":1}'


def nested(levels):
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def circle():
    value: dict[str, Any] = {}
    value["again"] = value
    return value


REFUSED: dict[str, tuple[Any, str, str]] = {
    "not a number": ({"a": [1.0, float("nan")]}, "a[1]", "nan"),
    "infinity": (float("-inf"), "", "-inf"),
    "number as key": ({"a": {1: 2}}, "a", "key of type int"),
    "nothing as key": ({None: 2}, "", "key of type NoneType"),
    "tuple as key": ([{(1, 2): 2}], "[0]", "key of type tuple"),
    "the same key twice": ({Color.RED: 1, "red": 2}, "", "two of its keys"),
    "set": ({"a b": {1}}, "['a b']", "set"),
    "bytes": ([[b"a"]], "[0][0]", "bytes"),
    "object": ({"a": object()}, "a", "object"),
    "function": (nested, "", "function"),
    "class": (Address, "", "no form"),
    "complex": (1j, "", "complex"),
    "iterator": (iter([1]), "", "list_iterator"),
    "half of a pair": (["\ud800"], "[0]", "UTF-16"),
    "half of a pair as key": ({"\udfff": 1}, "", "UTF-16"),
    "in a dataclass": (dataclasses.replace(ORDER, sizes=(1, 2j)), "sizes[1]", "complex"),
    "in a model": (Address.model_construct(street={1}), "", "cannot be written"),
    "too deep": (nested(300), "...[0][0][0][0][0][0][0][0]", "nested"),
    "circle": (circle(), "...again.again.again.again.again.again.again.again", "nested"),
}


@pytest.mark.parametrize(("value", "place", "problem"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_form_in_json_is_refused_with_its_place(value, place, problem):
    """An error names the place and what is wrong there, and says what to do instead."""
    with pytest.raises(CodecError) as caught:
        codec.to_json(value, what="the result of step 'load'")
    assert problem in caught.value.problem
    assert caught.value.place == place
    assert "the result of step 'load'" in str(caught.value)
    assert isinstance(caught.value, (OtelierError, ValueError))


SECRET = "hunter2-canary"


@pytest.mark.parametrize(
    ("value", "as_type"), [({"a": {SECRET}}, None), (SECRET, int), ([SECRET], list[int]), ({"x": SECRET}, Address)]
)
def test_no_error_quotes_a_value(value, as_type):
    """Messages of exceptions end up in traces: what was refused does not, nor does a cause that quotes it."""
    with pytest.raises(CodecError) as caught:
        codec.to_json(value, as_type)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize("as_type", [int, list[int], Address, Color, date])
def test_no_error_of_reading_quotes_a_value(as_type):
    """What does not fit the type is named by its place alone."""
    with pytest.raises(CodecError) as caught:
        codec.from_json(json.dumps({"street": [SECRET]}), as_type, what="the cache's 'user'")
    assert SECRET not in str(caught.value)
    assert "the cache's 'user'" in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_a_size_limit_names_what_was_too_large():
    """The limit counts bytes of UTF-8, and the error says whose they are, how many, and how many there may be."""
    assert codec.to_json("\u00e9" * 49, max_bytes=100)
    with pytest.raises(CodecError, match=r"'load'.*102 bytes.*100 are the limit"):
        codec.to_json("\u00e9" * 50, what="the result of step 'load'", max_bytes=100)
    assert len(codec.to_json("a" * 2_000_000, max_bytes=None)) == 2_000_002
    with pytest.raises(CodecError):
        codec.to_json("a" * 1_000_000)


NOT_JSON = (
    "",
    "{",
    "NaN",
    "[Infinity]",
    "1e999",
    "'a'",
    '{"a": 1,}',
    "[" * 100_000,
    "9" * 5_000,
    b"\xff",
    '"\n"',
    "[1] 2",
)


@pytest.mark.parametrize("text", NOT_JSON, ids=lambda text: repr(text[:12]))
def test_what_is_no_strict_json_is_refused(text):
    """Python's own reader takes `NaN` and `1e999`; others would not read what is written of them."""
    with pytest.raises(NotJsonError) as caught:
        codec.read_json(text)
    assert caught.value.__cause__ is caught.value.__context__ is None


class OutOfStock(Exception):
    pass


class Failed(Exception):
    def __init__(self, sku, *, shelf):
        super().__init__(f"{sku} on {shelf}")


class Counting(Exception):
    def __init__(self, number):
        super().__init__(number + 1)


HERE = sys.modules[__name__]


@pytest.mark.parametrize(
    "error",
    [ValueError("no stock", 3), KeyError("sku"), OSError(2, "gone"), OutOfStock("shoes", {"left": 0}), TimeoutError()],
    ids=repr,
)
def test_errors_come_back_as_what_they_were(error):
    """An exception of Python's or of a known module is made again of its arguments."""
    stored = json.loads(codec.to_json(codec.error_to_json(error)))
    again = codec.error_from_json(stored, [HERE])
    assert again is not None
    assert (type(again), again.args) == (type(error), error.args)


@pytest.mark.parametrize(
    "error",
    [Failed("a", shelf="b"), Counting(1), ValueError(object())],
    ids=lambda error: type(error).__name__,
)
def test_errors_that_cannot_be_made_again_are_none(error):
    """Some take other arguments than they keep: whoever reads them has type and message still."""
    stored = codec.error_to_json(error)
    assert codec.error_from_json(stored, [HERE]) is None
    assert (stored["type"], stored["message"]) == (type(error).__name__, str(error))


@pytest.mark.parametrize(
    "stored",
    [
        {"type": "SystemExit", "module": "builtins", "args": [1]},
        {"type": "KeyboardInterrupt", "module": "builtins", "args": []},
        {"type": "eval", "module": "builtins", "args": ["1"]},
        {"type": "Popen", "module": "subprocess", "args": ["true"]},
        {"type": "CalledProcessError", "module": "subprocess", "args": [1, "true"]},
        {"type": "sys.exit", "module": __name__, "args": []},
        {"type": "Address", "module": __name__, "args": []},
        {},
    ],
    ids=str,
)
def test_a_stored_row_makes_nothing_but_known_exceptions(stored):
    """Nothing is imported, called or ended because a row names it."""
    assert subprocess is not None
    assert codec.error_from_json(stored, [HERE]) is None


class Unreadable(Exception):
    def __str__(self):
        raise RuntimeError


def test_an_error_without_words_is_stored():
    """An exception whose text fails is told by its type."""
    assert codec.error_to_json(Unreadable())["message"] == ""
    assert codec.to_json(codec.error_to_json(ValueError("\ud800"))) == (
        '{"type":"ValueError","module":"builtins","message":"\ufffd","args":null}'
    )
