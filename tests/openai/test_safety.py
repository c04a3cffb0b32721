"""Whatever fails in otelier or in what it looks at, the user's call runs once, with its own result or exception."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from unittest.mock import MagicMock

import openai
import pytest
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import StatusCode

from otelier.openai import _call, _instrumentor
from otelier.openai._telemetry import CallPoint
from otelier.openai.operations import _operation
from otelier.openai.operations._operation import Content, Operation
from otelier.openai.streams import _body, _follow, _streamed
from otelier.redaction import ContentGate
from otelier.telemetry import PointQueue
from tests.openai.conftest import Api, instrumenting, known, serving

SPAN = "chat gpt-4.1"
ENDPOINTS = ("chat", "responses", "embeddings")
each_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS)


class FaultError(Exception):
    """A fault of ours."""


def broken(*_: Any, **__: Any) -> Any:
    """Stands for any function of ours that fails."""
    raise FaultError


BREAKS: dict[str, tuple[Any, str]] = {
    "state": (_call, "call_attributes"),
    "suppressed": (_instrumentor, "get_current"),
    "coexistence": (_instrumentor, "nobody_else_reports"),
    "template": (_operation.Templates, "of"),
    "point": (_call, "CallPoint"),
    "facts": (_call, "answer_of"),
    "follow": (_follow, "StreamedCall"),
    "hook": (_follow, "hook_close"),
    "copy": (_follow.copy, "copy"),
    "look": (_operation.ChatChunks, "_see"),
    "write": (_operation.ChatChunks, "write_to"),
    "leave": (_follow, "follower_of"),
    "steps": (_follow, "visible_chunks"),
    "clock": (_streamed, "time"),
    "context": (_call, "get_current"),
    "request": (Operation, "read_request"),
    "answer": (Operation, "read_answer"),
    "raised": (_call, "answer_behind"),
    "sent": (Content, "sent"),
    "received": (Content, "received"),
    "gate": (ContentGate, "values"),
    "event": (_call, "event_record"),
    "end": (_call, "end_span"),
    "usage": (_instrumentor, "ask_for_usage"),
}


@pytest.mark.parametrize("place", BREAKS)
@pytest.mark.parametrize("ending", ["answer", "error", "stream", "dropped", "block"])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_faults_of_ours(recorder, monkeypatch, quiet_faults, caplog, place, ending, mode):
    """A fault anywhere in ours costs a signal, never the call: it is made once and ends as it would."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "span_and_event")
    monkeypatch.setenv("OTELIER_OPENAI_STREAM_USAGE", "true")
    stream = ending in ("stream", "dropped", "block")
    raised = {"error": openai.BadRequestError, "block": KeyError}

    async def call_async(api: Api) -> Any:
        async with api.async_client() as client:
            answer = await api.call_async(client, "chat", stream=stream)
            if ending == "stream":
                return [chunk async for chunk in answer]
            if ending == "block":
                async with answer:
                    await anext(answer)
                    raise KeyError
            if ending == "dropped":
                return [await anext(answer)]
            return answer

    def call(api: Api) -> Any:
        if mode == "async":
            return asyncio.run(call_async(api))
        answer = api.call("chat", stream=stream)
        if ending == "block":
            with answer:
                next(answer)
                raise KeyError
        return list(answer) if ending == "stream" else [next(answer)] if ending == "dropped" else answer

    with instrumenting(recorder), serving() as api:
        api.server.reply("Hi", times=None)
        if ending == "error":
            api.server.clear()
            api.server.fail(400)
        monkeypatch.setattr(*BREAKS[place], broken)
        if ending in raised:
            with pytest.raises(raised[ending]):
                call(api)
        else:
            assert call(api)
        monkeypatch.undo()
        assert len(api.server.requests) == 1
    assert len([record for record in caplog.records if "otelier failed in" in record.getMessage()]) <= 2


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_chunks_that_cannot_be_recorded(recorder, monkeypatch, quiet_faults, mode):
    """Where each chunk is recorded as it comes and that fails, the stream goes on."""
    monkeypatch.setattr(PointQueue, "reserve_for_stream", lambda _: None)

    async def call_async(api: Api) -> Any:
        async with api.async_client() as client:
            return [chunk async for chunk in await api.call_async(client, "chat", stream=True)]

    with instrumenting(recorder), serving() as api:
        monkeypatch.setattr(CallPoint, "attributes", broken)
        assert asyncio.run(call_async(api)) if mode == "async" else list(api.call("chat", stream=True))
        monkeypatch.undo()
    assert len(recorder.spans) == 1


