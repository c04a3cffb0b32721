"""Memory of the process under load: 10,000 streams that are broken off, 100,000 calls, 10,240 runs of agents.

Run: uv run python benchmarks/memory.py [--trace] [streams] [calls] [agents]
    Without a name it runs all three.

All are chat completions with seven fields and a system prompt. User, session and both prompts are new in each call;
streams have 1,000 users. The client answers calls itself, the transport streams: nothing but the client and its
telemetry can grow. Spans go to an exporter that drops them, metrics to a reader of each temporality.

An agent's run has two answers, a plain tool, an `async` one that fails, a subagent with a tool, and three interceptors,
for a user that is new in each. Eight are under way at once: four are awaited, one is streamed to its end, one left at
its first event, one left by an exception in its block, and one cancelled.

A row is one stage, the first of each part its start: memory of the process, and the most objects there were at any
look; with `--trace`, which takes five times as long, also the bytes that Python had after it and at most. In the first
half caches fill, all of which are bounded and some emptied when they are full. So the highest of the last half is
compared with that of the first, and it fails where there is an object more for ten calls, streams or runs between.
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
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import openai
from openai.types.chat import ChatCompletion
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

import otelier
from otelier.interceptors import Budget, InterceptContext, Interceptor, InterceptResult, Phase, RequireRole

STREAMS, RUNS, CALLS, STAGES, LOOK_AFTER, USERS, LIMIT = 10_000, 10_240, 100_000, 10, 500, 1_000, 0.1
LOOK_AFTER_RUNS = 64
"""1,024 users are kept, with 80 objects of each run: looks that are not in step with that see heights of their own."""
TRACE = "--trace" in sys.argv
PARTS = [one for one in sys.argv[1:] if not one.startswith("-")] or ["streams", "calls", "agents"]
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


class Open(SpanProcessor):
    """Counts the spans that are open."""

    count = 0

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.count += 1

    def on_end(self, span: Any) -> None:
        self.count -= 1


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


def respond(request: httpx.Request) -> httpx.Response:
    asked = json.loads(request.content)
    if "tools" not in asked:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Body())
    message = turn(asked)
    if "stream" not in asked:
        choice = {**ANSWER["choices"][0], "message": message}
        return httpx.Response(200, json={**ANSWER, "choices": [choice]})
    for index, one in enumerate(message.get("tool_calls", ())):
        one["index"] = index
    chunk = {
        **HEAD,
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": message, "finish_reason": "stop"}],
    }
    text = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, text=text)


def turn(asked: dict[str, Any]) -> dict[str, Any]:
    """Call all tools that are offered, and answer once they have."""
    if any(message["role"] == "tool" for message in asked["messages"]):
        return {"role": "assistant", "content": "It is in Rome. " * 20}
    said = [
        (tool["function"]["name"], '{"task": "Find it."}' if "parcels" in str(tool) else "{}")
        for tool in asked["tools"]
    ]
    functions = [{"name": name, "arguments": arguments} for name, arguments in said]
    calls = [{"id": f"call_{at}", "type": "function", "function": one} for at, one in enumerate(functions)]
    return {"role": "assistant", "content": None, "tool_calls": calls}


@dataclass(frozen=True)
class Caller(otelier.RunContext):
    """Who a run is for."""

    user_id: str
    user_role: str
    session_id: str
    order: Annotated[int, otelier.exported("shop.order")]


class Noting(Interceptor):
    """Keeps something of each run, and changes what it can."""

    async def intercept(self, phase: Phase, context: InterceptContext) -> InterceptResult | None:
        context.state[phase] = [*context.messages]
        if phase is Phase.PRE_THINK:
            return InterceptResult.modify_messages(context.messages)
        return None


def find_parcel(ctx: Caller) -> str:
    """Find it."""
    return f"{ctx.user_id}: {text(500)}"


async def find_soon(ctx: Caller) -> str:
    """Find it, and fail."""
    await asyncio.sleep(0)
    raise LookupError(ctx.user_id)


def agents_of(client: openai.AsyncOpenAI) -> otelier.Agent:
    interceptors = [RequireRole("customer"), Budget(max_tokens=10_000, max_tool_calls=10), Noting()]
    parcels = otelier.Agent(
        "parcels",
        "gpt-4.1",
        client=client,
        instructions="You are parcels.",
        tools=[find_parcel],
        interceptors=interceptors,
    )
    return otelier.Agent(
        "desk", "gpt-4.1", client=client, instructions="You are the desk.", tools=[find_parcel, find_soon],
        subagents=[parcels], interceptors=interceptors,
    )  # fmt: skip


async def run_agent(desk: otelier.Agent, number: int) -> None:
    caller = Caller(user_id=f"user-{number}", user_role="customer", session_id=f"session-{number}", order=number)
    asked, way = f"Question {number}: {text(500)}", number % 8
    if way < 4:
        result = await desk.run(asked, context=caller)
        assert (len(result.tool_calls), result.usage.model_calls) == (3, 4)
    elif way == 4:
        assert [event async for event in desk.stream(asked, context=caller)]
    elif way == 5:
        async for _ in desk.stream(asked, context=caller):
            break
    elif way == 6:
        with suppress(LookupError):
            async with desk.stream(asked, context=caller) as events:
                async for _ in events:
                    raise LookupError(str(number))
    else:
        task = asyncio.ensure_future(desk.run(asked, context=caller))
        for _ in range(number % 64):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])


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
        "tenant_id": f"tenant-{number % 50}",
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


def measure(label: str, count: int, run: Callable[[range], None], look_after: int = LOOK_AFTER) -> bool:
    """Run *count* repetitions in stages; print what each left, and return whether the last half left nothing."""
    most: list[int] = []
    began = time.perf_counter()
    print(f"{label:14}{0:9}{resident_mb():10.1f}{sys.getallocatedblocks():12,}", flush=True)
    for stage in range(STAGES):
        traced = ""
        if TRACE:
            tracemalloc.reset_peak()
        looks = []
        done = count * (stage + 1) // STAGES
        for first in range(count * stage // STAGES, done, look_after):
            run(range(first, min(first + look_after, done)))
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


def runs(numbers: range) -> None:
    async def main() -> None:
        async with openai.AsyncOpenAI(http_client=httpx.AsyncClient(transport=transport), **OPTIONS) as client:
            desk = agents_of(client)
            for first in range(numbers.start, numbers.stop, 8):
                await asyncio.gather(*(run_agent(desk, number) for number in numbers[first - numbers.start :][:8]))
            while running.count:  # what was left ends with the loop's next turns
                gc.collect()
                await asyncio.sleep(0)

    asyncio.run(main())


logging.getLogger("otelier").setLevel(logging.ERROR)  # that prompts are many is what this is about
readers = [
    InMemoryMetricReader(preferred_temporality={Histogram: temporality})
    for temporality in (AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE)
]
exporter, running, transport = Dropping(), Open(), httpx.MockTransport(respond)
spans = TracerProvider()
spans.add_span_processor(running)
spans.add_span_processor(SimpleSpanProcessor(exporter))
otelier.init(app="benchmark", env="test", tracer_provider=spans, meter_provider=MeterProvider(readers))
instant = Instant(**OPTIONS)
streaming = openai.OpenAI(http_client=httpx.Client(transport=transport), **OPTIONS)

calls(range(-200, 0))  # imports, and what is made once
streams(range(-8, 0))
streams_async(range(-8, 0))
runs(range(-64, 0))
if TRACE:
    tracemalloc.start()
traced = f"{'traced MB':>12}{'at most':>12}" if TRACE else ""
print(f"{'':14}{'done':>9}{'RSS MB':>10}{'objects':>12}{traced}")
exporter.count, expected, flat = 0, 0, []
if "streams" in PARTS:
    flat.append(measure("streams", STREAMS // 2, streams))
    flat.append(measure("streams async", STREAMS // 2, streams_async))
    expected += 2 * (STREAMS // 2)
if "calls" in PARTS:
    flat.append(measure("calls", CALLS, calls))
    expected += CALLS
told = exporter.count == expected
print(f"{exporter.count:,} of {expected:,} spans of calls")
if "agents" in PARTS:
    flat.append(measure("agents", RUNS, runs, LOOK_AFTER_RUNS))
    print(f"{exporter.count - expected:,} spans of agents, {running.count} open")
print(f"flat: {'yes' if all(flat) else 'NO'}")
sys.exit(not all(flat) or not told or running.count > 0)
