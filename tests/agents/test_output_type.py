"""`Agent(output_type=)`: a run's output is an instance of a pydantic model class, or the run fails and says why."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import enum
import json
import math
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, RootModel

from otelier import tool
from otelier.agents import RunFinished, TextDelta
from otelier.errors import AnswerError, RefusalError, UnfinishedAnswerError
from otelier.interceptors import Interceptor, InterceptResult, Phase, StopExecution

SECRET = "Rotterdam"  # stands for content: no error may quote it


class Parcel(BaseModel):
    """A parcel."""

    id: int
    city: str = ""


FOUND = Parcel(id=7, city=SECRET)
TEXT = FOUND.model_dump_json()


@tool
def find(number: int) -> str:
    """Find a parcel."""
    return f"{number} is in {SECRET}"


def outcome(agent, streamed):
    """The result of a run, streamed or not."""
    if not streamed:
        return agent.run("Where is it?").wait()

    async def drain():
        stream = agent.stream("Where is it?")
        events = [event async for event in stream]
        assert isinstance(events[-1], RunFinished)
        assert events[-1].result is stream.result
        assert "".join(event.text for event in events if isinstance(event, TextDelta)).endswith("}")
        return stream.result

    return asyncio.run(drain())


each_way = pytest.mark.parametrize("streamed", [False, True], ids=["run", "stream"])


@each_way
def test_the_output_is_an_instance(model, otelier_spans, streamed):
    """After its tools the model gives the object; it is asked for strictly, in each question, beside the tools."""
    model.says([("find", {"number": 7})], TEXT)
    result = outcome(model.agent(find, output_type=Parcel), streamed)
    assert result.output == FOUND
    for request in model.server.requests:
        asked = request.asked["response_format"]
        assert (asked["type"], asked["json_schema"]["name"], asked["json_schema"]["strict"]) == (
            "json_schema", "Parcel", True,
        )  # fmt: skip
        assert asked["json_schema"]["schema"]["required"] == ["id", "city"]
    assert otelier_spans.find("invoke_agent triage").attributes["gen_ai.output.type"] == "json"
    assert result.usage.model_calls == 2


@each_way
@pytest.mark.parametrize(
    ("said", "told"),
    [
        (f"It is in {SECRET}.", "the answer: this is no JSON"),
        (json.dumps({"id": SECRET}), "id: Input should be a valid integer"),
        ("", "the answer: it is empty"),
    ],
)
def test_what_does_not_fit_is_told_to_the_model_once(model, streamed, said, told):
    """The model reads what is wrong and answers again; both answers are part of the conversation and of the usage."""
    model.says(said, TEXT)
    result = outcome(model.agent(output_type=Parcel), streamed)
    assert result.output == FOUND
    before, complaint = model.server.requests[-1].messages[-2:]
    assert (before["role"], before["content"], complaint["role"]) == ("assistant", said, "user")
    assert complaint["content"].startswith(f"This does not match the required schema: {told}")
    assert result.usage.model_calls == 2
    assert [message["role"] for message in result.messages] == ["user", "assistant", "user", "assistant"]


def test_what_does_not_fit_twice_fails(model, otelier_spans):
    """The run raises what is wrong, without the answer's words, and its span has failed."""
    model.says(json.dumps({"id": SECRET}), [("find", {"number": 7})], json.dumps({"id": SECRET}))
    with pytest.raises(AnswerError, match="id: Input should be a valid integer") as caught:
        model.agent(find, output_type=Parcel).run("Where is it?").wait()
    assert caught.value.problems
    assert SECRET not in str(caught.value)
    run = otelier_spans.find("invoke_agent triage")
    assert run.attributes["error.type"] == "otelier.errors.AnswerError"
    assert not run.status.is_ok
    assert SECRET not in run.status.description


def test_the_second_answer_is_a_step(model):
    """A run whose `max_steps` are used up fails with the limit, and asks no more."""
    model.says("It is lost.", TEXT)
    with pytest.raises(RuntimeError, match="max_steps=1"):
        model.agent(output_type=Parcel, max_steps=1).run("Where is it?").wait()
    assert len(model.server.requests) == 1


@each_way
@pytest.mark.parametrize(
    ("delta", "reason", "error"),
    [
        ({"refusal": "I will not."}, "stop", RefusalError),
        ({"content": '{"id": 7, "ci'}, "length", UnfinishedAnswerError),
        ({"content": '{"id": 7, "ci'}, "content_filter", UnfinishedAnswerError),
    ],
)
def test_refused_and_cut_answers_fail_at_once(model, otelier_spans, streamed, delta, reason, error):
    """There is nothing to mend in them: the run fails with the error that says what happened."""
    said = {"role": "assistant", "content": None, **delta}
    one = {"id": "c", "model": "gpt-4.1"}
    if streamed:
        chunk = {**one, "choices": [{"index": 0, "delta": said, "finish_reason": reason}]}
        model.server.reply(events=[chunk, "[DONE]"])
    else:
        model.server.reply(body={**one, "choices": [{"index": 0, "message": said, "finish_reason": reason}]})
    with pytest.raises(error):
        outcome(model.agent(output_type=Parcel), streamed)
    assert len(model.server.requests) == 1
    assert not otelier_spans.find("invoke_agent triage").status.is_ok


