"""Calls that are not streamed: their spans and metrics."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import openai
import pytest
from openai.resources.chat.completions import Completions
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from otelier.testing import SpanRecorder
from tests.openai.conftest import FAILED_RESPONSE, Api, instrumenting, known, serving

SECONDS = tuple(0.01 * 2**power for power in range(14))
TOKENS = tuple(4**power for power in range(14))
ENDPOINTS = ("chat", "responses", "embeddings")
NAMES = {"chat": "chat gpt-4.1", "responses": "chat gpt-4.1", "embeddings": "embeddings text-embedding-3-small"}
each_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS)


def where(api: Api, operation: str = "chat", model: str = "gpt-4.1") -> dict[str, Any]:
    """What the spans and metrics of every call carry."""
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": model,
        "server.address": "127.0.0.1",
        "server.port": int(api.server.base_url.rpartition(":")[2].partition("/")[0]),
    }


def test_chat(api, recorder):
    """A chat completion's span says what was asked for and what came."""
    api.server.reply("Hi", usage={"input_tokens": 9, "output_tokens": 2, "cached_tokens": 4, "reasoning_tokens": 1})
    answer = api.call(
        "chat",
        temperature=0,
        top_p=0.5,
        max_completion_tokens=64,
        frequency_penalty=0.1,
        presence_penalty=-0.1,
        seed=7,
        stop=["END", "."],
        n=1,
        response_format={"type": "json_object"},
        service_tier="flex",
    )
    span = recorder.find("chat gpt-4.1")
    assert span.kind is SpanKind.CLIENT
    assert span.status.status_code is StatusCode.UNSET
    assert span.instrumentation_scope.name == "otelier.openai"
    assert span.instrumentation_scope.schema_url == "https://opentelemetry.io/schemas/1.37.0"
    assert dict(span.attributes) == {
        **where(api),
        "gen_ai.request.temperature": 0,
        "gen_ai.request.top_p": 0.5,
        "gen_ai.request.max_tokens": 64,
        "gen_ai.request.frequency_penalty": 0.1,
        "gen_ai.request.presence_penalty": -0.1,
        "gen_ai.request.seed": 7,
        "gen_ai.request.stop_sequences": ("END", "."),
        "gen_ai.output.type": "json",
        "openai.request.service_tier": "flex",
        "gen_ai.response.id": answer.id,
        "gen_ai.response.model": "gpt-4.1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 2,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.reasoning.output_tokens": 1,
        "openai.response.service_tier": answer.service_tier,
        "openai.response.system_fingerprint": answer.system_fingerprint,
    }


def test_chat_with_older_names(api, recorder):
    """`max_tokens` gives way to its newer name, a lone stop text is a list of one, and more choices are counted."""
    api.call("chat", max_tokens=9, stop="END", n=2)
    api.call("chat", max_completion_tokens=8, max_tokens=9)
    api.call("chat", max_tokens=9, extra_body={"max_completion_tokens": 7, "service_tier": "flex"})
    api.call("chat", extra_body={"max_completion_tokens": 7}, service_tier="auto")
    limits = [span.attributes["gen_ai.request.max_tokens"] for span in recorder.spans]
    assert limits == [9, 8, 9, 7]
    assert recorder.spans[0].attributes["gen_ai.request.stop_sequences"] == ("END",)
    assert recorder.spans[0].attributes["gen_ai.request.choice.count"] == 2
    tiers = [span.attributes.get("openai.request.service_tier") for span in recorder.spans]
    assert tiers == [None, None, "flex", None]


def test_responses(api, recorder):
    """A response's span says what was asked for and what came; numbers are those of the API's own types."""
    newer = known(api.client.responses.create, service_tier="flex", conversation={"id": "conv_1"})
    answer = api.call(
        "responses", temperature=1, top_p=0.5, max_output_tokens=64, text={"format": {"type": "text"}}, **newer
    )
    span = recorder.find("chat gpt-4.1")
    assert span.kind is SpanKind.CLIENT
    temperature = span.attributes["gen_ai.request.temperature"]
    assert (temperature, type(temperature)) == (1.0, float)
    asked = {"gen_ai.conversation.id": "conv_1", "openai.request.service_tier": "flex"} if len(newer) == 2 else {}
    assert dict(span.attributes) == {
        **where(api),
        **asked,
        "openai.api.type": "responses",
        "gen_ai.request.temperature": 1.0,
        "gen_ai.request.top_p": 0.5,
        "gen_ai.request.max_tokens": 64,
        "gen_ai.output.type": "text",
        "openai.response.service_tier": "flex" if newer else "default",
        "gen_ai.response.id": answer.id,
        "gen_ai.response.model": "gpt-4.1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": answer.usage.input_tokens,
        "gen_ai.usage.output_tokens": answer.usage.output_tokens,
    }


