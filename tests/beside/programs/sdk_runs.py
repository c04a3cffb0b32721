"""Whole runs of the OpenAI Agents SDK: tools, delegation, handoffs, streams, many users at once.

`otelier.RunContext` is its `context`. Each run has a request span named `{api} {what} {user}`.

Run: python sdk_runs.py [MODULE]
    MODULE holds the instrumentation that makes spans of the SDK's tracing; without one nothing does.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from functools import partial

from agents import Agent, RunContextWrapper, Runner, function_tool, set_default_openai_api, set_trace_processors
from shop import CONTEXTS, DESK, MODEL, PARCELS, QUESTION, TRIAGE, USERS, Customer, find, front, request

Wrapper = RunContextWrapper[Customer]


@function_tool
def find_parcel(ctx: Wrapper, number: int) -> str:
    """Say where a parcel is."""
    return find(ctx.context, number)


@function_tool
async def find_soon(ctx: Wrapper, number: int) -> str:
    """Say where a parcel is, on the loop."""
    await asyncio.sleep(0)
    return find(ctx.context, number)


def told(ctx: Wrapper, _: Agent[Customer]) -> str:
    """Read the context before a run."""
    return f"{TRIAGE} The plan is {ctx.context.get('plan')}."


parcels = Agent[Customer](name="parcels", instructions=PARCELS, tools=[find_parcel, find_soon], model=MODEL)
desk = Agent[Customer](
    name="desk", instructions=DESK, tools=[parcels.as_tool("ask_parcels", "Ask about parcels.")], model=MODEL
)
triage = Agent[Customer](name="triage", instructions=told, handoffs=[parcels], model=MODEL)


async def whole(agent: Agent[Customer], given: Customer, question: str = QUESTION) -> str:
    """Run an agent and return its answer."""
    return (await Runner.run(agent, question, context=given)).final_output


async def streamed(agent: Agent[Customer], given: Customer) -> str:
    """Run an agent and read its events."""
    run = Runner.run_streamed(agent, QUESTION, context=given)
    assert [event async for event in run.stream_events()]
    return run.final_output


async def cancelled(given: Customer) -> None:
    """Give a streamed run up after its first turn."""
    run = Runner.run_streamed(desk, QUESTION, context=given)
    async for event in run.stream_events():
        if event.type == "run_item_stream_event":
            run.cancel(mode="after_turn")


async def at_once(api: str, user: str) -> None:
    """Run for one of many users."""
    with request(f"{api} at-once", user) as given:
        assert user in await whole(desk, given)
        assert user in await streamed(triage, given)


async def main() -> None:
    """Run the agents."""
    for api in ("chat_completions", "responses"):
        set_default_openai_api(api)
        for kind in CONTEXTS:
            with request(f"{api} {kind}", "u-a", kind) as given:
                assert "u-a" in await whole(parcels, given)
        with request(f"{api} handed-off", "u-b", "frozen") as given:
            assert "u-b" in await whole(triage, given)
        with request(f"{api} delegated", "u-c", "frozen") as given:
            assert "u-c" in await whole(desk, given)
        with request(f"{api} streamed", "u-d") as given:
            assert "u-d" in await streamed(desk, given)
        with request(f"{api} broken-off", "u-e") as given:
            await cancelled(given)
        with request(f"{api} inside-ours", "u-f") as given:
            assert "u-f" in (await front(partial(whole, desk)).run(QUESTION, context=given)).output
        await asyncio.gather(*(at_once(api, user) for user in USERS))
    sys.stdout.write('"done"\n')


if __name__ == "__main__":
    set_trace_processors([])  # those that it begins with send to OpenAI
    for module in sys.argv[1:]:
        importlib.import_module(module).OpenAIAgentsInstrumentor().instrument()
    asyncio.run(main())
