"""What a type checker makes of agents, tools and contexts; read by mypy, never run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import openai
from pydantic import BaseModel
from typing_extensions import assert_type

import otelier
from otelier.agents import AgentEvent, AgentRun, AgentStream, RunFinished, RunUsage, ToolResult
from otelier.agents.patterns import ExecutionContext, RetryContext
from otelier.interceptors import InterceptContext, Interceptor, InterceptResult, Phase


@dataclass
class AppContext(otelier.RunContext):
    user_id: str
    order: Annotated[str, otelier.exported("shop.order.id")] = ""


ctx = AppContext("u-1", query="q", metadata={"a": 1})
assert_type(ctx.user_id, str)
assert_type(ctx.order, str)
assert_type(ctx.with_metadata(a=1), AppContext)
assert_type(ctx.child(user_id="u-2"), AppContext)
assert_type(ctx.agent, otelier.AgentIdentity | None)
ctx.agent = None  # type: ignore[misc]
AppContext()  # type: ignore[call-arg]
assert_type(ExecutionContext().create_child_context(), ExecutionContext)
assert_type(RetryContext().retried(), RetryContext)


# --- tools keep the signature ---
@otelier.tool
def add(a: int, b: int = 1) -> int:
    return a + b


@otelier.tool(name="later", timeout_s=2.5)
async def add_later(a: int, ctx: AppContext) -> int:
    return a


assert_type(add(1, b=2), int)
add("1")  # type: ignore[arg-type]


class Guard(Interceptor):
    async def intercept(self, phase: Phase, context: InterceptContext) -> InterceptResult:
        return InterceptResult.stop("No.") if phase is Phase.PRE_RUN else InterceptResult.continue_()


agent = otelier.Agent(
    "triage", "gpt-4.1", client=openai.AsyncOpenAI(), tools=[add, add_later, len], interceptors=[Guard()]
)
otelier.Agent("desk", "gpt-4.1", subagents=[agent], max_steps=3)
assert_type(agent.run("Hello", context=ctx), AgentRun)
assert_type(agent.run("Hello", context={"a": 1}).output, str)
assert_type(agent.stream("Hello"), AgentStream)
agent.run("Hello", context=7)  # type: ignore[arg-type]


async def awaited() -> None:
    result = await agent.run("Hello")
    assert_type(result, otelier.AgentResult)
    assert_type(result.usage, RunUsage)
    assert_type(result.tool_calls, list[ToolResult])
    assert_type(result.messages, list[dict[str, Any]])
    async with agent.stream("Hello") as events:
        async for event in events:
            assert_type(event, AgentEvent)
            if isinstance(event, RunFinished):
                assert_type(event.result, otelier.AgentResult[Any])


# --- with an output type, the output is of that type ---
class Verdict(BaseModel):
    guilty: bool


judge = otelier.Agent("judge", "gpt-4.1", output_type=Verdict)
assert_type(judge, otelier.Agent[Verdict])
assert_type(otelier.Agent("clerk", "gpt-4.1"), otelier.Agent[str])
assert_type(judge.run("Well?").output, Verdict)
assert_type(judge.run("Well?").wait(), otelier.AgentResult[Verdict])
assert_type(judge.stream("Well?").result.output.guilty, bool)
otelier.Agent("court", "gpt-4.1", subagents=[judge, agent])
otelier.Agent("judge", "gpt-4.1", output_type=int)  # type: ignore[type-var]


def ask(any_agent: otelier.Agent) -> str:
    return any_agent.run("Hello").output


async def judged() -> None:
    assert_type(await judge.run("Well?"), otelier.AgentResult[Verdict])
    assert_type((await judge.run("Well?")).output, Verdict)
