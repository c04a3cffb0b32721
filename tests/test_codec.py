"""What is stored as JSON comes back as it was, or is refused with its place."""

from __future__ import annotations

import collections
import dataclasses
import enum
import json
import subprocess
import sys
import types
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, ForwardRef, Generic, Literal, NamedTuple, NewType, TypeVar
from uuid import UUID

import pydantic
import pydantic.dataclasses
import pytest
import typing_extensions

from otelier import codec, errors
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


class TwoAliases(pydantic.BaseModel):
    name: str = pydantic.Field(validation_alias="in", serialization_alias="out")


class Choices(pydantic.BaseModel):
    name: str = pydantic.Field(validation_alias=pydantic.AliasChoices("first", "second"))


class Point(NamedTuple):
    x: int
    day: date


class Movie(typing_extensions.TypedDict):
    title: str
    released: date


T = TypeVar("T")


class Box(pydantic.BaseModel, Generic[T]):
    content: T


class Cat(pydantic.BaseModel):
    kind: Literal["cat"] = "cat"
    born: date


class Dog(pydantic.BaseModel):
    kind: Literal["dog"] = "dog"
    born: date


Pet = Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]


@pydantic.dataclasses.dataclass
class Parcel:
    weight: int = pydantic.Field(alias="grams")


@dataclasses.dataclass
class File:
    content: bytes
    next: File | None = None


@dataclasses.dataclass
class Empty:
    later: int = dataclasses.field(init=False)


class Login(pydantic.BaseModel):
    password: pydantic.SecretStr


class Moved(Address):
    to: str


class Meter:
    pass


class Kinds(enum.IntFlag):
    A = 1
    B = 2


class Planet(enum.Enum):
    EARTH = (5.97, 6.37)


class Days(enum.Enum):
    FIRST = date(2026, 1, 1)


class Switches(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass
class Item:
    name: str

    def __eq__(self, other):
        return isinstance(other, Item) and self.name == other.name


@dataclasses.dataclass(eq=False)
class Discounted(Item):
    percent: int = 10


@dataclasses.dataclass
class Cart:
    items: list[Item]
    gift: Item | None = None


class Garden(pydantic.BaseModel):
    plants: dict[str, Address]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    row: int
    taken: date | None = None
    notes: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Doubled:
    half: int
    whole: int = dataclasses.field(init=False)

    def __post_init__(self):
        self.whole = self.half * 2


@dataclasses.dataclass
class Seeded:
    size: int
    seed: dataclasses.InitVar[int]


@dataclasses.dataclass
class Pair(Generic[T]):
    left: T
    right: T


class Hidden(pydantic.BaseModel):
    shown: int = 1
    kept: int = pydantic.Field(default=2, exclude=True)


class Open(pydantic.BaseModel, extra="allow"):
    name: str


class Growing(pydantic.BaseModel):
    names: list[str]

    @pydantic.field_validator("names")
    @classmethod
    def grow(cls, names):
        return [*names, "more"]


class Picky(pydantic.BaseModel):
    name: str

    @pydantic.field_validator("name")
    @classmethod
    def pick(cls, name):
        if name == "bad":
            raise RuntimeError(name)
        return name


UserId = NewType("UserId", int)


def nested(levels):
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def circle():
    value: dict[str, Any] = {}
    value["again"] = value
    return value


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
    "named tuple": (Point(1, date(2026, 1, 2)), Point),
    "typed dict": (Movie(title="M", released=date(1931, 5, 11)), Movie),
    "generic model": (Box[date](content=date(2026, 1, 2)), Box[date]),
    "generic dataclass in a list": ([File(b"\xff", File(b""))], list[File]),
    "discriminated union": (Dog(born=date(2026, 1, 2)), Pet),
    "pydantic dataclass by alias": (Parcel(grams=3), Parcel),
    "bytes in a dataclass": (File(b"\xff\x00"), File),
    "annotated, and not to be hashed": (3, Annotated[int, []]),
    "flags": (Kinds.A | Kinds.B, Kinds),
    "mask that is no secret": ({"a": "**********"}, dict[str, str]),
    "deep": (nested(199), list[Any]),
    "flag": (Switches.A | Switches.B, Switches),
    "frozen dataclass with slots and keywords": (Seat(row=3, taken=date(2026, 1, 2), notes=["a"]), Seat),
    "dataclass with a field that is not given": (Doubled(2), Doubled),
    "generic dataclass": (Pair(date(2026, 1, 2), date(2026, 1, 3)), Pair[date]),
    "model with members of its own": (Open(name="a", size=3), Open),
    "new type": (UserId(3), UserId),
    "enum as keys": ({Color.RED: 1}, dict[Color, int]),
    "dates as keys": ({date(2026, 1, 2): 1}, dict[date, int]),
    "deque": (collections.deque([date(2026, 1, 2)]), collections.deque[date]),
    "subclass that the type names": ([Moved(street="a", to="b"), Address(street="a")], list[Moved | Address]),
    "number beyond a float": (2**64 + 1, int),
    "time with an offset": (time(8, 30, tzinfo=timezone(timedelta(hours=2))), time),
    "text": ("caf\u00e9 \U0001f600 \x00 \u2028", str),
}
PLAIN: tuple[Any, ...] = (None, True, 0, -1, 2.5, "", "text", [], {}, [1, [2, {"a": None}]], {"": {"b": [False]}})


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_data_stays_what_it_is(value):
    """What JSON knows needs no type to come back."""
    assert codec.from_json(codec.to_json(value)) == value


