"""Cost of an agent's step over the bare call of the openai client, beside two agent frameworks.

Run: make bench-agents, which installs the frameworks; `python benchmarks/steps.py` shows those that are there.

A run has four steps: the model calls a tool three times and then answers. All ask one model in the process, behind the
client's own HTTP stack: its transport answers at once, and sends the same to all. All offer the same three tools and
send the same messages, which is looked at. The rows take turns within one process; figures are of one step, a run's
time by its steps: median and 99th percentile on the clock, then what the processor spent in all threads, which a busy
machine changes least. Ratios are taken within each round; the last is that of what is added to the bare calls.

Tools are `async` functions, or plain ones, which all three put into threads; streamed answers come in 20 pieces, all of
which are read.

| row | what is there |
|---|---|
| bare | the client's calls alone, with the messages and tools of such a run; tools are not called |
| otelier | `Agent`, without `init` |
| otelier traced | `init()`, user and session in a `RunContext`: spans, metrics, identity and fingerprint |
| Agents SDK | tracing disabled |
| Agents SDK traced | its own tracing, as it begins, with an exporter that drops in place of the one to OpenAI |
| Agents SDK in OpenTelemetry | its tracing as spans, by `openinference-instrumentation-openai-agents` |
| pydantic-ai | not instrumented |
| pydantic-ai traced | `Agent.instrument_all()`, as it begins: content on |
| pydantic-ai traced, no content | the same with `include_content=False`, as otelier begins |

Spans of all but the SDK's own go through a `BatchSpanProcessor` to an exporter that drops them, metrics to a reader
that is collected after each block, outside the clock.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

import openai
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

import otelier
from otelier import testing

ROUNDS, RUNS, STEPS = 15, 12, 4
MODEL, TOLD, ASKED = "gpt-4.1", "You are the desk of a shop." * 8, "Where is my parcel, and when does it arrive?" * 4
http: Any = importlib.import_module(openai.DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0])
Run = Callable[[], Awaitable[str]]
sent: list[bytes] = []
"""Bodies of requests, while they are looked at."""
looking = False


def find_parcel(number: int, country: str) -> str:
    """Say where a parcel is.

    Args:
        number: Number of the parcel.
        country: Country it was sent to.
    """
    return f"Parcel {number} is in {country}."


def list_orders(user: str, limit: int) -> str:
    """List orders.

    Args:
        user: Whose orders.
        limit: Most orders to list.
    """
    return f"{limit} orders of {user}"


def refund(order: int, cents: int, reason: str) -> str:
    """Pay an order back.

    Args:
        order: Number of the order.
        cents: How much.
        reason: Why.
    """
    return f"{cents} for {order}, {reason}"


async def find_parcel_soon(number: int, country: str) -> str:
    return f"Parcel {number} is in {country}."


find_parcel_soon.__name__, find_parcel_soon.__doc__ = find_parcel.__name__, find_parcel.__doc__
KINDS: dict[str, tuple[Callable[..., Any], ...]] = {
    "async tools": (find_parcel_soon, list_orders, refund),
    "plain tools": (find_parcel, list_orders, refund),
    "streamed": (find_parcel_soon, list_orders, refund),
}


HEAD = {"id": "chatcmpl-1", "created": 1763690000, "model": "gpt-4.1-2025-04-14"}
USAGE = {"prompt_tokens": 91, "completion_tokens": 20, "total_tokens": 111}
ANSWER = "It is in Italy, and arrives tomorrow."


def call(step: int) -> dict[str, Any]:
    arguments = json.dumps({"number": step, "country": "Italy"}, separators=(",", ":"))
    return {"id": f"call_{step}", "type": "function", "function": {"name": "find_parcel", "arguments": arguments}}


def whole(step: int) -> bytes:
    is_last = step == STEPS - 1
    said = {"content": ANSWER} if is_last else {"content": None, "tool_calls": [call(step)]}
    choice = {
        "index": 0,
        "finish_reason": "stop" if is_last else "tool_calls",
        "message": {"role": "assistant", **said},
    }
    return json.dumps({**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()


def pieces(step: int) -> bytes:
    """The same in 20 pieces and their usage."""
    if step == STEPS - 1:
        cut = [ANSWER[at : at + 2] for at in range(0, len(ANSWER), 2)]
        deltas: list[Any] = [{"role": "assistant", "content": ""}, *({"content": text} for text in cut)]
    else:
        told = call(step)
        arguments = told["function"]["arguments"]
        first = {**told, "index": 0, "function": {"name": "find_parcel", "arguments": ""}}
        cut = [arguments[at : at + 2] for at in range(0, 36, 2)] + [arguments[36:]]
        more = [{"index": 0, "function": {"arguments": text}} for text in cut]
        deltas = [
            {"role": "assistant", "content": None, "tool_calls": [first]},
            *({"tool_calls": [one]} for one in more),
        ]
    chunks: list[Any] = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks[-1]["choices"][0]["finish_reason"] = "stop" if step == STEPS - 1 else "tool_calls"
    chunks.append({"choices": [], "usage": USAGE})
    told_all = [json.dumps({**HEAD, "object": "chat.completion.chunk", **chunk}) for chunk in chunks]
    return "".join(f"data: {one}\n\n" for one in [*told_all, "[DONE]"]).encode()


WHOLE, PIECES = [whole(step) for step in range(STEPS)], [pieces(step) for step in range(STEPS)]


def respond(request: Any) -> Any:
    body = request.content
    if looking:
        sent.append(body)
    step = body.count(b'"tool_call_id"')
    if b'"stream":true' in body:
        return http.Response(200, headers={"content-type": "text/event-stream"}, content=PIECES[step])
    return http.Response(200, headers={"content-type": "application/json"}, content=WHOLE[step])


class Dropping(SpanExporter):
    """Drops."""

    def export(self, spans: Any) -> SpanExportResult:
        return SpanExportResult.SUCCESS


class Providers:
    """Where a row's signals go."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.metrics = MeterProvider([self.reader], shutdown_on_exit=False)
        self.traces = TracerProvider(shutdown_on_exit=False)
        self.traces.add_span_processor(BatchSpanProcessor(Dropping()))


