"""Content: nothing without the gate, and behind it what the conventions' schemas say, redacted."""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from typing import Any

import openai
import pytest

from otelier.testing import SpanRecorder
from tests.openai.conftest import CHAT, Api, instrumenting, serving

INPUT, OUTPUT = "gen_ai.input.messages", "gen_ai.output.messages"
INSTRUCTIONS, TOOLS = "gen_ai.system_instructions", "gen_ai.tool.definitions"
CONTENT = {INPUT, OUTPUT, INSTRUCTIONS, TOOLS}
EVENT = "gen_ai.client.inference.operation.details"
MODE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
SEARCH = {"name": "search", "description": "Finds things.", "parameters": {"type": "object", "properties": {}}}


def text(content: str) -> dict[str, Any]:
    """A part of text."""
    return {"content": content, "type": "text"}


def sent(role: str, *parts: Any, name: str | None = None) -> dict[str, Any]:
    """A message that was sent."""
    return {"role": role, "parts": list(parts), **({} if name is None else {"name": name})}


def received(*parts: Any, reason: str = "stop") -> dict[str, Any]:
    """A message that was received."""
    return {"role": "assistant", "parts": list(parts), "finish_reason": reason}


def call_part(call_id: str, name: str, arguments: Any) -> dict[str, Any]:
    """A tool call."""
    return {"arguments": arguments, "name": name, "id": call_id, "type": "tool_call"}


class Captured:
    """Calls with content on the spans."""

    def __init__(self, api: Api, recorder: SpanRecorder) -> None:
        self.api = api
        self._recorder = recorder

    def __call__(self, endpoint: str, **more: Any) -> dict[str, Any]:
        """Make a call and return its content by attribute."""
        answer = self.api.call(endpoint, **more)
        if more.get("stream"):
            for _ in answer:
                pass
        found = self._recorder.spans[-1].attributes
        return {key: json.loads(value) for key, value in found.items() if key in CONTENT}


@pytest.fixture
def capture(monkeypatch, recorder):
    """Calls with content on the spans."""
    monkeypatch.setenv(MODE, "span_only")
    with instrumenting(recorder), serving() as api:
        yield Captured(api, recorder)


