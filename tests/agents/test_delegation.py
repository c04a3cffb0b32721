"""Delegation: the trace of a chain of agents, and what of the context each of them has."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import pytest

import otelier
from otelier import RunContext, tool
from otelier.identity import agent_id_for


@dataclass
class User(RunContext):
    user_id: str = "u-1"
    permissions: set[str] = field(default_factory=lambda: {"read"})
    db: Any = None


@dataclass(frozen=True)
class Frozen(RunContext):
    user_id: str = "u-1"
    permissions: frozenset[str] = frozenset({"read"})
    db: Any = None


@pytest.fixture(params=[User, Frozen], ids=["plain", "frozen"])
def context(request):
    """A context as an application makes it."""
    return request.param(metadata={"plan": "pro"}, db=object())


def chain(model, *tools):
    """Three agents: each delegates to the next, the last one has the tools."""
    worker = model.agent(*tools, name="worker")
    expert = model.agent(name="expert", subagents=[worker])
    model.says([("expert", {"task": "check user permissions"})], [("worker", {"task": "read them"})])
    model.says([("look", {})], "Read only.", "He may only read.", "No.")
    return model.agent(name="triage", subagents=[expert])


def test_the_trace_of_a_chain(model, otelier_spans, context):
    """Names, parents and lineage: each run below the call that delegated it, with the agent above by name and id."""

    @tool
    def look(ctx: RunContext) -> str:
        return "read"

    assert chain(model, look).run("May I delete files?", context=context).output == "No."
    assert otelier_spans.tree("gen_ai.agent.name", "otelier.agent.depth", "otelier.agent.parent.name", "user.id") == (
        "invoke_agent triage INTERNAL gen_ai.agent.name='triage' otelier.agent.depth=0 user.id='u-1'\n"
        "  chat gpt-4.1 CLIENT gen_ai.agent.name='triage' otelier.agent.depth=0 user.id='u-1'\n"
        "  execute_tool expert INTERNAL gen_ai.agent.name='triage' otelier.agent.depth=0 user.id='u-1'\n"
        "    invoke_agent expert INTERNAL gen_ai.agent.name='expert' otelier.agent.depth=1"
        " otelier.agent.parent.name='triage' user.id='u-1'\n"
        "      chat gpt-4.1 CLIENT gen_ai.agent.name='expert' otelier.agent.depth=1"
        " otelier.agent.parent.name='triage' user.id='u-1'\n"
        "      execute_tool worker INTERNAL gen_ai.agent.name='expert' otelier.agent.depth=1"
        " otelier.agent.parent.name='triage' user.id='u-1'\n"
        "        invoke_agent worker INTERNAL gen_ai.agent.name='worker' otelier.agent.depth=2"
        " otelier.agent.parent.name='expert' user.id='u-1'\n"
        "          chat gpt-4.1 CLIENT gen_ai.agent.name='worker' otelier.agent.depth=2"
        " otelier.agent.parent.name='expert' user.id='u-1'\n"
        "          execute_tool look INTERNAL gen_ai.agent.name='worker' otelier.agent.depth=2"
        " otelier.agent.parent.name='expert' user.id='u-1'\n"
        "          chat gpt-4.1 CLIENT gen_ai.agent.name='worker' otelier.agent.depth=2"
        " otelier.agent.parent.name='expert' user.id='u-1'\n"
        "      chat gpt-4.1 CLIENT gen_ai.agent.name='expert' otelier.agent.depth=1"
        " otelier.agent.parent.name='triage' user.id='u-1'\n"
        "  chat gpt-4.1 CLIENT gen_ai.agent.name='triage' otelier.agent.depth=0 user.id='u-1'"
    )
    for span in otelier_spans.records:
        name = span.attributes["gen_ai.agent.name"]
        assert span.attributes["otelier.agent.id"] == agent_id_for(name)
        above = span.attributes.get("otelier.agent.parent.name")
        assert span.attributes.get("otelier.agent.parent.id") == (above and agent_id_for(above))


def test_the_context_of_a_chain(model, context):
    """The first query and every field go down, each run with an object of its own; those above stay as they are."""
    seen = {}

    class Watch(otelier.interceptors.Interceptor):
        async def intercept(self, phase, interception):
            if phase is otelier.interceptors.Phase.PRE_RUN:
                given = interception.run_context
                seen[interception.agent.name] = (given, copy.copy(given), interception.task)

    @tool
    def look(ctx: RunContext) -> str:
        ctx.metadata["looked"] = True
        if isinstance(ctx, User):
            ctx.user_id = "another"
        return "read"

    watch = Watch()
    worker = model.agent(look, name="worker", interceptors=[watch])
    expert = model.agent(name="expert", subagents=[worker], interceptors=[watch])
    triage = model.agent(name="triage", subagents=[expert], interceptors=[watch])
    model.says([("expert", {"task": "check user permissions"})], [("worker", {"task": "read them"})])
    model.says([("look", {})], "Read only.", "He may only read.", "No.")
    before = copy.copy(context)
    triage.run("May I delete files?", context=context).wait()

    assert context == before
    assert (context.query, context.metadata, context.agent) == ("", {"plan": "pro"}, None)
    assert [task for _, _, task in seen.values()] == ["May I delete files?", "check user permissions", "read them"]
    for name, (given, as_given, _) in seen.items():
        assert type(given) is type(context)
        assert (given.query, given.agent.name, given.db) == ("May I delete files?", name, context.db)
        if name != "worker":
            assert (given, given.metadata) == (as_given, {"plan": "pro"})
    assert len({id(given) for given, _, _ in seen.values()} | {id(context)}) == 4