@dataclass
class Row:
    """One row: what makes its run, and what is switched on around it."""

    name: str
    run: Callable[[str], Run]
    on: Callable[[Providers], AbstractContextManager[Any]] = lambda _: nullcontext()
    is_traced: bool = False


client = openai.AsyncOpenAI(
    api_key="sk-none",
    base_url="http://127.0.0.1:9/v1",
    max_retries=0,
    http_client=http.AsyncClient(transport=http.MockTransport(respond)),
)


def bare(kind: str) -> Run:
    """The calls of a run of ours, as they were sent."""
    requests: list[Any] = []

    async def run() -> str:
        if not requests:
            requests.extend(json.loads(body) for body in (await sent_by(otelier_agent(kind))))
        for request in requests:
            answer = await client.chat.completions.create(**request)
            if kind == "streamed":
                async for _ in answer:
                    pass
        return ANSWER

    return run


def otelier_agent(kind: str) -> Run:
    agent = otelier.Agent("desk", MODEL, client=client, instructions=TOLD, tools=KINDS[kind])
    context = Customer(user_id="user-8f2c11", session_id="sess-20261121-0001")

    async def run() -> str:
        return (await agent.run(ASKED, context=context)).output

    async def stream() -> str:
        events = agent.stream(ASKED, context=context)
        async for _ in events:
            pass
        return events.result.output

    return stream if kind == "streamed" else run


@dataclass
class Customer(otelier.RunContext):
    """Who it is for."""

    user_id: str
    session_id: str


@contextmanager
def otelier_on(to: Providers) -> Iterator[None]:
    otelier.init(app="benchmark", tracer_provider=to.traces, meter_provider=to.metrics)
    yield
    testing.reset()


ROWS = [Row("bare", bare), Row("otelier", otelier_agent), Row("otelier traced", otelier_agent, otelier_on, True)]

try:
    import agents
    from agents import tracing
except ImportError:
    pass
else:

    def sdk_agent(kind: str) -> Run:
        model = agents.OpenAIChatCompletionsModel(MODEL, openai_client=client)
        tools = [agents.function_tool(one) for one in KINDS[kind]]
        agent = agents.Agent(name="desk", instructions=TOLD, tools=list(tools), model=model)

        async def run() -> str:
            return (await agents.Runner.run(agent, ASKED)).final_output

        async def stream() -> str:
            result = agents.Runner.run_streamed(agent, ASKED)
            async for _ in result.stream_events():
                pass
            return result.final_output

        return stream if kind == "streamed" else run

    class DroppingTraces(tracing.processors.TracingExporter):
        """Drops."""

        def export(self, items: Any) -> None:
            pass

    @contextmanager
    def sdk_off(_: Providers) -> Iterator[None]:
        agents.set_tracing_disabled(True)
        yield

    @contextmanager
    def sdk_on(_: Providers) -> Iterator[None]:
        agents.set_trace_processors([tracing.processors.BatchTraceProcessor(DroppingTraces())])
        agents.set_tracing_disabled(False)
        yield
        agents.set_tracing_disabled(True)

    ROWS += [Row("Agents SDK", sdk_agent, sdk_off), Row("Agents SDK traced", sdk_agent, sdk_on, True)]

try:
    from openinference.instrumentation.openai_agents._processor import OpenInferenceTracingProcessor
except ImportError:
    pass