LEFT_TO_THE_CALLER: dict[str, tuple[Any, str]] = {
    "close": (_body, "hook_close"),
    "unhook": (_streamed, "_unhook"),
    "parse": (_follow, "hook_parse"),
    "follow": (_follow, "hook_close"),
}


@pytest.mark.parametrize("place", LEFT_TO_THE_CALLER)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_faults_in_what_the_caller_reads(recorder, monkeypatch, quiet_faults, place, stream, mode):
    """The same holds for an answer whose body is left to the caller."""

    def call(api: Api) -> Any:
        chat = api.client.chat.completions
        with chat.with_streaming_response.create(**api.arguments["chat"], stream=stream) as response:
            parsed = response.parse()
            return list(parsed) if stream else parsed.choices

    async def call_async(api: Api) -> Any:
        async with api.async_client() as client:
            chat = client.chat.completions
            async with chat.with_streaming_response.create(**api.arguments["chat"], stream=stream) as response:
                parsed = await response.parse()
                return [chunk async for chunk in parsed] if stream else parsed.choices

    with instrumenting(recorder), serving() as api:
        api.server.reply("Hi")
        monkeypatch.setattr(*LEFT_TO_THE_CALLER[place], broken)
        assert asyncio.run(call_async(api)) if mode == "async" else call(api)
        monkeypatch.undo()
    assert len(api.server.requests) == 1
    assert len(recorder.spans) + len(recorder.open_spans) == 1


@pytest.mark.parametrize("raises", ["on_start", "on_end", "both"])
@each_endpoint
def test_a_processor_that_raises(recorder, quiet_faults, endpoint, raises):
    """A span processor of somebody else's that raises does not reach the caller."""

    class Raises(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            if raises != "on_end":
                raise FaultError

        def on_end(self, span: Any) -> None:
            if raises != "on_start":
                raise FaultError

    recorder.tracer_provider.add_span_processor(Raises())
    with instrumenting(recorder), serving() as api:
        answer = api.call(endpoint)
        assert answer.model
        assert len(api.server.requests) == 1


def test_an_exception_passes_unchanged(api, recorder):
    """The very exception that the client raises reaches the caller, with its own cause."""
    cause = ValueError("inner")
    error = KeyError("outer")
    error.__cause__ = cause

    class Transport:
        def __call__(self, _: Any) -> None:
            raise error

    client = api.client.with_options(max_retries=0)
    client._client.event_hooks["request"].append(Transport())
    with pytest.raises((KeyError, openai.APIConnectionError)) as caught:
        client.chat.completions.create(**api.arguments["chat"])
    # The client may wrap what its transport raises; in there it is the same one.
    assert error in (caught.value, caught.value.__cause__)
    assert error.__cause__ is cause
    assert error.__context__ is None
    assert recorder.find(SPAN).status.status_code is StatusCode.ERROR


def test_an_exception_whose_text_fails(recorder, monkeypatch):
    """An exception that cannot say what it is still ends the span."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise FaultError

    from openai.resources.chat.completions import Completions

    def create(*_: Any, **__: Any) -> Any:
        raise Mute

    monkeypatch.setattr(Completions, "create", create)
    with instrumenting(recorder), pytest.raises(Mute):
        openai.OpenAI(api_key="none").chat.completions.create(**Api.arguments["chat"])
    span = recorder.find(SPAN)
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"].endswith("Mute")


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_arguments_that_are_missing(api, recorder, missing):
    """A call without what it must have raises what it raises without us."""
    arguments = {key: value for key, value in api.arguments["chat"].items() if key != missing}
    with pytest.raises(TypeError, match=missing):
        api.client.chat.completions.create(**arguments)
    (span,) = recorder.spans
    assert span.name == ("chat" if missing == "model" else SPAN)
    assert span.attributes["error.type"] == "TypeError"


STRANGE: dict[str, Any] = {
    "empty": {},
    "nulls": {"id": None, "model": None, "choices": None, "usage": None, "output": None, "data": None},
    "lists": {"id": [], "model": [], "choices": [], "usage": [], "output": [], "data": []},
    "numbers": {"id": 1, "model": 2, "choices": [3], "usage": 4, "output": [5], "data": [6], "status": 7},
    "nested": {
        "choices": [{}, {"message": None}, {"message": {"content": 1}, "finish_reason": 7}],
        "usage": {"prompt_tokens": "9", "input_tokens": None, "prompt_tokens_details": 3, "input_tokens_details": []},
        "output": [{}, {"type": "message"}, {"type": "function_call"}, {"type": "reasoning", "content": 3}],
        "data": [{}],
        "error": {},
        "incomplete_details": 9,
    },
    "text": "no JSON",
    "page": "<html>Sign in</html>",
    "list": [1],
}


@pytest.mark.parametrize("shape", STRANGE)
@pytest.mark.parametrize("content", ["no_content", "span_and_event"])
@each_endpoint
def test_answers_of_strange_shape(recorder, monkeypatch, endpoint, shape, content):
    """Whatever a server answers, the caller sees what it would see without us, and the span ends."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", content)

    def outcome(api: Api) -> Any:
        try:
            return str(api.call(endpoint))
        except Exception as exc:
            return type(exc), str(exc)

    with serving() as api:
        api.server.reply(body=STRANGE[shape], times=None)
        without = outcome(api)
        with instrumenting(recorder):
            assert outcome(api) == without
    assert len(recorder.spans) == 1
    assert recorder.open_spans == ()