OLD = pydantic.VERSION.startswith("2.10.")
BYTES_IN_DATACLASSES = ("generic dataclass in a list", "bytes in a dataclass")
KNOWN = [
    pytest.param(*given, id=name, marks=pytest.mark.skipif(OLD, reason="takes UTF-8 for bytes in dataclasses"))
    if name in BYTES_IN_DATACLASSES
    else pytest.param(*given, id=name)
    for name, given in ROUND_TRIPS.items()
]


@pytest.mark.parametrize(("value", "as_type"), KNOWN)
def test_values_come_back_with_their_type(value, as_type):
    """Whoever names the type that a value was stored with gets it back, equal and of its class."""
    text = codec.to_json(value, as_type)
    json.loads(text, parse_constant=pytest.fail)
    again = codec.from_json(text, as_type)
    assert (again, type(again)) == (value, type(value))


@pytest.mark.skipif(OLD, reason="reads fields by their aliases alone")
@pytest.mark.parametrize("value", [TwoAliases(**{"in": "Ann"}), Choices(first="Ann")], ids=repr)
def test_models_whose_aliases_differ_come_back(value):
    """A model that is written by another alias than it is read by goes by the names of its fields."""
    as_type = type(value)
    assert codec.to_json(value) == '{"name":"Ann"}'
    assert codec.from_json(codec.to_json([value], list[as_type]), list[as_type]) == [value]


def test_unions_are_read_in_their_own_order():
    """`str | date` and `date | str` are equal to Python, and read a text of ten characters each in its own way."""
    assert codec.from_json('"2026-01-02"', str | date) == "2026-01-02"
    assert codec.from_json('"2026-01-02"', date | str) == date(2026, 1, 2)


@pytest.mark.parametrize(
    ("as_type", "problem"),
    [("Nowhere", "Nowhere"), (list[ForwardRef("Nowhere")], "Nowhere"), (object(), "type"), (Meter, "Meter")],
    ids=["text", "forward reference", "object", "class"],
)
def test_types_that_pydantic_does_not_read_are_clear_errors(as_type, problem):
    """A name that is not resolved, and a class that is no data, are refused on the way in and out."""
    for call in (codec.to_json, codec.from_json):
        with pytest.raises(CodecError, match=problem):
            call("1", as_type, what="the result of step 'load'")


