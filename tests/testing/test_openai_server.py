"""The local OpenAI server, through the real client."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from importlib import resources
from typing import Literal

import httpx
import openai
import pytest
from pydantic import BaseModel

from otelier.testing import OpenAIServer
from otelier.testing.server import _server

TEST = [{"role": "user", "content": "Say this is a test"}]
QUESTION = [{"role": "user", "content": "How tall is the tower?"}]
WEATHER = {
    "name": "get_current_weather",
    "description": "Get the current weather in a given location",
    "parameters": {
        "type": "object",
        "properties": {"location": {"type": "string", "description": "The city and state, e.g. Boston, MA"}},
        "required": ["location"],
        "additionalProperties": False,
    },
}
TOOLS = [{"type": "function", "function": WEATHER}]
CITIES = [
    {"role": "system", "content": "You're a helpful assistant."},
    {"role": "user", "content": "What's the weather in Seattle and San Francisco today?"},
]


@pytest.fixture
def server():
    with OpenAIServer() as running:
        yield running


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=server.base_url, api_key="test", max_retries=0) as made:
        yield made


def joined(stream):
    """The text of a chat stream."""
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


class City(BaseModel):
    kind: Literal["city"]
    name: str
    people: int
    districts: list[str]


# --- recorded answers ------------------------------------------------------------------------------------------


def test_recorded_chat_is_replayed(client):
    """A request that was recorded gets the recorded answer, id and headers included."""
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=TEST)
    assert answer.id == "chatcmpl-ASYMQRl3A3DXL9FWCK9tnGRcKIO7q"
    assert answer.model == "gpt-4o-mini-2024-07-18"
    assert answer.choices[0].message.content == "This is a test."
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (12, 5)
    assert answer._request_id == "req_58cff97afd0e7c0bba910ccf0b044a6f"


def test_recorded_stream_is_replayed_with_and_without_usage(client):
    """The two recorded streams differ in `include_usage`; only the one that asked for it ends with usage."""
    bare = list(client.chat.completions.create(model="gpt-4", messages=TEST, stream=True))
    full = list(
        client.chat.completions.create(
            model="gpt-4", messages=TEST, stream=True, stream_options={"include_usage": True}
        )
    )
    assert joined(bare) == "This is a test."
    assert joined(full) == '"This is a test."'
    assert bare[-1].usage is None
    assert full[-1].choices == []
    assert full[-1].usage.total_tokens == 17


def test_recorded_tool_loop_is_replayed(client):
    """Two calls of one tool, then the answer made of what they gave back."""
    first = client.chat.completions.create(model="gpt-4o-mini", messages=CITIES, tools=TOOLS, tool_choice="auto")
    calls = first.choices[0].message.tool_calls
    assert [json.loads(call.function.arguments)["location"] for call in calls] == ["Seattle, WA", "San Francisco, CA"]
    results = [
        {"role": "tool", "content": weather, "tool_call_id": call.id}
        for weather, call in zip(["50 degrees and raining", "70 degrees and sunny"], calls)
    ]
    second = client.chat.completions.create(model="gpt-4o-mini", messages=[*CITIES, first.choices[0].message, *results])
    assert second.choices[0].message.content.startswith("Today, the weather in Seattle is 50 degrees and raining")


def test_recorded_tool_stream_is_replayed(client):
    """A streamed answer that calls tools comes in the recorded pieces."""
    stream = client.chat.completions.create(
        model="gpt-4o-mini",
        messages=CITIES,
        tools=TOOLS,
        tool_choice="auto",
        stream=True,
        stream_options={"include_usage": True},
    )
    pieces = [call for chunk in stream for choice in chunk.choices for call in choice.delta.tool_calls or ()]
    arguments = {0: "", 1: ""}
    for piece in pieces:
        arguments[piece.index] += piece.function.arguments
    assert arguments == {0: '{"location": "Seattle, WA"}', 1: '{"location": "San Francisco, CA"}'}


def test_recorded_responses_are_replayed(client):
    """Responses: whole, streamed, with a tool call, and fetched."""
    asked = {"model": "gpt-4o-mini", "input": "Say this is a test", "instructions": "You are a helpful assistant."}
    whole = client.responses.create(**asked)
    assert whole.id == "resp_0f4faba17dcd0f1e0069e2f3e4907881909179832ba1237025"
    assert whole.output_text == "This is a test."
    assert client.responses.retrieve(whole.id).output_text == "This is a test."
    events = list(client.responses.create(**asked, stream=True))
    assert [event.type for event in events][:3] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
    ]
    assert events[-1].type == "response.completed"
    assert events[-1].response.id == "resp_0415a3de5d3015560069e2f3f4b3088192949253e91aff1eb3"
    called = client.responses.create(
        model="gpt-4o-mini",
        input="What's the weather in Seattle right now?",
        tools=[{"type": "function", **WEATHER, "strict": True}],
        tool_choice={"type": "function", "name": "get_current_weather"},
    )
    assert called.output[0].arguments == '{"location":"Seattle, WA"}'
    assert called.output[0].call_id == "call_90uO5LcGP5vTBTCrjyhYtWsA"


def test_recorded_embedding_is_replayed(client):
    """The recorded vector has 1,536 numbers and unit length."""
    answer = client.embeddings.create(
        model="text-embedding-3-small", input="This is a test for embeddings with encoding format"
    )
    vector = answer.data[0].embedding
    assert len(vector) == 1536
    assert sum(value * value for value in vector) == pytest.approx(1.0, abs=1e-3)
    assert answer.usage.prompt_tokens == 9


def test_recorded_error_is_replayed(client):
    """An unknown model is the recorded 404, on the other endpoints an error like it."""
    with pytest.raises(openai.NotFoundError, match="does not exist") as chat:
        client.chat.completions.create(model="this-model-does-not-exist", messages=TEST)
    assert chat.value.code == "model_not_found"
    assert chat.value.request_id == "req_c3e0f92d7b5426d1a4a17bb3d39953ea"
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="this-model-does-not-exist", input="Hi")
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="this-model-does-not-exist", input="Hi")


# --- adapted answers -------------------------------------------------------------------------------------------


def test_any_chat_gets_a_sensible_answer(client):
    """The seed's two agents are answered as their instructions say; anything else names the question."""

    def answer(instructions, question):
        messages = [{"role": "system", "content": instructions}, {"role": "user", "content": question}]
        return client.chat.completions.create(model="gpt-4.1", messages=messages).choices[0].message.content

    assert answer("You triage incoming requests.", "I was charged twice.") == (
        "This is a billing question. Handing over."
    )
    assert "refunded" in answer("You answer billing questions.", "I was charged twice.")
    assert "How tall is the tower?" in answer("You are terse.", "How tall is the tower?")


