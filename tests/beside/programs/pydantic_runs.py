"""Whole runs of pydantic-ai, its own instrumentation off and on: tools, delegation, streams, many users at once.

`otelier.RunContext` is its `deps`. Each run has a request span named `{off or on} {what} {user}`.
"""

from __future__ import annotations

import asyncio
import sys

from pydantic_ai import Agent, RunContext
from pydantic_ai.models.openai import OpenAIChatModel
from shop import CONTEXTS, DESK, MODEL, PARCELS, QUESTION, TRIAGE, USERS, Customer, find, front, request

Deps = RunContext[Customer]

model = OpenAIChatModel(MODEL)
parcels = Agent(model, name="parcels", instructions=PARCELS, deps_type=Customer)
desk = Agent(model, name="desk", instructions=DESK, deps_type=Customer)
triage = Agent(model, name="triage", deps_type=Customer)


@triage.instructions
def told(ctx: Deps) -> str:
    """Read the context before a run."""
    return f"{TRIAGE} The plan is {ctx.deps.get('plan')}."


@parcels.tool
def find_parcel(ctx: Deps, number: int) -> str:
    """Say where a parcel is; the framework calls it in a thread."""
    return find(ctx.deps, number)


@parcels.tool
async def find_soon(ctx: Deps, number: int) -> str:
    """Say where a parcel is, on the loop."""
    await asyncio.sleep(0)
    return find(ctx.deps, number)


@desk.tool
async def ask_parcels(ctx: Deps, question: str) -> str:
    """Delegate to the other agent."""
    return (await parcels.run(question, deps=ctx.deps, usage=ctx.usage)).output


async def by_desk(given: Customer, question: str) -> str:
    """Run the desk and return its answer."""
    return (await desk.run(question, deps=given)).output


async def streamed(agent: Agent[Customer, str], given: Customer) -> str:
    """Run an agent and read its answer as it comes."""
    async with agent.run_stream(QUESTION, deps=given) as answer:
        return "".join([piece async for piece in answer.stream_text(delta=True)])


async def broken_off(given: Customer) -> None:
    """Leave an answer after its first piece."""
    async with desk.run_stream(QUESTION, deps=given) as answer:
        async for _ in answer.stream_text(delta=True):
            return


async def at_once(own: str, user: str) -> None:
    """Run for one of many users."""
    with request(f"{own} at-once", user) as given:
        assert user in await by_desk(given, QUESTION)
        assert user in await streamed(desk, given)


async def main() -> None:
    """Run the agents."""
    for own in ("off", "on"):
        Agent.instrument_all(own == "on")
        for kind in CONTEXTS:
            with request(f"{own} {kind}", "u-a", kind) as given:
                assert "u-a" in (await parcels.run(QUESTION, deps=given)).output
        with request(f"{own} instructed", "u-b") as given:
            assert (await triage.run(QUESTION, deps=given)).output
        with request(f"{own} delegated", "u-c", "frozen") as given:
            assert "u-c" in await by_desk(given, QUESTION)
        with request(f"{own} streamed", "u-d") as given:
            assert "u-d" in await streamed(desk, given)
        with request(f"{own} broken-off", "u-e") as given:
            await broken_off(given)
        with request(f"{own} inside-ours", "u-f") as given:
            assert "u-f" in (await front(by_desk).run(QUESTION, context=given)).output
        await asyncio.gather(*(at_once(own, user) for user in USERS))
    sys.stdout.write('"done"\n')


if __name__ == "__main__":
    asyncio.run(main())