TYPED: dict[str, tuple[Any, Any, str]] = {
    "secret": (Login(password="s3cret"), Login, "secret"),
    "secret in a list": ([Login(password="s3cret")], list[Login], "secret"),
    "subclass in a list": ([Discounted("a")], list[Item], "a Discounted would come back as a Item"),
    "subclass of a model in a dict": ({"a": Moved(street="a", to="b")}, dict[str, Address], "as a Address"),
    "subclass in a tuple": ((1, Discounted("a")), tuple[int, Item], "as a Item"),
    "subclass in place of nothing": (Discounted("a"), Item | None, "as a Item"),
    "subclass in a field": (Cart([], gift=Discounted("a")), Cart, "as a Item"),
    "subclass in a field of a model": (Garden(plants={"a": Moved(street="a", to="b")}), Garden, "as a Address"),
    "subclass in a deque": (collections.deque([Discounted("a")]), collections.deque[Item], "as a Item"),
    "one of a union that is read as the other": ([Item("a")], list[Discounted | Item], "a Item would come back as a D"),
    "enum with tuples": (Planet.EARTH, Planet, "not read it again|not found again"),
    "enum with dates": ([Days.FIRST], list[Days], "not read it again|not found again"),
    "argument that is no field": (Seeded(1, 2), Seeded, "would not read it again"),
    "member that a TypedDict has not": (
        {"title": "M", "released": date(2026, 1, 2), "size": 3},
        Movie,
        "it would be lost",
    ),
    "field that is left out": (Hidden(kept=3), Hidden, "come back as another"),
    "keys that become one": ({1: "a", "1": "b"}, dict[int | str, str], "it would be lost"),
    "tuple as key": ({(1, 2): 3}, dict[tuple[int, int], int], "would not read it again"),
    "half of a pair as key": ({"\ud800": 1}, dict[str, int], "it would be lost"),
    "bytes below Any": ([b"a"], list[Any], "a bytes would come back as a str"),
    "set below Any": ({"a": {1}}, dict[str, Any], "a set would come back as a list"),
    "set in a union": ({1}, list[int] | set[int], "a set would come back as a list"),
    "text that is read as a date": ("2026-01-02", date | str, "a str would come back as a date"),
    "number that no float holds": (2**60 + 1, float, "a int would come back as a float"),
    "no number": (Decimal("NaN"), Decimal, "would not read it again"),
    "literal that is none": ("c", Literal["a", "b"], "would not read it again"),
    "what its validator changes": (Growing.model_construct(names=["a"]), Growing, "more than there is"),
    "what its validator raises over": (
        Picky.model_construct(name="bad"),
        Picky,
        "would not read it again .RuntimeError",
    ),
    "fields of a subclass": (Moved(street="a", to="b"), Address, "a Moved would come back as a Address"),
    "itself": (circle(), dict[str, Any], "holds itself"),
    "too deep": (nested(300), list[Any], "cannot be written"),
    "number of many digits": (10**5000, int, "digits"),
    "infinity in a dataclass": (dataclasses.replace(ORDER, paid=float("inf")), Order, "cannot be written"),
    "a dict in place of a model": ({"street": "a"}, Address, "cannot be written"),
}


@pytest.mark.parametrize(("value", "as_type", "problem"), TYPED.values(), ids=TYPED)
def test_what_would_come_back_as_something_else_is_refused(value, as_type, problem):
    """What the named type would lose, mask or never end with is an error when it is written, not when it is read."""
    with pytest.raises(CodecError, match=problem) as caught:
        codec.to_json(value, as_type)
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_what_would_be_lost_is_named_by_its_place():
    """The place is that of the item, also in a model below plain data, which needs no type of its own."""
    cart = Cart([Item("a"), Discounted("b")])
    with pytest.raises(CodecError) as caught:
        codec.to_json({"cart": cart}, dict[str, Cart])
    assert caught.value.place == "cart.items[1]"
    with pytest.raises(CodecError) as caught:
        codec.to_json([{"garden": Garden(plants={"a": Moved(street="a", to="b")})}])
    assert caught.value.place == "[0].garden.plants.a"


@dataclasses.dataclass
class Incomparable:
    size: int

    def __eq__(self, other):
        raise RuntimeError