def test_adapted_answers_carry_the_request_and_are_new(client):
    """Model, tier and number of choices are those asked for, usage grows with the prompt, and ids do not repeat."""
    asked = {"model": "gpt-4.1", "messages": QUESTION, "n": 2, "service_tier": "flex"}
    first, second = (client.chat.completions.create(**asked) for _ in range(2))
    longer = client.chat.completions.create(model="gpt-4.1", messages=QUESTION * 20)
    assert (first.model, first.service_tier, len(first.choices)) == ("gpt-4.1", "flex", 2)
    assert first.id != second.id
    assert first._request_id != second._request_id
    assert longer.usage.prompt_tokens > first.usage.prompt_tokens
    assert first.usage.total_tokens == first.usage.prompt_tokens + first.usage.completion_tokens


def test_answers_are_the_same_in_each_run():
    """Ids, texts and vectors depend on the requests only."""

    def run():
        with OpenAIServer() as server, openai.OpenAI(base_url=server.base_url, api_key="test") as client:
            chats = [client.chat.completions.create(model="gpt-4.1", messages=QUESTION) for _ in range(2)]
            response = client.responses.create(model="gpt-4.1", input="Hello", tools=[{"type": "function", **WEATHER}])
            vectors = client.embeddings.create(model="small", input=["a", "b"])
            return [answer.model_dump_json() for answer in (*chats, response, vectors)]

    assert run() == run()


