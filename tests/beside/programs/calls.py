"""Make every kind of call in every tier of identity, each below a request span named `{tier} {way}`, then unsampled.

Run: python calls.py [FIRST SECOND]
    With arguments the two are switched on by hand in that order, `otelier` or the module of an instrumentation; without
    them it is opentelemetry-instrument that switches on what is installed.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import openai
from opentelemetry import trace

import otelier

PROMPT = "You are the billing agent of a shop."
TIERS: dict[str, dict[str, str]] = {
    "agent_id": {"agent": "billing", "agent_id": "b-7"},
    "agent": {"agent": "billing"},
    "fingerprint": {},
    "app": {},
}
MODEL = "gpt-4o-mini"
UNSAMPLED = trace.NonRecordingSpan(trace.SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=trace.TraceFlags(0)))
"""The caller in another process, which decided that this is not sampled."""


def asked(tier: str) -> list[dict[str, str]]:
    """The messages of a call; only in the last tier there is no system prompt."""
    system = [] if tier == "app" else [{"role": "system", "content": PROMPT}]
    return [*system, {"role": "user", "content": "Why was I charged twice?"}]


def failing(call: Callable[[], Any]) -> None:
    """Make a call that must fail."""
    try:
        call()
    except openai.BadRequestError:
        return
    raise AssertionError("it did not fail")


def ways(client: openai.OpenAI, tier: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the ways to call."""
    said: Any = asked(tier)
    chat, responses = client.chat.completions, client.responses
    yield "chat", lambda: chat.create(model=MODEL, messages=said)
    yield "chat stream", lambda: list(chat.create(model=MODEL, messages=said, stream=True))
    yield "chat raw", lambda: chat.with_raw_response.create(model=MODEL, messages=said).parse()
    yield "chat error", lambda: failing(lambda: chat.create(model="error-400", messages=said))
    yield "responses", lambda: responses.create(model=MODEL, input=said)
    yield "responses stream", lambda: list(responses.create(model=MODEL, input=said, stream=True))
    for way in ("chat", "responses", "stream"):
        yield f"{way} async", lambda way=way: asyncio.run(asynchronous(tier, way))
    if tier != "fingerprint":
        yield "embeddings", lambda: client.embeddings.create(model="text-embedding-3-small", input="Hello")


async def asynchronous(tier: str, way: str) -> None:
    """Make a call with the asynchronous client."""
    said: Any = asked(tier)
    # Nothing here is encrypted, and loading the certificates takes longer than the calls.
    plain = openai.DefaultAsyncHttpxClient(verify=False)
    async with openai.AsyncOpenAI(max_retries=0, http_client=plain) as client:
        if way == "responses":
            await client.responses.create(model=MODEL, input=said)
        elif way == "stream":
            async for _ in await client.chat.completions.create(model=MODEL, messages=said, stream=True):
                pass
        else:
            await client.chat.completions.create(model=MODEL, messages=said)


def switch_on(what: str) -> None:
    """Switch otelier on, or the instrumentor of a module."""
    if what == "otelier":
        otelier.init(app="shop")
    else:
        importlib.import_module(what).OpenAIInstrumentor().instrument()


def main() -> None:
    """Make all calls, and say where otelier's context leaks if it does."""
    if sys.argv[1:]:
        # The providers are there before either of the two, as opentelemetry-instrument would have it.
        from opentelemetry.distro import OpenTelemetryConfigurator, OpenTelemetryDistro

        OpenTelemetryDistro().configure()
        OpenTelemetryConfigurator().configure()
        for what in sys.argv[1:]:
            switch_on(what)
    tracer = trace.get_tracer("app")
    with openai.OpenAI(max_retries=0) as client:
        for tier, fields in TIERS.items():
            for way, call in ways(client, tier):
                kind = trace.SpanKind.SERVER
                with tracer.start_as_current_span(f"{tier} {way}", kind=kind), otelier.context(user_id="u-1", **fields):
                    before = otelier.get_agent()
                    call()
                    assert otelier.get_agent() == before, (tier, way)
        for _, call in ways(client, "agent"):
            with trace.use_span(UNSAMPLED), otelier.context(user_id="u-2", agent="billing"):
                call()
    assert not trace.get_current_span().get_span_context().is_valid
    sys.stdout.write('"done"\n')


if __name__ == "__main__":
    main()
