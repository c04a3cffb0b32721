"""What a field takes, keeps and refuses."""

from __future__ import annotations

import enum
import inspect
import uuid

import pytest
from opentelemetry import baggage, trace
from opentelemetry.trace import SpanKind

import otelier
from otelier.errors import ContextValueError
from otelier.fields import be_strict
from tests.fields.given import ATTRIBUTES, ENTRIES, GIVEN


class Untouchable:
    """Something that refuses whatever it is asked, as a proxy does outside of its request."""

    @property
    def __class__(self):
        raise RuntimeError("outside of a request")

    def __eq__(self, other):
        raise RuntimeError("outside of a request")

    __hash__ = __bool__ = __str__ = __len__ = __eq__


class Level(enum.IntEnum):
    HIGH = 3


class Array:
    """Something that compares item by item, as arrays of numbers do."""

    def __eq__(self, other):
        class Items:
            def __bool__(self):
                raise ValueError("ambiguous")

        return Items()

    __hash__ = None


FIELDS = tuple(GIVEN)
KEYS = dict(zip(GIVEN, ENTRIES))
"""The span attribute, and baggage key, of each field."""
WRONG = [lambda value=value: value for value in (1.5, True, b"u-1", [object()], {"id": 1}, ..., {1.5})] + [
    Untouchable,
    Array,
]
"""Makers of what is neither text nor a number nor a UUID, also of classes that allow hardly anything."""
each_field = pytest.mark.parametrize("field", FIELDS)


@pytest.fixture(params=["set_context", "context", "decorator"])
def give(request):
    """Every way to say something about a call; gives back what was known inside."""

    def by_set(**values):
        otelier.set_context(**values)
        return otelier.get_context()

    def by_block(**values):
        with otelier.context(**values):
            return otelier.get_context()

    def by_decorator(**values):
        return otelier.context(**values)(otelier.get_context)()

    return {"set_context": by_set, "context": by_block, "decorator": by_decorator}[request.param]


@pytest.fixture
def strict():
    """What cannot be carried raises."""
    be_strict(True)


def known():
    """Return what is set here as a dict of the fields that are set."""
    here = otelier.get_context()
    return {field: getattr(here, field) for field in FIELDS if getattr(here, field) is not None}


@each_field
def test_each_field_reaches_the_span(spans, field):
    """A field is written to a span under the field's attribute, the role as an array of texts."""
    otelier.set_context(**{field: GIVEN[field]})
    attribute, value = KEYS[field], ATTRIBUTES[KEYS[field]]
    assert spans.born_here()[attribute] == value


def test_only_what_is_set_reaches_the_span(spans):
    """A field that was never set leaves no attribute."""
    otelier.set_context(session_id="s-1")
    assert spans.born_here() == {"session.id": "s-1"}
    otelier.clear_context()
    assert spans.born_here() == {}


def test_all_fields_are_known(give):
    """What was given is what `get_context` says."""
    assert give(**GIVEN) == otelier.CallContext(**GIVEN)


@each_field
def test_none_leaves_a_field_alone(give, field):
    """`None` keeps the value that is there, and every other field."""
    otelier.set_context(**GIVEN)
    assert give(**{field: None}) == otelier.CallContext(**GIVEN)


@each_field
def test_empty_text_clears_one_field(give, spans, field):
    """`""` unsets this field and no other one."""
    otelier.set_context(**GIVEN)
    left = give(**{field: ""})
    assert left == otelier.CallContext(**{**GIVEN, field: None})


@each_field
def test_a_cleared_field_is_on_no_later_span(spans, field):
    """A cleared field leaves no attribute, not an empty one."""
    otelier.set_context(**{field: GIVEN[field]})
    otelier.set_context(**{field: ""})
    assert spans.born_here() == {}


def test_nothing_given_changes_nothing(give):
    """A call without a field is allowed and has no effect."""
    otelier.set_context(**GIVEN)
    assert give() == otelier.CallContext(**GIVEN)


def test_clear_context_clears_every_field(spans):
    """`clear_context` leaves every field unset, here and on later spans."""
    otelier.set_context(**GIVEN)
    otelier.clear_context()
    assert otelier.get_context() == otelier.CallContext()
    assert spans.born_here() == {}


def test_clear_context_where_nothing_is_set():
    """Clearing nothing is allowed."""
    otelier.clear_context()
    assert otelier.get_context() == otelier.CallContext()


@each_field
@pytest.mark.parametrize("wrong", WRONG)
def test_another_type_is_a_type_error(give, strict, field, wrong):
    """Where otelier is strict, a wrong type raises `TypeError`, and the message names the field."""
    with pytest.raises(TypeError, match=field):
        give(**{field: wrong()})
    assert known() == {}


