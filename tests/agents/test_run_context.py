"""`RunContext`: subclasses of every kind, children, and what of it reaches telemetry."""

from __future__ import annotations

import dataclasses
import enum
import logging
import threading
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Annotated, Protocol

import pytest
from pydantic import SecretStr

import otelier
from otelier import RunContext, exported
from otelier.identity import agent_id_for


@dataclass
class Plain(RunContext):
    user_id: str
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Frozen(RunContext):
    user_id: str
    tenant_id: str = "acme"


@dataclass(frozen=True, slots=True)
class Slotted(RunContext):
    user_id: str


@dataclass(slots=True)
class Slots(RunContext):
    user_id: str


each_kind = pytest.mark.parametrize("kind", [Plain, Frozen, Slotted, Slots])


@each_kind
def test_required_fields_come_by_place_or_name(kind):
    """A subclass may require fields, which the base's do not get in the way of."""
    assert kind("u-1") == kind(user_id="u-1")
    with pytest.raises(TypeError, match="user_id"):
        kind()


@each_kind
def test_with_metadata_keeps_the_class_and_leaves_the_original(kind):
    """A new instance of the same class, also of a frozen one; the original's metadata stays."""
    made = kind("u-1", query="q", metadata={"a": 1})
    extended = made.with_metadata(b=2)
    assert (type(extended), extended.query, extended.metadata) == (kind, "q", {"a": 1, "b": 2})
    assert made.metadata == {"a": 1}


@each_kind
def test_a_child_has_changed_fields_and_metadata_of_its_own(kind):
    """`child` replaces fields of any subclass; what is put into its metadata stays there."""
    made = kind("u-1")
    child = made.child(user_id="u-2")
    child.metadata["x"] = 1
    assert (made.user_id, child.user_id, made.metadata) == ("u-1", "u-2", {})
    with pytest.raises(TypeError, match="no field 'user'"):
        made.child(user="u-2")


def test_frozen_contexts_are_frozen_and_hashable():
    """`frozen=True` under the plain base means what it says."""
    made = Frozen("u-1")
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.user_id = "u-2"
    assert hash(made) == hash(Frozen("u-1"))


def test_between_subclasses_the_standard_rule_holds():
    """Only the base is for both: a plain class below a frozen one is refused, and the other way round."""
    with pytest.raises(TypeError, match="non-frozen dataclass from a frozen"):

        @dataclass
        class Thawed(Frozen):
            more: str = ""

    with pytest.raises(TypeError, match="frozen dataclass from a non-frozen"):

        @dataclass(frozen=True)
        class Cold(Plain):
            more: str = ""

    @dataclass(frozen=True)
    class Colder(Frozen):
        more: str = ""

    assert Colder("u-1", more="m").more == "m"


def test_a_failed_class_does_not_change_the_next_one():
    """A class that the decorator refuses leaves nothing behind."""
    with pytest.raises(ValueError, match="mutable default"):

        @dataclass(frozen=True)
        class Broken(RunContext):
            tags: list[str] = []  # noqa: RUF008 -- what is refused

    @dataclass
    class Fine(RunContext):
        tags: tuple[str, ...] = ()

    made = Fine()
    made.tags = ("a",)
    assert made.tags == ("a",)


