"""A triage agent with two specialists: a streamed answer, a permission, and the trace of both."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

import otelier
from otelier.agents import TextDelta, ToolStarted
from otelier.interceptors import RequireRole
from otelier.testing import OpenAIServer, SpanRecorder

# Spans stay in memory here, to be printed at the end. A service sends them: README.md says how.
recorder = SpanRecorder()
otelier.init(app="helpdesk", env="production", tracer_provider=recorder.tracer_provider)


@dataclass
class Visitor(otelier.RunContext):
    user_id: str
    user_role: str
    shop: dict[int, list[str]]  # stands for a database: tools are given it, no span ever shows it


@otelier.tool
def charges(order: int, ctx: Visitor) -> list[str]:
    """List what was charged for an order."""
    return [line for line in ctx.shop[order] if line.startswith("charged")]


@otelier.tool
async def whereabouts(order: int, ctx: Visitor) -> str:
    """Say where the parcel of an order is."""
    return ctx.shop[order][-1]


billing = otelier.Agent(
    "billing",
    "gpt-4.1",
    instructions="You answer questions about money.",
    tools=[charges],
    interceptors=[RequireRole("customer", response="Only customers may ask about money.")],
)
shipping = otelier.Agent("shipping", "gpt-4.1", instructions="You find parcels.", tools=[whereabouts])
triage = otelier.Agent("triage", "gpt-4.1", instructions="You help, or delegate.", subagents=[billing, shipping])


async def answer(question: str, visitor: Visitor) -> None:
    print(f"{visitor.user_id}: {question}")
    async with triage.stream(question, context=visitor) as events:
        async for event in events:
            if event.depth:
                continue  # a specialist's own tools and words
            if isinstance(event, ToolStarted):
                print(f"  {event.agent} asks {event.name}")
            elif isinstance(event, TextDelta):
                print(event.text, end="", flush=True)
    print("\n")


def stand_in() -> OpenAIServer:
    """Return a local server that says what a model might say."""
    server = OpenAIServer().start()

    def says(agent: otelier.Agent, *turns: str | list[tuple[str, dict[str, object]]]) -> None:
        for turn in turns:
            text, calls = (turn, []) if isinstance(turn, str) else (None, turn)
            server.reply(text, tool_calls=calls, when=lambda asked: asked.instructions == agent.instructions)

    says(triage, [("billing", {"task": "Was order 7 charged twice?"}), ("shipping", {"task": "Where is order 7?"})])
    says(billing, [("charges", {"order": 7})], "Yes, on the 3rd and on the 4th. One charge is refunded.")
    says(shipping, [("whereabouts", {"order": 7})], "It is in Rome.")
    says(triage, "You were charged twice and get one charge back. Your parcel is in Rome.")

    says(triage, [("billing", {"task": "What was charged for order 7?"})], "Please sign in to see that.")
    return server


if __name__ == "__main__":
    if not (os.environ.get("OPENAI_API_KEY") and os.environ.get("OPENAI_BASE_URL")):
        os.environ.update(OPENAI_API_KEY="not-needed", OPENAI_BASE_URL=stand_in().base_url)

    shop = {7: ["charged on the 3rd", "charged on the 4th", "in Rome"]}
    alice, guest = Visitor("alice", "customer", shop), Visitor("guest", "visitor", shop)
    asyncio.run(answer("Order 7 was charged twice! And where is it?", alice))
    asyncio.run(answer("What did alice pay for order 7?", guest))

    print(recorder.tree("user.id", "gen_ai.agent.name", "otelier.agent.stop.reason"))