def test_embeddings(api, recorder):
    """An embeddings span says how many numbers there are, and has input tokens only."""
    answer = api.call("embeddings", dimensions=8, encoding_format="float")
    assert dict(recorder.find("embeddings text-embedding-3-small").attributes) == {
        **where(api, "embeddings", "text-embedding-3-small"),
        "gen_ai.request.encoding_formats": ("float",),
        "gen_ai.embeddings.dimension.count": len(answer.data[0].embedding),
        "gen_ai.response.model": "text-embedding-3-small",
        "gen_ai.usage.input_tokens": answer.usage.prompt_tokens,
    }


def test_base64_embeddings(api, recorder):
    """Embeddings that the caller asked for as base64 are counted in numbers, not in characters."""
    floats = api.call("embeddings", encoding_format="float")
    text = api.call("embeddings", encoding_format="base64")
    counts = [span.attributes["gen_ai.embeddings.dimension.count"] for span in recorder.spans]
    assert isinstance(text.data[0].embedding, str)
    assert counts == [len(floats.data[0].embedding)] * 2


@each_endpoint
def test_async_is_the_same(api, recorder, endpoint):
    """An asynchronous call has the span and the metrics of the synchronous one."""

    async def call() -> Any:
        async with api.async_client() as client:
            return await api.call_async(client, endpoint)

    one = api.call(endpoint)
    other = asyncio.run(call())
    assert type(one) is type(other)
    sync, asynchronous = recorder.spans
    ids = {"gen_ai.response.id"}
    assert {k: v for k, v in sync.attributes.items() if k not in ids} == {
        k: v for k, v in asynchronous.attributes.items() if k not in ids
    }
    assert sync.name == asynchronous.name == NAMES[endpoint]
    assert {point.count for point in recorder.metric_points if point.unit} - {None} == {2}


@each_endpoint
def test_metrics(api, recorder, endpoint):
    """A call records its duration and its tokens, with the conventions' buckets, and the span as exemplar."""
    answer = api.call(endpoint, **({"service_tier": "flex"} if endpoint == "chat" else {}))
    span = recorder.spans[0]
    operation, model = NAMES[endpoint].split()
    attributes = {**where(api, operation, model), "gen_ai.response.model": model}
    if endpoint == "chat":
        attributes["openai.response.service_tier"] = "flex"
        attributes["openai.response.system_fingerprint"] = answer.system_fingerprint
    points = [point for point in recorder.metric_points if point.name.startswith("gen_ai.")]
    duration, *tokens = points
    assert (duration.name, duration.unit) == ("gen_ai.client.operation.duration", "s")
    assert duration.attributes == attributes
    assert duration.bounds == SECONDS
    assert duration.count == 1
    assert 0 < duration.sum < 10
    used = {"input": span.attributes["gen_ai.usage.input_tokens"]}
    if endpoint != "embeddings":
        used["output"] = span.attributes["gen_ai.usage.output_tokens"]
    assert {point.attributes["gen_ai.token.type"]: point.sum for point in tokens} == used
    for point in tokens:
        assert (point.name, point.unit, point.bounds) == ("gen_ai.client.token.usage", "{token}", TOKENS)
        assert point.attributes == {**attributes, "gen_ai.token.type": point.attributes["gen_ai.token.type"]}
    for point in points:
        assert [exemplar.span_id for exemplar in point.exemplars] == [f"{span.context.span_id:016x}"]


@each_endpoint
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_errors(api, recorder, endpoint, mode):
    """The provider's error reaches the caller as it is; span and duration say class and facts, and no word of it."""
    api.server.fail(401, message="Incorrect API key provided: sk-proj-abcdef0123456789.")

    async def call() -> None:
        async with api.async_client() as client:
            await api.call_async(client, endpoint)

    with pytest.raises(openai.AuthenticationError, match="sk-proj-abcdef0123456789"):
        api.call(endpoint) if mode == "sync" else asyncio.run(call())
    span = recorder.find(NAMES[endpoint])
    assert span.status.status_code is StatusCode.ERROR
    told = "openai.AuthenticationError (status 401, code invalid_api_key, type invalid_request_error, request_id req_"
    assert span.status.description.startswith(told)
    assert not any(word in span.to_json() for word in ("abcdef", "Incorrect"))
    assert span.attributes["error.type"] == "openai.AuthenticationError"
    assert span.events == ()
    (point,) = (point for point in recorder.metric_points if point.name.startswith("gen_ai."))
    assert point.name == "gen_ai.client.operation.duration"
    assert point.attributes["error.type"] == "openai.AuthenticationError"


def test_retries_are_one_call(api, recorder):
    """What the client tries again is one span, as long as all its tries."""
    api.server.fail(500, times=2)
    api.client.with_options(max_retries=3).chat.completions.create(**api.arguments["chat"])
    assert len(api.server.requests) == 3
    assert recorder.find("chat gpt-4.1").status.status_code is StatusCode.UNSET


