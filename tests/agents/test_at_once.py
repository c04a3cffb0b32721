"""One agent object and its interceptors, many users at once: nothing of one run reaches another."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import openai
import pytest

import otelier
from otelier import tool
from otelier.agents import RunFinished, TextDelta
from otelier.interceptors import Budget, Interceptor, InterceptResult, Phase, RequireRole
from tests.scripted import TIMEOUT_S

USERS, THREADS = 200, 8


@dataclass
class User(otelier.RunContext):
    user_id: str
    user_role: str = "customer"


@tool
async def who(ctx: User) -> str:
    """Say who asks, as the context and the call context have it."""
    await asyncio.sleep(0)  # lets others go on in the middle of this
    return f"{ctx.user_id} {otelier.get_context().user_id} {ctx.query}"


@tool
def who_in_a_thread(ctx: User) -> str:
    """Say the same from a thread."""
    return f"{ctx.user_id} {otelier.get_context().user_id} {ctx.query}"


class Diary(Interceptor):
    """Writes down each phase in the state of its run, and finds nothing of another there."""

    async def intercept(self, phase, context):
        user = context.run_context.user_id
        noted = context.state.setdefault("diary", [])
        assert {one for _, one in noted} <= {user}
        assert user in repr(context.messages)
        noted.append((phase, user))
        await asyncio.sleep(0)
        return InterceptResult.continue_(last=user)


class Copy(Interceptor):
    """Takes the diary out with the run's output, for the test to read."""

    async def intercept(self, phase, context):
        if phase is Phase.POST_RUN:
            assert context.state["last"] == context.run_context.user_id
            context.run_context.metadata["diary"] = context.state["diary"]


def question(user: User) -> str:
    return f"I am {user.user_id}. Who am I?"


async def streamed(agent, user):
    """The result of a stream, whose words are those of this run alone."""
    words = []
    async with agent.stream(question(user), context=user) as events:
        async for event in events:
            if isinstance(event, TextDelta) and not event.depth:
                words.append(event.text)
            elif isinstance(event, RunFinished):
                result = event.result
    assert "".join(words) == result.output
    return result


async def on_one_loop(model, agent_with, users, ask):
    # A connection for each user at once is what takes longest here, in the client's pool.
    limits = type(openai.DEFAULT_CONNECTION_LIMITS)(max_connections=16)
    plain = openai.DefaultAsyncHttpxClient(verify=False, limits=limits)
    async with openai.AsyncOpenAI(
        base_url=model.server.base_url, api_key="sk-none", max_retries=0, timeout=TIMEOUT_S, http_client=plain
    ) as client:
        agent = agent_with(client)
        return await asyncio.gather(*(ask(agent, user) for user in users))


def in_threads(model, agent_with, users, ask):
    agent = agent_with(model.client)

    async def one(user):
        return await ask(agent, user)

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(lambda user: asyncio.run(one(user)), users))


async def awaited(agent, user):
    return await agent.run(question(user), context=user)


@pytest.mark.parametrize("ask", [awaited, streamed], ids=["run", "stream"])
@pytest.mark.parametrize("threads", [False, True], ids=["one loop", "threads"])
def test_two_hundred_users_of_one_agent(model, otelier_spans, threads, ask):
    """Every answer, span, request and note has its own user; no state is shared, no context is crossed or changed."""
    model.server.reply(
        tool_calls=[("who", {}), ("who_in_a_thread", {})], when=lambda asked: not asked.answers_tool, times=None
    )

    def agent_with(client):
        interceptors = [RequireRole("customer"), Budget(max_tool_calls=2), Diary(), Copy()]
        return model.agent(who, who_in_a_thread, client=client, interceptors=interceptors)

    users = [User(f"u-{number}-") for number in range(USERS)]
    if threads:
        results = in_threads(model, agent_with, users, ask)
    else:
        results = asyncio.run(on_one_loop(model, agent_with, users, ask))

    for user, result in zip(users, results):
        name, asked = user.user_id, question(user)
        assert [call.result for call in result.tool_calls] == [f"{name} {name} {asked}"] * 2
        assert result.context.user_id == name
        phases = [phase for phase, _ in result.context.metadata["diary"]]
        assert Counter(phases) == {
            Phase.PRE_RUN: 1, Phase.PRE_THINK: 2, Phase.POST_THINK: 2,
            Phase.PRE_ACT: 2, Phase.POST_ACT: 2, Phase.POST_RUN: 1,
        }  # fmt: skip
        assert user == User(name)
    asked = Counter(request.messages[0]["content"] for request in model.server.requests)
    assert asked == {question(user): 2 for user in users}
    for request in model.server.requests:
        told = repr(request.messages)
        (name,) = {user.user_id for user in users if user.user_id in told}
        assert question(User(name)) == request.messages[0]["content"]
    traces: dict[str, list[str]] = {}
    for span in otelier_spans.records:
        traces.setdefault(span.trace_id, []).append(span.attributes["user.id"])
    assert sorted(traces.values()) == sorted([user.user_id] * 5 for user in users)


def test_delegations_of_many_users(model, otelier_spans):
    """With a specialist between: each of its spans, too, has the user whose question it serves, and the first query."""
    specialist = model.agent(who_in_a_thread, name="specialist")
    triage = model.agent(subagents=[specialist], interceptors=[Diary(), Copy()])
    offered = {"triage": "specialist", "specialist": "who_in_a_thread"}
    for tool_name in offered.values():
        model.server.reply(
            tool_calls=[(tool_name, {"task": "look"} if tool_name == "specialist" else {})],
            when=lambda asked, tool_name=tool_name: (
                not asked.answers_tool and asked.body["tools"][0]["function"]["name"] == tool_name
            ),
            times=None,
        )
    users = [User(f"u-{number}-") for number in range(40)]
    with ThreadPoolExecutor(THREADS) as threads:
        results = list(threads.map(lambda user: triage.run(question(user), context=user).wait(), users))
    for user, result in zip(users, results):
        assert f"{user.user_id} {user.user_id} {question(user)}" in result.output
        assert user == User(user.user_id)
    traces: dict[str, list[str]] = {}
    for span in otelier_spans.records:
        traces.setdefault(span.trace_id, []).append(span.attributes["user.id"])
    assert sorted(traces.values()) == sorted([user.user_id] * 8 for user in users)