def test_adapted_stream_says_the_same_as_the_whole_answer(client):
    """Chunks add up to the text of the plain answer, also for several choices, and usage comes when asked for."""
    whole = client.chat.completions.create(model="gpt-4.1", messages=QUESTION)
    stream = client.chat.completions.create(
        model="gpt-4.1", messages=QUESTION, stream=True, n=2, stream_options={"include_usage": True}
    )
    texts = {0: "", 1: ""}
    *chunks, last = stream
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert set(texts.values()) == {whole.choices[0].message.content}
    assert last.usage == whole.usage
    assert {chunk.id for chunk in chunks} == {last.id}


def test_offered_tools_are_called_once(client):
    """A tool is called with arguments that fit its schema; once it has answered, the model speaks."""
    schema = {
        "type": "object",
        "properties": {
            "query": {"type": "string"},
            "limit": {"type": "integer"},
            "order": {"enum": ["asc", "desc"]},
            "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}},
            "note": {"type": "string"},
        },
        "required": ["query", "limit", "order", "tags"],
        "$defs": {"tag": {"type": "string"}},
    }
    search = {"type": "function", "function": {"name": "search", "parameters": schema}}
    other = {"type": "function", "function": {"name": "other", "parameters": {"type": "object"}}}
    asked = {"model": "gpt-4.1", "messages": QUESTION, "tools": [search, other]}
    answer = client.chat.completions.create(**asked).choices[0]
    (call,) = answer.message.tool_calls
    assert answer.finish_reason == "tool_calls"
    assert (call.function.name, json.loads(call.function.arguments)) == (
        "search",
        {"query": "How tall is the tower?", "limit": 1, "order": "asc", "tags": ["tags"]},
    )
    forced = client.chat.completions.create(**asked, tool_choice={"type": "function", "function": {"name": "other"}})
    assert forced.choices[0].message.tool_calls[0].function.name == "other"
    assert client.chat.completions.create(**asked, tool_choice="none").choices[0].finish_reason == "stop"
    told = {"role": "tool", "tool_call_id": call.id, "content": "324 m"}
    done = client.chat.completions.create(**{**asked, "messages": [*QUESTION, answer.message, told]})
    assert done.choices[0].message.content == "According to the tool: 324 m"


def test_structured_output_fits_its_schema(client):
    """`parse` works on both APIs, and a JSON object is one."""
    completions = client.chat.completions if hasattr(client.chat.completions, "parse") else client.beta.chat.completions
    chat = completions.parse(model="gpt-4.1", messages=QUESTION, response_format=City)
    assert isinstance(chat.choices[0].message.parsed, City)
    assert isinstance(client.responses.parse(model="gpt-4.1", input="Hi", text_format=City).output_parsed, City)
    asked = [{"role": "system", "content": "Answer in JSON."}, *QUESTION]
    loose = client.chat.completions.create(model="gpt-4.1", messages=asked, response_format={"type": "json_object"})
    assert json.loads(loose.choices[0].message.content) == {"answer": "How tall is the tower?"}


