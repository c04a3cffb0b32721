"""Structured output: a model class, a JSON schema, a response format; and answers that do not fit."""

from __future__ import annotations

import json
import traceback
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, create_model, field_validator
from pydantic_core import PydanticCustomError

from otelier import llm
from otelier.errors import AnswerError, OtelierError, RefusalError, UnfinishedAnswerError
from tests.llm.conftest import PARCEL, Model, Parcel

SECRET = "Rotterdam"  # stands for content: no message may quote it


def test_model_class(model, ask):
    """A model class is asked for strictly, and `object` is an instance of it."""
    model.server.reply('{"id": 7, "city": "Rotterdam"}')
    answer = ask(schema=Parcel)
    assert answer.object == Parcel(id=7, city="Rotterdam")
    asked = model.sent["response_format"]
    assert (asked["type"], asked["json_schema"]["name"], asked["json_schema"]["strict"]) == (
        "json_schema", "Parcel", True,
    )  # fmt: skip
    schema = asked["json_schema"]["schema"]
    assert (schema["required"], schema["additionalProperties"]) == (["id", "city"], False)


def described(fields: int, levels: int) -> type[BaseModel]:
    """A model class whose every field is described and of the next class."""
    kind: type = int
    for level in range(levels):
        given = {f"field_{n}": (kind, Field(description=f"No. {n}")) for n in range(fields)}
        kind = create_model(f"Level{level}", **given)
    return kind


def asked_for(model: Model, schema: type[BaseModel]) -> dict[str, Any]:
    """What the provider is told of a model class."""
    model.server.reply("What?")
    with pytest.raises(AnswerError):
        model.generate(schema=schema)
    return model.sent["response_format"]["json_schema"]


def test_described_members(model):
    """What a member is described as stands at a definition that it refers to: a reference can say nothing more."""
    schema = asked_for(model, described(2, 2))["schema"]
    members = schema["properties"].values()
    definitions = [schema["$defs"][member["$ref"].removeprefix("#/$defs/")] for member in members]
    assert [definition["description"] for definition in definitions] == ["No. 0", "No. 1"]
    assert [list(definition["properties"]) for definition in definitions] == [["field_0", "field_1"]] * 2
    assert set(schema["$defs"]) == {"Level0", "Level0_2"}


@pytest.mark.parametrize(("fields", "levels"), [(3, 7), (5, 9)])
def test_described_members_on_many_levels(model, fields, levels):
    """A schema grows with its places, not with the ways to them: each level would take it times their number."""
    asked = asked_for(model, described(fields, levels))
    assert asked["strict"] is True
    assert len(asked["schema"]["$defs"]) == fields * (levels - 1)


def test_described_members_that_go_round(model):
    """A class that refers to itself, described, is a definition that refers to itself."""

    class Node(BaseModel):
        below: Node | None = Field(description="What hangs below.")
        beside: Node | None = None

    asked = asked_for(model, Node)
    assert asked["strict"] is True
    assert list(asked["schema"]["$defs"]) == ["Node"]


@pytest.mark.parametrize(
    "members",
    [
        {f"member_{n}": (int, ...) for n in range(5_001)},
        {"member": (Literal[tuple(map(str, range(1_001)))], ...)},
        {f"{n}{'m' * 12_000}": (int, ...) for n in range(11)},
    ],
    ids=["members", "values", "characters"],
)
def test_more_than_a_provider_takes_strictly(model, members):
    """What is beyond the limits of strict schemas is not asked for strictly."""
    assert asked_for(model, create_model("Large", **members))["strict"] is False


FORMS: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "one of one": ({"allOf": [{"type": "string"}], "title": "A"}, {"type": "string", "title": "A"}),
    "a constant": ({"const": "x"}, {"const": "x", "type": "string"}),
    "values of two types": ({"enum": [1, "a"]}, {"enum": [1, "a"], "type": ["integer", "string"]}),
    "a pattern": ({"type": "string", "pattern": "^a"}, {"type": "string", "pattern": "^a"}),
    "a pattern that looks ahead": ({"type": "string", "pattern": "(?=a)"}, {"type": "string"}),
    "values that are objects": ({"enum": [{"a": 1}]}, None),
    "anything": ({}, None),
    "a list of anything": ({"type": "array"}, None),
    "a tuple": ({"type": "array", "prefixItems": [{"type": "string"}], "items": False}, None),
    "what is none of these": ({"type": "string", "not": {"const": "a"}}, None),
}


@pytest.mark.parametrize(("given", "strict"), FORMS.values(), ids=FORMS)
def test_what_a_provider_can_enforce(model, given, strict):
    """Each form of a member is rewritten into the strict one; a class with one that has none is asked for as it is."""
    odd = create_model("Odd", value=(Annotated[Any, WithJsonSchema(given)], ...))
    asked = asked_for(model, odd)
    assert asked["strict"] is (strict is not None)
    shown = {key: value for key, value in asked["schema"]["properties"]["value"].items() if key != "title"}
    assert shown == {key: value for key, value in (given if strict is None else strict).items() if key != "title"}


