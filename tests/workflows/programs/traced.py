"""Workers and clients whose runs do a bit of everything, and append to files what they export and execute.

They are started as `worker PLACE DIRECTORY` and `client PLACE DIRECTORY NUMBER` by a nursery; PLACE is the path of a
file, or the address of a Restate server.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import random
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import openai
from opentelemetry import trace
from opentelemetry.metrics import NoOpHistogram, NoOpMeter, NoOpMeterProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import otelier
from otelier.errors import ApprovalError, RunEndedError, UnknownRunError
from otelier.workflows import Client, Context, Worker, entity, function, workflow
from tests.workflows.nursery import at_work

STEPS = ("first", "second", "part", "part#2", "part#3", "part#4", "left", "right", "note", "last")
"""Steps of an order."""
RATIOS = (1.0, 0.5, 0.0)
"""What the samplers of the clients let through: a run keeps the answer of the one that starts it."""
LONG_S = 0.5
"""A wait of so long closes the span of a run here: longer than a commit takes, so that its begin is in the journal."""
directory = Path()
tracer = trace.get_tracer("shop")
stock = entity("Stock")


def append(name: str, line: str) -> None:
    """Append a line to a file, at once; what a kill cut is a line of its own."""
    file = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, f"\n{line}\n".encode())
    os.close(file)


def effect(ctx: Context, value: Any, *, is_async: bool = True) -> Any:
    """Return a function with an effect that its key guards, as a payment does."""

    def guarded() -> Any:
        try:
            os.close(os.open(directory / "effects" / str(ctx.idempotency_key), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            pass
        append("executions", f"{ctx.run_id} {ctx.step_id}")
        return value

    async def work() -> Any:
        with tracer.start_as_current_span("work"):
            await asyncio.sleep(0.005)
        return guarded()

    return work if is_async else guarded


@function
async def child(ctx: Context, n: int) -> int:
    """Give the double of *n*."""
    await ctx.sleep(0.01)
    return await ctx.step("double", effect(ctx, 2 * n))


@stock.write
async def take(ctx: Context, n: int) -> int:
    """Add *n* to the total."""
    await ctx.step("look", effect(ctx, n))
    ctx.set("total", await ctx.get("total", 0) + n)
    return n


@workflow
async def held(ctx: Context) -> None:
    """Do a step that ends when somebody says so."""

    async def work() -> None:
        append("held", "begun")
        with tracer.start_as_current_span(f"work {(directory / 'held').read_text().count('begun')}"):
            pass
        while True:
            if (directory / "go").exists():
                return
            await asyncio.sleep(0.01)

    with tracer.start_as_current_span("around"):
        await ctx.step("hold", work)


@otelier.tool
async def weigh(number: int) -> str:
    """Weigh a parcel."""
    return f"{number} kg"


async def answer(ctx: Context, n: int) -> str:
    """Let an agent find something out; each process has a name of its own for who is asked."""
    async with openai.AsyncOpenAI(api_key="sk-none", default_headers={"x-life": str(os.getpid())}) as client:
        agent = otelier.Agent("desk", "gpt-4.1", client=client, tools=[weigh])
        return str((await ctx.agent(agent, f"Where is parcel {n}?")).output)


@workflow
async def order(ctx: Context, n: int) -> Any:
    """Do a bit of everything."""
    with tracer.start_as_current_span("prepare"):
        found: list[Any] = [await ctx.step("first", effect(ctx, 1)), await ctx.step("second", effect(ctx, 2))]
    await ctx.timer(delay_ms=10)
    parts = [ctx.step("part", effect(ctx, i, is_async=i % 2 == 0)) for i in range(4)]
    found += await ctx.parallel(*parts, ctx.task("shop", "child", n), max_concurrency=2)
    with tracer.start_as_current_span("idle"):
        pass
    spawned = ctx.spawn(child, n)
    found.append(await ctx.entity("Stock", f"k{n % 3}").take(n))
    while True:
        try:
            await ctx.signal.emit("told", n, target_workflow_id=f"order-{n ^ 1}")
            break
        except UnknownRunError:  # the client was killed before it started the other one
            await ctx.sleep(0.05)
    found += [await ctx.signal("told"), await ctx.signal("paid")]
    with tracer.start_as_current_span("finish"):
        both = ctx.parallel(ctx.step("left", effect(ctx, 3)), ctx.sleep(0.01), ctx.step("right", effect(ctx, 4)))
        found += await both
    found.append(await answer(ctx, n))
    decided = await ctx.human.approval("refund", payload={"n": n}, required_roles=["boss"])
    found.append(await ctx.step("note", effect(ctx, [decided.decision, decided.approver])))
    return [*found, await ctx.step("last", effect(ctx, 5)), await spawned.result()]


def expected(n: int, decided: list[str]) -> list[Any]:
    """What `order` of *n* gives, whatever happens."""
    return [1, 2, 0, 1, 2, 3, 2 * n, n, n ^ 1, f"paid {n}", 3, None, 4, ANSWER, decided, 5, 2 * n]


ANSWER = "In Italy."


class Points(NoOpMeterProvider):
    """Meters whose histograms append each value to a file."""

    def get_meter(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return _Meter(name)


class _Meter(NoOpMeter):
    def create_histogram(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return _Histogram(name)


class _Histogram(NoOpHistogram):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._named = name

    def record(self, amount: float, attributes: Any = None, context: Any = None) -> None:
        append("points", json.dumps([self._named, dict(attributes or {})]))


def switch_on(ratio: float) -> None:
    """Let spans and points go to files."""
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    from otelier.testing import SpanRecord
    from otelier.workflows import _trace

    class Appending(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            for span in spans:
                assert isinstance(span, ReadableSpan)
                append("spans", json.dumps(asdict(SpanRecord.of(span))))
            return SpanExportResult.SUCCESS

    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(ratio)), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(Appending()))
    trace.set_tracer_provider(provider)
    otelier.init(meter_provider=Points())
    _trace.LONG_WAIT_NS = int(LONG_S * 1e9)  # type: ignore[misc]


def engine_at(place: str) -> Any:
    """Return what `engine=` takes."""
    if not place.startswith("restate:"):
        return f"file:{place}"
    from otelier.workflows.engines.restate import Options, RestateEngine  # an extra

    return RestateEngine(place, options=Options(is_port_shared=True, max_retry_s=1.0, again_s=60.0))


async def serve(place: str) -> None:
    """Drive the file, or stand by; or work for the server."""
    async with Worker("shop", modules=[child, take, held, order], engine=engine_at(place)):
        at_work()
        await asyncio.Event().wait()


async def ask(place: str, number: int) -> None:
    """Start the orders of this client when the test wants them, pay for them, and decide what any order asks for.

    All of it may have been done before, by a process that was killed.
    """
    client, started = Client(engine_at(place)), set[int]()
    at_work()
    while True:
        for n in range(int((directory / "wanted").read_text())):
            if client_of(n) == number and n not in started:
                await _start(client, n)
                started.add(n)
        await asyncio.sleep(random.random() * 0.1)
        for one in await client.approvals():
            try:
                await client.approve(one.workflow_id, "refund", approver=str(os.getpid()), roles=["boss"])
            except (ApprovalError, RunEndedError):  # somebody else was faster
                continue
            append("decisions", f"{one.workflow_id} {os.getpid()}")


def client_of(n: int) -> int:
    """Return the number of the client that starts an order: the two that tell each other something have one."""
    return n // 2 % len(RATIOS)


async def _start(client: Client, n: int) -> None:
    """Start an order in the span of who asks for it, if there is one, and pay for it."""
    asked: dict[str, str] = json.loads((directory / "requests").read_text())[n]
    token = otelier.context(user_id=f"user-{n}")
    context = TraceContextTextMapPropagator().extract(asked)
    with token, trace.use_span(trace.get_current_span(context)):
        await client.start("shop", "order", n, workflow_id=f"order-{n}")
    await asyncio.sleep(random.random() * 0.1)
    try:
        await client.signal(f"order-{n}", "paid", f"paid {n}")
    except (RunEndedError, UnknownRunError):  # it was paid for by a client that was killed
        assert isinstance(sys.exc_info()[1], RunEndedError)


def run(what: str, place: str, folder: str, number: str = "0") -> None:
    """Be one process."""
    global directory
    directory = Path(folder)
    random.seed()
    switch_on(1.0 if what == "worker" else RATIOS[int(number)])
    asyncio.run(serve(place) if what == "worker" else ask(place, int(number)))


# Before it forks, so that those who are forked need not do it.
for _name in ("anyio._backends._asyncio", "openai.resources.chat.completions", "otelier.openai", "otelier.setup",
              "otelier.testing", "opentelemetry.sdk.trace.export"):  # fmt: skip
    importlib.import_module(_name)
with contextlib.suppress(ImportError):  # an extra
    importlib.import_module("otelier.workflows.engines.restate")
openai.DefaultAsyncHttpxClient(verify=False)
