"""The local server refuses what the API refuses, in its words, and takes what the client's types allow."""

from __future__ import annotations

import json

import httpx
import openai
import pytest
from pydantic import BaseModel

from otelier.testing import OpenAIServer

ASK = {"role": "user", "content": "Hello"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
CALLED = {"role": "assistant", "tool_calls": [CALL]}
ANSWERED = {"role": "tool", "tool_call_id": "call_1", "content": "nothing"}
CLOSED = {"type": "object", "additionalProperties": False}
SEARCH = {"name": "search", "parameters": {"type": "object", "properties": {"query": {"type": "string"}}}}


@pytest.fixture(scope="module")
def server():
    with OpenAIServer() as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server.base_url, api_key="test", max_retries=0) as made:
        yield made


def refused(client, path, body):
    """The error's message, parameter and code; `None` where the request is answered."""
    answer = httpx.post(f"{client.base_url}".rstrip("/") + path, json={"model": "gpt-4.1", **body}, timeout=300)
    if answer.status_code == 200:
        return None
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    return error["message"], error["param"], error["code"]


def chat(client, *messages, **body):
    return refused(client, "/chat/completions", {"messages": list(messages), **body})


def respond(client, given, **body):
    return refused(client, "/responses", {"input": given, **body})


@pytest.mark.parametrize(
    ("message", "found"),
    [
        (
            {"role": "user", "content": [ASK]},
            ("Missing required parameter: 'messages[0].content[0].type'.", "messages[0].content[0].type",
             "missing_required_parameter"),
        ),
        (
            {"role": "user", "content": [["Hello"]]},
            ("Invalid type for 'messages[0].content[0]': expected an object, but got an array instead.",
             "messages[0].content[0]", "invalid_type"),
        ),
        (
            {"role": "user", "content": {"text": "Hello"}},
            (("Invalid type for 'messages[0].content': expected one of a string or array of objects, but got an object "
              "instead."), "messages[0].content", "invalid_type"),
        ),
        (
            {"role": "user", "content": None},
            ("Invalid value for 'content': expected a string, got null.", "messages.[0].content", None),
        ),
        (
            {"role": "user"},
            ("Missing required parameter: 'messages[0].content'.", "messages[0].content", "missing_required_parameter"),
        ),
        (
            {"content": "Hello"},
            ("Missing required parameter: 'messages[0].role'.", "messages[0].role", "missing_required_parameter"),
        ),
        ("Hello", ("Invalid type for 'messages[0]': expected an object, but got a string instead.", "messages[0]",
                   "invalid_type")),
        (
            {"role": "user", "content": []},
            (("Invalid 'messages[0].content': empty array. Expected an array with minimum length 1, but got an empty "
              "array instead."), "messages[0].content", "empty_array"),
        ),
        (
            {"role": "user", "content": [{"type": "text", "text": 5}]},
            ("Invalid type for 'messages[0].content[0].text': expected a string, but got an integer instead.",
             "messages[0].content[0].text", "invalid_type"),
        ),
        (
            {"role": "tool", "content": "nothing"},
            ("Missing required parameter: 'messages[0].tool_call_id'.", "messages[0].tool_call_id",
             "missing_required_parameter"),
        ),
        (
            {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "search", "arguments": {}}}]},
            (("Invalid type for 'messages[0].tool_calls[0].function.arguments': expected a string, but got an object "
              "instead."), "messages[0].tool_calls[0].function.arguments", "invalid_type"),
        ),
    ],
)  # fmt: skip
def test_messages_that_are_none(client, message, found):
    """What is no message, or lacks what its role needs, is refused by the place where it stands."""
    assert chat(client, message) == found


