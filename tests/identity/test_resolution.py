"""Which agent a call is attributed to: an explicit id, a name, the process's own agent."""

from __future__ import annotations

import logging

import pytest

import otelier
from otelier.identity import agent_id_for, name_process

CHAT = {"gen_ai.operation.name": "chat"}
IDENTITY = ("gen_ai.agent.name", "gen_ai.agent.id", "otelier.agent.id", "otelier.agent.source")


def identity(attributes):
    return {key: attributes[key] for key in IDENTITY if key in attributes}


def agent():
    """What `get_agent` says, as id, name and source."""
    here = otelier.get_agent()
    assert here.fingerprint is None
    return here.id, here.name, here.source


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_nobody():
    """Before anything names an agent or the process, there is none."""
    assert agent() == (None, None, None)


def test_an_explicit_id_comes_first(spans):
    """Tier 1: an id that is given stands on every span, as `gen_ai.agent.id` too, with source `agent_id`."""
    name_process(app="orchestrator")
    otelier.set_context(agent="triage", agent_id="a-1")
    expected = {
        "gen_ai.agent.name": "triage",
        "gen_ai.agent.id": "a-1",
        "otelier.agent.id": "a-1",
        "otelier.agent.source": "agent_id",
    }
    assert identity(spans.born_here()) == expected
    assert identity(spans.born_here(attributes=CHAT)) == expected
    assert agent() == ("a-1", "triage", "agent_id")


def test_an_id_alone_has_no_name(spans):
    """An id without a name is an identity of its own: no name is made up."""
    name_process(app="orchestrator")
    otelier.set_context(agent_id="a-1")
    assert identity(spans.born_here(attributes=CHAT)) == {
        "gen_ai.agent.id": "a-1",
        "otelier.agent.id": "a-1",
        "otelier.agent.source": "agent_id",
    }
    assert agent() == ("a-1", None, "agent_id")


def test_a_name_comes_second(spans):
    """Tier 2: a name stands on every span with the id derived from it, and no `gen_ai.agent.id`."""
    name_process(app="orchestrator")
    otelier.set_context(agent="triage")
    expected = {
        "gen_ai.agent.name": "triage",
        "otelier.agent.id": agent_id_for("triage"),
        "otelier.agent.source": "agent",
    }
    assert identity(spans.born_here()) == expected
    assert identity(spans.born_here(attributes=CHAT)) == expected
    assert agent() == (agent_id_for("triage"), "triage", "agent")


def test_the_process_comes_last_and_on_gen_ai_spans_only(spans):
    """Tier 4: the process's own agent stands on GenAI spans only, with source `app`."""
    name_process(app="orchestrator")
    assert identity(spans.born_here()) == {}
    assert identity(spans.born_here(attributes=CHAT)) == {
        "gen_ai.agent.name": "orchestrator",
        "otelier.agent.id": agent_id_for("orchestrator"),
        "otelier.agent.source": "app",
    }
    assert agent() == (agent_id_for("orchestrator"), "orchestrator", "app")


def test_other_fields_name_no_agent(spans):
    """User, role, session, workflow and tenant leave the attribution to the process's own agent."""
    name_process(app="orchestrator")
    otelier.set_context(user_id="u-1", user_role="admin", session_id="s-1", workflow_id="w-1", tenant_id="t-1")
    assert identity(spans.born_here()) == {}
    assert spans.born_here(attributes=CHAT)["otelier.agent.source"] == "app"


def test_clearing_steps_down_the_ladder(spans):
    """When a tier is cleared, the next one below applies."""
    name_process(app="orchestrator")
    otelier.set_context(agent="triage", agent_id="a-1")
    otelier.set_context(agent_id="")
    assert agent() == (agent_id_for("triage"), "triage", "agent")
    otelier.set_context(agent="")
    assert agent() == (agent_id_for("orchestrator"), "orchestrator", "app")
    assert spans.born_here(attributes=CHAT)["gen_ai.agent.name"] == "orchestrator"


def test_a_name_set_later_is_ignored_while_an_id_stands(spans, caplog):
    """A name that was not set together with the id never stands beside it; one warning says so."""
    otelier.set_context(agent="triage", agent_id="a-1")
    for name in ("billing", "refunds"):
        otelier.set_context(agent=name)
        assert identity(spans.born_here()) == {
            "gen_ai.agent.id": "a-1",
            "otelier.agent.id": "a-1",
            "otelier.agent.source": "agent_id",
        }
        assert agent() == ("a-1", None, "agent_id")
    with otelier.context(agent="third"):
        assert agent() == ("a-1", None, "agent_id")
    (warning,) = warnings(caplog)
    assert "agent_id" in warning
    assert "billing" not in warning


def test_an_id_set_later_takes_the_name_away(spans):
    """An id that was not set together with the standing name stands alone."""
    otelier.set_context(agent="triage")
    otelier.set_context(agent_id="a-1")
    assert agent() == ("a-1", None, "agent_id")
    assert "gen_ai.agent.name" not in spans.born_here()


def test_another_id_takes_the_name_of_the_first_away():
    """A new id without a name does not keep the name that was set with the old id."""
    otelier.set_context(agent="triage", agent_id="a-1")
    otelier.set_context(agent_id="a-2")
    assert agent() == ("a-2", None, "agent_id")


def test_the_ignored_name_applies_when_the_id_goes():
    """A name ignored beside an id is the agent once the id is cleared, since it was set and not cleared."""
    otelier.set_context(agent_id="a-1")
    otelier.set_context(agent="billing")
    otelier.set_context(agent_id="")
    assert agent() == (agent_id_for("billing"), "billing", "agent")


def test_a_block_with_both_replaces_both():
    """Name and id given together replace whatever stood, and the outer pair returns afterwards."""
    otelier.set_context(agent="triage", agent_id="a-1")
    with otelier.context(agent="billing", agent_id="a-2"):
        assert agent() == ("a-2", "billing", "agent_id")
    assert agent() == ("a-1", "triage", "agent_id")


def test_the_same_pair_again_is_no_matter_for_a_warning(caplog):
    """Setting the standing pair's own name again, alone, changes nothing and warns of nothing."""
    otelier.set_context(agent="triage", agent_id="a-1")
    otelier.set_context(agent="triage")
    assert agent() == ("a-1", "triage", "agent_id")
    assert warnings(caplog) == []


def test_an_agent_set_late_elsewhere_is_not_this_places(spans):
    """`get_agent` answers for a call made now: an agent is never handed down late."""
    from contextvars import copy_context

    from opentelemetry.trace import SpanKind

    with spans.open("request", kind=SpanKind.SERVER):
        copy_context().run(otelier.set_context, agent="dependency")
        assert agent() == (None, None, None)


def test_the_identity_is_a_frozen_value():
    """What `get_agent` returns can be compared, hashed and not written to."""
    otelier.set_context(agent="triage")
    one, two = otelier.get_agent(), otelier.get_agent()
    assert one == two
    assert hash(one) == hash(two)
    assert isinstance(one, otelier.AgentIdentity)
    with pytest.raises(AttributeError):
        one.name = "billing"


def test_long_names_are_carried_whole(spans):
    """A name of 1,024 characters is an agent's name like any other."""
    otelier.set_context(agent="é" * 1024)
    assert spans.born_here()["gen_ai.agent.name"] == "é" * 1024
