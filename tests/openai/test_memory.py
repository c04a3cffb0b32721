"""Nothing of a call stays alive when it is over: only its metric point waits, and that until the next collection."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections import Counter
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

import otelier
from otelier.fields.processors import AgentSpanProcessor
from otelier.openai import OpenAIInstrumentor
from tests.openai.instant import chat, replaying, replaying_async

CALLS = 30
WATCHED = {
    # ours
    "Body", "Call", "CallPoint", "StreamReservation", "StreamedCall", "_StreamPoint",
    # what a call has hold of
    "AsyncCompletions", "AsyncStream", "ChatCompletion", "ChatCompletionChunk", "Completions", "Context", "Prompt",
    "Request", "Response", "Stream", "_Span", "frame", "traceback",
    # what a caller sees
    "APIConnectionError", "ConsumerError", "InternalServerError",
}  # fmt: skip


class Prompt(str):
    """Text that can be counted."""


class ConsumerError(Exception):
    """What a consumer raises."""


def arguments(number: int, **more: Any) -> dict[str, Any]:
    messages = [
        {"role": "system", "content": Prompt(f"You are agent {number}.")},
        {"role": "user", "content": Prompt(f"Question {number}")},
    ]
    return chat(number, **{"messages": messages, **more})


# --- ways a call goes ------------------------------------------------------------------------------------------
def answered(create, number):
    create(**arguments(number))


def failed(create, number):
    with pytest.raises(Exception, match="no such luck"):
        create(**arguments(number, model="broken"))


def read(create, number):
    for _ in create(**arguments(number, stream=True, stream_options={"include_usage": True})):
        pass


def unread(create, number):
    create(**arguments(number, stream=True))


def broken_off(create, number):
    next(create(**arguments(number, stream=True)))


def closed(create, number):
    stream = create(**arguments(number, stream=True))
    next(stream)
    stream.close()


def raised(create, number):
    with contextlib.suppress(ConsumerError), create(**arguments(number, stream=True)) as stream:
        next(stream)
        raise ConsumerError


async def answered_async(create, number):
    await create(**arguments(number))


async def failed_async(create, number):
    with pytest.raises(Exception, match="no such luck"):
        await create(**arguments(number, model="broken"))


async def cancelled_async(create, number):
    task = asyncio.ensure_future(create(**arguments(number)))
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def read_async(create, number):
    async for _ in await create(**arguments(number, stream=True, stream_options={"include_usage": True})):
        pass


async def unread_async(create, number):
    await create(**arguments(number, stream=True))


async def broken_off_async(create, number):
    await anext(await create(**arguments(number, stream=True)))


async def closed_async(create, number):
    stream = await create(**arguments(number, stream=True))
    await anext(stream)
    await stream.close()


async def raised_async(create, number):
    with contextlib.suppress(ConsumerError):
        async with await create(**arguments(number, stream=True)) as stream:
            await anext(stream)
            raise ConsumerError


SYNC = (answered, failed, read, unread, broken_off, closed, raised)
ASYNC = (
    answered_async, failed_async, cancelled_async,
    read_async, unread_async, broken_off_async, closed_async, raised_async,
)  # fmt: skip


def repeat(way: Any, calls: int) -> None:
    """Make the calls, each for a user of its own and from a resource of its own."""
    with replaying() as client:
        for number in range(calls):
            with otelier.context(user_id=f"u-{number % 5}", agent="triage"):
                way(client.copy().chat.completions.create, number)


async def repeat_async(way: Any, calls: int) -> None:
    async with replaying_async() as client:
        for number in range(calls):
            with otelier.context(user_id=f"u-{number % 5}", agent="triage"):
                await way(client.copy().chat.completions.create, number)
        for _ in range(3):
            await asyncio.sleep(0)  # in which the loop closes generators that were broken off


# --- what is alive ---------------------------------------------------------------------------------------------
def forget_the_old() -> None:
    """Let the collector know only what is made from now on, which also makes it quick."""
    gc.collect()
    gc.freeze()


def alive() -> dict[str, int]:
    """What there is of the types that are watched; caches may have got a few."""
    for _ in range(10):  # one pass may only close generators that hold more: the HTTP client's, on Python 3.10
        gc.collect()
    found = Counter(kind for kind in (type(thing).__name__ for thing in gc.get_objects()) if kind in WATCHED)
    return {kind: number for kind, number in found.items() if number > CALLS // 5}


@pytest.fixture(params=["", "SPAN_AND_EVENT"], ids=["no content", "content"])
def reader(request, monkeypatch):
    """The reader of an instrumented process that is called something."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", request.param)
    reader = InMemoryMetricReader()
    spans, metrics = TracerProvider(shutdown_on_exit=False), MeterProvider([reader], shutdown_on_exit=False)
    spans.add_span_processor(AgentSpanProcessor())
    otelier.init(app="memory", tracer_provider=spans, meter_provider=metrics)
    yield reader
    OpenAIInstrumentor().uninstrument()


@pytest.mark.parametrize("way", [*SYNC, *ASYNC], ids=lambda way: way.__name__)
def test_nothing_stays(reader, way):
    """Whatever way a call goes: then there is no span, request, answer, stream, prompt, error or context of it."""

    def run(calls: int) -> None:
        if way in SYNC:
            repeat(way, calls)
        else:
            asyncio.run(repeat_async(way, calls))

    run(3)
    reader.collect()
    forget_the_old()
    run(CALLS)
    waiting = alive()
    reader.collect()
    left = alive()
    assert waiting.pop("CallPoint") == CALLS
    assert set(waiting) <= {"StreamReservation", "_StreamPoint"}  # a stream's times wait with it
    assert left == {}
