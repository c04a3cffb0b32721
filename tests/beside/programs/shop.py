"""What the programs of agent frameworks share: who asks, what their tools are given, and what tools do."""

from __future__ import annotations

import copy
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry import trace

import otelier

MODEL = "gpt-4o-mini"
DESK, TRIAGE, PARCELS = "You run the desk.", "You triage.", "You find parcels."
"""The agents' instructions; the test's script knows them by these."""
QUESTION = "Where is parcel 1?"
USERS = tuple(f"u-{number}" for number in range(12))
"""Who asks at the same time."""


@dataclass
class Customer(otelier.RunContext):
    """A plain context."""

    user_id: str
    parcels: dict[int, str]
    api_key: str = "sk-canary-0123456789"


@dataclass(frozen=True)
class FrozenCustomer(otelier.RunContext):
    """A frozen one."""

    user_id: str
    parcels: dict[int, str]
    api_key: str = "sk-canary-0123456789"


CONTEXTS: dict[str, Callable[..., Customer | FrozenCustomer]] = {"plain": Customer, "frozen": FrozenCustomer}


@contextmanager
def request(name: str, user: str, kind: str = "plain") -> Iterator[Customer | FrozenCustomer]:
    """Serve a request of *user* below a span `{name} {user}`, with all fields and a context that must stay as it is."""
    given = CONTEXTS[kind](user_id=user, parcels={1: f"in Rome, {user}"}, metadata={"plan": "pro"})
    before, held = copy.deepcopy(given), dict(vars(given))
    fields = {
        "user_id": user,
        "user_role": "customer",
        "agent": f"agent-of-{user}",
        "agent_id": f"id-of-{user}",
        "session_id": f"session-of-{user}",
        "workflow_id": f"workflow-of-{user}",
    }
    tracer = trace.get_tracer("app")
    with tracer.start_as_current_span(f"{name} {user}", kind=trace.SpanKind.SERVER), otelier.context(**fields):
        inside = otelier.get_context()
        yield given
        assert otelier.get_context() == inside, name
    assert given == before, name
    assert all(vars(given)[key] is value for key, value in held.items()), name


def find(context: Customer | FrozenCustomer, number: int) -> str:
    """What a tool does: look up a parcel of the user that the run is for, in a span of its own."""
    assert otelier.get_context().user_id == context.user_id, threading.current_thread().name
    with trace.get_tracer("app").start_as_current_span("lookup"):
        return context.parcels[number]


def front(desk: Callable[[Customer, str], Awaitable[str]]) -> otelier.Agent:
    """Make an agent of otelier that delegates to the framework's *desk*."""

    @otelier.tool
    async def ask_desk(question: str, ctx: Customer) -> str:
        """Delegate from an agent of otelier to one of the framework."""
        assert ctx.agent is not None
        assert ctx.agent.name == "front"
        return await desk(ctx, question)

    return otelier.Agent("front", MODEL, instructions="You are the front.", tools=[ask_desk])