def test_responses_echo_their_parameters_and_are_fetched_again(server, client):
    """A response repeats what was asked and stays until the server forgets; one that is not stored does not."""
    made = client.responses.create(
        model="gpt-4.1", input="Hello", instructions="Be brief.", temperature=0.2, metadata={"tenant": "acme"}
    )
    assert (made.instructions, made.temperature, made.metadata) == ("Be brief.", 0.2, {"tenant": "acme"})
    assert client.responses.retrieve(made.id) == made
    with httpx.Client(base_url=server.base_url) as plain:  # the oldest openai cannot ask for it
        events = plain.get(f"/responses/{made.id}", params={"stream": "true"}).text.strip().split("\n\n")
    assert events[-1].startswith("event: response.completed\n")
    assert json.loads(events[-1].partition("data: ")[2])["response"] == made.to_dict()
    unstored = client.responses.create(model="gpt-4.1", input="Hello", store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(unstored.id)


def test_adapted_response_stream_builds_up_the_answer(client):
    """The client's stream helper accumulates events to the same answer, text and tool calls alike."""
    with client.responses.stream(model="gpt-4.1", input="Hello") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert stream.get_final_response().output_text == text
    tools = [{"type": "function", **WEATHER, "strict": True}]
    with client.responses.stream(model="gpt-4.1", input="Hello", tools=tools) as stream:
        kinds = [event.type for event in stream]
        (call,) = stream.get_final_response().output
    assert "response.function_call_arguments.delta" in kinds
    assert json.loads(call.arguments) == {"location": "location"}


def test_embeddings_differ_by_text_and_keep_their_length(client):
    """One vector per input, the same for the same text, of the size and encoding asked for."""
    many = client.embeddings.create(model="small", input=["a", "b", "a"])
    first, second, again = (one.embedding for one in many.data)
    assert first == again != second
    short = client.embeddings.create(model="small", input="a", dimensions=64, encoding_format="float")
    vector = short.data[0].embedding
    assert len(vector) == 64
    assert sum(value * value for value in vector) == pytest.approx(1.0)
    assert len(client.embeddings.create(model="small", input=[1, 2, 3]).data) == 1


# --- scripted answers ------------------------------------------------------------------------------------------


def test_replies_come_in_their_order_then_the_usual_answer(server, client):
    """Each reply answers once; usage, model and finish reason are those given."""
    server.reply("first", usage={"input_tokens": 7, "output_tokens": 3, "cached_tokens": 4, "reasoning_tokens": 2})
    server.reply("second", model="gpt-x", finish_reason="length")
    first, second, third = (client.chat.completions.create(model="gpt-4.1", messages=QUESTION) for _ in range(3))
    assert first.choices[0].message.content == "first"
    assert (first.usage.prompt_tokens, first.usage.completion_tokens, first.usage.total_tokens) == (7, 3, 10)
    assert first.usage.prompt_tokens_details.cached_tokens == 4
    assert first.usage.completion_tokens_details.reasoning_tokens == 2
    assert (second.model, second.choices[0].finish_reason) == ("gpt-x", "length")
    assert third.choices[0].message.content.startswith("Here is a short answer")


def test_a_reply_serves_every_endpoint(server, client):
    """The same reply takes the shape of Responses, streamed or not."""
    server.reply("hello there", usage={"input_tokens": 7, "output_tokens": 3}, finish_reason="length", times=2)
    whole = client.responses.create(model="gpt-4.1", input="Hi")
    *_, last = client.responses.create(model="gpt-4.1", input="Hi", stream=True)
    assert (whole.output_text, whole.status, whole.usage.total_tokens) == ("hello there", "incomplete", 10)
    assert whole.incomplete_details.reason == "max_output_tokens"
    assert (last.type, last.response.output_text) == ("response.incomplete", "hello there")


def test_replied_tool_calls_may_be_wrong_on_purpose(server, client):
    """Arguments are JSON values, or text sent as it is; calls also come in streams."""
    server.reply(tool_calls=[("lookup", {"id": 7}), ("broken", '{"id": ')], times=2)
    message = client.chat.completions.create(model="gpt-4.1", messages=QUESTION).choices[0].message
    sent = [(call.function.name, call.function.arguments) for call in message.tool_calls]
    assert sent == [("lookup", '{"id": 7}'), ("broken", '{"id": ')]
    assert message.content is None
    stream = client.chat.completions.create(model="gpt-4.1", messages=QUESTION, stream=True)
    deltas = [call for chunk in stream for call in chunk.choices[0].delta.tool_calls or ()]
    assert "".join(call.function.arguments for call in deltas if call.index == 1) == '{"id": '


def test_replies_choose_their_requests(server, client):
    """`when` sees the request; `times=None` answers for good, and an earlier reply goes first."""
    server.reply("to Alice", when=lambda request: "Alice" in request.prompt, times=None)
    server.reply("to the agent", when=lambda request: "agent" in request.instructions)

    def ask(question, instructions="none"):
        messages = [{"role": "developer", "content": instructions}, {"role": "user", "content": question}]
        return client.chat.completions.create(model="gpt-4.1", messages=messages).choices[0].message.content

    assert ask("I am Alice") == ask("Alice again") == "to Alice"
    assert ask("Hi", "an agent") == "to the agent"
    assert ask("I am Bob").startswith("Here is")


def test_raw_bodies_and_events_go_out_as_they_are(server, client):
    """What no builder makes can be sent whole: an answer without usage, a stream in a shape of its own."""
    server.reply(body={"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": []})
    answer = client.chat.completions.create(model="gpt-4.1", messages=QUESTION)
    assert (answer.id, answer.choices, answer.usage) == ("1", [], None)
    server.reply(events=[{"id": "2", "choices": []}, "[DONE]", "never read"], headers={"x-proxy": "yes"})
    stream = client.chat.completions.create(model="gpt-4.1", messages=QUESTION, stream=True)
    assert stream.response.headers["x-proxy"] == "yes"
    assert [chunk.id for chunk in stream] == ["2"]


def test_wrong_replies_are_refused(server, client):
    """A reply that could not be sent is refused at once; a `when` that raises is answered with its error."""
    with pytest.raises(ValueError, match="times=0"):
        server.reply("never", times=0)
    with pytest.raises(ValueError, match=r"usage \['prompt_tokens'\].*Use input_tokens"):
        server.reply("x", usage={"prompt_tokens": 1})
    server.reply("x", when=lambda request: request.body["missing"])
    with pytest.raises(openai.InternalServerError, match="KeyError: 'missing'"):
        client.chat.completions.create(model="gpt-4.1", messages=QUESTION)


# --- faults ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
        (418, openai.APIStatusError),
    ],
)
def test_errors_on_demand(server, client, status, error):
    """A status is asked for by `fail` or by the model's name, on each endpoint and for streams too."""
    server.fail(status, message="not today", code="nope")
    with pytest.raises(error, match="not today") as told:
        client.responses.create(model="gpt-4.1", input="Hi")
    assert (told.value.status_code, told.value.code) == (status, "nope")
    for call in (
        lambda: client.chat.completions.create(model=f"error-{status}", messages=QUESTION),
        lambda: client.chat.completions.create(model=f"error-{status}", messages=QUESTION, stream=True),
        lambda: client.responses.create(model=f"error-{status}", input="Hi", stream=True),
        lambda: client.embeddings.create(model=f"error-{status}", input="Hi"),
    ):
        with pytest.raises(error):
            call()