@pytest.mark.parametrize("reason", [3, {"why": "length"}, ["stop"], True, 0.5])
@pytest.mark.parametrize("content", ["no_content", "span_and_event"])
@pytest.mark.parametrize("streamed", [False, True])
def test_finish_reasons_that_are_no_text(recorder, monkeypatch, caplog, reason, content, streamed):
    """The attribute is an array of texts whatever a server writes, and the rest of the answer is told."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", content)
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": reason}
    event = {"id": "c-1", "model": "gpt-4.1", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
    with serving() as api, instrumenting(recorder):
        if streamed:
            api.server.reply(events=[event])
            list(api.call("chat", stream=True))
        else:
            api.server.reply(body={"id": "c-1", "model": "gpt-4.1", "choices": [choice]})
            api.call("chat")
            details = {"status": "incomplete", "incomplete_details": {"reason": reason}}
            api.server.reply(body={"id": "r-1", "model": "gpt-4.1", **details})
            api.call("responses")
            assert recorder.spans[1].attributes["gen_ai.response.finish_reasons"] == ("incomplete",)
    assert recorder.spans[0].attributes["gen_ai.response.finish_reasons"] == ("error",)
    assert recorder.spans[0].attributes["gen_ai.response.id"] == "c-1"
    assert not caplog.records


@pytest.mark.parametrize("content", ["no_content", "span_and_event"])
@pytest.mark.parametrize("endpoint", ["chat", "responses"])
def test_events_of_strange_shape(recorder, monkeypatch, endpoint, content):
    """The same holds for what comes in a stream."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", content)
    events: list[Any] = [
        {},
        {"choices": None, "usage": 3},
        {"choices": [{"index": 0, "delta": None, "finish_reason": "stop"}], "model": 3},
        {"choices": [{"index": 1, "delta": {"tool_calls": [{"index": 0}]}}]},
        {"type": "response.created", "response": None},
        {"type": "response.output_item.added", "item": 3},
        {"type": "response.unheard_of"},
        {"type": "response.completed", "response": {"output": [7]}},
    ]

    def outcome(api: Api) -> Any:
        try:
            return [str(event) for event in api.call(endpoint, stream=True)]
        except Exception as exc:
            return type(exc), str(exc)

    with serving() as api:
        api.server.reply(events=events, times=None)
        without = outcome(api)
        with instrumenting(recorder):
            assert outcome(api) == without
    assert len(recorder.spans) == 1
    assert recorder.open_spans == ()


