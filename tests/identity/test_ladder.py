"""Up and down the ladder of tiers at random: never one agent's name with another's id."""

from __future__ import annotations

import random
from contextlib import ExitStack

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

import otelier
from otelier.identity import agent_id_for, name_process

STEPS = 10_000
CHAT = {"gen_ai.operation.name": "chat"}
NAMES = [f"name-{number}" for number in range(6)]
IDS = [f"id-{number}" for number in range(6)]
PAIRS = [(f"pair-name-{number}", f"pair-id-{number}") for number in range(6)]
IDENTITY = ("gen_ai.agent.name", "gen_ai.agent.id", "otelier.agent.id", "otelier.agent.source")
KINDS = [SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CLIENT, SpanKind.CONSUMER]


class Ladder:
    """What §3 says of name and id: a few lines that know nothing of the code under test."""

    def __init__(self):
        self.name = self.id = None
        self.together = False

    def change(self, *, agent=None, agent_id=None):
        old = (self.name, self.id)
        self.name = old[0] if agent is None else agent or None
        self.id = old[1] if agent_id is None else agent_id or None
        if self.name is None or self.id is None:
            self.together = False
        elif agent and agent_id:
            self.together = True
        elif (self.name, self.id) != old:
            self.together = False

    def copy(self):
        made = Ladder()
        made.name, made.id, made.together = self.name, self.id, self.together
        return made

    def expected(self, *, gen_ai):
        if self.id is not None:
            named = {"gen_ai.agent.name": self.name} if self.together else {}
            return {
                **named,
                "gen_ai.agent.id": self.id,
                "otelier.agent.id": self.id,
                "otelier.agent.source": "agent_id",
            }
        if self.name is not None or gen_ai:
            name = self.name or "orchestrator"
            return {
                "gen_ai.agent.name": name,
                "otelier.agent.id": agent_id_for(name),
                "otelier.agent.source": "agent" if self.name else "app",
            }
        return {}


def some_change(chance):
    """Return what to say about the agent at one step."""
    name, agent_id = chance.choice(PAIRS)
    return chance.choice(
        [
            {"agent": name, "agent_id": agent_id},
            {"agent": chance.choice(NAMES)},
            {"agent_id": chance.choice(IDS)},
            {"agent": name},
            {"agent_id": agent_id},
            {"agent": ""},
            {"agent_id": ""},
            {"agent": "", "agent_id": ""},
            {"agent": chance.choice(NAMES), "agent_id": ""},
            {"agent": "", "agent_id": chance.choice(IDS)},
            {},
        ]
    )


def wrong(attributes):
    """Return what is inconsistent in one span's identity, if anything."""
    name = attributes.get("gen_ai.agent.name") or None
    explicit = attributes.get("gen_ai.agent.id") or None
    resolved = attributes.get("otelier.agent.id") or None
    source = attributes.get("otelier.agent.source") or None
    if source is None:
        return [found for found in (name, explicit, resolved) if found is not None]
    if source == "agent_id":
        partner = explicit.replace("-id-", "-name-") if explicit and explicit.startswith("pair") else None
        return [] if explicit == resolved is not None and name in (None, partner) else [attributes]
    expected = agent_id_for(name) if name else None
    return [] if explicit is None and resolved == expected and resolved else [attributes]


@pytest.mark.parametrize("seed", range(3))
def test_never_a_name_with_anothers_id(spans, seed):
    """After each of 10,000 random steps a span born here has the agent that §3 names, and no span mixes two."""
    name_process(app="orchestrator")
    chance = random.Random(seed)
    ladder, outer, doors = Ladder(), [], []
    with ExitStack() as everything:
        for step in range(STEPS):
            move = chance.random()
            if move < 0.5:
                change = some_change(chance)
                otelier.set_context(**change)
                ladder.change(**change)
            elif move < 0.52:
                otelier.clear_context()
                ladder.change(agent="", agent_id="")
            elif move < 0.75 and len(doors) < 20:
                outer.append(ladder.copy())
                door = everything.enter_context(ExitStack())
                doors.append(door)
                if move < 0.65:
                    change = some_change(chance)
                    door.enter_context(otelier.context(**change))
                    ladder.change(**change)
                else:
                    given = CHAT if chance.random() < 0.3 else None
                    door.enter_context(spans.open("open", kind=chance.choice(KINDS), attributes=given))
            elif doors:
                doors.pop().close()
                ladder = outer.pop()
            gen_ai = step % 2 == 0
            born = spans.born_here(attributes=CHAT if gen_ai else None)
            seen = {key: value for key, value in born.items() if key in IDENTITY}
            assert seen == ladder.expected(gen_ai=gen_ai), step
            if step % 7 == 0:
                spans.born_here("orphan", context=trace.set_span_in_context(trace.get_current_span(), Context()))
    assert [found for span in spans.spans for found in wrong(span.attributes)] == []
    assert len(spans.spans) > STEPS
