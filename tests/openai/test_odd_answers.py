"""An answer costs its own call only: whatever a provider puts into it, all that is exported can be read by anyone."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from otelier.openai import OpenAIInstrumentor
from otelier.testing import OpenAIServer
from tests.openai.conftest import CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES

MODE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
DURATION = "gen_ai.client.operation.duration"
TOKENS = "gen_ai.client.token.usage"
MAX_BYTES = 60_000
"""Far above what a call of these tests has to say."""

_HEAD = {"id": "chatcmpl-1", "created": 1, "model": "gpt-4.1", "service_tier": "default", "system_fingerprint": "fp_1"}
_USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 2,
    "total_tokens": 11,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 1, "cache_write_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 1, "audio_tokens": 1},
}
_CALL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"id": 1}'}}
_MESSAGE = {"role": "assistant", "content": "Hello", "refusal": None, "tool_calls": [_CALL]}
_STORED = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "gpt-4.1",
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "instructions": "Be terse.",
    "service_tier": "default",
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [{"type": "function", "name": "look_up", "parameters": {"type": "object"}, "strict": True}],
    "output": [
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "Hm."}],
            "status": "completed",
        },
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Hello", "annotations": []}],
        },
        {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": "look_up",
            "arguments": '{"id": 1}',
            "status": "completed",
        },
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
    ],
    "usage": {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 11,
    },
}
_CHUNK = {"index": 0, "delta": {"content": "Hello", "tool_calls": [{"index": 0, **_CALL}]}, "finish_reason": "stop"}
WHOLE: dict[str, Any] = {
    "chat": {**_HEAD, "choices": [{"index": 0, "finish_reason": "stop", "message": _MESSAGE}], "usage": _USAGE},
    "completions": {**_HEAD, "choices": [{"index": 0, "finish_reason": "stop", "text": "Hello"}], "usage": _USAGE},
    "responses": _STORED,
    "fetch": _STORED,
    "embeddings": {
        "model": "embed",
        "data": [{"index": 0, "embedding": [0.1, 0.2]}],
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    },
    "images": {
        "created": 1,
        "output_format": "png",
        "data": [{"b64_json": "aGVsbG8="}],
        "usage": {
            "input_tokens": 9,
            "input_tokens_details": {"text_tokens": 3, "image_tokens": 6},
            "output_tokens": 2,
            "output_tokens_details": {"text_tokens": 1, "image_tokens": 1},
            "total_tokens": 11,
        },
    },
}
STREAMED: dict[str, list[Any]] = {
    "chat": [{**_HEAD, "choices": [_CHUNK]}, {**_HEAD, "choices": [], "usage": _USAGE}],
    "responses": [
        {"type": "response.created", "sequence_number": 0, "response": {**_STORED, "status": "in_progress"}},
        {"type": "response.completed", "sequence_number": 1, "response": _STORED},
    ],
}
ODD: dict[str, Any] = {
    "half a pair": "x\ud800",
    "control characters": "a\x00b\nc",
    "long": "m" * 40_000,
    "nothing": None,
    "a giant": 10**25,
    "below zero": -1,
    "no number": float("nan"),
    "endless": float("inf"),
    "a flag": True,
    "an object": {"a": {"b": ["c"]}},
    "a list": ["\ud800", 10**25, None],
}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where *value* holds something that is no collection, and where it holds a collection."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


def with_odd(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    """Return a copy of *value* with *odd* at *path*."""
    changed = copy.deepcopy(value)
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = odd
    return changed


class Exported(SpanExporter):
    """What would leave the process, as bytes of OTLP: one request for each signal."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.records: list[Any] = []
        self.reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self.reader])
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self))
        self.logger_provider = LoggerProvider()
        self.logger_provider.add_log_record_processor(SimpleLogRecordProcessor(self))

    def export(self, batch: Any) -> Any:
        """Keep what is exported."""
        for one in batch:
            (self.spans if hasattr(one, "kind") else self.records).append(one)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Do nothing: it is memory."""

    def as_bytes(self) -> list[bytes]:
        """Encode everything, as the exporters do; raises where those would lose the batch."""
        encoded = [encode_spans(self.spans)]
        if self.records:
            encoded.append(encode_logs(self.records))
        metrics = self.reader.get_metrics_data()
        if metrics is not None:
            encoded.append(encode_metrics(metrics))
        self.spans, self.records = [], []
        return [one.SerializeToString() for one in encoded]


class World:
    """A client whose provider answers what a test puts there, and what left."""

    def __init__(self) -> None:
        self.exported = Exported()
        self.answer: Any = None
        transport = httpx.MockTransport(self._respond)
        self.client = openai.OpenAI(
            api_key="sk-none",
            base_url="http://127.0.0.1:9/v1",
            max_retries=0,
            http_client=httpx.Client(transport=transport),
        )

    def _respond(self, _: httpx.Request) -> httpx.Response:
        if isinstance(self.answer, list):
            body = "".join(f"data: {json.dumps(event)}\n\n" for event in self.answer) + "data: [DONE]\n\n"
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body)
        return httpx.Response(
            200, json=None, content=json.dumps(self.answer), headers={"content-type": "application/json"}
        )

    def call(self, endpoint: str, *, stream: bool = False) -> None:
        """Make a call; whether the client can do anything with the answer is not the point."""
        client, more = self.client, {"stream": True} if stream else {}
        calls: dict[str, Any] = {
            "chat": lambda: client.chat.completions.create(**CHAT, **more),
            "completions": lambda: client.completions.create(**COMPLETIONS, **more),
            "responses": lambda: client.responses.create(**RESPONSES, **more),
            "fetch": lambda: client.responses.retrieve("resp_1"),
            "embeddings": lambda: client.embeddings.create(**EMBEDDINGS),
            "images": lambda: client.images.generate(prompt="A cat", model="gpt-image-1"),
        }
        try:
            answer = calls[endpoint]()
            if stream:
                for _ in answer:
                    pass
        except Exception:  # the client's, over an answer that is none
            pass


@pytest.fixture
def world(monkeypatch) -> Iterator[World]:
    """A provider that answers oddly, with content on, which is all that can be told."""
    monkeypatch.setenv(MODE, "span_and_event")
    monkeypatch.setenv("OTELIER_CONTENT_MAX_CHARS", "1000")
    world = World()
    OpenAIInstrumentor().instrument(
        tracer_provider=world.exported.tracer_provider,
        meter_provider=world.exported.meter_provider,
        logger_provider=world.exported.logger_provider,
    )
    with world.client:
        yield world
    OpenAIInstrumentor().uninstrument()


def check(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Look at what left: valid, of a bounded size, and with strict JSON where there is JSON."""
    spans = list(world.exported.spans)
    assert spans
    for span in spans:
        for name in ("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.tool.definitions"):
            if name in span.attributes:
                json.loads(span.attributes[name], parse_constant=pytest.fail)
    for encoded in world.exported.as_bytes():
        assert len(encoded) < MAX_BYTES * len(spans)
    lost = [record.getMessage() for record in caplog.records if "encode" in record.getMessage().lower()]
    assert not lost


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("endpoint", WHOLE)
def test_answers(world, caplog, endpoint, odd):
    """Whatever stands at whatever place of an answer, the batch that tells of the call is whole."""
    for path in places(WHOLE[endpoint]):
        world.answer = with_odd(WHOLE[endpoint], path, odd)
        world.call(endpoint)
    check(world, caplog)


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("endpoint", STREAMED)
def test_streams(world, caplog, endpoint, odd):
    """The same for what comes in a stream."""
    for path in places(STREAMED[endpoint]):
        if len(path) > 1:
            world.answer = with_odd(STREAMED[endpoint], path, odd)
            world.call(endpoint, stream=True)
    check(world, caplog)


