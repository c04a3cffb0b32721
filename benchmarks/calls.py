"""Cost of otelier in calls of the openai client, compared with the same signals written by hand with inline metrics.

Run: uv run python benchmarks/calls.py

The client answers at once from memory, so that only what is around a call is measured. All columns take turns within
one process; figures are medians over the rounds, and ratios are taken within each round, so that a busy machine changes
microseconds but not the verdict. Each prompt is a new text, as in a program that formats it: the cached hash of a text
used twice would flatter the fingerprint.

| column | what is there |
|---|---|
| by hand | span, attributes and three histograms as the conventions have them, recorded in the call |
| ours | the instrumentor alone: the same signals |
| seven fields | `init()`, seven fields set, the processor, the prompt's fingerprint |

The last two figures of a row count each call's share of a collection of the metrics in, when ours are recorded.
For streams the cost of one chunk is shown, compared with a chunk without a metric and one whose metric is recorded
at once.

The second table has content captured, in each mode, beside calls by hand that dump messages and answer as JSON, as they
are: ours makes parts of them as the conventions have them, and redacts each text. Events go to a processor that drops
them.
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from statistics import median, quantiles
from typing import Any

import openai
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response
from opentelemetry.context import attach, detach
from opentelemetry.metrics import Histogram
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, set_span_in_context

import otelier
from otelier import testing
from otelier.openai import OpenAIInstrumentor

Around = Callable[[str, Callable[..., Any]], Callable[..., Any]]
"""Puts what reports a call around a method, given the operation's name."""

