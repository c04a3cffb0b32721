"""Inside agent frameworks, their own instrumentation on and off: each who tells a call tells it once, with identity."""

from __future__ import annotations

from typing import Any

import pytest

from tests.beside.conftest import SCOPES, Told
from tests.beside.test_instrumentations import check_identity

pytestmark = pytest.mark.beside

OURS = "otelier.openai"
INSTALLED = {"nothing": OURS, **SCOPES}


def calls(told: Told, scope: str) -> dict[str, list[Any]]:
    """The spans of *scope* that stand for calls to the model, by their request."""
    found = told.by_root(f"{scope}.")
    return {root: [span for span in spans if is_call(span.attributes)] for root, spans in found.items()}


def is_call(attributes: Any) -> bool:
    """Whether a span with these attributes stands for a call to the model."""
    return attributes.get("gen_ai.operation.name") == "chat" or attributes.get("openinference.span.kind") == "LLM"


def check_each(found: dict[str, list[Any]], requests: str, *, named: str | None = None) -> None:
    """Look for one span with the identity of its tier in each of those requests.

    Where the framework has *named* its agent on a span around, that is who made a call that the program names no agent
    for.
    """
    chosen = {root: spans for root, spans in found.items() if requests in root}
    assert len(chosen) in (4, 8)
    for root, spans in chosen.items():
        assert len(spans) == 1, (root, [span.name for span in spans])
        if named is not None and root.startswith("fingerprint"):
            assert spans[0].attributes["gen_ai.agent.name"] == named
            assert spans[0].attributes["otelier.agent.source"] == "agent"
        else:
            check_identity(root.partition(" ")[0], spans[0].attributes, prompted=True)


@pytest.mark.parametrize("other", INSTALLED)
def test_pydantic_ai(run, other):
    """Its calls have one span without its own instrumentation; with it theirs, and that of what is installed beside."""
    told = run("pydantic_agent.py", installed=["otelier", *({other} & {*SCOPES})])
    check_each(calls(told, INSTALLED[other]), " plain ")
    for root, spans in calls(told, "pydantic-ai").items():
        assert len(spans) == (" own " in root)
        for span in spans:  # the framework names its agents itself, and its word stays
            assert span.attributes["user.id"] == "u-1"
            assert span.attributes["otelier.agent.fingerprint"]
            assert ("otelier.agent.source" in span.attributes) == root.startswith("fingerprint")
    if other == "nothing":
        assert {root for root, spans in calls(told, OURS).items() if spans and " own " in root} == set()
    else:
        assert told.says_nothing_of_ours()
        check_each(calls(told, INSTALLED[other]), " plain ")
        check_each(calls(told, INSTALLED[other]), " own ", named="agent")


@pytest.mark.parametrize("other", INSTALLED)
def test_openai_agents(run, other):
    """Its calls have one span, whether or not it traces them for itself."""
    told = run("sdk_agent.py", installed=["otelier", *({other} & {*SCOPES})])
    check_each(calls(told, INSTALLED[other]), "")
    assert other == "nothing" or told.says_nothing_of_ours()


def test_openai_agents_with_an_instrumentation(run):
    """Where an instrumentation makes spans of its tracing, those stand for the calls; without its tracing ours do."""
    told = run("sdk_agent.py", "theirs", installed=["otelier", "openinference-agents"])
    check_each(calls(told, "openinference.instrumentation.openai_agents"), " own ")
    check_each(calls(told, OURS), " plain ")
    assert {root for root, spans in calls(told, OURS).items() if spans and " own " in root} == set()