def test_unknown_roles_and_parts(client):
    """A role or a kind of part that does not exist is refused with those that do."""
    message, param, code = chat(client, {"role": "robot", "content": "Hello"})
    assert message.startswith("Invalid value: 'robot'. Supported values are: ")
    assert {"system", "developer", "user", "assistant", "tool"} <= set(message.split("'"))
    assert (param, code) == ("messages[0].role", "invalid_value")
    message, param, code = chat(client, {"role": "user", "content": [{"type": "picture"}]})
    assert {"text", "image_url", "input_audio"} <= set(message.split("'"))
    assert (param, code) == ("messages[0].content[0].type", "invalid_value")


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([ASK, ANSWERED], "messages.[1].role"),
        ([CALLED, ANSWERED, ASK, ANSWERED], "messages.[3].role"),
        ([CALLED, {**ANSWERED, "tool_call_id": "call_2"}], "messages.[1].tool_call_id"),
        ([CALLED, ASK], "messages.[1].role"),
        ([ASK, CALLED], "messages"),
    ],
)
def test_tool_messages_answer_calls(client, messages, param):
    """A tool's message needs the call that it answers, and each call its answer, before anybody else speaks."""
    message, found, code = chat(client, *messages)
    assert (found, code) == (param, None)
    assert "tool_call" in message


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": "Hello"}, "messages", "invalid_type"),
        ({"messages": None}, "messages", "missing_required_parameter"),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"temperature": 2.5}, "temperature", "decimal_above_max_value"),
        ({"top_p": -0.1}, "top_p", "decimal_below_min_value"),
        ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"max_tokens": 1.5}, "max_tokens", "invalid_type"),
        ({"max_tokens": True}, "max_tokens", "invalid_type"),
        ({"n": "2"}, "n", "invalid_type"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"stop": list("abcde")}, "stop", "array_above_max_length"),
        ({"stream_options": {"include_usage": True}}, "stream_options", None),
        ({"tools": []}, "tools", "empty_array"),
        ({"tools": {"type": "function"}}, "tools", "invalid_type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "missing_required_parameter"),
        ({"tools": [{"type": "function", "function": {"name": "no spaces"}}]}, "tools[0].function.name",
         "invalid_value"),
        ({"tools": [{"type": "function", "function": {"name": "n" * 65}}]}, "tools[0].function.name",
         "string_above_max_length"),
        ({"tool_choice": "auto"}, "tool_choice", None),
        ({"parallel_tool_calls": False}, "parallel_tool_calls", None),
        ({"response_format": {"type": "json_object"}}, "messages", None),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_required_parameter"),
        ({"response_format": {"type": "yaml"}}, "response_format.type", "invalid_value"),
    ],
)  # fmt: skip
def test_parameters_that_do_not_fit(client, body, param, code):
    """A parameter of the wrong type, out of range, or beside what it needs is refused by its name."""
    _, *found = chat(client, ASK, **body)
    assert found == [param, code]


def closed(**properties):
    return {**CLOSED, "properties": properties, "required": list(properties)}


SCHEMAS = [
    ({"type": "object", "properties": {}}, "In context=(), 'additionalProperties' is required"),
    ({**CLOSED, "properties": {"a": {"type": "string"}}}, "Missing 'a'."),
    ({**closed(), "required": ["a"]}, "Extra required key 'a' supplied."),
    (closed(a={"oneOf": [{"type": "string"}]}), "In context=('properties', 'a'), 'oneOf' is not permitted."),
    (closed(a={"allOf": [{"type": "string"}]}), "'allOf' is not permitted."),
    (closed(a={"type": "string", "default": "x"}), "'default' is not permitted."),
    (closed(a={"type": "array", "items": {"type": "object"}}), "In context=('properties', 'a', 'items'), "),
    (closed(a={"type": "array"}), "array schema missing items."),
    (closed(a={"type": "string", "maxLength": 5}), "'maxLength' is not permitted."),
    (closed(a={"type": "string", "pattern": "(?=x)"}), "'pattern' cannot look around."),
    (closed(a={"type": "string", "format": "uri"}), "'format' 'uri' is not a valid format."),
    (closed(a={"type": "array", "items": {"type": "string"}, "uniqueItems": True}), "'uniqueItems' is not permitted."),
    (closed(a={"anyOf": [{"type": "object"}, {"type": "null"}]}), "In context=('properties', 'a', 'anyOf', '0'), "),
    (closed(a={"description": "anything"}), "schema must have a 'type' key."),
    (closed(a=True, b={"type": "array"}), "array schema missing items."),
    ({**closed(a={"$ref": "#/$defs/A"}), "$defs": {"A": {"type": "object"}}}, "In context=('$defs', 'A'), "),
    (closed(a={"$ref": "#", "description": "again"}), "$ref cannot have keywords {'description'}."),
    ({"anyOf": [closed()]}, "schema must be a JSON Schema of 'type: \"object\"', got 'type: \"None\"'."),
    ({"type": "array", "items": {"type": "string"}}, "got 'type: \"array\"'."),
]


@pytest.mark.parametrize(("schema", "fault"), SCHEMAS)
def test_schemas_that_strict_mode_refuses(client, schema, fault):
    """What strict mode cannot express is refused for answers and functions, in chat completions and Responses."""
    named = {"name": "made", "schema": schema, "strict": True}
    message, *found = chat(client, ASK, response_format={"type": "json_schema", "json_schema": named})
    assert found == ["response_format", None]
    assert message.startswith("Invalid schema for response_format 'made': ")
    assert fault in message
    message, *found = respond(client, "Hello", text={"format": {"type": "json_schema", **named}})
    assert (fault in message, found) == (True, ["text.format.schema", "invalid_json_schema"])
    function = {"name": "made", "parameters": schema, "strict": True}
    message, *found = chat(client, ASK, tools=[{"type": "function", "function": function}])
    assert (fault in message, found) == (True, ["tools[0].function.parameters", "invalid_function_parameters"])
    message, *found = respond(client, "Hello", tools=[{"type": "function", **function}])
    assert (fault in message, found) == (True, ["tools[0].parameters", "invalid_function_parameters"])