ROUNDS, CALLS, STREAMS, CHUNKS = 21, 100, 5, 200
MODEL, ANSWERED = "gpt-4o-mini", "gpt-4o-mini-2024-07-18"
TOLD = "You are a terse assistant, and you answer in one paragraph. " * 4
ASKED = "Explain how baggage is propagated. " * 6
SETTINGS = {"temperature": 0.2, "top_p": 0.9, "seed": 7}
FIELDS = {
    "user_id": "user-8f2c11",
    "user_role": "customer",
    "agent": "invoice-triage",
    "agent_id": "agent-42",
    "session_id": "sess-20261121-0001",
    "workflow_id": "workflow-7",
    "tenant_id": "tenant-12",
}
SAID = "Baggage is a set of keys and values that travels with a request. " * 4
USAGE = {"prompt_tokens": 91, "completion_tokens": 120, "total_tokens": 211}
CHOICE = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": SAID}}
CHAT = ChatCompletion.construct(
    id="chatcmpl-1",
    object="chat.completion",
    created=1763690000,
    model=ANSWERED,
    choices=[CHOICE],
    usage=USAGE,
)
RESPONSE = Response.construct(
    id="resp_1",
    object="response",
    created_at=1763690000,
    status="completed",
    model=ANSWERED,
    output=[{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": SAID}]}],
    usage={"input_tokens": 91, "output_tokens": 120, "total_tokens": 211},
)
EMBEDDING = CreateEmbeddingResponse.construct(
    object="list",
    model="text-embedding-3-small",
    data=[],
    usage={"prompt_tokens": 5, "total_tokens": 5},
)
CHUNK = ChatCompletionChunk.construct(
    id="chatcmpl-1",
    object="chat.completion.chunk",
    created=1763690000,
    model=ANSWERED,
    choices=[{"index": 0, "delta": {"content": " token"}, "finish_reason": None}],
)
LAST = CHUNK.model_copy(update={"choices": [], "usage": CHAT.usage})
ANSWERS: dict[type, Any] = {ChatCompletion: CHAT, Response: RESPONSE, CreateEmbeddingResponse: EMBEDDING}


class Chunks(openai.Stream[Any]):
    """A stream of chunks that are there already."""

    def __init__(self) -> None:
        self.response = _response()
        self._iterator = iter([CHUNK] * (CHUNKS - 1) + [LAST])


def _response() -> Any:
    return type("Response", (), {"headers": {}, "close": lambda _: None})()


class Client(openai.OpenAI):
    """Answers at once."""

    def request(self, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None) -> Any:
        return Chunks() if stream else copy.copy(ANSWERS[cast_to])


class AsyncClient(openai.AsyncOpenAI):
    """Answers at once, awaited."""

    async def request(self, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None) -> Any:
        return copy.copy(ANSWERS[cast_to])


client, async_client = Client(api_key="none"), AsyncClient(api_key="none")
loop = asyncio.new_event_loop()


class ByHand:
    """Span, attributes and histograms of a call, written as one would by hand."""

    def __init__(self, to: Providers, *, chunks: bool = False, content: bool = False) -> None:
        meter = to.metrics.get_meter("by hand")
        self.tracer = to.traces.get_tracer("by hand")
        self.duration: Histogram = meter.create_histogram("gen_ai.client.operation.duration", "s")
        self.tokens: Histogram = meter.create_histogram("gen_ai.client.token.usage", "{token}")
        self.content = content
        self.each: Histogram | None = None
        if chunks:
            self.each = meter.create_histogram("gen_ai.client.operation.time_per_output_chunk", "s")

    def begin(self, operation: str, asked: dict[str, Any]) -> tuple[Any, Any, float, dict[str, Any]]:
        about = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": asked["model"],
            "server.address": client.base_url.host,
        }
        more = {f"gen_ai.request.{name}": asked[name] for name in SETTINGS if name in asked}
        if self.content:
            told, sent = asked.get("instructions"), asked.get("messages") or asked.get("input")
            more["gen_ai.input.messages"] = json.dumps([{"role": "system", "content": told}, sent] if told else sent)
        span = self.tracer.start_span(
            f"{operation} {asked['model']}", kind=SpanKind.CLIENT, attributes={**about, **more}
        )
        return span, attach(set_span_in_context(span)), time.perf_counter(), about

    def end(self, begun: tuple[Any, Any, float, dict[str, Any]], answer: Any, text: str = "") -> None:
        span, _, began, about = begun
        if self.content:
            received = [{"role": "assistant", "content": text or said_by(answer)}]
            span.set_attribute("gen_ai.output.messages", json.dumps(received))
        usage = answer.usage
        sent = getattr(usage, "prompt_tokens", None) or usage.input_tokens
        received = getattr(usage, "completion_tokens", None) or getattr(usage, "output_tokens", None)
        said: dict[str, Any] = {"gen_ai.response.model": answer.model, "gen_ai.usage.input_tokens": sent}
        if received is not None:
            said["gen_ai.usage.output_tokens"] = received
            said["gen_ai.response.id"] = answer.id
        choices = getattr(answer, "choices", None)
        if choices:
            said["gen_ai.response.finish_reasons"] = [choice.finish_reason for choice in choices]
        span.set_attributes(said)
        span.end()
        about = {**about, "gen_ai.response.model": answer.model}
        where = set_span_in_context(span)
        self.duration.record(time.perf_counter() - began, about, where)
        self.tokens.record(sent, {**about, "gen_ai.token.type": "input"}, where)
        if received is not None:
            self.tokens.record(received, {**about, "gen_ai.token.type": "output"}, where)

    def around(self, operation: str, create: Callable[..., Any]) -> Callable[..., Any]:
        def call(**asked: Any) -> Any:
            begun = self.begin(operation, asked)
            try:
                answer = create(**asked)
            finally:
                detach(begun[1])
            if asked.get("stream"):
                return self.followed(begun, answer)
            self.end(begun, answer)
            return answer

        async def call_async(**asked: Any) -> Any:
            begun = self.begin(operation, asked)
            try:
                answer = await create(**asked)
            finally:
                detach(begun[1])
            self.end(begun, answer)
            return answer

        return call_async if asyncio.iscoroutinefunction(create) else call

    def followed(self, begun: tuple[Any, Any, float, dict[str, Any]], answer: Any) -> Iterator[Any]:
        last = None
        before = begun[2]
        where = set_span_in_context(begun[0])
        texts: list[str] = []
        about: dict[str, Any] = {}
        for last in answer:
            if self.content and last.choices:
                texts.append(last.choices[0].delta.content)
            if self.each is not None:
                now = time.perf_counter()
                about = about or {**begun[3], "gen_ai.response.model": last.model}
                self.each.record(now - before, about, where)
                before = now
            yield last
        self.end(begun, last, "".join(texts))


class Dropped(LogRecordProcessor):
    """Does nothing with log records."""

    def on_emit(self, log_record: Any) -> None:
        pass

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


class Providers:
    """Where a column's signals go."""

    def __init__(self) -> None:
        self.traces = TracerProvider(shutdown_on_exit=False)
        self.logs = LoggerProvider(shutdown_on_exit=False)
        self.logs.add_log_record_processor(Dropped())
        self.reader = InMemoryMetricReader()
        self.metrics = MeterProvider([self.reader], shutdown_on_exit=False)


def as_it_is(_: str, create: Callable[..., Any]) -> Callable[..., Any]:
    return create


@contextmanager
def bare(_: Providers) -> Iterator[Around]:
    yield as_it_is


@contextmanager
def by_hand(to: Providers) -> Iterator[Around]:
    yield ByHand(to).around


@contextmanager
def by_hand_each(to: Providers) -> Iterator[Around]:
    yield ByHand(to, chunks=True).around


@contextmanager
def by_hand_content(to: Providers) -> Iterator[Around]:
    yield ByHand(to, content=True).around


@contextmanager
def by_hand_each_content(to: Providers) -> Iterator[Around]:
    yield ByHand(to, chunks=True, content=True).around


@contextmanager
def ours(to: Providers) -> Iterator[Around]:
    OpenAIInstrumentor().instrument(tracer_provider=to.traces, meter_provider=to.metrics, logger_provider=to.logs)
    yield as_it_is
    OpenAIInstrumentor().uninstrument()


def with_content(mode: str, *, personal: bool = False) -> Callable[[Providers], AbstractContextManager[Around]]:
    @contextmanager
    def column(to: Providers) -> Iterator[Around]:
        os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = mode
        os.environ["OTELIER_REDACT_PERSONAL_DATA"] = str(personal).lower()
        with ours(to) as around:
            yield around
        del os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"]

    return column


@contextmanager
def seven_fields(to: Providers) -> Iterator[Around]:
    otelier.init(app="benchmark", tracer_provider=to.traces, meter_provider=to.metrics)
    with otelier.context(**FIELDS):
        yield as_it_is
    testing.reset()


def chat_asked() -> dict[str, Any]:
    told, asked = {"role": "system", "content": fresh(TOLD)}, {"role": "user", "content": fresh(ASKED)}
    return {"model": MODEL, "messages": [told, asked], **SETTINGS}


def response_asked() -> dict[str, Any]:
    return {"model": MODEL, "instructions": fresh(TOLD), "input": fresh(ASKED), "temperature": 0.2, "top_p": 0.9}


def embedding_asked() -> dict[str, Any]:
    return {"model": "text-embedding-3-small", "input": fresh(ASKED), "encoding_format": "float"}


def said_by(answer: Any) -> str:
    choices = getattr(answer, "choices", None)
    return choices[0].message.content if choices else answer.output[0].content[0].text


def fresh(text: str) -> str:
    return "".join((text[:1], text[1:]))


def timed(create: Callable[..., Any], asked: Callable[[], dict[str, Any]]) -> list[float]:
    """Microseconds of each call."""
    took: list[float] = []
    for arguments in [asked() for _ in range(CALLS)]:
        began = time.perf_counter()
        create(**arguments)
        took.append((time.perf_counter() - began) * 1e6)
    return took


def timed_async(create: Callable[..., Any], asked: Callable[[], dict[str, Any]]) -> list[float]:
    async def calls() -> list[float]:
        took: list[float] = []
        for arguments in [asked() for _ in range(CALLS)]:
            began = time.perf_counter()
            await create(**arguments)
            took.append((time.perf_counter() - began) * 1e6)
        return took

    return loop.run_until_complete(calls())


def timed_stream(create: Callable[..., Any], asked: Callable[[], dict[str, Any]]) -> list[float]:
    """Microseconds of each chunk but the first, stream by stream."""
    took: list[float] = []
    for arguments in [asked() for _ in range(STREAMS)]:
        stream = iter(create(**arguments, stream=True))
        next(stream)
        began = time.perf_counter()
        for _ in stream:
            pass
        took.append((time.perf_counter() - began) / (CHUNKS - 1) * 1e6)
    return took


# The methods are looked up for each call, since patches come and go.
def chat(**asked: Any) -> Any:
    return client.chat.completions.create(**asked)


async def chat_async(**asked: Any) -> Any:
    return await async_client.chat.completions.create(**asked)


def responses(**asked: Any) -> Any:
    return client.responses.create(**asked)


def embeddings(**asked: Any) -> Any:
    return client.embeddings.create(**asked)


KINDS: dict[str, tuple[str, Callable[..., Any], Callable[[], dict[str, Any]], Callable[..., list[float]]]] = {
    "chat": ("chat", chat, chat_asked, timed),
    "chat async": ("chat", chat_async, chat_asked, timed_async),
    "responses": ("chat", responses, response_asked, timed),
    "embeddings": ("embeddings", embeddings, embedding_asked, timed),
    "chunk": ("chat", chat, chat_asked, timed_stream),
}
COLUMNS: dict[str, Callable[[Providers], AbstractContextManager[Around]]] = {
    "bare": bare,
    "by hand": by_hand,
    "by hand, each chunk": by_hand_each,
    "ours": ours,
    "seven fields": seven_fields,
}
CONTENT: dict[str, Callable[[Providers], AbstractContextManager[Around]]] = {
    "bare": bare,
    "by hand": by_hand_content,
    "by hand, each chunk": by_hand_each_content,
    "off": ours,
    "on the span": with_content("SPAN_ONLY"),
    "on the span, personal": with_content("SPAN_ONLY", personal=True),
    "on the event": with_content("EVENT_ONLY"),
    "on both": with_content("SPAN_AND_EVENT"),
}
providers = {name: Providers() for name in (*COLUMNS, *CONTENT)}


def measured(kind: str, column: str, columns: dict[str, Any]) -> tuple[list[float], float]:
    """Microseconds of each call, and of one call's share of a collection."""
    operation, create, asked, timer = KINDS[kind]
    to = providers[column]
    with columns[column](to) as around:
        reported = around(operation, create)
        timer(reported, asked)  # warm
        to.reader.collect()
        took = timer(reported, asked)
        # The thread's own time: a collection of ours lets other threads run in between, and other programs too.
        began = time.thread_time()
        to.reader.collect()
        share = (time.thread_time() - began) * 1e6 / (STREAMS * CHUNKS if kind == "chunk" else CALLS)
    return took, share


def p99(values: list[float]) -> float:
    return quantiles(values, n=100)[98]


def table(columns: dict[str, Any], kinds: Iterable[str]) -> None:
    print(f"{'':12}{'column':22}{'added, us':>10}{'p99':>8}{'/ by hand':>11}{'collected':>11}{'/ by hand':>11}")
    for kind in kinds:
        rows: dict[str, list[tuple[float, float, float, float, float]]] = {name: [] for name in columns}
        for _ in range(ROUNDS):
            seen = {name: measured(kind, name, columns) for name in columns}
            base = median(seen["bare"][0])
            inline = "by hand, each chunk" if kind == "chunk" else "by hand"
            floor = median(seen["by hand"][0]) - base
            whole = median(seen[inline][0]) - base + seen[inline][1]
            for name, (took, share) in seen.items():
                added = median(took) - base
                rows[name].append((added, p99(took) - base, added / floor, added + share, (added + share) / whole))
        for name in columns:
            if name == "bare" or (name == "by hand, each chunk" and kind != "chunk"):
                continue
            added, late, ratio, collected, share = (median(column) for column in zip(*rows[name], strict=True))
            print(f"{kind:12}{name:22}{added:10.2f}{late:8.1f}{ratio:11.2f}{collected:11.2f}{share:11.2f}")


table(COLUMNS, KINDS)
print("\nwith content")
table(CONTENT, ("chat", "responses", "chunk"))