def test_plain_and_frozen_classes_are_made_at_once():
    """Threads that make classes of both kinds do not disturb each other."""
    faults: list[BaseException] = []

    def make(frozen: bool) -> None:
        try:
            for _ in range(50):
                dataclass(frozen=frozen)(type("Made", (RunContext,), {"__annotations__": {"a": int}, "a": 0}))()
        except BaseException as exc:
            faults.append(exc)

    threads = [threading.Thread(target=make, args=(number % 2 == 0,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_a_context_may_be_an_abc_or_a_protocol_as_well():
    """The base has no metaclass, so it mixes with anything."""

    class Named(Protocol):
        name: str

    class Able(ABC):
        @abstractmethod
        def can(self) -> bool: ...

    @dataclass
    class Both(RunContext, Able, Named):
        name: str = "n"

        def can(self) -> bool:
            return True

    assert Both().can()


def test_agent_is_read_only_and_known_inside_runs(model):
    """A tool sees which agent runs it; outside there is none, and nobody sets it."""
    seen = []

    @otelier.tool
    def look(ctx: RunContext) -> str:
        seen.append((ctx.agent.name, ctx.agent.id, ctx.with_metadata(a=1).agent.name))
        return ""

    given = RunContext()
    model.says([("look", {})], "Done.")
    model.agent(look).run("Go", context=given).wait()
    assert seen == [("triage", agent_id_for("triage"), "triage")]
    assert given.agent is None
    with pytest.raises(AttributeError):
        given.agent = "other"


class Plan(enum.Enum):
    PRO = "pro"


ORDER = uuid.UUID(int=7)


@dataclass
class Told(RunContext):
    user_id: str = "u-1"
    user_role: str = "admin"
    session_id: str = "s-1"
    workflow_id: str = "w-1"
    tenant_id: str = "acme"
    order: Annotated[uuid.UUID, exported("shop.order.id")] = ORDER
    plan: Annotated[Plan, exported()] = Plan.PRO
    parts: Annotated[list[int], exported] = field(default_factory=lambda: [1, 2])
    is_new: Annotated[bool, exported] = True
    coupon: Annotated[str, exported("shop.coupon")] | None = "spring"
    note: Annotated[str, exported] = "key sk-proj-abcdef0123456789"
    secret: Annotated[SecretStr, exported] = field(default_factory=lambda: SecretStr("canary"))
    password: Annotated[str, exported] = "canary"
    api_key: str = "canary"
    db: object = "canary"


def test_a_mark_beside_a_type_that_nobody_finds(model, otelier_spans):
    """A class for type checkers only, or one of the function around: the mark is seen, and the value is sent."""

    class Kind(enum.Enum):
        GIFT = "gift"

    @dataclass
    class Parcel(RunContext):
        kind: Annotated[Kind, exported("shop.kind")] = Kind.GIFT
        weight: Annotated[list[Grams], exported] = field(default_factory=lambda: [2])  # type: ignore[name-defined]  # noqa: F821
        depot: Depot = "canary"  # type: ignore[name-defined]  # noqa: F821

    model.agent().run("Go", context=Parcel()).wait()
    attributes = otelier_spans.find("invoke_agent triage").attributes
    assert (attributes["shop.kind"], attributes["otelier.context.weight"]) == ("gift", (2,))
    assert "canary" not in str(attributes)


def test_what_reaches_telemetry(model, otelier_spans, caplog):
    """The fields of a call and what is marked, on every span and log record of the run; nothing else."""

    @otelier.tool
    def work() -> str:
        logging.getLogger("app").warning("at work")
        return ""

    model.says([("work", {})], "Done.")
    with caplog.at_level(logging.WARNING):
        model.agent(work).run("canary query", context=Told()).wait()
    expected = {
        "user.id": "u-1",
        "user.roles": ("admin",),
        "session.id": "s-1",
        "otelier.workflow.id": "w-1",
        "otelier.tenant.id": "acme",
        "shop.order.id": str(ORDER),
        "otelier.context.plan": "pro",
        "otelier.context.parts": (1, 2),
        "otelier.context.is_new": True,
        "shop.coupon": "spring",
        "otelier.context.note": "key [REDACTED:api-key]",
        "otelier.context.password": "[REDACTED:secret]",
    }
    assert len(otelier_spans.records) == 4
    for span in otelier_spans.records:
        assert {key: span.attributes.get(key) for key in expected} == expected
        assert "canary" not in repr(span)
    assert "canary" not in repr((otelier_spans.logs, otelier_spans.metric_points))
    assert "Cannot export the field `secret`" in caplog.text
    assert "canary" not in caplog.text


def test_nothing_of_it_is_sent_on_as_baggage(model):
    """What is exported stays on this process's signals."""
    seen = []

    @otelier.tool
    def look() -> str:
        from opentelemetry import baggage

        seen.append(sorted(baggage.get_all()))
        return ""

    model.says([("look", {})], "Done.")
    model.agent(look).run("Go", context=Told()).wait()
    assert seen == [
        ["gen_ai.agent.name", "otelier.tenant.id", "otelier.workflow.id", "session.id", "user.id", "user.roles"]
    ]


@pytest.mark.parametrize("value", ["a\x00b", "x" * 1025, object()])
def test_a_field_that_cannot_be_carried_stops_no_run(model, otelier_spans, value):
    """A user id that no signal can carry is cleared, that of the code around it too; the run goes on."""
    otelier.init(strict=False)
    with otelier.context(user_id="somebody else", session_id="s-1"):
        assert model.agent().run("Hello", context=Plain(user_id=value)).output
    attributes = otelier_spans.find("invoke_agent triage").attributes
    assert ("user.id" in attributes, attributes["session.id"]) == (False, "s-1")


@pytest.mark.parametrize("value", ["a\x00b", "x" * 1025, object()])
def test_a_field_that_cannot_be_carried_is_seen_in_tests(model, otelier_spans, value):
    """Where otelier is strict, as in tests, such a run raises and names the field."""
    with pytest.raises((TypeError, otelier.errors.ContextValueError), match="user_id"):
        model.agent().run("Hello", context=Plain(user_id=value)).wait()


@pytest.mark.parametrize("name", ["", " ", "user.id", "gen_ai.agent.name"])
def test_an_export_cannot_pretend_to_be_a_field(name):
    """Names that say who a call is for are not for other values."""
    with pytest.raises(ValueError, match="Cannot export"):
        exported(name)


def test_the_fields_end_with_the_run(model, otelier_spans):
    """After a run everything is as it was before."""
    with otelier.context(user_id="outer", agent="outer"):
        model.agent().run("Hello", context=Told()).wait()
        assert otelier.get_context() == otelier.CallContext(user_id="outer", agent="outer")
