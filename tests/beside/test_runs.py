"""Whole runs of agent frameworks inside `otelier.context`, with a `RunContext` of ours as their own context."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from otelier.testing import OpenAIServer
from tests.beside.conftest import Told
from tests.beside.test_frameworks import is_call

pytestmark = pytest.mark.beside

OURS = "otelier.openai"
AT_ONCE = 12
"""Users whose runs are under way at the same time."""
MODULES = {
    "nothing": "",
    "openinference": "openinference.instrumentation.openai_agents",
    "official": "opentelemetry.instrumentation.genai.openai_agents",
    "traceloop": "opentelemetry.instrumentation.openai_agents",
}
"""The instrumentations that make spans of the SDK's tracing; their scopes begin with their modules."""


def script(model: OpenAIServer) -> None:
    """Let the agent that finds parcels call both of its tools at once; the others call the first that they have."""
    model.reply(
        tool_calls=[("find_parcel", {"number": 1}), ("find_soon", {"number": 1})],
        when=lambda asked: "find parcels" in asked.instructions and not asked.prompt.startswith("in Rome"),
        times=None,
    )


def check(told: Told, scope: str, request: str, ours: int, theirs: int | None) -> None:
    """Look at the requests of a name: their calls of the model, by ours and by *scope*, and the fields on all spans.

    With `None` for *theirs* there is at least one: how far a run comes that is cancelled depends on who is faster.
    """
    chosen = {root: spans for root, spans in told.requests().items() if root.startswith(f"{request} ")}
    assert len(chosen) == (AT_ONCE if request.endswith("at-once") else 1)
    for root, spans in chosen.items():
        calls = [span for span in spans if is_call(span.attributes)]
        assert all(span.attributes["otelier.agent.fingerprint"] for span in calls)
        assert calls
        if theirs is not None:
            expected = Counter({OURS: ours}) + Counter({scope: theirs})
            assert Counter(OURS if span.scope == OURS else scope for span in calls) == expected, root
        assert all(span.scope.startswith(scope) for span in calls if span.scope != OURS)
        for span in spans:
            # Traceloop puts a handoff below any span that is open for an agent of that name, be it another user's;
            # the fields on it are those of the run that it belongs to.
            if span.attributes.get("traceloop.span.kind") != "handoff":
                check_fields(span.attributes, root.rpartition(" ")[2])


def check_fields(attributes: Any, user: str) -> None:
    """Look for that user's fields, and for an agent: the context's, a framework's, or the one that ours ran as."""
    assert attributes["user.id"] == user
    assert attributes["user.roles"] == ("customer",)
    assert attributes["session.id"] == f"session-of-{user}"
    assert attributes["otelier.workflow.id"] == f"workflow-of-{user}"
    name, source = attributes["gen_ai.agent.name"], attributes.get("otelier.agent.source")
    ids = (attributes.get("gen_ai.agent.id"), attributes.get("otelier.agent.id"))
    if name == f"agent-of-{user}":
        assert (source, ids) == ("agent_id", (f"id-of-{user}", f"id-of-{user}"))
    elif name == "front":
        assert (source, ids) == ("agent", (None, ids[1]))
        assert ids[1] not in (None, f"id-of-{user}")
    else:  # the framework's own word stays, and no id of another agent stands beside it
        assert name in ("desk", "parcels", "triage")
        assert (source, ids[1]) == (None, None)
        assert ids[0] != f"id-of-{user}"


def check_spans(told: Told, request: str, scope: str, name: str, count: int) -> None:
    """Look for *count* spans of that name and scope in each of the requests; no name is any of that scope."""
    for root, spans in told.requests().items():
        if root.startswith(f"{request} "):
            found = [span for span in spans if span.scope.startswith(scope) and span.name.startswith(name)]
            assert len(found) == count or (not name and len(found) > count), root


def test_pydantic_ai(run):
    """Fields and agents stand on all spans of runs, with and without its instrumentation, and users never mix."""
    told = run("pydantic_runs.py", installed=["otelier"], script=script)
    assert "canary" not in repr((told.spans, told.metrics, told.logs))
    for own, scope in {"off": OURS, "on": "pydantic-ai"}.items():
        for request, calls, lookups in (
            ("plain", 2, 2), ("frozen", 2, 2), ("instructed", 1, 0), ("delegated", 4, 2), ("streamed", 4, 2),
            ("broken-off", 4, 2), ("at-once", 8, 4),
        ):  # fmt: skip
            check(told, scope, f"{own} {request}", 0, calls)
            check_spans(told, f"{own} {request}", "app", "lookup", lookups)
        check(told, scope, f"{own} inside-ours", 2, 4)


@pytest.mark.parametrize("other", MODULES)
def test_openai_agents(run, other):
    """Fields and agents stand on all spans of runs, whoever makes spans of its tracing, and users never mix."""
    module = MODULES[other]
    told = run("sdk_runs.py", *filter(None, [module]), installed=["otelier"], script=script)
    assert "canary" not in repr((told.spans, told.metrics, told.logs))
    # The official one leaves the calls of the model to whoever instruments the client.
    scope = OURS if other in ("nothing", "official") else module
    for api in ("chat_completions", "responses"):
        for request, calls, lookups in (
            ("plain", 2, 2), ("frozen", 2, 2), ("handed-off", 3, 2), ("delegated", 4, 2), ("streamed", 4, 2),
            ("broken-off", None, 2), ("at-once", 7, 4),
        ):  # fmt: skip
            check(told, scope, f"{api} {request}", 0, calls)
            check_spans(told, f"{api} {request}", "app", "lookup", lookups)
            if module:
                check_spans(told, f"{api} {request}", module, "", 1)
        check(told, scope, f"{api} inside-ours", 2, 4)