def test_schemas_without_strict(client):
    """Without strict a schema may say anything; the parameters of a function are an object all the same."""
    loose = {"type": "object", "properties": {"a": {"oneOf": [{"type": "string"}], "default": "x"}}}
    named = {"name": "made", "schema": loose}
    assert chat(client, ASK, response_format={"type": "json_schema", "json_schema": named}) is None
    assert chat(client, ASK, tools=[{"type": "function", "function": {"name": "made", "parameters": loose}}]) is None
    function = {"name": "made", "parameters": {"oneOf": [loose]}}
    message, *_ = chat(client, ASK, tools=[{"type": "function", "function": function}])
    assert "schema must be a JSON Schema of 'type: \"object\"'" in message


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        (None, "input", "missing_required_parameter"),
        (5, "input", "invalid_type"),
        ([{"role": "robot", "content": "Hello"}], "input[0].role", "invalid_value"),
        ([{"type": "function_call_output", "call_id": "call_1", "output": "x"}], "input", None),
        ([{"type": "function_call", "call_id": "call_1", "name": "search", "arguments": "{}"}], "input", None),
    ],
)
def test_input_of_responses_that_does_not_fit(client, given, param, code):
    """Responses are refused by the same measure."""
    _, *found = respond(client, given)
    assert found == [param, code]


def test_json_that_nothing_asks_for(client):
    """A JSON object is refused as the form of a response unless its input mentions JSON; other tools do not matter."""
    text = {"format": {"type": "json_object"}}
    search = {"type": "function", "name": "search", "parameters": {}}
    tools = [{"type": "file_search", "vector_store_ids": ["vs_1"]}, search]
    _, *found = respond(client, "Hello", text=text, tools=tools)
    assert found == ["input", None]
    assert respond(client, "Hello in JSON", text=text) is None


@pytest.mark.parametrize(
    ("given", "param"), [("", "input"), ([], "input"), (["a", ""], "input[1]"), (5, "input"), (None, "input")]
)
def test_input_of_embeddings_that_does_not_fit(client, given, param):
    """What cannot be embedded is refused."""
    _, found, _ = refused(client, "/embeddings", {"input": given})
    assert found == param


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "developer", "content": "Be brief."}, {"role": "system", "content": [{"type": "text", "text": "x"}]}],
        [ASK, CALLED, ANSWERED],
        [{**CALLED, "tool_calls": [CALL, {**CALL, "id": "call_2"}]}, {**ANSWERED, "tool_call_id": "call_2"}, ANSWERED],
        [{"role": "assistant", "content": None, "refusal": "No."}, ASK],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}],
        [{"role": "user", "name": "alice", "content": "Hello", "made_up": True}],
    ],
)
def test_messages_that_fit_are_answered(client, messages):
    """What the client's types allow is answered, and what they do not know of is let through."""
    assert chat(client, *messages, made_up=1, temperature=None) is None


class City(BaseModel):
    name: str
    twin: City | None


def test_what_the_client_makes_is_answered(client):
    """Schemas that the client makes of pydantic classes and functions are those that strict mode takes."""
    parse = client.chat.completions.parse if hasattr(client.chat.completions, "parse") else None
    parse = parse or client.beta.chat.completions.parse
    tool = openai.pydantic_function_tool(City)
    assert parse(model="gpt-4.1", messages=[ASK], response_format=City).choices[0].message.parsed
    assert parse(model="gpt-4.1", messages=[ASK], tools=[tool]).choices[0].message.tool_calls
    assert client.responses.parse(model="gpt-4.1", input="Hello", text_format=City).output_parsed
    assert client.responses.create(model="gpt-4.1", input="Hello", previous_response_id="resp_1").output_text


def test_a_reply_waits_for_a_request_that_is_valid(server, client):
    """What is refused takes no reply away."""
    server.reply("waited")
    assert chat(client) is not None
    answer = client.chat.completions.create(model="gpt-4.1", messages=[ASK])
    assert answer.choices[0].message.content == "waited"


def test_the_error_is_the_apis_own_body(server, client):
    """Whoever reads the body finds what the API puts there, and the request is kept all the same."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="gpt-4.1", messages=[])
    assert json.loads(caught.value.response.text)["error"].keys() == {"message", "type", "param", "code"}
    assert server.requests[-1].messages == []


def test_a_server_that_refuses_nothing():
    """`refuses=False` answers what only some compatible servers take."""
    with OpenAIServer(refuses=False) as server, openai.OpenAI(base_url=server.base_url, api_key="test") as client:
        assert chat(client, {"role": "robot"}, temperature="hot") is None