def test_the_client_tries_again_without_delay(server):
    """429 and 5xx say how soon to come back, so that retries do not slow a test."""
    with openai.OpenAI(base_url=server.base_url, api_key="test") as client:
        server.fail(429)
        server.fail(500)
        client.chat.completions.create(model="gpt-4o-mini", messages=TEST)
        server.fail(503)
        with pytest.raises(openai.InternalServerError) as told:
            client.with_options(max_retries=0).chat.completions.create(model="gpt-4o-mini", messages=TEST)
    assert told.value.response.headers["retry-after-ms"] == "5"
    assert [request.headers["x-stainless-retry-count"] for request in server.requests] == ["0", "1", "2", "0"]


def test_html_instead_of_json(server, client):
    """A proxy's page: with an error status, or with 200, which the client takes for an answer."""
    server.fail(502, html=True)
    with pytest.raises(openai.InternalServerError) as told:
        client.chat.completions.create(model="gpt-4.1", messages=QUESTION)
    assert told.value.response.headers["content-type"].startswith("text/html")
    assert "<h1>502</h1>" in told.value.response.text
    raw = client.chat.completions.with_raw_response.create(model="html", messages=QUESTION)
    assert raw.http_response.text.startswith("<html>")


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_broken_streams(server, client, api):
    """A stream that breaks gives what came before, then fails as the client words it."""

    def stream(model):
        if api == "chat":
            return client.chat.completions.create(model=model, messages=QUESTION, stream=True)
        return client.responses.create(model=model, input="Hi", stream=True)

    def read(broken):
        seen = []
        try:
            seen.extend(iter(broken))
        except Exception as exc:
            return len(seen), type(exc).__name__
        return len(seen), seen[-1].type

    lost = ("APIConnectionError", "RemoteProtocolError")  # the latter until openai 3
    count, error = read(stream("stream-drop"))
    assert count == 2
    assert error in lost
    assert read(stream("stream-invalid-json")) == (2, "JSONDecodeError")
    assert read(stream("stream-error"))[0] == (2 if api == "chat" else 3)  # Responses give it as an event
    server.break_stream("drop", after=0)
    assert read(stream("gpt-4.1"))[1] in lost
    server.break_stream("error", after=4, text="one two three four five", when=lambda request: True)
    assert client.chat.completions.create(model="gpt-4.1", messages=QUESTION).choices  # not streamed: does not fit
    assert read(stream("gpt-4.1"))[0] >= 4


