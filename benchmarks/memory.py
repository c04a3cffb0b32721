"""Whether the process stays flat: 10,000 streams that are broken off, sync and async, then 100,000 calls.

Run: uv run python benchmarks/memory.py [--trace]

All are chat completions with six fields and a system prompt. User, session and both prompts are new in each call;
streams have 1,000 users. The client answers calls itself, the transport streams: nothing but the client and its
telemetry can grow. Spans go to an exporter that drops them, metrics to a reader of each temporality.

A row is one stage: memory of the process after it, and the most objects there were at any of its looks; with `--trace`,
which takes five times as long, also the bytes that Python had after it and at most. In the first half caches fill, all
of which are bounded and some emptied when they are full. So the highest of the last half is compared with that of the
first, and it fails where there is an object more for ten calls or streams between.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import random
import resource
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
from openai.types.chat import ChatCompletion
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

import otelier

STREAMS, CALLS, STAGES, LOOK_AFTER, USERS, LIMIT = 10_000, 100_000, 10, 500, 1_000, 0.1
TRACE = "--trace" in sys.argv
DICE = random.Random(1)
LETTERS = "".join(DICE.choices("abcdefghijklmnopqrstuvwxyz     ", k=1_000_000))
OPTIONS: dict[str, Any] = {"api_key": "sk-none", "base_url": "http://127.0.0.1:9/v1", "max_retries": 0}
HEAD = {"id": "chatcmpl-1", "created": 1, "model": "gpt-4.1-2025-04-14"}
ANSWER = {
    **HEAD,
    "object": "chat.completion",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello."}}],
    "usage": {"prompt_tokens": 12, "completion_tokens": 34, "total_tokens": 46},
}
CHUNK = {**HEAD, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "Hello"}}]}
PIECES = [b"data: " + json.dumps(CHUNK).encode() + b"\n\n"] * 20


class Dropping(SpanExporter):
    """Drops and counts."""

    count = 0

    def export(self, spans: Any) -> SpanExportResult:
        self.count += sum(isinstance(span, ReadableSpan) for span in spans)
        return SpanExportResult.SUCCESS


class Instant(openai.OpenAI):
    """Answers by itself."""

    def request(self, cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
        return ChatCompletion.model_validate(ANSWER)


class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The pieces of a streamed answer."""

    def __init__(self) -> None:
        self.pieces = iter(PIECES)

    def __iter__(self) -> Iterator[bytes]:
        return self.pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for piece in self.pieces:
            return piece
        raise StopAsyncIteration


def respond(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Body())


def text(chars: int) -> str:
    """A text that was never there before."""
    start = DICE.randrange(len(LETTERS) - chars)
    return LETTERS[start : start + chars]


def arguments(number: int, **more: Any) -> dict[str, Any]:
    system, user = f"You are agent {number}. {text(1_000)}", f"Question {number}: {text(500)}"
    messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    return {"model": "gpt-4.1", "messages": messages, **more}


def fields(number: int) -> dict[str, str]:
    return {
        "user_id": f"user-{number}",
        "user_role": "customer",
        "agent": f"agent-{number % 8}",
        "agent_id": f"id-{number % 8}",
        "session_id": f"session-{number}",
        "workflow_id": f"workflow-{number % 100}",
    }


def call(number: int) -> None:
    with otelier.context(**fields(number)):
        instant.chat.completions.create(**arguments(number))


def break_off(number: int) -> None:
    """Begin a stream and drop it unread, after some chunks, close it, or leave its block by an exception."""
    with otelier.context(**fields(number % USERS)):
        stream = streaming.chat.completions.create(**arguments(number, stream=True))
        if number % 4:
            next(stream)
            next(stream)
        if number % 4 == 2:
            stream.close()
        if number % 4 == 3:
            try:
                with stream:
                    raise LookupError(str(number))
            except LookupError:
                pass


async def break_off_async(client: openai.AsyncOpenAI, number: int) -> None:
    with otelier.context(**fields(number % USERS)):
        stream = await client.chat.completions.create(**arguments(number, stream=True))
        if number % 4:
            await anext(stream)
            await anext(stream)
        if number % 4 == 2:
            await stream.close()
        if number % 4 == 3:
            try:
                async with stream:
                    raise LookupError(str(number))
            except LookupError:
                pass


def collect() -> None:
    for reader in readers:
        reader.get_metrics_data()


def resident_mb() -> float:
    """Memory of the process now; where the system does not tell, its peak."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return peak_mb()


def peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def measure(label: str, count: int, run: Callable[[range], None]) -> bool:
    """Run *count* repetitions in stages; print what each left, and return whether the last half left nothing."""
    most: list[int] = []
    began = time.perf_counter()
    for stage in range(STAGES):
        traced = ""
        if TRACE:
            tracemalloc.reset_peak()
        looks = []
        done = count * (stage + 1) // STAGES
        for first in range(count * stage // STAGES, done, LOOK_AFTER):
            run(range(first, min(first + LOOK_AFTER, done)))
            collect()
            gc.collect()
            looks.append(sys.getallocatedblocks())
        most.append(max(looks))
        if TRACE:
            traced = "".join(f"{size / 1e6:12.3f}" for size in tracemalloc.get_traced_memory())
        print(f"{label:14}{done:9,}{resident_mb():10.1f}{most[-1]:12,}{traced}", flush=True)
    half = STAGES // 2
    growth = (max(most[half:]) - max(most[:half])) / (count / 2)
    seconds = time.perf_counter() - began
    print(f"{label}: {growth:+.4f} objects each in the last half, {seconds:.0f} s, process peak {peak_mb():.1f} MB\n")
    return growth < LIMIT


def calls(numbers: range) -> None:
    for number in numbers:
        call(number)


def streams(numbers: range) -> None:
    for number in numbers:
        break_off(number)


def streams_async(numbers: range) -> None:
    async def main() -> None:
        async with openai.AsyncOpenAI(http_client=httpx.AsyncClient(transport=transport), **OPTIONS) as client:
            for number in numbers:
                await break_off_async(client, number)
                await asyncio.sleep(0)  # as any network would: else the loop never closes what was broken off

    asyncio.run(main())


logging.getLogger("otelier").setLevel(logging.ERROR)  # that prompts are many is what this is about
readers = [
    InMemoryMetricReader(preferred_temporality={Histogram: temporality})
    for temporality in (AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE)
]
exporter, transport = Dropping(), httpx.MockTransport(respond)
spans = TracerProvider()
spans.add_span_processor(SimpleSpanProcessor(exporter))
otelier.init(app="benchmark", env="test", tracer_provider=spans, meter_provider=MeterProvider(readers))
instant = Instant(**OPTIONS)
streaming = openai.OpenAI(http_client=httpx.Client(transport=transport), **OPTIONS)

calls(range(-200, 0))  # imports, and what is made once
streams(range(-8, 0))
streams_async(range(-8, 0))
if TRACE:
    tracemalloc.start()
traced = f"{'traced MB':>12}{'at most':>12}" if TRACE else ""
print(f"{'':14}{'done':>9}{'RSS MB':>10}{'objects':>12}{traced}")
flat = [
    measure("streams", STREAMS // 2, streams),
    measure("streams async", STREAMS // 2, streams_async),
    measure("calls", CALLS, calls),
]
expected = CALLS + 2 * (STREAMS // 2) + 216
print(f"{exporter.count:,} of {expected:,} spans; flat: {'yes' if all(flat) else 'NO'}")
sys.exit(not all(flat) or exporter.count != expected)