def test_a_class_that_is_no_object(model):
    """A class whose own schema says that it is a text is not asked for strictly."""

    def as_text(schema: dict[str, Any]) -> None:
        schema.clear()
        schema["allOf"] = [{"type": "string"}]

    class Text(BaseModel):
        model_config = ConfigDict(json_schema_extra=as_text)

    assert asked_for(model, Text) == {"name": "Text", "schema": {"allOf": [{"type": "string"}]}, "strict": False}


def test_a_reference_with_a_word_beside_it_is_not_asked_for_strictly(model):
    """Nothing may stand beside a reference there, and two of one class may each say something else."""
    part = create_model("Part", size=(int, ...))
    fields = {name: (part, Field(json_schema_extra={"minimum": at})) for name, at in (("a", 1), ("b", 2))}
    assert asked_for(model, create_model("Parts", **fields))["strict"] is False


def test_json_schema(model, ask):
    """A JSON schema is sent as it is, and `object` is what the JSON says."""
    model.server.reply('{"id": 7, "city": "Rotterdam"}')
    answer = ask(schema=PARCEL)
    assert answer.object == {"id": 7, "city": "Rotterdam"}
    assert model.sent["response_format"]["json_schema"] == {"name": "answer", "schema": PARCEL, "strict": False}


def test_a_json_schema_that_is_no_object(model, ask):
    """What is no object is asked for as the only member of one, and returned without that."""
    model.server.reply('{"answer": ["Rotterdam"]}')
    assert ask(schema={"type": "array", "items": {"type": "string"}}).object == ["Rotterdam"]
    assert model.sent["response_format"]["json_schema"]["schema"]["required"] == ["answer"]


def test_a_schema_is_named_by_its_title(model):
    """The name is the schema's title, in the letters that providers take."""
    model.generate(schema={**PARCEL, "title": "A parcel: é"})
    assert model.sent["response_format"]["json_schema"]["name"] == "A_parcel_"


def test_response_format(model, ask):
    """JSON that was asked for by a response format is parsed, and held against the schema that is in it."""
    model.server.reply('{"id": 7}', times=None)
    assert ask("Where is it? As JSON.", response_format={"type": "json_object"}).object == {"id": 7}
    assert ask(response_format={"type": "text"}).object is None
    with pytest.raises(AnswerError, match="'city' is missing"):
        ask(response_format={"type": "json_schema", "json_schema": {"name": "parcel", "schema": PARCEL}})