def test_delays(server):
    """An answer and each of its chunks come as late as asked, and stopping the server does not wait for them."""
    with (
        OpenAIServer(delay_s=0.05, chunk_delay_s=0.02) as slow,
        openai.OpenAI(base_url=slow.base_url, api_key="test") as client,
    ):
        began = time.monotonic()
        client.chat.completions.create(model="gpt-4o-mini", messages=TEST)
        assert time.monotonic() - began >= 0.05
        slow.reply("one two three", delay_s=0.0, chunk_delay_s=0.03)
        began = time.monotonic()
        assert len(list(client.chat.completions.create(model="gpt-4", messages=TEST, stream=True))) == 5
        assert time.monotonic() - began >= 0.15
        began = time.monotonic()
        client.chat.completions.create(model="slow-80", messages=TEST)
        assert time.monotonic() - began >= 0.08
        slow.reply("late", delay_s=3600)  # a stop that waited for it would time out
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=0.1, max_retries=0).chat.completions.create(model="m", messages=TEST)


def test_several_delays_are_shared_out_the_same_way_each_time():
    """Which request waits how long depends on the request only, so percentiles are the same in each run."""

    def run():
        with (
            OpenAIServer(delay_s=[0.001, 0.002, 0.003]) as server,
            openai.OpenAI(base_url=server.base_url, api_key="test") as client,
        ):
            create = client.chat.completions.with_raw_response.create
            answers = [create(model="gpt-4.1", messages=QUESTION) for _ in range(6)]
            return [int(answer.headers["openai-processing-ms"]) for answer in answers]

    first = run()
    assert sorted(first) == [1, 1, 2, 2, 3, 3]
    assert run() == first


def test_bad_requests_are_answered_as_the_api_does(server):
    """No JSON, no object, no model, no such path: a status and the API's error body."""
    with httpx.Client(base_url=server.url) as client:
        assert client.post("/v1/chat/completions", content=b"{").status_code == 400
        assert client.post("/v1/chat/completions", json=[1]).status_code == 400
        answer = client.post("/v1/chat/completions", json={"messages": QUESTION})
        assert (answer.status_code, answer.json()["error"]["message"]) == (400, "You must provide a model parameter.")
        assert client.post("/v1/nothing", json={"model": "m"}).status_code == 404
        assert client.get("/v1/models").json()["error"]["type"] == "invalid_request_error"

        def chunks():
            yield b'{"model": "gpt-4.1", '
            yield b'"messages": [{"role": "user", "content": "Hello"}]}'

        assert client.post("/v1/chat/completions", content=chunks()).status_code == 200
        assert server.requests[-1].prompt == "Hello"


def test_the_shipped_exchanges_stay_small():
    """At most a dozen recorded exchanges, less than 100 kB with their licence note, and no key in them."""
    files = [file for file in resources.files("otelier.testing").joinpath("exchanges").iterdir() if file.is_file()]
    assert len([file for file in files if file.name.endswith(".json")]) <= 12
    assert sum(len(file.read_bytes()) for file in files) < 100_000
    (note,) = [file.read_text(encoding="utf-8") for file in files if not file.name.endswith(".json")]
    assert "Copyright The OpenTelemetry Authors" in note
    assert "Apache License, Version 2.0" in note
    for file in files:
        assert not re.search(r"bearer|cookie|organi[sz]ation|sk-", file.read_text(encoding="utf-8"), re.IGNORECASE)


