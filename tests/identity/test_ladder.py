"""Up and down the ladder of tiers at random: never one agent's name with another's id."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import ExitStack

import httpx
import openai
import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

import otelier
from otelier.identity import agent_id_for, prompt_fingerprint
from otelier.testing import OpenAIServer

STEPS = 10_000
CHAT = {"gen_ai.operation.name": "chat"}
RUN = {"gen_ai.operation.name": "invoke_agent"}  # a GenAI span that stands for no call of its own
NAMES = [f"name-{number}" for number in range(6)]
IDS = [f"id-{number}" for number in range(6)]
PAIRS = [(f"pair-name-{number}", f"pair-id-{number}") for number in range(6)]
PROMPTS = [f"You are the {word} agent of {{}}." for word in ("billing", "shipping", "legal", "travel")]
IDENTITY = ("gen_ai.agent.name", "gen_ai.agent.id", "otelier.agent.id", "otelier.agent.source")
KINDS = [SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CLIENT, SpanKind.CONSUMER]


class Ladder:
    """The rules for name and id in a few lines, which know nothing of the code under test."""

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

    def expected(self, *, gen_ai=False, prompt=None):
        if self.id is not None:
            named = {"gen_ai.agent.name": self.name} if self.together else {}
            return {
                **named,
                "gen_ai.agent.id": self.id,
                "otelier.agent.id": self.id,
                "otelier.agent.source": "agent_id",
            }
        if self.name is None and prompt is not None:
            fingerprint = prompt_fingerprint(prompt)
            return {
                "gen_ai.agent.name": f"agent-{fingerprint[4:12]}",
                "otelier.agent.id": agent_id_for(fingerprint),
                "otelier.agent.source": "fingerprint",
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
    fingerprint = attributes.get("otelier.agent.fingerprint")
    if source == "fingerprint":
        right = name == f"agent-{fingerprint[4:12]}" and resolved == agent_id_for(fingerprint)
        return [] if explicit is None and right else [attributes]
    expected = agent_id_for(name) if name else None
    return [] if explicit is None and resolved == expected and resolved else [attributes]


class Caller:
    """Calls to a model through the openai client, with the spans that they leave."""

    def __init__(self, client, recorder):
        self.client, self.recorder = client, recorder

    def call(self, chance, prompt):
        """Call one of the endpoints in one of the ways there are; return the identities of its span and those below."""
        system = [{"role": chance.choice(["system", "developer"]), "content": prompt}] if prompt else []
        asked = {"role": "user", "content": "Hello"}
        before = len(self.recorder.spans)
        way = chance.randrange(3)
        if way == 0:
            self.client.chat.completions.create(model="gpt-4.1", messages=[*system, asked])
        elif way == 1:
            stream = self.client.chat.completions.create(model="gpt-4.1", messages=[*system, asked], stream=True)
            with stream:
                list(stream)
        else:
            told = {"instructions": prompt} if prompt else {}
            self.client.responses.create(model="gpt-4.1", input="Hello", **told)
        *below, call = self.recorder.spans[before:]
        assert call.attributes.get("otelier.agent.fingerprint") == (prompt_fingerprint(prompt) if prompt else None)
        assert len(below) == 1
        return identity(call.attributes), identity(below[0].attributes)


@pytest.fixture
def caller(otelier_spans):
    """A caller of a local server; a span is started and ended below each of its calls."""
    tracer = trace.get_tracer("tests")
    with (
        OpenAIServer() as server,
        httpx.Client(event_hooks={"request": [lambda request: tracer.start_span("below").end()]}) as transport,
        openai.OpenAI(base_url=server.base_url, api_key="sk-none", http_client=transport) as client,
    ):
        yield Caller(client, otelier_spans)


def identity(attributes):
    return {key: value for key, value in attributes.items() if key in IDENTITY}


@pytest.mark.parametrize(
    ("seed", "calls"),
    [(1, 0.03), pytest.param(2, 0.15, marks=pytest.mark.slow), pytest.param(3, 0.15, marks=pytest.mark.slow)],
)
@pytest.mark.timeout(900)
def test_never_a_name_with_anothers_id(otelier_spans, caller, seed, calls):
    """After each of 10,000 random steps what starts or is called here has the agent that the rules name, unmixed.

    The steps go up and down all four tiers: fields set and cleared, blocks and spans entered and left, calls to a
    model with a system prompt and without.
    """
    otelier.init(app="orchestrator", tracer_provider=otelier_spans.tracer_provider)
    tracer = trace.get_tracer("tests")
    chance = random.Random(seed)
    ladder, outer, doors = Ladder(), [], []
    sources = Counter()
    with ExitStack() as everything:
        for step in range(STEPS):
            where = f"seed {seed}, step {step}"
            move = chance.random()
            if move < 0.4:
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
                    given = RUN if chance.random() < 0.3 else None
                    kind = chance.choice(KINDS)
                    door.enter_context(tracer.start_as_current_span("open", kind=kind, attributes=given))
            elif doors:
                doors.pop().close()
                ladder = outer.pop()
            gen_ai = step % 2 == 0
            assert identity(born(tracer, attributes=CHAT if gen_ai else None)) == ladder.expected(gen_ai=gen_ai), where
            if step % 7 == 0:
                born(tracer, context=trace.set_span_in_context(trace.get_current_span(), Context()))
            if chance.random() < calls:
                prompt = chance.choice([None, *PROMPTS])
                prompt = prompt and prompt.format(chance.choice(["2026", "Example Ltd"]))
                call, below = caller.call(chance, prompt)
                assert call == ladder.expected(gen_ai=True, prompt=prompt), where
                assert below == ladder.expected(prompt=prompt), where
            if step % 500 == 499:
                sources += mixed_nowhere(otelier_spans)
    sources += mixed_nowhere(otelier_spans)
    assert sum(sources.values()) > STEPS
    assert min(sources[source] for source in ("agent_id", "agent", "fingerprint", "app")) > STEPS * calls / 10


def mixed_nowhere(recorder):
    """Check what was recorded, forget it, and return how many spans got their agent from which tier."""
    assert [found for span in recorder.spans for found in wrong(span.attributes)] == []
    sources = Counter(span.attributes.get("otelier.agent.source") for span in recorder.spans)
    recorder.clear()
    return sources


def born(tracer, **options):
    """Return the attributes of a span that starts, and ends, here."""
    span = tracer.start_span("probe", **options)
    span.end()
    return span.attributes