def test_names_of_models(world, caplog):
    """A model's name that is none costs neither the batch nor memory, also where the caller asks for it."""
    for name in ("m\ud800", "m\x00", "m" * 400_000):
        world.answer = WHOLE["chat"]
        with contextlib.suppress(Exception):  # no HTTP client writes half a pair
            world.client.chat.completions.create(**{**CHAT, "model": name})
    assert world.exported.spans[0].name == "chat m\ufffd"
    check(world, caplog)


def test_what_is_told_of_odd_names(world):
    """A name is told as far as it is one: without halves of pairs and control characters, and cut where it is long."""
    world.answer = {**WHOLE["chat"], "model": "m\ud800", "id": "i\x00\n", "service_tier": "t" * 5_000}
    world.call("chat")
    told = world.exported.spans[0].attributes
    assert told["gen_ai.response.model"] == "m\ufffd"
    assert told["gen_ai.response.id"] == "i\ufffd\ufffd"
    assert told["openai.response.service_tier"] == "t" * 1_024 + " [cut: 3976 characters]"


def test_counts_that_are_none(world):
    """A count beyond what a sum can hold is none, as one below zero is; the call is counted all the same."""
    for count in (10**25, 2**53, -1, 12.5, [12], "many"):
        world.answer = with_odd(WHOLE["chat"], ("usage", "prompt_tokens"), count)
        world.call("chat")
    assert not [span for span in world.exported.spans if "gen_ai.usage.input_tokens" in span.attributes]
    metrics = world.exported.reader.get_metrics_data()
    found = {
        metric.name: metric.data.data_points
        for scope in metrics.resource_metrics[0].scope_metrics
        for metric in scope.metrics
    }
    assert sum(point.count for point in found[DURATION]) == 6
    assert {point.attributes["gen_ai.token.type"] for point in found[TOKENS]} == {"output"}