@each_way
def test_a_subagents_object_goes_to_its_parent_as_json(model, streamed):
    """The parent's model reads the object as JSON; the subagent's own failure is a failed tool."""
    specialist = model.agent(name="finder", output_type=Parcel)
    desk = model.agent(name="desk", subagents=[specialist], output_type=Parcel)
    model.says([("finder", {"task": "find 7"})], TEXT, TEXT)
    assert outcome(desk, streamed).output == FOUND
    assert json.loads(model.told()[0]) == FOUND.model_dump()
    model.says([("finder", {"task": "find 7"})], "No.", "No!", TEXT)
    assert outcome(desk, streamed).output == FOUND
    assert model.told()[0].startswith("Error: AnswerError: ")


def test_interceptors_see_and_change_the_object(model):
    """POST_RUN shows the object; an answer changed at POST_THINK is read as it was changed."""
    seen = []

    class Move(Interceptor):
        async def intercept(self, phase, context):
            if phase is Phase.POST_THINK:
                moved = {**context.messages[-1], "content": '{"id": 8, "city": "Delft"}'}
                return InterceptResult.modify_messages([*context.messages[:-1], moved])
            if phase is Phase.POST_RUN:
                seen.append(context.output)
            return None

    model.says("It is lost.")
    assert model.agent(output_type=Parcel, interceptors=[Move()]).run("Where is it?").output == Parcel(
        id=8, city="Delft"
    )
    assert seen == [Parcel(id=8, city="Delft")]
    model.says("It is lost.")
    assert model.agent(output_type=Parcel, interceptors=[Move()]).run("Where is it?").wait().finish_reason == "stop"


def test_a_stopped_run_has_the_stops_response(model):
    """As it was given: text, or an instance."""

    class Closed(Interceptor):
        async def intercept(self, phase, context):
            return InterceptResult.stop(FOUND if context.task == "Where is it?" else "Closed.")

    agent = model.agent(output_type=Parcel, interceptors=[Closed()])
    assert agent.run("Where is it?").output == FOUND
    assert agent.run("Hello").output == "Closed."

    @tool
    def stops() -> str:
        raise StopExecution(FOUND)

    model.says([("stops", {})])
    assert model.agent(stops, output_type=Parcel).run("Go").output == FOUND


def test_content_of_the_object_only_when_asked_for(model, otelier_spans, capture_content):
    """The run's span shows it as the JSON that it is."""
    capture_content("SPAN_ONLY")
    model.says(TEXT)
    model.agent(output_type=Parcel).run("Where is it?").wait()
    said = json.loads(otelier_spans.find("invoke_agent triage").attributes["gen_ai.output.messages"])
    assert json.loads(said[0]["parts"][0]["content"]) == FOUND.model_dump()


@pytest.mark.parametrize("wrong", [int, dict, {"type": "object"}, "Parcel", list[int], FOUND])
def test_what_is_no_model_class_is_refused(model, wrong):
    """When the agent is made."""
    with pytest.raises(TypeError, match="give a pydantic model class"):
        model.agent(output_type=wrong)


def test_text_is_text(model):
    """`str` is the same as none: the model is asked for no format."""
    model.says("It is lost.")
    assert model.agent(output_type=str).run("Where is it?").output == "It is lost."
    assert "response_format" not in model.server.requests[-1].asked


# --- schemas that a provider takes, and answers in a block of code -------------------------------------------------
class Cat(BaseModel):
    """A cat."""

    kind: Literal["cat"] = "cat"
    lives: int = Field(default=9, ge=0, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]
    name: Annotated[str, Field(min_length=1, max_length=20, description="What it listens to.")]