@each_field
@pytest.mark.parametrize("mark", ["\x00", "\n", "\r", "\t", "\x1b", "\x7f", "\x85"], ids=ascii)
def test_control_characters_are_refused(give, strict, field, mark):
    """Where otelier is strict, a control character raises `ContextValueError`, wherever it stands."""
    for value in (mark, f"u{mark}1", f"u-1{mark}"):
        with pytest.raises(ContextValueError, match=field):
            give(**{field: value})
    assert known() == {}


@each_field
def test_1024_characters_are_the_most(give, strict, field):
    """1,024 characters are carried whole, 1,025 are refused where otelier is strict."""
    assert getattr(give(**{field: "é" * 1024}), field) == "é" * 1024
    otelier.clear_context()
    with pytest.raises(ContextValueError, match=field):
        give(**{field: "é" * 1025})
    assert known() == {}


def test_a_huge_value_is_refused_in_a_short_message(give, strict):
    """A value of 10 million characters is refused without being repeated in the error."""
    with pytest.raises(ContextValueError) as refused:
        give(user_id="x" * 10_000_000)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("value", ["\ud800", "u-\udfff", "a\udc80b"], ids=ascii)
def test_lone_surrogates_are_refused(give, strict, value):
    """Text that no exporter can encode is refused where it is set, not lost with a batch later."""
    with pytest.raises(ContextValueError, match="session_id"):
        give(session_id=value)


@pytest.mark.parametrize("value", [" ", "  u-1 ", "名前", "🦦", "a b;c,d=e%", "é" * 3, "\u202e"], ids=ascii)
def test_any_other_text_is_carried_as_it_is(give, spans, value):
    """Spaces, separators, other scripts and emoji are a user's own business."""
    assert give(user_id=value).user_id == value
    with otelier.context(user_id=value):
        assert spans.born_here()["user.id"] == value


@each_field
def test_the_error_tells_which_field(strict, field):
    """A refused value's error carries the field's name, so that a handler needs no pattern."""
    with pytest.raises(ContextValueError) as refused:
        otelier.set_context(**{field: "\n"})
    assert refused.value.field == field
    assert isinstance(refused.value, otelier.errors.OtelierError)
    assert isinstance(refused.value, ValueError)


@pytest.mark.parametrize("position", range(len(FIELDS)), ids=FIELDS)
@pytest.mark.parametrize("wrong", [7.5, "\n", "x" * 1025, "\ud800"], ids=["type", "control", "long", "surrogate"])
def test_wrong_input_never_half_applies(give, strict, spans, position, wrong):
    """Where otelier is strict, one wrong field leaves all fields, the open span and later spans as they were."""
    otelier.set_context(user_id="before")
    with spans.open("request") as request:
        before = dict(request.attributes)
        with pytest.raises((TypeError, ContextValueError)):
            give(**{**GIVEN, FIELDS[position]: wrong})
        assert known() == {"user_id": "before"}
        assert dict(request.attributes) == before
        assert spans.born_here() == {"user.id": "before"}


def test_wrong_input_is_refused_again_after_the_first_time(strict):
    """A value that was refused once is refused the second time too."""
    for _ in range(2):
        with pytest.raises(ContextValueError):
            otelier.set_context(user_id="\n")


def test_equal_values_of_other_types_are_not_taken_for_text(strict):
    """A key that compares equal to a text that was accepted before is still judged by its own type."""

    class Sly:
        def __eq__(self, other):
            return other == "u-1"

        def __hash__(self):
            return hash("u-1")

    otelier.set_context(user_id="u-1")
    otelier.clear_context()
    with pytest.raises(TypeError, match="user_id"):
        otelier.set_context(user_id=Sly())


BAD = {
    "type": WRONG,
    "control characters": ("\n", "a\x00b", "\x85", "u-\udfff"),
    "length": ("x" * 1025, 10**1024, -(10**5000)),
}


@each_field
@pytest.mark.parametrize("reason", BAD)
def test_what_cannot_be_carried_clears_its_field(give, spans, caplog, field, reason):
    """A value that cannot be carried breaks nothing: its field is cleared, the others of that call are taken.

    One warning for the field and reason says so and does not quote the value.
    """
    for made in BAD[reason]:
        value = made() if callable(made) else made
        otelier.set_context(**GIVEN)
        other = "session_id" if field != "session_id" else "user_id"
        inside = give(**{field: value, other: "taken"})
        assert (getattr(inside, field), getattr(inside, other)) == (None, "taken")
        otelier.clear_context()
    warned = [record.getMessage() for record in caplog.records if f"field {field} " in record.getMessage()]
    assert len(warned) == 1
    assert "xxx" not in warned[0]
    assert "000" not in warned[0]