def test_lists_are_bounded(world):
    """An answer of a thousand choices has 128 reasons for its end."""
    choice = WHOLE["chat"]["choices"][0]
    world.answer = {**WHOLE["chat"], "choices": [choice] * 1_000}
    world.call("chat")
    assert world.exported.spans[0].attributes["gen_ai.response.finish_reasons"] == ("stop",) * 128


def test_the_page_of_prometheus(world, request):
    """Prometheus' page can be read whatever models there were."""
    prometheus = pytest.importorskip("opentelemetry.exporter.prometheus")
    client = pytest.importorskip("prometheus_client")
    parser = pytest.importorskip("prometheus_client.parser")
    OpenAIInstrumentor().uninstrument()
    provider = MeterProvider([prometheus.PrometheusMetricReader()])
    request.addfinalizer(provider.shutdown)  # it leaves Prometheus' registry
    OpenAIInstrumentor().instrument(meter_provider=provider)
    for odd in ODD.values():
        world.answer = {**WHOLE["chat"], "model": odd, "service_tier": odd, "system_fingerprint": odd}
        world.call("chat")
    page = client.generate_latest(client.REGISTRY).decode()
    samples = [sample for family in parser.text_string_to_metric_families(page) for sample in family.samples]
    counted = [one.value for one in samples if one.name == "gen_ai_client_operation_duration_seconds_count"]
    assert sum(counted) == len(ODD)


def test_what_agents_read(otelier_spans, caplog):
    """Reasons and ids that an agent's span takes from an answer go the same way."""
    from otelier import Agent, tool

    @tool
    def look_up(number: int) -> str:
        """Look something up."""
        return str(number)

    def call(call_id: str) -> dict[str, object]:
        function = {"name": "look_up", "arguments": '{"number": 1}'}
        message = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": call_id, "type": "function", "function": function}],
        }
        return {**_HEAD, "choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}]}

    with OpenAIServer() as server:
        server.reply(body=call("c\x00" + "c" * 100_000))
        server.reply("Done", finish_reason="f" * 100_000)
        with openai.OpenAI(base_url=server.base_url, api_key="sk-none") as client:
            assert Agent("helper", "gpt-4.1", client=client, tools=[look_up]).run("Go").output == "Done"
    spans = {span.name: span.attributes for span in otelier_spans.spans}
    assert spans["execute_tool look_up"]["gen_ai.tool.call.id"].startswith("c\ufffdcc")
    assert len(spans["execute_tool look_up"]["gen_ai.tool.call.id"]) < 1_100
    assert len(spans["invoke_agent helper"]["gen_ai.response.finish_reasons"][0]) < 1_100
