"""Tools: registered, offered, called by the model, found again."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import json
import traceback

import pytest
from pydantic import BaseModel

import otelier
from otelier import llm
from otelier.errors import OtelierError, ToolArgumentsError, UnknownToolError

SCHEMA = {"type": "object", "properties": {"query": {"type": "string"}, "max_results": {"type": "integer"}}}


async def search(query: str, max_results: int = 3) -> str:
    """Search the web
    for pages.

    Args:
        query: What to look for.
    """
    return f"{max_results} pages about {query}"


def test_register(model, ask):
    """What `register` returns is offered to the model as it was described."""
    tools = llm.Tools()
    tool = tools.register("web_search", search, "Search the web for information", SCHEMA)
    ask(tools=[tool])
    assert model.sent["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "web_search",
                "description": "Search the web for information",
                "parameters": SCHEMA,
            },
        }
    ]


def test_described_by_the_handler():
    """Without description and schema the handler's docstring and signature say what there is to say."""
    tool = llm.Tools().register("search", search)
    assert tool.description == "Search the web\nfor pages."
    assert tool.schema["properties"]["query"] == {"type": "string", "description": "What to look for."}
    assert tool.schema["required"] == ["query"]
    assert tool.schema["properties"]["max_results"]["type"] == "integer"
    assert tool.schema["properties"]["max_results"]["default"] == 3


def test_schema_of_a_model_class():
    """A model class describes the arguments too."""

    class Arguments(BaseModel):
        query: str

    assert llm.Tools().register("search", search, schema=Arguments).schema["required"] == ["query"]


def test_the_loop_of_a_program(model):
    """Ask, call what the model wants, answer it, ask again: the whole of a small agent."""
    tools = llm.Tools()
    tools.register("search", search)
    model.server.reply(tool_calls=[("search", {"query": "parcels"}), ("search", {"query": "boats", "max_results": 1})])
    model.server.reply("Enough pages.")

    async def run(client):
        messages = [{"role": "user", "content": "How many pages?"}]
        answer = await llm.generate(messages, "gpt-4.1", tools=tools, client=client)
        messages.append(answer.message)
        for call in answer.tool_calls:
            result = await tools.handler(call.name)(**call.arguments)
            messages.append(call.to_message(result))
        return await llm.generate(messages, "gpt-4.1", tools=tools, client=client)

    assert model.run(run).text == "Enough pages."
    asked, *answered = model.sent["messages"][1:]
    assert [call["function"]["name"] for call in asked["tool_calls"]] == ["search", "search"]
    assert [message["content"] for message in answered] == ["3 pages about parcels", "1 pages about boats"]
    assert [message["tool_call_id"] for message in answered] == [call["id"] for call in asked["tool_calls"]]
    assert model.spans.tree() == "chat gpt-4.1 CLIENT\nchat gpt-4.1 CLIENT"


def test_tool_calls(model, ask):
    """A call has its name, the arguments by name, and the id that the answer to it needs."""
    model.server.reply(tool_calls=[("search", {"query": "a b c", "max_results": 2}), ("stop", "")])
    first, second = ask(tools=[llm.RegisteredTool(name="search", handler=search)]).tool_calls
    assert (first.name, first.arguments) == ("search", {"query": "a b c", "max_results": 2})
    assert (second.name, second.arguments) == ("stop", {})
    assert first.id.startswith("call_")
    assert first.id != second.id
    first.arguments["query"] = "changed"
    assert first.arguments["query"] == "a b c"


@pytest.mark.parametrize("written", ['{"query": "secret', "secret", '["secret"]', "null", "NaN", "[" * 100_000])
def test_arguments_that_are_no_json_object(model, ask, written):
    """The call is there, and reading its arguments is an error that the model can be told, without quoting them."""
    model.server.reply(tool_calls=[("search", written)])
    (call,) = ask(tools=[llm.RegisteredTool(name="search", handler=search)]).tool_calls
    assert call.arguments_json == written
    with pytest.raises(ToolArgumentsError, match="'search' as JSON") as caught:
        _ = call.arguments
    assert (caught.value.tool, caught.value.call_id) == ("search", call.id)
    assert "secret" not in "".join(traceback.format_exception(caught.value))
    assert isinstance(caught.value, OtelierError)


def test_an_unknown_tool():
    """A name that the model made up is an error that lists the names there are."""
    tools = llm.Tools()
    with pytest.raises(UnknownToolError, match="only none"):
        tools.handler("find")
    tools.register("search", search)
    with pytest.raises(UnknownToolError, match=r"There is no tool 'find', only 'search'") as caught:
        tools.handler("find")
    assert caught.value.tool == "find"


def test_a_name_again():
    """The last handler of a name is the one that counts, so that a function may register its tools at each call."""
    tools = llm.Tools()
    tools.register("search", search)
    tools.register("search", print, schema=SCHEMA)
    assert tools.handler("search") is print
    assert len(tools) == 1
    assert "search" in tools


@pytest.mark.parametrize("nothing", [llm.Tools(), [], iter(()), None])
def test_no_tools(model, ask, nothing):
    """No tools are no argument at all: providers refuse an empty list."""
    ask(tools=nothing)
    assert "tools" not in model.sent