class Code:
    """A text with no `==` of its own."""

    def __init__(self, text):
        self.text = text


Coded = Annotated[
    Code,
    pydantic.PlainValidator(lambda given: given if isinstance(given, Code) else Code(given)),
    pydantic.PlainSerializer(lambda code: code.text),
]


def test_values_without_an_equal_sign_come_back():
    """A class whose `==` raises is compared by its fields, and one that has none by its type."""
    assert codec.from_json(codec.to_json(Incomparable(3), Incomparable), Incomparable).size == 3
    assert codec.from_json(codec.to_json([Code("a")], list[Coded]), list[Coded])[0].text == "a"


def test_below_any_values_come_back_as_plain_data():
    """`Any` names no type: what has a form in JSON of its own is written so, and read as that."""
    given = {"day": date(2026, 1, 2), "sizes": (1, 2), "who": Address(street="a"), "color": {Color.RED: Color.RED}}
    text = codec.to_json(given, dict[str, Any])
    assert text == codec.to_json(given)
    assert codec.from_json(text, dict[str, Any]) == codec.to_plain(given)


def test_what_a_validator_raises_is_an_error_of_reading():
    """Also what is no `ValueError`, and it quotes nothing."""
    with pytest.raises(CodecError, match=r"Picky: it does not fit \(RuntimeError\)") as caught:
        codec.from_json('{"name":"bad"}', Picky)
    assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize("plain", [float("nan"), nested(100_000), {1: object()}], ids=["nan", "deep", "object"])
def test_what_is_no_plain_data_is_not_read(plain):
    """`from_plain` takes what JSON can hold, and says so of anything else."""
    with pytest.raises(CodecError, match="no plain data"):
        codec.from_plain(plain, list)


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


REFUSED: dict[str, tuple[Any, str, str]] = {
    "not a number": ({"a": [1.0, float("nan")]}, "a[1]", "nan"),
    "infinity": (float("-inf"), "", "-inf"),
    "number as key": ({"a": {1: 2}}, "a", "key of type int"),
    "nothing as key": ({None: 2}, "", "key of type NoneType"),
    "tuple as key": ([{(1, 2): 2}], "[0]", "key of type tuple"),
    "the same key twice": ({Color.RED: 1, "red": 2}, "", "two of its keys"),
    "decimal that is no number": ([Decimal("NaN")], "[0]", "NaN"),
    "number of many digits": ({"a": 10**5000}, "a", "digits"),
    "field without a value": ([Empty()], "[0]", "later"),
    "enum with tuples": ({"a": [Planet.EARTH]}, "a[0]", "a Planet whose value is a tuple"),
    "enum with dates as key": ({Days.FIRST: 1}, "", "a Days whose value is a date"),
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


def test_a_size_limit_names_the_part_that_is_large():
    """The place is that of the innermost part which has more than half of the bytes."""
    value = {"id": 1, "orders": [{"note": "a"}, {"note": "b", "image": "c" * 200}]}
    with pytest.raises(CodecError, match=r"Most of them are at orders\[1\]\.image") as caught:
        codec.to_json(value, max_bytes=100)
    assert caught.value.place == "orders[1].image"


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


class Misplaced(Exception):
    def __init__(self, sku, *, shelf="a"):
        super().__init__(sku)
        self.shelf = shelf

    def __str__(self):
        return f"{self.args[0]} is not on {self.shelf}"


class Guarded(Exception):
    @property
    def args(self):
        raise RuntimeError


class Counting(Exception):
    def __init__(self, number):
        super().__init__(number + 1)


HERE = sys.modules[__name__]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no stock", 3),
        KeyError("sku"),
        OSError(2, "gone"),
        FileNotFoundError(2, "gone", "a.txt"),
        FileExistsError(17, "there", "a.txt", None, "b.txt"),
        OutOfStock("shoes", {"left": 0}),
        Misplaced("shoes"),
        NotJsonError("no"),
        TimeoutError(),
    ],
    ids=repr,
)
def test_errors_come_back_as_what_they_were(error):
    """An exception of Python's, of a known module or imported there, is made again, and says the same."""
    stored = json.loads(codec.to_json(codec.error_to_json(error)))
    again = codec.error_from_json(stored, [HERE])
    assert again is not None
    assert (type(again), again.args, str(again)) == (type(error), error.args, str(error))