class Tagged(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind", description="Which animal.")]


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    city: str


class Stock(BaseModel):
    counts: dict[str, int]


class Anything(BaseModel):
    value: Any


class Node(BaseModel):
    name: str
    below: list[Node] = []
    again: Node | None = Field(default=None, description="The same again.")


class Pets(RootModel[Annotated[Cat | Dog, Field(discriminator="kind")]]):
    pass


class Names(RootModel[list[str]]):
    pass


class Counts(RootModel[dict[str, int]]):
    pass


class Pair(BaseModel):
    both: tuple[int, str]


class Odd(BaseModel):
    most: float = math.inf
    price: Decimal
    day: dt.date
    where: HttpUrl
    level: Literal[1, "high", None]
    tags: set[str] = Field(default_factory=set, max_length=3)
    cat: Cat = Field(description="Yours.")


class Code(str, enum.Enum):
    A = "a"
    B = "b"


class Coded(BaseModel):
    code: Code = Code.A
    raw: bytes = b""


STRICT = {
    Tagged: {"pet": {"kind": "cat", "lives": 3}},
    Open: {"city": "Rome"},
    Node: {"name": "a", "below": [{"name": "b", "below": [], "again": None}], "again": None},
    Pets: {"answer": {"kind": "dog", "name": "Rex"}},
    Names: {"answer": ["a", "b"]},
    Odd: {
        "most": 1.0, "price": "1.10", "day": "2026-01-02", "where": "https://example.com/", "level": "high",
        "tags": ["a"], "cat": {"kind": "cat", "lives": 1},
    },
    Coded: {"code": "b", "raw": "x"},
}  # fmt: skip
LOOSE = {
    Stock: {"counts": {"pen": 3}},
    Anything: {"value": [1, {"a": None}]},
    Counts: {"answer": 3},
    Pair: {"both": [1, "x"]},
}


@pytest.mark.parametrize("kind", [*STRICT, *LOOSE], ids=lambda kind: kind.__name__)
def test_no_schema_is_sent_to_be_refused(model, kind):
    """Strictly where that form can say it, else without, and checked here; the server refuses what the API refuses."""
    said = {**STRICT, **LOOSE}[kind]
    with contextlib.suppress(AnswerError):  # of what the server makes up
        model.agent(output_type=kind).run("Go").wait()
    model.says(json.dumps(said))
    output = model.agent(output_type=kind).run("Go").output
    assert type(output) is kind
    is_wrapped = kind in (Pets, Names)
    assert output.model_dump(mode="json") == (said["answer"] if is_wrapped else said)
    asked = model.server.requests[-1].body["response_format"]["json_schema"]
    assert asked["strict"] is (kind in STRICT)


@pytest.mark.parametrize(("kind", "said"), [(Names, ["a"]), (Pets, {"kind": "cat", "lives": 1})])
def test_a_server_that_knows_no_schemas_may_leave_the_object_around_away(model, kind, said):
    """What is no object is asked for inside one, and read with it or without."""
    model.says(json.dumps(said))
    assert model.agent(output_type=kind).run("Go").output.model_dump(mode="json") == said


def test_constraints_that_a_provider_does_not_know_are_checked_here(model):
    """They are not sent, and hold all the same."""
    model.says('{"pet": {"kind": "dog", "name": ""}}', '{"pet": {"kind": "dog", "name": "Rex"}}')
    result = model.agent(output_type=Tagged).run("Go").wait()
    assert (result.output.pet.name, result.usage.model_calls) == ("Rex", 2)
    schema = model.server.requests[0].body["response_format"]["json_schema"]["schema"]
    assert "minLength" not in json.dumps(schema)
    assert schema["$defs"]["Dog"]["properties"]["name"]["description"] == "What it listens to."


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"id": 8, "city": "Delft"}\n```',
        '```\n{"id": 8, "city": "Delft"}\n```\n',
        'Here it is:\r\n\r\n```JSON\r\n{"id": 8, "city": "Delft"}\r\n```\r\nAnything else?',
        '  ```json\n  {"id": 8, "city": "a ``` b"}\n  ```',
        '```json {"id": 8, "city": "Delft"} ```',
        '```json{"id": 8, "city": "Delft"}```',
        '```json\n{"id": 8, "city": "Delft"}```',
        'First:\n```python\nx = {"id": 7}\n```\nThen:\n```json\n{"id": 8, "city": "Delft"}\n```',
        '```json\n{"id": 8, "city": "Delft"}\n```\nIn short:\n```\nDelft\n```',
        '~~~json\n{"id": 8, "city": "Delft"}\n~~~',
        '````\n{"id": 8, "city": "``` ```"}\n````',
        '\ufeff{"id": 8, "city": "Delft"}',
        '\ufeff```json\n{"id": 8, "city": "Delft"}\n```',
    ],
    ids=[
        *("json", "plain", "among words", "with a fence inside", "one line", "no space", "closed on its line"),
        *("after another", "before another", "tildes", "longer fence", "byte order mark", "mark and block"),
    ],
)
def test_an_answer_in_a_block_of_code(model, text):
    """Is read as what stands in it."""
    model.says(text)
    assert outcome(model.agent(output_type=Parcel), streamed=False).output.id == 8


def test_words_about_the_answer_that_is_in_no_block_are_no_answer(model):
    """The model is told, and answers again."""
    model.says('It is {"id": 8, "city": "Delft"}.', '{"id": 8, "city": "Delft"}')
    assert model.agent(output_type=Parcel).run("Go").wait().usage.model_calls == 2