# --- the server itself -----------------------------------------------------------------------------------------


def test_requests_are_recorded(server, client):
    """Method, path, headers and body of each request, and what they mean; `clear` forgets them."""
    client.responses.create(model="gpt-4.1", input="Hi", instructions="Be brief.", extra_headers={"x-tenant": "acme"})
    client.chat.completions.create(
        model="gpt-4.1",
        stream=True,
        messages=[{"role": "user", "content": [{"type": "text", "text": "two"}, {"type": "text", "text": "parts"}]}],
    ).close()
    first, second = server.requests
    assert (first.method, first.path, first.headers["x-tenant"]) == ("POST", "/v1/responses", "acme")
    assert first.body == {"model": "gpt-4.1", "input": "Hi", "instructions": "Be brief."}
    assert (first.prompt, first.instructions, first.stream) == ("Hi", "Be brief.", False)
    assert (second.model, second.prompt, second.stream) == ("gpt-4.1", "two parts", True)
    assert first.headers["authorization"] == "Bearer test"
    assert "Bearer" not in repr(first)
    server.reply("unused")
    server.clear()
    assert server.requests == ()
    assert client.responses.create(model="gpt-4.1", input="Hi").output_text != "unused"


def test_stored_responses_are_bounded(server, client, monkeypatch):
    """Only the last responses can be fetched again."""
    monkeypatch.setattr(_server, "REMEMBERED", 2)
    first, *_ = [client.responses.create(model="gpt-4.1", input="Hi").id for _ in range(3)]
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first)


def test_a_prompt_that_is_stored(server):
    """A stored prompt is no message, and a request that has nothing else has no text."""
    httpx.post(f"{server.base_url}/responses", json={"model": "gpt-4.1", "prompt": {"id": "pmpt_1"}})
    assert (server.requests[-1].messages, server.requests[-1].prompt) == ([], "")


def test_requests_are_bounded(server):
    """Only the last thousand requests are kept."""
    with httpx.Client(base_url=server.url) as client:
        for number in range(1005):
            client.get(f"/{number}")
    assert len(server.requests) == 1000
    assert server.requests[0].path == "/5"


def test_many_clients_at_once(server):
    """Fifty calls at once, each with its own answer: none is answered before all have come."""
    all_here = threading.Barrier(50, timeout=300)
    server.reply(when=lambda request: all_here.wait() >= 0, times=None)

    async def ask(client, number):
        question = [{"role": "user", "content": f"Question {number}?"}]
        if number % 2:
            answer = await client.chat.completions.create(model="gpt-4.1", messages=question)
            return answer.id, answer.choices[0].message.content
        stream = await client.chat.completions.create(model="gpt-4.1", messages=question, stream=True)
        chunks = [chunk async for chunk in stream]
        return chunks[0].id, joined(chunks)

    async def main():
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="test") as client:
            return await asyncio.gather(*(ask(client, number) for number in range(50)))

    answers = asyncio.run(main())
    assert [text for _, text in answers] == [f"Here is a short answer to: Question {number}?" for number in range(50)]
    assert max(Counter(answer_id for answer_id, _ in answers).values()) == 1
    assert len(server.requests) == 50


def test_connections_are_kept_alive(server):
    """One connection serves many requests, streams included."""
    with httpx.Client(base_url=server.base_url) as client:
        ports = set()
        for stream in (False, True, False):
            asked = {"model": "gpt-4.1", "messages": QUESTION, "stream": stream}
            with client.stream("POST", "/chat/completions", json=asked) as answer:
                ports.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
                answer.read()
    assert len(ports) == 1


def test_starting_and_stopping(server):
    """A stopped server has no address, stopping twice is harmless, and one can be started again."""
    again = OpenAIServer()
    with pytest.raises(RuntimeError, match="Use it in a `with` block"):
        _ = again.base_url
    for _ in range(2):
        with again, httpx.Client(base_url=again.url) as client:
            assert client.get("/").status_code == 404
            again.stop()
            with pytest.raises(httpx.TransportError):
                client.get("/")