def test_the_registry_of_the_process():
    """`llm.tools` is there for programs that need no other."""
    tool = llm.tools.register("search_for_a_test", search)
    assert llm.tools.handler("search_for_a_test") is search
    assert tool in list(llm.tools)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("", search), "calls it by its name"),
        ((7, search), "calls it by its name"),
        (("search", "search"), "cannot be called"),
        (("search", search, SCHEMA), "give it as `schema=`"),
        (("search", search, "", "string"), "a JSON schema or a model class"),
        (("search", search, "", 7), "a JSON schema or a model class"),
    ],
)
def test_what_cannot_be_registered(arguments, told):
    """Each error says what to give."""
    with pytest.raises(TypeError, match=told):
        llm.Tools().register(*arguments)


def test_a_signature_without_a_schema():
    """Types that JSON does not have, and names that do not resolve, ask for a schema of one's own."""

    def with_socket(connection: asyncio.Lock) -> None: ...

    def with_nothing(connection: Unresolvable) -> None: ...  # noqa: F821

    def by_position(query: str, /) -> None: ...

    for handler in (with_socket, with_nothing, by_position, print, int):
        with pytest.raises(TypeError, match="give `schema=`"):
            llm.Tools().register("send", handler)
        assert llm.Tools().register("send", handler, schema=SCHEMA).schema == SCHEMA


def test_custom_tools(model):
    """A tool that takes free text is called like others; its text stands where others have JSON."""
    call = {"id": "call_1", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    model.server.reply(body={"choices": [{"message": message, "finish_reason": "tool_calls"}]})
    (found,) = model.generate().tool_calls
    assert (found.name, found.arguments_json) == ("shell", "ls")


@pytest.mark.parametrize("call", [{}, {"function": None}, {"id": None, "function": {"name": None}}, None, "search"])
def test_calls_with_missing_parts(model, call):
    """What a provider left out is empty, but for an id, and nothing fails."""
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    model.server.reply(body={"choices": [{"message": message}]})
    (found,) = model.generate().tool_calls
    assert found.id.startswith("call_")
    assert dataclasses.asdict(found) == {"id": found.id, "name": "", "arguments_json": ""}
    assert found.arguments == {}


def asked(name, arguments):
    """A call as a model asks for it."""
    return llm.ToolCall(id="call_1", name=name, arguments_json=json.dumps(arguments))


def test_arguments_are_converted_by_the_signature():
    """Where the schema was made of the signature, the handler gets the types that it names."""
    tools = llm.Tools()

    def book(day: dt.date, seats: int = 1) -> str:
        """Book seats."""
        return f"{seats} on {day:%A}"

    tools.register("book", book)
    given = tools.arguments(asked("book", {"day": "2026-01-02"}))
    assert given == {"day": dt.date(2026, 1, 2)}
    assert tools.handler("book")(**given) == "1 on Friday"


def test_arguments_are_converted_by_a_model_class():
    """A model class gives its fields, with their defaults."""

    class Booking(BaseModel):
        day: dt.date
        seats: int = 1

    tools = llm.Tools()
    tools.register("book", search, schema=Booking)
    assert tools.arguments(asked("book", {"day": "2026-01-02"})) == {"day": dt.date(2026, 1, 2), "seats": 1}


def test_arguments_are_held_against_a_json_schema():
    """They are checked, and left as they are."""
    tools = llm.Tools()
    tools.register("search", search, schema={**SCHEMA, "required": ["query"]})
    given = {"query": "parcels", "max_results": 2}
    assert tools.arguments(asked("search", given)) == given
    assert tools.arguments(asked("search", {"query": "parcels", "more": 1})) == {"query": "parcels", "more": 1}


class Query(BaseModel):
    query: str


@pytest.mark.parametrize("schema", [None, Query, {**SCHEMA, "required": ["query"]}], ids=["signature", "class", "json"])
@pytest.mark.parametrize("arguments", [{}, {"query": 4711}, {"query": ["4711"]}, [4711]])
def test_arguments_that_do_not_fit(schema, arguments):
    """The error names tool, call and what is wrong, in words for the model, and quotes no value."""
    tools = llm.Tools()
    tools.register("search", search, schema=schema)
    with pytest.raises(ToolArgumentsError, match="tool 'search'") as caught:
        tools.arguments(asked("search", arguments))
    assert (caught.value.tool, caught.value.call_id) == ("search", "call_1")
    assert len(caught.value.problems) == 1
    assert "4711" not in "".join(traceback.format_exception(caught.value))


def test_arguments_of_an_unknown_tool():
    """As for its handler."""
    with pytest.raises(UnknownToolError, match="There is no tool 'find'"):
        llm.Tools().arguments(asked("find", {}))


def test_functions_made_tools_are_offered(model, ask):
    """What `otelier.tool` makes can be offered here too; its context is nothing that the model knows of."""

    @otelier.tool
    def find(number: int, ctx: otelier.RunContext) -> str:
        """Find a parcel."""
        return ""

    ask(tools=[find])
    assert model.sent["tools"] == [find.to_param()]
    assert model.sent["tools"][0]["function"] == {
        "name": "find",
        "description": "Find a parcel.",
        "parameters": {
            "type": "object",
            "properties": {"number": {"type": "integer"}},
            "required": ["number"],
            "additionalProperties": False,
        },
    }