def test_failed_response(api, recorder):
    """A response that failed, in an answer that did not, gives the span its code."""
    api.server.reply(body=FAILED_RESPONSE)
    assert api.call("responses").status == "failed"
    span = recorder.find("chat gpt-4.1")
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "server_error")
    assert span.attributes["error.type"] == "server_error"
    assert span.attributes["gen_ai.response.finish_reasons"] == ("error",)


def test_tool_calls_and_truncation(api, recorder):
    """Finish reasons are those of the API: tool calls, and a limit under the name the conventions have."""
    api.server.reply(tool_calls=[("search", {"query": "x"})])
    api.server.reply(tool_calls=[("search", {"query": "x"})])
    api.server.reply("Cut", finish_reason="length")
    api.call("chat")
    api.call("responses")
    api.call("responses")
    reasons = [span.attributes["gen_ai.response.finish_reasons"] for span in recorder.spans]
    assert reasons == [("tool_calls",), ("tool_calls",), ("length",)]


@each_endpoint
def test_span_is_current_during_the_call_only(api, recorder, endpoint):
    """The call's span is a child of the caller's, is current while the client works, and gone afterwards."""
    seen: list[trace.Span] = []
    tracer = recorder.tracer_provider.get_tracer("tests")
    hooked = api.client.with_options(max_retries=0)
    hooked._client.event_hooks["request"].append(lambda _: seen.append(trace.get_current_span()))
    with tracer.start_as_current_span("request") as request:
        api.method(hooked, endpoint)(**api.arguments[endpoint])
        assert trace.get_current_span() is request
    span = recorder.find(NAMES[endpoint])
    assert span.parent.span_id == request.get_span_context().span_id
    assert [one.get_span_context() for one in seen] == [span.context]


@each_endpoint
def test_unsampled(unsampled, endpoint):
    """A call that is not sampled is measured all the same, without an exemplar."""
    with instrumenting(unsampled), serving() as api:
        api.call(endpoint)
    assert unsampled.spans == ()
    points = [point for point in unsampled.metric_points if point.name.startswith("gen_ai.")]
    assert {point.name for point in points} == {"gen_ai.client.operation.duration", "gen_ai.client.token.usage"}
    assert [point.exemplars for point in points] == [()] * len(points)


@each_endpoint
def test_raw_response(api, recorder, endpoint):
    """A raw response is the client's own, and the span has what is in it."""
    resource = {"chat": api.client.chat.completions, "responses": api.client.responses}.get(endpoint)
    resource = resource or api.client.embeddings
    raw = resource.with_raw_response.create(**api.arguments[endpoint])
    assert raw.headers["x-request-id"]
    answer = raw.parse()
    assert raw.parse() is answer
    span = recorder.find(NAMES[endpoint])
    usage = answer.usage
    assert span.attributes["gen_ai.usage.input_tokens"] == (getattr(usage, "input_tokens", None) or usage.prompt_tokens)


def test_parse(api, recorder):
    """`parse` is one call with a JSON output."""
    from pydantic import BaseModel

    class Answer(BaseModel):
        text: str

    chat = getattr(api.client.chat.completions, "parse", None) or api.client.beta.chat.completions.parse
    assert isinstance(chat(**api.arguments["chat"], response_format=Answer).choices[0].message.parsed, Answer)
    assert isinstance(
        api.client.responses.parse(**api.arguments["responses"], text_format=Answer).output_parsed, Answer
    )
    assert [span.attributes["gen_ai.output.type"] for span in recorder.spans] == ["json", "json"]


@pytest.mark.parametrize("content", [False, True])
def test_raw_parse_of_an_answer_that_does_not_fit(recorder, monkeypatch, content):
    """An answer that is not what the caller's model asks for is on the span whole; the caller learns of it parsing."""
    from pydantic import BaseModel, ValidationError

    class Invoice(BaseModel):
        total: int

    if content:
        monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "span_only")

    raw = {"extra_headers": {"X-Stainless-Raw-Response": "true"}}  # `with_raw_response`, which old clients lack here
    with instrumenting(recorder), serving() as api:
        chat = api.client.chat.completions if hasattr(Completions, "parse") else api.client.beta.chat.completions
        api.server.reply('{"text": "No invoice"}', usage={"input_tokens": 9, "output_tokens": 6}, times=2)
        for found in (
            chat.parse(**api.arguments["chat"], response_format=Invoice, **raw),
            api.client.responses.parse(**api.arguments["responses"], text_format=Invoice, **raw),
        ):
            with pytest.raises(ValidationError):
                found.parse()
    for span in recorder.spans:
        assert span.status.status_code is StatusCode.UNSET
        assert span.attributes["gen_ai.response.model"] == "gpt-4.1"
        assert span.attributes["gen_ai.response.finish_reasons"] == ("stop",)
        assert span.attributes["gen_ai.usage.output_tokens"] == 6
        assert ("No invoice" in str(span.attributes.get("gen_ai.output.messages"))) is content
    assert len(recorder.spans) == 2