def test_runs_as_a_process():
    """`python -m otelier.testing.server` prints its base URL and ends on SIGTERM."""
    command = [sys.executable, "-m", "otelier.testing.server", "--port", "0", "--delay-s", "0", "0.01"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        base_url = process.stdout.readline().strip()
        with openai.OpenAI(base_url=base_url, api_key="test") as client:
            answer = client.chat.completions.create(model="gpt-4o-mini", messages=TEST)
        process.terminate()
        out, err = process.communicate(timeout=300)
    assert answer.choices[0].message.content == "This is a test."
    assert (process.returncode, out, err) == (0, "", "")


def chat(server, **body):
    """Status and message of a question to the server."""
    with httpx.Client(base_url=server.url) as client:
        answer = client.post("/v1/chat/completions", json={"model": "gpt-4.1", "messages": QUESTION, **body})
    return answer.status_code, answer.json().get("error", {}).get("message", "")


CALLS = {"role": "assistant", "content": None, "tool_calls": [
    {"id": "call-1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
]}  # fmt: skip
TOLD = {"role": "tool", "tool_call_id": "call-1", "content": "3"}
ADD = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
OBJECT = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


def strictly(schema, *, strict=True):
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": strict}}


REFUSED = {
    "messages in a message": ({"messages": [{"role": "user", "content": QUESTION}]}, "content[0].type"),
    "no messages": ({"messages": []}, "empty array"),
    "a text": ({"messages": "Hello"}, "Invalid type for 'messages'"),
    "a role": ({"messages": [{"role": "bot", "content": "Hello"}]}, "'bot'"),
    "no content": ({"messages": [{"role": "user", "content": None}]}, "got null"),
    "a number": ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    "an image of the system": ({"messages": [{"role": "system", "content": [{"type": "image_url"}]}]}, "'image_url'"),
    "a call without an answer": ({"messages": [*QUESTION, CALLS, *QUESTION]}, "call-1"),
    "a call without an answer at the end": ({"messages": [*QUESTION, CALLS]}, "call-1"),
    "an answer without a call": ({"messages": [*QUESTION, TOLD]}, "role 'tool'"),
    "a call without an id": (
        {"messages": [{"role": "assistant", "tool_calls": [{"type": "function"}]}]}, "tool_calls[0]."
    ),
    "options of a stream": ({"stream_options": {"include_usage": True}}, "'stream_options'"),
    "a choice of nothing": ({"tool_choice": "auto"}, "'tool_choice'"),
    "nothing at once": ({"parallel_tool_calls": False}, "'parallel_tool_calls'"),
    "a tool's name": ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
    "a tool's schema": (
        {"tools": [{"type": "function", "function": {"name": "a", "parameters": {"type": "array"}}}]}, "type"
    ),
    "an array": ({"response_format": strictly({"type": "array"})}, "object"),
    "an open object": ({"response_format": strictly({**OBJECT, "additionalProperties": True})}, "additionalProperties"),
    "an optional member": ({"response_format": strictly({**OBJECT, "required": []})}, "'required'"),
    "a keyword": ({"response_format": strictly({**OBJECT, "oneOf": []})}, "'oneOf'"),
    "anything": ({"response_format": strictly({**OBJECT, "properties": {"a": {}}})}, "'type' key"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "said"), REFUSED.values(), ids=REFUSED)
def test_what_the_api_refuses_is_refused(server, body, said):
    """With its status, and what is wrong, before a model is asked."""
    status, message = chat(server, **body)
    assert status == 400
    assert said in message


TAKEN = {
    "a turn with a tool": {"messages": [*QUESTION, CALLS, TOLD]},
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]},
    "a tool": {"tools": [ADD], "tool_choice": "auto", "parallel_tool_calls": False},
    "a strict schema": {"response_format": strictly(OBJECT)},
    "one that is not": {"response_format": strictly({"type": "object"}, strict=False)},
}


@pytest.mark.parametrize("body", TAKEN.values(), ids=TAKEN)
def test_what_the_api_takes_is_taken(server, body):
    """Refusals go no further."""
    assert chat(server, **body)[0] == 200