@pytest.mark.parametrize(
    ("mode", "on_span", "on_event"),
    [
        ("", False, False),
        ("no_content", False, False),
        ("SPAN_ONLY", True, False),
        ("event_only", False, True),
        ("Span_And_Event", True, True),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("endpoint", ["chat", "responses", "embeddings"])
def test_modes(monkeypatch, recorder, mode, on_span, on_event, stream, endpoint):
    """Content is where the mode says, on spans as JSON and on events as data, and nowhere else."""
    monkeypatch.setenv(MODE, mode)
    with instrumenting(recorder), serving() as api:
        if endpoint == "embeddings":
            api.call(endpoint)
            on_span = on_event = False
        else:
            api.server.reply("Hi there")
            answer = api.call(endpoint, stream=stream)
            list(answer if stream else ())
    (span,) = recorder.spans
    assert (INPUT in span.attributes, OUTPUT in span.attributes) == (on_span, on_span)
    assert len(recorder.logs) == on_event
    assert ("Hi there" in span.to_json()) == on_span
    if on_span:
        assert json.loads(span.attributes[INPUT]) == [sent("user", text("Hello"))]
        assert json.loads(span.attributes[OUTPUT]) == [received(text("Hi there"))]
    for event in recorder.logs:
        assert event.event_name == EVENT
        assert event.attributes[INPUT] == ({**sent("user"), "parts": (text("Hello"),)},)
        assert event.attributes[OUTPUT] == ({**received(), "parts": (text("Hi there"),)},)
        others = {key: value for key, value in event.attributes.items() if key not in CONTENT}
        assert others == {key: value for key, value in span.attributes.items() if key not in CONTENT}
        assert event.span_id == f"{span.context.span_id:016x}"


def test_unsampled_events(monkeypatch, unsampled):
    """Events do not depend on sampling."""
    monkeypatch.setenv(MODE, "event_only")
    with instrumenting(unsampled), serving() as api:
        api.call("chat", temperature=0.5)
        list(api.call("responses", stream=True))
    assert unsampled.spans == ()
    assert [event.attributes[INPUT][0]["role"] for event in unsampled.logs] == ["user", "user"]
    assert unsampled.logs[0].attributes["gen_ai.request.temperature"] == 0.5


def test_failed_calls_keep_what_was_sent(monkeypatch, recorder):
    """The event and the span of a call that failed say what was sent, and the error's class."""
    monkeypatch.setenv(MODE, "span_and_event")
    with instrumenting(recorder), serving() as api:
        api.server.fail(400)
        with pytest.raises(openai.BadRequestError):
            api.call("chat")
    (event,), (span,) = recorder.logs, recorder.spans
    assert json.loads(span.attributes[INPUT]) == [sent("user", text("Hello"))]
    assert OUTPUT not in span.attributes
    assert event.attributes["error.type"] == span.attributes["error.type"] == "openai.BadRequestError"


def test_broken_off_streams_keep_what_came(capture):
    """The content of a stream that was closed early is what had come by then."""
    capture.api.server.reply("One two three")
    stream = capture.api.call("chat", stream=True)
    for _ in range(3):
        next(stream)
    stream.close()
    found = json.loads(capture._recorder.spans[-1].attributes[OUTPUT])
    assert found == [received(text("One two"), reason="error")]


@pytest.mark.parametrize("stream", [False, True])
def test_chat_tools(capture, stream):
    """Tools offered, calls asked for and answers given stand in the messages, arguments as data."""
    capture.api.server.reply(tool_calls=[("search", {"query": "x"}), ("search", "{broken")])
    history: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Find x"}], "name": "bob"},
        {
            "role": "assistant",
            "content": "Wait.",
            "tool_calls": [
                {"id": "c-0", "type": "function", "function": {"name": "search", "arguments": '{"query":"w"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c-0", "content": "nothing"},
        {"role": "assistant", "content": None, "refusal": "No."},
    ]
    found = capture("chat", messages=history, tools=[{"type": "function", "function": SEARCH}], stream=stream)
    assert found[INPUT] == [
        sent("system", text("Be brief.")),
        sent("user", text("Find x"), name="bob"),
        sent("assistant", call_part("c-0", "search", {"query": "w"}), text("Wait.")),
        sent("tool", {"response": "nothing", "id": "c-0", "type": "tool_call_response"}),
        sent("assistant", text("No.")),
    ]
    assert found[TOOLS] == [{**SEARCH, "type": "function"}]
    (message,) = found[OUTPUT]
    assert message["finish_reason"] == "tool_call"
    assert [(part["name"], part["arguments"]) for part in message["parts"]] == [
        ("search", {"query": "x"}),
        ("search", "{broken"),
    ]
    assert all(part["id"].startswith("call_") for part in message["parts"])


@pytest.mark.parametrize("stream", [False, True])
def test_responses_tools(capture, stream):
    """The same for Responses, whose items are spread: calls of one turn are one message."""
    capture.api.server.reply(tool_calls=[("search", {"query": "x"})])
    items: list[Any] = [
        {"role": "user", "content": [{"type": "input_text", "text": "Find w"}]},
        {"type": "reasoning", "id": "r-1", "summary": [{"type": "summary_text", "text": "Hm."}]},
        {"type": "function_call", "call_id": "c-0", "name": "search", "arguments": '{"query":"w"}'},
        {"type": "custom_tool_call", "call_id": "c-1", "name": "run", "input": "free text"},
        {"type": "function_call_output", "call_id": "c-0", "output": "nothing"},
        {"type": "item_reference", "id": "i-1"},
    ]
    tools = [{"type": "function", **SEARCH}, {"type": "web_search"}]
    found = capture("responses", input=items, tools=tools, instructions="Be brief.", stream=stream)
    assert found[INSTRUCTIONS] == [text("Be brief.")]
    assert found[INPUT] == [
        sent("user", text("Find w")),
        sent("assistant", {"content": "Hm.", "type": "reasoning"}),
        sent("assistant", call_part("c-0", "search", {"query": "w"}), call_part("c-1", "run", "free text")),
        sent("tool", {"response": "nothing", "id": "c-0", "type": "tool_call_response"}),
        sent("user", {"type": "item_reference", "id": "i-1"}),
    ]
    assert found[TOOLS] == [{**SEARCH, "type": "function"}, {"name": "web_search", "type": "web_search"}]
    (message,) = found[OUTPUT]
    assert message["finish_reason"] == "tool_call"
    assert [(part["name"], part["arguments"]) for part in message["parts"]] == [("search", {"query": "x"})]


def response(*output: Any) -> dict[str, Any]:
    """The body of a response."""
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "gpt-4.1",
        "status": "completed",
        "output": list(output),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }


def test_server_tools(capture):
    """Tools that ran at the provider are parts of their own, with their details as the provider gives them."""
    search = {"type": "web_search_call", "id": "ws-1", "status": "completed", "action": {"type": "search"}}
    listing = {"type": "mcp_list_tools", "id": "m-1", "server_label": "s", "tools": [], "error": "gone"}
    message = {
        "type": "message",
        "id": "m-2",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "refusal", "refusal": "No."}],
    }
    call = {"type": "function_call", "id": "f-1", "call_id": "c-1", "name": "search", "arguments": "{}"}
    capture.api.server.reply(body=response(search, listing, message, call))
    found = capture("responses")[OUTPUT]
    details = [part for each in found for part in each["parts"]]
    assert [each["finish_reason"] for each in found] == ["stop", "error", "tool_call"]
    assert (details[0]["name"], details[0]["id"]) == ("web_search", "ws-1")
    assert details[0]["server_tool_call"]["type"] == "web_search"
    assert details[1]["server_tool_call"]["error"] == "gone"
    assert details[2:] == [text("No."), call_part("c-1", "search", {})]


def test_media(capture):
    """Images, sounds and files are references: an id, an address, a hash of the bytes; what is broken is left out."""
    data = base64.b64encode(b"bytes").decode()
    content: list[Any] = [
        "loose text",
        {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,***"}},
        {"type": "image_url", "image_url": {"url": "data:text/plain,a%20b"}},
        {"type": "input_audio", "input_audio": {"data": data, "format": "mp3"}},
        {"type": "input_audio", "input_audio": {"data": 7, "format": "mp3"}},
        {"type": "file", "file": {"file_id": "file-1", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_data": data, "filename": "a.pdf"}},
        {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{data}"}},
        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
        {"type": "file", "file": {}},
        {"type": "video", "video": {}},
        {"type": "input_image", "file_id": "file-2"},
        {"type": "reasoning_text", "text": "Hm."},
    ]
    parts = capture("chat", messages=[{"role": "user", "content": content}])[INPUT][0]["parts"]

    def blob(mime_type: str, modality: str, of: bytes = b"bytes") -> dict[str, Any]:
        uri = f"sha256:{sha256(of).hexdigest()}"
        return {"mime_type": mime_type, "modality": modality, "uri": uri, "size": len(of), "type": "uri"}

    assert parts == [
        text("loose text"),
        {"mime_type": None, "modality": "image", "uri": "https://example.com/cat.png", "type": "uri"},
        blob("image/png", "image"),
        blob("text/plain", "image", b"a b"),
        blob("audio/mpeg", "audio"),
        {"mime_type": "application/pdf", "modality": "document", "file_id": "file-1", "type": "file"},
        blob("application/pdf", "document"),
        blob("application/pdf", "document"),
        {"mime_type": None, "modality": "document", "uri": "https://example.com/a.pdf", "type": "uri"},
        {"type": "video", "video": {}},
        {"mime_type": None, "modality": "image", "file_id": "file-2", "type": "file"},
        {"content": "Hm.", "type": "reasoning"},
    ]


def test_spoken_answers(capture):
    """What was spoken is its words, and a hash of the sound."""
    data = base64.b64encode(b"sound").decode()
    message = {"role": "assistant", "content": None, "audio": {"id": "a-1", "data": data, "transcript": "Hello"}}
    capture.api.server.reply(
        body={"id": "c", "model": "gpt-4.1", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    )
    ((words, sound),) = (one["parts"] for one in capture("chat")[OUTPUT])
    assert words == text("Hello")
    assert (sound["modality"], sound["uri"]) == ("audio", f"sha256:{sha256(b'sound').hexdigest()}")


def test_endless_nesting(capture):
    """Data that is nested without end ends where nobody reads it any more."""
    tool: dict[str, Any] = {"type": "object"}
    for _ in range(200):
        tool = {"type": "object", "properties": {"below": tool}}
    (shown,) = capture("chat", tools=[{"type": "function", "function": {**SEARCH, "parameters": tool}}])[TOOLS]
    assert shown["parameters"]["properties"]["below"]["type"] == "object"


def test_models_as_messages(capture):
    """An answer of the client that is sent again as it came reads like what it was."""
    answer = capture.api.call("chat", messages=[{"role": "user", "content": "Hello"}])
    found = capture("chat", messages=[{"role": "user", "content": "Hello"}, answer.choices[0].message])
    assert found[INPUT][1]["role"] == "assistant"
    assert found[INPUT][1]["parts"] == [text(answer.choices[0].message.content)]


def test_iterators_are_left_to_the_client(capture):
    """An iterator of the caller's is not read before the client reads it."""
    found = capture("chat", messages=iter(CHAT["messages"]))
    assert INPUT not in found
    assert capture.api.server.requests[-1].body["messages"] == CHAT["messages"]


def test_secrets(capture):
    """Secrets in content are redacted, in prompts, answers and arguments."""
    key = "sk-proj-abcdef0123456789"
    capture.api.server.reply(tool_calls=[("login", {"user": "bob", "password": "hunter2", "note": f"key {key}"})])
    capture("chat", messages=[{"role": "user", "content": f"My key is {key}"}])
    exported = capture._recorder.spans[-1].to_json()
    assert "hunter2" not in exported
    assert "abcdef" not in exported
    assert "bob" in exported


def test_no_content_anywhere_by_default(api, recorder):
    """With the gate shut no prompt, answer, tool or argument is in any signal."""
    canary = "canary-content"
    api.server.reply(canary, times=None)
    tools = [{"type": "function", "function": {**SEARCH, "description": canary}}]
    api.call("chat", messages=[{"role": "user", "content": canary}], tools=tools)
    list(api.call("chat", messages=[{"role": "user", "content": canary}], stream=True))
    api.call("responses", input=canary, instructions=canary)
    list(api.call("responses", input=canary, stream=True))
    api.call("embeddings", input=canary)
    assert recorder.logs == ()
    assert not [span.name for span in recorder.spans if canary in span.to_json()]
    assert canary not in str(recorder.metrics())


@pytest.mark.parametrize("endpoint", ["chat", "responses"])
def test_strange_content(capture, endpoint):
    """Content of unknown shape is left out; the call is what it would be without us."""
    shapes: list[Any] = [
        {"role": "user"},
        {"role": "user", "content": 7},
        {"role": "user", "content": [7, None, {"type": 7}]},
        {"role": "assistant", "tool_calls": [{"id": "c"}]},
        {"type": "function_call"},
        {"type": "message", "content": {"a": 1}},
    ]
    name = "messages" if endpoint == "chat" else "input"
    capture.api.server.reply("Hi", times=None)
    for shape in shapes:
        capture(endpoint, **{name: [shape]})
        assert capture.api.server.requests[-1].body[name] == [shape]
    capture(endpoint, tools=[{"type": 7}, {}, {"type": "function"}])


def test_bytes_stay_out(capture):
    """An image in base64 and a megabyte of it is told by its hash and size, not by its bytes."""
    data = base64.b64encode(b"\x00\x01\x02" * 400_000).decode()
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    (message,) = capture("chat", messages=[{"role": "user", "content": [image]}])[INPUT]
    assert message["parts"][0]["size"] == 1_200_000
    exported = capture._recorder.spans[-1].to_json()
    assert data[:64] not in exported
    assert len(exported) < 10_000


def test_long_texts_are_cut(recorder, monkeypatch):
    """Content is as long as the setting says, in the JSON of a span as in the data of an event."""
    monkeypatch.setenv(MODE, "span_and_event")
    monkeypatch.setenv("OTELIER_CONTENT_MAX_CHARS", "200")
    prompt = "word " * 200_000
    with instrumenting(recorder), serving() as api:
        api.call("chat", messages=[{"role": "user", "content": prompt}])
        assert api.server.requests[-1].body["messages"][0]["content"] == prompt
    (span,), (event,) = recorder.spans, recorder.logs
    assert len(span.attributes[INPUT]) <= 200
    for (message,) in (json.loads(span.attributes[INPUT]), event.attributes[INPUT]):
        assert message["role"] == "user"
        assert message["parts"][0]["content"].startswith(f"{prompt[:40]}")
        assert "[cut: 999" in message["parts"][0]["content"]
    assert len(span.to_json()) < 10_000


def test_personal_data_is_redacted_when_asked_for(recorder, monkeypatch):
    """E-mail addresses, cards and phone numbers stay out of prompts, answers and arguments, on spans and events."""
    monkeypatch.setenv(MODE, "span_and_event")
    monkeypatch.setenv("OTELIER_REDACT_PERSONAL_DATA", "true")
    canaries = ["bob@example.com", "4111 1111 1111 1111", "4111111111111111", "+44 20 7946 0958", "(202) 555-0143"]
    said = "; ".join(["order 123456789", *canaries])
    with instrumenting(recorder), serving() as api:
        api.server.reply(said)
        api.call("chat", messages=[{"role": "user", "content": said}])
        api.server.reply(tool_calls=[("pay", {"card": 4111111111111111, "mail": said})])
        list(api.call("responses", input=said, instructions=said, stream=True))
    exported = [*(span.to_json() for span in recorder.spans), *(str(log.attributes) for log in recorder.logs)]
    assert len(exported) == 4
    for text_ in exported:
        assert [canary for canary in canaries if canary in text_] == []
        assert "order 123456789" in text_


@pytest.mark.parametrize(
    ("mode", "emit", "events", "content"),
    [
        ("no_content", "true", 1, False),
        ("span_only", "true", 1, False),
        ("event_only", "", 1, True),
        ("event_only", "false", 0, False),
        ("span_only", "perhaps", 0, False),
    ],
)
def test_events_on_request(recorder, monkeypatch, mode, emit, events, content):
    """`OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT` asks for events, or keeps them away, whatever goes onto them."""
    monkeypatch.setenv(MODE, mode)
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT", emit)
    with instrumenting(recorder), serving() as api:
        api.server.reply("Hi", times=None)
        api.call("chat")
        list(api.call("chat", stream=True))
    assert len(recorder.logs) == 2 * events
    for log in recorder.logs:
        assert log.event_name == EVENT
        assert (INPUT in log.attributes, OUTPUT in log.attributes) == (content, content)
        assert log.attributes["gen_ai.request.model"] == "gpt-4.1"


def test_results_are_json_once(capture):
    """What a tool gave is data on the span, as its arguments are, and text that is no object or list stays text."""
    given = ['{"id": 1, "tags": ["a"]}', "[1, 2]", "42", "{broken", "nothing"]
    told: list[Any] = [{"id": 1, "tags": ["a"]}, [1, 2], "42", "{broken", "nothing"]
    chat = [{"role": "tool", "tool_call_id": "c", "content": each} for each in given]
    items = [{"type": "function_call_output", "call_id": "c", "output": each} for each in given]
    for found in (capture("chat", messages=chat), capture("responses", input=items)):
        assert [message["parts"][0]["response"] for message in found[INPUT]] == told


def test_answers_with_reasoning_and_custom_calls(capture):
    """An answer of a model that thinks, and calls a custom tool, says both; so does the history it goes into."""
    message = {
        "role": "assistant",
        "content": "Wait.",
        "reasoning_content": "Hm.",
        "tool_calls": [{"id": "c-1", "type": "custom", "custom": {"name": "run_sql", "input": "SELECT 42"}}],
    }
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m"}
    capture.api.server.reply(
        body={**head, "choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}]}
    )
    tool = {"type": "custom", "custom": {"name": "run_sql", "description": "Runs.", "format": {"type": "text"}}}
    found = capture("chat", messages=[{"role": "user", "content": "Go"}, message], tools=[tool])
    parts = [{"content": "Hm.", "type": "reasoning"}, call_part("c-1", "run_sql", "SELECT 42"), text("Wait.")]
    assert found[OUTPUT] == [received(*parts, reason="tool_call")]
    assert found[INPUT][1] == sent("assistant", *parts)
    assert found[TOOLS] == [{"name": "run_sql", "description": "Runs.", "format": {"type": "text"}, "type": "custom"}]


def test_secrets_of_mcp_servers(capture):
    """What authorises the use of a tool at the provider is not told with it."""
    server = {"type": "mcp", "server_label": "crm", "server_url": "https://crm.example.com"}
    secret = {"authorization": "crm-token", "headers": {"X-Account": "crm-header"}}
    assert capture("responses", tools=[{**server, **secret}])[TOOLS] == [{"name": "mcp", **server}]
    assert not [word for word in ("crm-token", "crm-header") if word in capture._recorder.spans[-1].to_json()]


@pytest.mark.parametrize("execution", ["client", "server"])
def test_secrets_of_mcp_servers_that_a_search_found(capture, execution):
    """Wherever such a tool stands, sent or received, what authorises its use is not told; other headers are content."""
    server = {"type": "mcp", "server_label": "crm", "server_url": "https://crm.example.com"}
    secret = {"authorization": "crm-canary", "headers": {"X-Crm-Account": "s3cr3t-canary-77"}}
    tools = [{"type": "namespace", "name": "shop", "tools": [{**server, **secret}]}, {**server, **secret}]
    item = {"type": "tool_search_output", "call_id": "c-1", "execution": execution, "status": "completed"}
    unknown = {"type": "search_results", "found": tools, "headers": {"Accept": "all"}}
    items = [{**item, "id": "i-1", "tools": tools}, {**unknown, "id": "i-2"}]
    capture.api.server.reply(body=response(*items))
    found = capture("responses", input=items)
    assert "canary" not in capture._recorder.spans[-1].to_json()
    for messages in (found[INPUT], found[OUTPUT]):
        assert json.dumps(messages).count("https://crm.example.com") == 4
        assert json.dumps(messages).count("Accept") == 1


def test_what_is_encrypted(capture):
    """No kind of item shows what its provider encrypted; a tool's parameter may be called so."""
    items = [
        {"type": kind, "id": f"i-{kind}", "encrypted_content": "canary", "deep": [{"encrypted_content": "canary"}]}
        for kind in ("mcp_call", "reasoning", "compaction", "an_unknown_kind", "program_output", "shell_call_output")
    ]
    capture.api.server.reply(body=response(*items))
    parameters = {"type": "object", "properties": {"encrypted_content": {"type": "string"}}}
    tools = [
        {"type": "function", "name": "open", "parameters": parameters},
        {"type": "an_unknown_kind", "encrypted_content": "canary", "mode": "fast"},
    ]
    found = capture("responses", input=items, tools=tools)
    assert "canary" not in capture._recorder.spans[-1].to_json()
    assert found[TOOLS][0]["parameters"] == parameters
    assert found[TOOLS][1] == {"name": "an_unknown_kind", "mode": "fast", "type": "an_unknown_kind"}