def test_response_format_and_schema(model, ask):
    """Where a provider knows no schemas, the format is what is sent, and the schema reads the answer."""
    model.server.reply('{"id": 7, "city": "Rotterdam"}')
    asked = {"schema": Parcel, "response_format": {"type": "json_object"}}
    assert ask("Where is it? As JSON.", **asked).object == Parcel(id=7, city="Rotterdam")
    assert model.sent["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize("schema", [Parcel, PARCEL])
@pytest.mark.parametrize(
    "text", [f"It is in {SECRET}.", '{"id": 7, "city": "Rotterd', "```json\n{\n```", '{"id": NaN}', "[" * 100_000]
)
def test_an_answer_that_is_no_json(model, ask, schema, text):
    """The error says where it stops to be JSON, keeps the answer, and does not quote it."""
    model.server.reply(text)
    with pytest.raises(AnswerError, match="as JSON") as caught:
        ask(schema=schema)
    assert caught.value.answer.text == text
    assert caught.value.answer.usage.output_tokens > 0
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("schema", [Parcel, PARCEL])
def test_an_answer_that_does_not_fit(model, ask, schema):
    """The error names each place that does not fit, for the model to mend, and does not quote values."""
    model.server.reply(json.dumps({"id": SECRET}))
    with pytest.raises(AnswerError, match="does not fit the schema") as caught:
        ask(schema=schema)
    first, second = sorted(caught.value.problems)
    if schema is Parcel:
        assert first == "city: Field required"
        assert second.startswith("id: Input should be a valid integer")
    else:
        assert first == "id: this must be of type integer"
        assert second == "the answer: 'city' is missing"
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert isinstance(caught.value, OtelierError)


def test_a_place_in_a_model_class(model):
    """Where an answer breaks a model class is written as for a schema."""

    class Delivery(BaseModel):
        parcels: list[Parcel]

    model.server.reply(json.dumps({"parcels": [{"id": 1, "city": 7}]}))
    with pytest.raises(AnswerError) as caught:
        model.generate(schema=Delivery)
    assert caught.value.problems == ("parcels[0].city: Input should be a valid string",)


def test_a_tag_is_not_quoted(model):
    """Where pydantic's own words quote the answer, the problem says what is allowed instead."""

    class Letter(BaseModel):
        kind: Literal["letter"]

    class Box(BaseModel):
        kind: Literal["box"]

    class Delivery(BaseModel):
        what: Letter | Box = Field(discriminator="kind")

    model.server.reply(json.dumps({"what": {"kind": SECRET}}))
    with pytest.raises(AnswerError) as caught:
        model.generate(schema=Delivery)
    assert caught.value.problems == ("what: Input should have one of the tags 'letter', 'box'",)


class Ages(BaseModel):
    """What the model may have made names for."""

    ages: dict[str, int] = Field(default_factory=dict)
    name: str = ""
    kind: Literal["a"] = "a"
    number: UUID | None = None

    @field_validator("name")
    @classmethod
    def known(cls, name: str) -> str:
        """Quote what does not fit."""
        if name == SECRET:
            raise PydanticCustomError(SECRET, SECRET)
        if name:
            raise ValueError(f"{name} is no customer")
        return name


class Closed(Ages, extra="forbid"):
    """The same, without other members."""


@pytest.mark.parametrize(
    ("schema", "said", "shown"),
    [
        (
            Ages,
            {"ages": {SECRET: "old"}},
            "ages.*: Input should be a valid integer, unable to parse string as an integer",
        ),
        (Closed, {SECRET: 1}, "*: Extra inputs are not permitted"),
        (Ages, {"name": f"{SECRET} "}, "name: this is not valid (value_error)"),
        (Ages, {"name": SECRET}, "name: this is not valid (value_error)"),
        (Ages, {"kind": SECRET}, "kind: this is not valid (literal_error)"),
        (Ages, {"number": SECRET}, "number: this is not valid (uuid_parsing)"),
        (Ages, {"ages": [SECRET]}, "ages: Input should be a valid dictionary"),
        ({"additionalProperties": {"type": "integer"}}, {SECRET: "old"}, "*: this must be of type integer"),
        ({"additionalProperties": False}, {SECRET: "old"}, "*: this name is not allowed"),
    ],
)
def test_names_and_words_of_the_model_are_not_quoted(model, ask, schema, said, shown):
    """A message has names that the schema knows, and the class of the problem; `problems` has all, for the model."""
    model.server.reply(json.dumps(said))
    with pytest.raises(AnswerError) as caught:
        ask(schema=schema)
    assert f"does not fit the schema: {shown}. Ask again" in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert len(caught.value.problems) == 1


def test_many_problems_are_counted(model):
    """A message shows five problems and counts the others; `problems` has all."""
    model.server.reply(json.dumps(["x"] * 9))
    with pytest.raises(AnswerError, match="and 4 more") as caught:
        model.generate(schema={"type": "array", "items": {"type": "integer"}})
    assert len(caught.value.problems) == 9


def test_a_refusal(model, ask):
    """A model that refuses gives no object, and the error keeps its words."""
    refused = {"role": "assistant", "content": None, "refusal": "I will not."}
    if ask.__name__ == "generate":
        body = {"id": "c-1", "model": "m", "choices": [{"index": 0, "message": refused, "finish_reason": "stop"}]}
        model.server.reply(body=body, times=None)
    else:
        chunk = {"id": "c-1", "model": "m", "choices": [{"index": 0, "delta": refused, "finish_reason": "stop"}]}
        model.server.reply(events=[chunk, "[DONE]"], times=None)
    with pytest.raises(RefusalError) as caught:
        ask(schema=Parcel)
    assert caught.value.answer.refusal == "I will not."
    assert "I will not." not in str(caught.value)
    assert ask().refusal == "I will not."


@pytest.mark.parametrize(("reason", "told"), [("length", "limit of tokens"), ("content_filter", "content filter")])
def test_an_answer_that_was_cut(model, ask, reason, told):
    """An object that is not whole is an error that says what cut it."""
    model.server.reply('{"id": 7, "ci', finish_reason=reason)
    with pytest.raises(UnfinishedAnswerError, match=told) as caught:
        ask(schema=Parcel)
    assert caught.value.answer.finish_reason == reason
    assert caught.value.answer.text == '{"id": 7, "ci'


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_answer(model, ask, text):
    """No words are no object."""
    model.server.reply(text)
    with pytest.raises(AnswerError, match="answered nothing"):
        ask(schema=Parcel)


def test_tools_before_the_object(model, ask):
    """A model that calls tools first gives its object later: until then it is `None`."""
    model.server.reply(tool_calls=[("search", {})])
    answer = ask(schema=Parcel, tools=[{"type": "function", "function": {"name": "search"}}])
    assert answer.object is None
    assert answer.tool_calls[0].name == "search"


class Renamed(BaseModel):
    """A model whose field has another name in JSON."""

    city: str = Field(alias="cityName")


def test_an_object_goes_through_json(model, ask):
    """`to_json` writes an instance as its fields, and `from_json` makes it again when told the class."""
    model.server.reply('{"cityName": "Rotterdam"}')
    answer = ask(schema=Renamed)
    stored = json.loads(json.dumps(answer.to_json()))
    assert stored["object"] == {"cityName": "Rotterdam"}
    assert llm.Answer.from_json(stored, schema=Renamed) == answer
    assert llm.Answer.from_json(stored).object == {"cityName": "Rotterdam"}