def test_what_cannot_be_carried_is_counted(otelier_spans):
    """Each value that was not taken counts in `otelier.internal.errors`."""
    otelier.init(strict=False)
    for value in ("\n", 1.5, "x" * 1025, "\n"):
        otelier.set_context(user_id=value)
    (point,) = otelier_spans.metrics()["otelier.internal.errors"]
    assert (point["value"], list(point["attributes"].values())) == (4, ["fields.value"])


def test_the_request_itself_is_cleared(spans):
    """On the open span nobody stands any more where the newest value could not be carried, and below it neither."""
    with spans.open("request", SpanKind.SERVER):
        otelier.set_context(user_id=42)
        otelier.set_context(user_id=["somebody else"])
        assert "user.id" not in spans.born_here()


@each_field
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        (0, "0"),
        (-(2**63), "-9223372036854775808"),
        (Level.HIGH, "3"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    ],
    ids=str,
)
def test_numbers_and_uuids_are_taken_as_their_text(give, strict, spans, field, value, text):
    """`int` and `UUID` are ids too, and everywhere their text."""
    assert getattr(give(**{field: value}), field) == text
    with spans.open("request", SpanKind.SERVER) as request:
        otelier.set_context(**{field: value})
        attribute = KEYS[field]
        expected = (text,) if field == "user_role" else text
        assert (request.attributes[attribute], spans.born_here()[attribute]) == (expected, expected)
        assert type(getattr(otelier.get_context(), field)) is str


def test_a_number_and_its_text_are_one_value(spans):
    """A value that comes as a number here and as text there is one, and no second caller of the request."""
    with spans.open("request", SpanKind.SERVER):
        otelier.set_context(user_id=7)
        otelier.set_context(user_id="7")
        with otelier.context(user_id=7):
            assert otelier.get_context().user_id == "7"
    otelier.set_context(user_id=True)
    assert otelier.get_context().user_id is None


# --- strict ----------------------------------------------------------------------------------------------------------
def is_refused():
    """Tell whether a wrong value raises here."""
    try:
        otelier.set_context(user_id="\n")
    except ContextValueError:
        return True
    return False


@pytest.mark.parametrize(
    ("argument", "variable", "expected"),
    [(None, None, False), (None, "true", True), (False, "true", False), (True, "false", True), (True, None, True)],
)
def test_strict_by_argument_variable_and_default(monkeypatch, argument, variable, expected):
    """`init(strict=)` comes before `OTELIER_STRICT`, and without both nothing raises."""
    if variable is not None:
        monkeypatch.setenv("OTELIER_STRICT", variable)
    assert not is_refused()  # nothing is switched on yet
    otelier.init(strict=argument)
    assert is_refused() is expected
    otelier.init()  # what a later call leaves out stays as it was
    assert is_refused() is expected


def test_strict_without_init(monkeypatch):
    """`OTELIER_STRICT` holds under `opentelemetry-instrument` as well, which only activates."""
    monkeypatch.setenv("OTELIER_STRICT", "true")
    otelier.activate()
    assert is_refused()


def test_strict_in_the_fixture(otelier_spans):
    """With `otelier_spans` a wrong value raises, unless the test says otherwise."""
    assert is_refused()
    otelier.init(app="mine")
    assert is_refused()
    otelier.init(strict=False)
    assert not is_refused()


def test_strict_is_a_flag():
    """What `strict` is not given as a flag is a mistake that is told at once."""
    with pytest.raises(TypeError, match="strict"):
        otelier.init(strict="yes")


class Role(str, enum.Enum):
    ADMIN = "admin"
    NOBODY = ""


class Shouting(str):
    def __str__(self):
        return self.upper()


def test_text_subclasses_count_as_their_text(give, spans):
    """A `str` subclass or a member of a `str` Enum is carried as the plain text it holds, nowhere as the subclass."""
    inside = give(user_role=Role.ADMIN, user_id=Shouting("u-1"))
    assert (inside.user_role, inside.user_id) == ("admin", "u-1")
    assert (type(inside.user_role), type(inside.user_id)) == (str, str)
    otelier.set_context(user_role=Role.ADMIN, user_id=Shouting("u-1"))
    attributes = spans.born_here()
    assert (attributes["user.roles"], attributes["user.id"]) == (("admin",), "u-1")
    assert type(attributes["user.id"]) is str


def test_text_subclasses_count_as_their_text_also_when_seen_before(give):
    """The plain type comes out whether the plain or the subclassed text came first."""
    give(user_id="u-1")
    assert type(give(user_id=Shouting("u-1")).user_id) is str
    give(agent=Shouting("a"))
    assert type(give(agent="a").agent) is str


