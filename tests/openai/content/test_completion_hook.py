"""Completion hooks: what stores content elsewhere gets it as the types of `opentelemetry-util-genai`.

Here a few dataclasses stand for that package; tests/beside has the real one.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import openai
import pytest

from otelier.openai import OpenAIInstrumentor
from otelier.testing import SpanRecorder
from tests.openai.conftest import Api, serving

VARIABLE = "OTEL_INSTRUMENTATION_GENAI_COMPLETION_HOOK"
MODE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
KEEPS_MIXED_LISTS = tuple(map(int, version("opentelemetry-sdk").split(".")[:2])) >= (1, 45)
"""Whether an event keeps a list whose items are of several kinds."""
TYPES = {
    "FilePart": "mime_type modality file_id type",
    "FunctionToolDefinition": "name description parameters type",
    "GenericToolDefinition": "name type",
    "InputMessage": "role parts name",
    "OutputMessage": "role parts finish_reason name",
    "ReasoningPart": "content type",
    "ServerToolCallPart": "name server_tool_call id type",
    "ServerToolCallResponsePart": "server_tool_call_response id type",
    "TextPart": "content type",
    "ToolCallRequestPart": "arguments name id type",
    "ToolCallResponsePart": "response id type",
    "UriPart": "mime_type modality uri type",
}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,cG5n"}}
SEARCH = {"type": "function", "function": {"name": "search", "parameters": {}}}
MESSAGES: list[Any] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "password=hunter2"}, PICTURE]},
]


class Hook:
    """Stores what it is given, as the protocol has it."""

    def __init__(self) -> None:
        self.given: list[dict[str, Any]] = []

    def on_completion(self, **given: Any) -> None:
        self.given.append(given)
        given["span"].set_attribute("docs.stored", "there")
        if given["log_record"] is not None:
            given["log_record"].attributes = {**given["log_record"].attributes, "docs.stored": "there"}


@pytest.fixture
def types(monkeypatch):
    """The types, by name."""
    found = SimpleNamespace(**{name: dataclasses.make_dataclass(name, made.split()) for name, made in TYPES.items()})
    monkeypatch.setitem(sys.modules, "opentelemetry.util.genai", SimpleNamespace(types=found))
    monkeypatch.setitem(sys.modules, "opentelemetry.util.genai.types", found)
    return found


@pytest.fixture
def instrument(recorder):
    """Instrument with arguments of the test's own."""

    def instrument(**more: Any) -> None:
        OpenAIInstrumentor().instrument(
            tracer_provider=recorder.tracer_provider,
            meter_provider=recorder.meter_provider,
            logger_provider=recorder.logger_provider,
            **more,
        )

    yield instrument
    OpenAIInstrumentor().uninstrument()


def ask(api: Api, *, stream: bool = False, messages: list[Any] = MESSAGES) -> None:
    answer = api.call("chat", messages=messages, tools=[SEARCH], stream=stream)
    if stream:
        list(answer)


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_hook_gets(types, recorder, instrument, stream):
    """Content as types, through the gate, also where none goes onto signals; and the span, before it has ended."""
    hook = Hook()
    instrument(completion_hook=hook)
    with serving() as api:
        api.server.reply(tool_calls=[("search", {"for": "parcels"})])
        ask(api, stream=stream)
    (given,) = hook.given
    system, user = given["inputs"]
    assert (type(system), system.role, system.parts) == (
        types.InputMessage,
        "system",
        [types.TextPart("Be brief.", "text")],
    )
    said, picture = user.parts
    assert said == types.TextPart("password=[REDACTED:secret]", "text")
    assert (type(picture), picture.uri[:7]) == (types.UriPart, "sha256:")
    (answer,) = given["outputs"]
    assert (answer.role, answer.finish_reason) == ("assistant", "tool_call")
    assert [(type(part), part.arguments) for part in answer.parts] == [(types.ToolCallRequestPart, {"for": "parcels"})]
    assert given["tool_definitions"] == [types.FunctionToolDefinition("search", None, {}, "function")]
    assert (given["system_instruction"], given["log_record"]) == ([], None)
    (span,) = recorder.spans
    assert given["span"].get_span_context() == span.context
    assert span.attributes["docs.stored"] == "there"
    assert not [name for name in span.attributes if "messages" in name]


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_hook_replaces_stays(types, recorder, instrument, stream):
    """A hook may write over what the span has of the call: that is what is exported."""

    class Replaces(Hook):
        def on_completion(self, **given: Any) -> None:
            given["span"].set_attribute("gen_ai.response.id", "hidden")

    instrument(completion_hook=Replaces())
    with serving() as api:
        ask(api, stream=stream)
    (span,) = recorder.spans
    assert span.attributes["gen_ai.response.id"] == "hidden"


def test_references_on_the_event(types, recorder, instrument, monkeypatch):
    """What the hook writes onto the event leaves with it, beside the content that goes there."""
    monkeypatch.setenv(MODE, "event_only")
    instrument(completion_hook=Hook())
    with serving() as api:
        ask(api)
    (event,) = recorder.logs
    assert event.attributes["docs.stored"] == "there"
    assert "gen_ai.input.messages" in event.attributes
    assert recorder.spans[0].attributes["docs.stored"] == "there"