def test_model_as_enum_and_numbers_of_other_types(api, recorder):
    """Members of a `str` Enum and subclasses of numbers are taken as what they stand for."""
    from enum import Enum

    class Model(str, Enum):
        BIG = "gpt-4.1"

    class Half(float):
        pass

    api.call("chat", model=Model.BIG, temperature=Half(0.5), seed=True)
    span = recorder.find("chat gpt-4.1")
    assert type(span.attributes["gen_ai.request.model"]) is str
    assert type(span.attributes["gen_ai.request.temperature"]) is float
    assert "gen_ai.request.seed" not in span.attributes


def test_numbers_have_the_types_of_the_conventions(api, recorder):
    """An attribute has one type, whichever the caller gives: 1 is 1.0 where others are 0.7, and half a seed is none."""
    reals = {"temperature": 1, "top_p": 1, "frequency_penalty": 0, "presence_penalty": 2}
    api.call("chat", **reals, max_tokens=7, seed=1.5)
    api.call("completions", **reals, max_tokens=7, seed=3)
    chat, completion = recorder.spans
    for name, value in reals.items():
        for span in (chat, completion):
            told = span.attributes[f"gen_ai.request.{name}"]
            assert (told, type(told)) == (value, float)
    assert type(chat.attributes["gen_ai.request.max_tokens"]) is int
    assert "gen_ai.request.seed" not in chat.attributes
    assert completion.attributes["gen_ai.request.seed"] == 3


def test_a_number_that_no_float_holds(api, recorder, caplog):
    """It is left out, and the rest is told."""
    api.call("chat", temperature=10**400, seed=3)
    (span,) = recorder.spans
    assert "gen_ai.request.temperature" not in span.attributes
    assert span.attributes["gen_ai.request.seed"] == 3
    assert not caplog.records


def test_not_given(api, recorder):
    """The client's marks for what is not given leave no trace."""
    nothing = openai.NOT_GIVEN
    given = [nothing, *([openai.omit] if hasattr(openai, "omit") else [])]
    for mark in given:
        api.call("chat", temperature=mark, stop=mark, n=mark, stream=mark, response_format=mark, service_tier=mark)
        api.call("responses", temperature=mark, text=mark, instructions=mark, tools=mark, stream=mark)
        api.call("embeddings", dimensions=mark, encoding_format=mark)
    asked = {key for span in recorder.spans for key in span.attributes if ".request." in key}
    assert len(recorder.spans) == 3 * len(given)
    assert asked <= {"gen_ai.request.model", "gen_ai.request.encoding_formats"}


@pytest.mark.parametrize("port", [443, None])
def test_default_port_is_left_out(recorder, port):
    """The port of https says nothing and is left out."""
    from otelier.openai.operations._operation import Templates

    client = SimpleNamespace(_client=SimpleNamespace(_base_url=SimpleNamespace(host="api.openai.com", port=port)))
    start = Templates("chat").of(client, "m").start
    assert start["server.address"] == "api.openai.com"
    assert "server.port" not in start


def test_several_servers_and_models(api, recorder):
    """Spans of one operation name the server and the model of their own call."""
    other = api.client.with_options(base_url=api.server.base_url.replace("127.0.0.1", "localhost"))
    api.call("chat")
    other.chat.completions.create(**{**api.arguments["chat"], "model": "gpt-5"})
    api.call("chat", model="gpt-5")
    found = [(span.name, span.attributes["server.address"]) for span in recorder.spans]
    assert found == [("chat gpt-4.1", "127.0.0.1"), ("chat gpt-5", "localhost"), ("chat gpt-5", "127.0.0.1")]


def test_without_a_provider(api):
    """With nothing set up anywhere, a call is what it is without us."""
    from otelier.openai import OpenAIInstrumentor

    OpenAIInstrumentor().uninstrument()
    OpenAIInstrumentor().instrument()
    assert api.call("chat").choices
    assert list(api.call("chat", stream=True))


def test_nothing_of_ours_without_init_and_context(api, recorder: SpanRecorder):
    """Where otelier is not switched on and no field is set, nothing of it stands on spans and metrics."""
    for endpoint in ENDPOINTS:
        api.call(endpoint)
    found = {key for span in recorder.spans for key in span.attributes}
    found |= {key for point in recorder.metric_points for key in point.attributes}
    assert not {key for key in found if key.startswith(("otelier.", "user.", "session.", "gen_ai.agent."))}