def test_an_empty_member_of_an_enum_clears(give):
    """A `str` Enum member with an empty text clears as `""` does."""
    otelier.set_context(user_role="admin")
    assert give(user_role=Role.NOBODY).user_role is None


@pytest.mark.parametrize("function", [otelier.set_context, otelier.context])
def test_fields_are_keyword_only(function):
    """Fields are given by name, in the order of the table; anything else is a `TypeError`."""
    with pytest.raises(TypeError):
        function("u-1")
    with pytest.raises(TypeError, match="tenant"):
        function(tenant="t-1")
    assert tuple(inspect.signature(function).parameters) == FIELDS


def test_the_call_context_is_a_frozen_value():
    """What `get_context` returns does not change when the context does, and cannot be written to."""
    otelier.set_context(user_id="u-1")
    before = otelier.get_context()
    otelier.set_context(user_id="u-2")
    assert before.user_id == "u-1"
    with pytest.raises(AttributeError):
        before.user_id = "u-3"
    assert hash(before) == hash(otelier.CallContext(user_id="u-1"))


def test_set_context_returns_none():
    """Setters return nothing to keep."""
    assert otelier.set_context(user_id="u-1") is None
    assert otelier.clear_context() is None


def test_endless_users_keep_memory_bounded():
    """Values that are endless, as user ids are, do not pile up in the process."""
    import tracemalloc

    def many(start):
        for number in range(start, start + 5_000):
            with otelier.context(user_id=f"u-{number}", session_id=f"s-{number}"):
                pass

    many(0)
    tracemalloc.start()
    many(5_000)
    first, _ = tracemalloc.get_traced_memory()
    many(10_000)
    second, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert second - first < 2_000_000


@pytest.mark.parametrize(
    ("given", "read", "sent"),
    [
        (["guest", "admin"], "guest,admin", ("guest", "admin")),
        (("admin",), "admin", ("admin",)),
        ("guest, admin", "guest, admin", ("guest", "admin")),
        ([], None, None),
    ],
)
def test_several_roles(otelier_spans, given, read, sent):
    """A user may have several roles: an array on spans, and one text with commas in baggage and where it is read."""
    with otelier.context(user_role=given), trace.get_tracer("test").start_as_current_span("work"):
        assert otelier.get_context().user_role == read
        assert baggage.get_baggage("user.roles") == read
    assert otelier_spans.find("work").attributes.get("user.roles") == sent


def test_a_role_of_no_text_clears_them_all():
    """Half of a list of roles would be told for the wrong user."""
    with otelier.context(user_role="admin"), otelier.context(user_role=["guest", object()]):
        assert otelier.get_context().user_role is None


@pytest.mark.parametrize("several", [["viewer,admin"], ("guest", "viewer,admin"), {","}], ids=str)
def test_a_comma_inside_one_of_several_roles_clears_them_all(give, several):
    """A role holds no comma: text of somebody else's in a list never becomes two roles."""
    otelier.set_context(user_role="guest", user_id="u-1")
    assert give(user_role=several) == otelier.CallContext(user_id="u-1")


def test_a_comma_inside_one_of_several_roles_raises(give, strict):
    """Where otelier is strict it raises, and says what to pass."""
    with pytest.raises(ContextValueError, match=r"user_role to several roles with 'viewer,admin'.*element"):
        give(user_role=["viewer,admin"])
    assert known() == {}


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("user_id", "ad\nmin", "a text with control characters or lone surrogates"),
        ("user_id", "x" * 1025, "a text of more than 1024 characters"),
        ("user_id", "\n" * 1025, "a text of more than 1024 characters"),
        ("user_id", 10**2000, "a text of more than 1024 characters"),
        ("user_id", 1.5, "a float"),
        ("user_id", ["u-1"], "a list"),
        ("user_role", ["ad\nmin"], "a text with control characters or lone surrogates"),
        ("user_role", ["x" * 1025], "a text of more than 1024 characters"),
        ("user_role", ["x" * 1000, "y" * 1000], "a text of more than 1024 characters"),
        ("user_role", ["guest", 1.5], "a list with a value that is no text"),
        ("user_role", ["viewer,admin"], "several roles with a comma inside one, which would be two"),
    ],
)
def test_the_warning_says_what_cannot_be_carried(caplog, field, value, said):
    """The reason in the warning is that of the value that was refused, also of one in a list."""
    otelier.set_context(**{field: value})
    (warned,) = [record.getMessage() for record in caplog.records if "cannot be carried" in record.getMessage()]
    assert f"The field {field} was given {said}, which cannot be carried" in warned
