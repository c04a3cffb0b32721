"""Beside another instrumentation of openai: identity and fields on its spans, and nothing reported twice."""

from __future__ import annotations

from typing import Any

import pytest

from tests.beside.conftest import SCOPES, Told

pytestmark = pytest.mark.beside

NAMES = {"agent_id": "billing", "agent": "billing", "app": "shop"}


def check_identity(tier: str, attributes: Any, *, prompted: bool) -> None:
    """Look at the identity and fields on the span of a call."""
    assert attributes["user.id"] == "u-1"
    assert attributes["otelier.agent.source"] == tier
    assert attributes["otelier.agent.id"]
    assert attributes.get("gen_ai.agent.id") == ("b-7" if tier == "agent_id" else None)
    fingerprint = attributes.get("otelier.agent.fingerprint")
    assert (fingerprint is not None) == (prompted and tier != "app")
    expected = f"agent-{fingerprint[4:12]}" if tier == "fingerprint" else NAMES[tier]
    assert attributes["gen_ai.agent.name"] == expected


def check(told: Told, other: str) -> None:
    """Look at every call that `calls.py` makes: of those that are not sampled ours says nothing either."""
    assert told.says_nothing_of_ours()
    assert not [span for span in told.spans if span.attributes.get("user.id") == "u-2"]
    calls = told.by_root(f"{SCOPES[other]}.")
    assert len(calls) == 39
    for root, found in calls.items():
        tier, _, way = root.partition(" ")
        assert len(found) == 1, (root, [span.name for span in found])
        check_identity(tier, found[0].attributes, prompted=way != "embeddings")
    assert bool([one for one in told.metrics if one.scope.startswith(SCOPES[other])]) == (other != "openinference")


@pytest.mark.parametrize("installed", ["first", "last"])
@pytest.mark.parametrize("other", SCOPES)
def test_under_opentelemetry_instrument(run, other, installed):
    """Whichever was installed first, each call has one span, theirs, with the identity of all four tiers."""
    order = ["otelier", other] if installed == "first" else [other, "otelier"]
    check(run("calls.py", installed=order), other)


@pytest.mark.parametrize("switched_on", ["first", "last"])
@pytest.mark.parametrize("other", SCOPES)
def test_switched_on_by_hand(run, other, switched_on):
    """Whichever was switched on first, by a program of its own."""
    order = ["otelier", SCOPES[other]] if switched_on == "first" else [SCOPES[other], "otelier"]
    check(run("calls.py", *order, installed=["otelier", other], by_hand=True), other)


def test_content_of_theirs(run):
    """Their events stay the only ones and carry the fields, also of calls that are not sampled."""
    told = run(
        "calls.py",
        installed=["otelier", "official"],
        OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="span_and_event",
    )
    check(told, "official")
    events = [entry for entry in told.logs if entry.scope == SCOPES["official"]]
    assert events
    assert {entry.attributes["user.id"] for entry in events} == {"u-1", "u-2"}