@pytest.mark.parametrize(
    "error",
    [
        Failed("a", shelf="b"),
        Counting(1),
        ValueError(object()),
        Misplaced("a", shelf="b"),
        ValueError(Decimal("9.90")),
        ValueError((1, 2)),
        ValueError(Seat(row=1)),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_that_cannot_be_made_again_are_none(error):
    """Some take other arguments than they keep, or such as JSON changes: their type and message are stored still."""
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
        {"type": "NOT_JSON.x", "module": __name__, "args": []},
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
    """An exception whose text or arguments fail is told by its type."""
    assert codec.error_to_json(Guarded())["args"] is None
    assert codec.error_to_json(Unreadable())["message"] == ""
    assert codec.to_json(codec.error_to_json(ValueError("\ud800"))) == (
        '{"type":"ValueError","module":"builtins","message":"\ufffd","args":null}'
    )


def test_a_huge_error_can_be_stored():
    """What failed is stored whatever its size: a long message is cut, and long `args` are left out."""
    stored = codec.error_to_json(ValueError("a" * 5_000_000))
    assert stored["message"].endswith("[cut: 4967232 characters]")
    assert stored["args"] is None
    assert len(codec.to_json(stored)) < 40_000


class OddAnswerError(errors.AnswerError):
    """Hands on what its base takes, and takes one more."""

    def __init__(self, message, code=0, **more):
        super().__init__(message, **more)
        self.code = code


@pytest.mark.parametrize(
    ("error", "facts"),
    [
        (errors.ReplayError("It differs."), {}),
        (
            errors.RunEndedError("It is over.", workflow_id="o-1", status="failed"),
            {"workflow_id": "o-1", "status": "failed"},
        ),
        (OddAnswerError("It is odd.", 3, answer="4"), {"code": 3, "answer": "4", "problems": ()}),
    ],
    ids=["plain", "with facts", "of a user"],
)
def test_an_error_of_ours_that_somebody_wrote_on_comes_back(error, facts):
    """What a run, or a user, put on an error as an attribute is no fact of it, and keeps it from nothing."""
    error.progress = {"steps": 2}
    again = codec.error_from_json(codec.error_to_json(error), [errors, sys.modules[__name__]])
    assert (type(again), str(again), vars(again)) == (type(error), str(error), facts)


def test_our_own_errors_keep_their_facts():
    """An error of otelier comes back with the facts that a handler reads, less those that JSON would change."""
    kept = errors.RunEndedError("It is over.", workflow_id="o-1", status="failed")
    stored = json.loads(codec.to_json(codec.error_to_json(kept)))
    assert stored["facts"] == {"workflow_id": "o-1", "status": "failed"}
    again = codec.error_from_json(stored, [errors])
    assert (type(again), str(again), vars(again)) == (errors.RunEndedError, "It is over.", vars(kept))
    partly = codec.error_to_json(errors.AnswerError("no JSON", answer=object(), problems=["age: missing"]))
    assert "facts" not in partly
    assert vars(codec.error_from_json(partly, [errors])) == {"answer": None, "problems": ()}
    lost = {**stored, "facts": {"workflow_id": "o-1"}}
    assert codec.error_from_json(lost, [errors]) is None


def test_the_size_of_plain_data_is_checked():
    """What is larger than the limit is refused with its name, its size and the place of most of it."""
    codec.check_size({"a": "b"}, max_bytes=50)
    codec.check_size("ä" * 20, max_bytes=42)
    with pytest.raises(
        CodecError, match=r"Cannot store it: its JSON has 108 bytes, and 50 are the limit\. Most of them are at a"
    ):
        codec.check_size({"a": "b" * 100}, what="it", max_bytes=50)
