"""Every ready interceptor at once: one object each, many runs, several event loops in threads."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import otelier
from otelier import tool
from otelier.interceptors import AllowTools, Budget, Failover, MaskPersonalData, RateLimit, RequireRole

LOOPS, USERS = 4, 8


@dataclass
class Customer(otelier.RunContext):
    user_id: str
    user_role: str = "customer"


@tool
async def mail(ctx: Customer) -> str:
    """Say who asked."""
    await asyncio.sleep(0)  # lets the other runs go on in the middle of this one
    return ctx.query


@tool
def delete() -> str:
    """Delete everything."""
    raise AssertionError("called")


def test_runs_on_many_loops_do_not_disturb_each_other(model, otelier_spans):
    """Each is refused, limited, masked and failed over for itself, and its spans have its own user."""
    interceptors = [
        RequireRole("customer"),
        RateLimit(1, per_s=3600),
        AllowTools("mail"),
        Budget(max_tool_calls=1),
        Failover("gpt-4.1-mini"),
        MaskPersonalData(),
    ]
    agent = model.agent(mail, delete, interceptors=interceptors)
    model.server.fail(400, when=lambda request: request.model == "gpt-4.1", times=None)
    model.server.reply(
        tool_calls=[("delete", {}), ("mail", {})], when=lambda request: not request.answers_tool, times=None
    )  # fmt: skip

    def on_a_loop(loop: int) -> list[otelier.agents.AgentResult]:
        async def main() -> list[otelier.agents.AgentResult]:
            users = [Customer(f"u-{loop}-{number}") for number in range(USERS)]
            guests = [Customer(f"g-{loop}-{number}", "guest") for number in range(USERS)]
            # Every user twice: one of the two runs is too many.
            each = [*users, *guests, *users]
            return await asyncio.gather(
                *(agent.run(f"I am {one.user_id}@example.com", context=one) for one in each)
            )  # fmt: skip

        return asyncio.run(main())

    with ThreadPoolExecutor(LOOPS) as threads:
        results = [result for some in threads.map(on_a_loop, range(LOOPS)) for result in some]

    by_user: dict[str, list[otelier.agents.AgentResult]] = {}
    for result in results:
        by_user.setdefault(result.context.user_id, []).append(result)
    for user, runs in by_user.items():
        outputs = sorted(run.output for run in runs)
        if user.startswith("g-"):
            assert outputs == ["Permission denied."]
            continue
        assert outputs == [f"According to the tool: I am {user}@example.com", "Too many requests. Try again later."]
        (run,) = [run for run in runs if run.tool_calls]
        assert [call.result for call in run.tool_calls] == ["This tool is not allowed.", f"I am {user}@example.com"]
        assert run.messages[0]["content"] == "I am [REDACTED:email]"

    assert len(by_user) == 2 * LOOPS * USERS
    # Two questions for each user, each asked of both models.
    assert len(model.server.requests) == 4 * LOOPS * USERS
    users_of_traces: dict[str, set[str]] = {}
    for span in otelier_spans.records:
        users_of_traces.setdefault(span.trace_id, set()).add(span.attributes["user.id"])
    assert len(users_of_traces) == 3 * LOOPS * USERS
    assert all(len(users) == 1 for users in users_of_traces.values())
    assert otelier_spans.open_spans == ()