def test_every_kind_of_call(types, recorder, instrument):
    """Responses give their instructions apart; embeddings have no content, and failed calls what was sent."""
    hook = Hook()
    instrument(completion_hook=hook)
    with serving() as api:
        made = api.call("responses", instructions="Be brief.")
        api.call("embeddings")
        api.client.responses.retrieve(made.id)
        with pytest.raises(openai.BadRequestError):
            api.call("chat", model="error-400")
    created, fetched, failed = hook.given
    assert created["system_instruction"] == [types.TextPart("Be brief.", "text")]
    assert created["outputs"] == fetched["outputs"] != []
    assert (created["tool_definitions"], fetched["inputs"]) == (None, [])
    assert ([len(failed[name]) for name in ("inputs", "outputs")]) == [1, 0]
    assert len(recorder.spans) == 4


def test_unsampled_calls(types, unsampled):
    """A hook stores calls that are not sampled too."""
    hook = Hook()
    OpenAIInstrumentor().instrument(tracer_provider=unsampled.tracer_provider, completion_hook=hook)
    try:
        with serving() as api:
            ask(api)
    finally:
        OpenAIInstrumentor().uninstrument()
    assert len(hook.given) == 1


def test_a_hook_of_the_environment(types, recorder, instrument, monkeypatch, tmp_path):
    """`OTEL_INSTRUMENTATION_GENAI_COMPLETION_HOOK` names an entry point that makes the hook."""
    (tmp_path / "acme_hooks.py").write_text("made = []\ndef make():\n    return made[0]\n")
    metadata = tmp_path / "acme_hooks-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-hooks\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[opentelemetry_genai_completion_hook]\nacme = acme_hooks:make\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv(VARIABLE, "acme")
    hook = Hook()
    importlib.import_module("acme_hooks").made.append(hook)
    instrument()
    with serving() as api:
        ask(api)
    assert len(hook.given) == 1


@pytest.mark.parametrize("missing", ["package", "name", "method"])
def test_no_hook(recorder: SpanRecorder, instrument, monkeypatch, caplog, request, missing):
    """Without the package, the entry point or the method there is no hook: one warning, and calls are reported."""
    if missing == "package":
        monkeypatch.setitem(sys.modules, "opentelemetry.util.genai.types", None)
    else:
        request.getfixturevalue("types")
    if missing == "name":
        monkeypatch.setenv(VARIABLE, "nobody")
        instrument()
    else:
        instrument(completion_hook=Hook() if missing == "package" else object())
    with serving() as api:
        ask(api)
    assert len(recorder.spans) == 1
    (line,) = [record.getMessage() for record in caplog.records if record.name == "otelier"]
    assert line.startswith("There is no completion hook")


def test_a_hook_that_raises(types, recorder, instrument, caplog):
    """Nothing of it reaches the caller: the span ends as it would, and the line in the log quotes nothing."""

    class Raising:
        def on_completion(self, **given: Any) -> None:
            raise ValueError(given["inputs"])

    instrument(completion_hook=Raising())
    with serving() as api:
        ask(api)
        ask(api)
    assert len(recorder.spans) == 2
    (line,) = [record.getMessage() for record in caplog.records if record.name == "otelier"]
    assert line == "The completion hook raised ValueError; calls go on."


def test_more_content_than_there_is_room_for(types, recorder, instrument, monkeypatch, caplog):
    """Of a conversation that is too long a hook gets what the event of the call has: as far as there is room."""
    monkeypatch.setenv(MODE, "EVENT_ONLY")
    hook = Hook()
    instrument(completion_hook=hook)
    with serving() as api:
        ask(api, messages=[{"role": "user", "content": "x" * 26_000_000}, {"role": "user", "content": "Hello"}])
    (given,) = hook.given
    (message,) = given["inputs"]
    assert "x [cut: 257500" in message.parts[0].content[-30:]
    (event,) = recorder.logs
    inputs = event.attributes["gen_ai.input.messages"]
    assert inputs[1] == "[cut: 1 items]" if KEEPS_MIXED_LISTS else inputs is None
    assert [record for record in caplog.records if record.name == "otelier"] == []


@pytest.mark.parametrize("asked", ["hook", "event"])
@pytest.mark.parametrize("stream", [False, True])
def test_errors_quote_nothing_while_content_is_off(types, recorder, instrument, monkeypatch, asked, stream):
    """A hook, or an event without content, opens no way for content: no word of an error's message leaves."""
    if asked == "event":
        monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT", "true")
    instrument(completion_hook=Hook() if asked == "hook" else None)
    text = "My name is Alice Liddell."
    with serving() as api:
        if stream:
            api.server.reply(events=[{"error": {"message": f"Not allowed: {text}", "code": "refused"}}])
        else:
            api.server.fail(400, message=f"Not allowed: {text}")
        with pytest.raises(openai.APIError, match="Alice"):
            for _ in api.call("chat", messages=[{"role": "user", "content": text}], stream=stream):
                pass
    (span,) = recorder.spans
    assert span.status.description.startswith("openai.")
    assert not any(word in span.status.description for word in ("Alice", "Not allowed"))