def test_zero_tokens_and_no_usage(api, recorder):
    """No tokens used is recorded as zero; no word about usage is not."""
    api.server.reply("Hi", usage={"input_tokens": 0, "output_tokens": 0})
    api.call("chat")
    api.server.reply(body={"id": "c", "model": "gpt-4.1", "choices": [], "usage": None})
    api.call("chat")
    first, second = recorder.spans
    assert (first.attributes["gen_ai.usage.input_tokens"], first.attributes["gen_ai.usage.output_tokens"]) == (0, 0)
    assert "gen_ai.usage.input_tokens" not in second.attributes
    assert "gen_ai.response.finish_reasons" not in second.attributes
    assert [point.count for point in recorder.metric_points if point.name.endswith("token.usage")] == [1, 1]


def test_mocked_clients(recorder):
    """A mock in the place of the client is no concern of ours, and one below the method is no trouble."""
    from openai.resources.chat.completions import Completions

    with instrumenting(recorder):
        completions = Completions(MagicMock())
        completions._post = MagicMock(return_value=MagicMock())
        answer = completions.create(**Api.arguments["chat"])
        assert answer is completions._post.return_value
        completions.create(**Api.arguments["chat"], stream=True)
        public = MagicMock(spec=["base_url", "get", "post", "patch", "put", "delete", "get_api_list"])
        public.base_url = openai.OpenAI(api_key="none", base_url="http://model.invalid:81/v1").base_url
        assert Completions(public).create(**Api.arguments["chat"]) is public.post.return_value
    assert len(recorder.spans) == 3
    assert recorder.spans[2].attributes["server.port"] == 81
    assert recorder.open_spans == ()


@pytest.mark.parametrize("endpoint", ["chat", "embeddings"])
def test_what_is_no_stream(recorder, monkeypatch, endpoint):
    """Where a stream was asked for and something else came, the caller gets that, and the call ends."""
    from openai.resources import Embeddings
    from openai.resources.chat.completions import Completions

    answer = object()
    for owner in (Completions, Embeddings):
        monkeypatch.setattr(owner, "create", lambda *_, **__: answer)
    with instrumenting(recorder):
        client = openai.OpenAI(api_key="none")
        assert Api.method(client, endpoint)(**Api.arguments[endpoint], stream=True) is answer
    assert len(recorder.spans) == 1


def test_arguments_of_any_kind(api, recorder):
    """Arguments that say nothing to us are handed on as they are."""
    api.server.reply("Hi", times=None)
    strange: list[dict[str, Any]] = [
        {"temperature": None, "stop": None, "n": None},
        {"stop": ["a", None]},
        {"response_format": {"type": None}},
        {"extra_body": {"max_completion_tokens": "many", "service_tier": 3}},
        {"extra_headers": {"x-a": "b"}, "extra_query": {"q": "1"}},
        {"metadata": {"a": "b"}},
    ]
    for more in strange:
        api.call("chat", **more)
    newer = known(api.client.responses.create, conversation={"id": None})
    api.call("responses", text={"format": None}, input=[], **newer)
    assert len(recorder.spans) == len(strange) + 1
    asked = {key for span in recorder.spans for key in span.attributes if ".request." in key}
    assert asked == {"gen_ai.request.model"}


def test_a_megabyte_of_prompt(recorder, monkeypatch):
    """A huge prompt is no trouble: content is cut to its budget, and is JSON still."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "span_only")
    with instrumenting(recorder), serving() as api:
        api.server.reply("Hi")
        api.call("chat", messages=[{"role": "user", "content": "word " * 200_000}])
    shown = recorder.find(SPAN).attributes["gen_ai.input.messages"]
    assert 200_000 < len(shown) <= 250_000
    assert json.loads(shown)[0]["role"] == "user"