else:

    @contextmanager
    def sdk_spans(to: Providers) -> Iterator[None]:
        agents.set_trace_processors([OpenInferenceTracingProcessor(to.traces.get_tracer("openinference"))])
        agents.set_tracing_disabled(False)
        yield
        agents.set_tracing_disabled(True)

    ROWS.append(Row("Agents SDK in OpenTelemetry", sdk_agent, sdk_spans, True))

try:
    import pydantic_ai
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider
except ImportError:
    pass
else:

    def pydantic_agent(kind: str) -> Run:
        model = OpenAIChatModel(MODEL, provider=OpenAIProvider(openai_client=client))
        agent = pydantic_ai.Agent(model, name="desk", instructions=TOLD, tools=list(KINDS[kind]))

        async def run() -> str:
            return (await agent.run(ASKED)).output

        async def stream() -> str:
            async with agent.run_stream(ASKED) as result:
                return "".join([text async for text in result.stream_text(delta=True, debounce_by=None)])

        return stream if kind == "streamed" else run

    def pydantic_on(**options: bool) -> Callable[[Providers], AbstractContextManager[None]]:
        @contextmanager
        def on(to: Providers) -> Iterator[None]:
            settings = pydantic_ai.InstrumentationSettings(
                tracer_provider=to.traces, meter_provider=to.metrics, **options
            )
            pydantic_ai.Agent.instrument_all(settings)
            yield
            pydantic_ai.Agent.instrument_all(False)

        return on

    ROWS += [
        Row("pydantic-ai", pydantic_agent),
        Row("pydantic-ai traced", pydantic_agent, pydantic_on(), True),
        Row("pydantic-ai traced, no content", pydantic_agent, pydantic_on(include_content=False), True),
    ]


async def sent_by(run: Run) -> list[bytes]:
    """Return the bodies that a run sends."""
    global looking
    sent.clear()
    looking = True
    await run()
    looking = False
    return list(sent)


async def timed(run: Run) -> tuple[float, float, float]:
    """Microseconds of a step: the median, the 99th percentile, and what the processor spent, in all threads."""
    took: list[float] = []
    spent = time.process_time()
    for _ in range(RUNS):
        began = time.perf_counter()
        await run()
        took.append((time.perf_counter() - began) * 1e6 / STEPS)
    return median(took), quantiles(took, n=100)[98], (time.process_time() - spent) * 1e6 / STEPS / RUNS


def shape(body: bytes) -> Any:
    """What of a request must be the same for all: roles and texts of the messages, names and parameters of tools."""
    asked = json.loads(body)
    messages = [
        (one["role"], one.get("content") or None, len(one.get("tool_calls") or ())) for one in asked["messages"]
    ]
    functions = [one["function"] for one in asked["tools"]]
    tools = [(one["name"], sorted(one["parameters"]["properties"])) for one in functions]
    return messages, tools


async def main() -> None:
    logging.getLogger("otelier").setLevel(logging.ERROR)
    providers = {row.name: Providers() for row in ROWS}
    for kind in KINDS:
        runs = {row.name: row.run(kind) for row in ROWS}
        same = [shape(body) for body in await sent_by(otelier_agent(kind))]
        seen: dict[str, list[tuple[float, float, float]]] = {row.name: [] for row in ROWS}
        bodies: dict[str, int] = {}
        for _ in range(ROUNDS):
            for row in ROWS:
                to = providers[row.name]
                with row.on(to):
                    if row.name not in bodies:
                        requests = await sent_by(runs[row.name])
                        assert [shape(body) for body in requests] == same, row.name
                        bodies[row.name] = sum(map(len, requests)) // STEPS
                    assert await runs[row.name]() == ANSWER  # and warm
                    gc.collect()
                    seen[row.name].append(await timed(runs[row.name]))
                    to.reader.collect()
        table(kind, seen, bodies)


def table(kind: str, seen: dict[str, list[tuple[float, float, float]]], bodies: dict[str, int]) -> None:
    heads = ("step, us", "/ bare", "p99", "/ bare", "cpu, us", "/ bare", "added", "/ otelier", "bytes")
    print(f"\n{kind:32}" + "".join(f"{head:>10}" for head in heads))
    for row in ROWS:
        ours = seen["otelier traced" if row.is_traced else "otelier"]
        figures: list[tuple[float, ...]] = []
        for (step, late, cpu), (base, base_late, base_cpu), (_, _, our_cpu) in zip(seen[row.name], seen["bare"], ours):
            added = cpu - base_cpu
            ratios = step / base, late / base_late, cpu / base_cpu, added / (our_cpu - base_cpu)
            figures.append((step, ratios[0], late, ratios[1], cpu, ratios[2], added, ratios[3]))
        columns = zip((0, 2, 0, 2, 0, 2, 0, 2), map(median, zip(*figures)))
        print(
            f"{row.name:32}" + "".join(f"{value:10.{digits}f}" for digits, value in columns) + f"{bodies[row.name]:10}"
        )


asyncio.run(main())
