"""Registration: each agent that a process sees is told once, by one log event and one count."""

from __future__ import annotations

import itertools
import logging
import os
import threading

import pytest
from opentelemetry import _logs, metrics
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import SpanKind

import otelier
from otelier import names, telemetry
from otelier.faults import raise_faults
from otelier.identity import agent_id_for
from otelier.testing import SpanRecorder, reset
from otelier.testing._global_providers import as_global_providers
from tests.programs import run
from tests.scripted import model

__all__ = ["model"]

EVENT = "otelier.agent.registered"
COUNTER = "otelier.agent.registrations"


def events(recorder):
    return [entry for entry in recorder.logs if entry.event_name == EVENT]


def told(recorder):
    return [
        entry.attributes.get("gen_ai.agent.name", entry.attributes["otelier.agent.id"]) for entry in events(recorder)
    ]


def counted(recorder):
    points = recorder.metrics().get(COUNTER, [])
    return {point["attributes"]["otelier.agent.source"]: point["value"] for point in points}


def init(recorder, **more):
    otelier.init(
        tracer_provider=recorder.tracer_provider,
        meter_provider=recorder.meter_provider,
        logger_provider=recorder.logger_provider,
        **more,
    )


def test_one_event_and_one_count(spans):
    """The first use of a name tells of it; later uses, also beside other fields, do not."""
    init(spans)
    for user in ("alice", "bob"):
        with otelier.context(agent="billing", user_id=user):
            otelier.get_agent()
        otelier.set_context(agent="billing", session_id=user)
        otelier.clear_context()
    (event,) = events(spans)
    assert event.attributes == {
        "gen_ai.agent.name": "billing",
        "otelier.agent.id": agent_id_for("billing"),
        "otelier.agent.source": "agent",
    }
    assert counted(spans) == {"agent": 1}


def test_every_tier(spans):
    """An explicit id, a name, a prompt and the process's own agent are each told with what is known of them."""
    init(spans, app="orchestrator")
    otelier.set_context(agent="triage", agent_id="a-1")
    otelier.set_context(agent="", agent_id="a-2")
    otelier.set_context(agent="billing", agent_id="")
    otelier.clear_context()
    spans.born_here(attributes={"gen_ai.operation.name": "chat"})
    assert [entry.attributes for entry in events(spans)] == [
        {"gen_ai.agent.name": "triage", "otelier.agent.id": "a-1", "otelier.agent.source": "agent_id"},
        {"otelier.agent.id": "a-2", "otelier.agent.source": "agent_id"},
        {
            "gen_ai.agent.name": "billing",
            "otelier.agent.id": agent_id_for("billing"),
            "otelier.agent.source": "agent",
        },
        {
            "gen_ai.agent.name": "orchestrator",
            "otelier.agent.id": agent_id_for("orchestrator"),
            "otelier.agent.source": "app",
        },
    ]
    assert counted(spans) == {"agent_id": 2, "agent": 1, "app": 1}


def test_an_event_is_for_nobody(spans):
    """It carries no user, session, workflow or tenant, and belongs to no trace: the agent is the process's."""
    init(spans)
    with spans.open("request"):
        otelier.set_context(user_id="alice", user_role="admin", session_id="s-1", workflow_id="w-1", tenant_id="t-1")
        otelier.set_context(agent="billing")
    (event,) = events(spans)
    assert set(event.attributes) == {"gen_ai.agent.name", "otelier.agent.id", "otelier.agent.source"}
    assert (event.trace_id, event.span_id) == (None, None)
    (point,) = (point for point in spans.metric_points if point.name == COUNTER)
    assert point.attributes == {"otelier.agent.source": "agent"}
    assert [exemplar.trace_id for exemplar in point.exemplars if exemplar.trace_id] == []


def test_before_init_it_waits(spans):
    """What was seen before otelier was switched on is told then, to the providers that are given, in its order."""
    for agent in ("one", "two", "one"):
        with otelier.context(agent=agent):
            pass
    assert events(spans) == []
    init(spans)
    assert told(spans) == ["one", "two"]
    assert counted(spans) == {"agent": 2}


def test_given_providers_and_no_others(spans):
    """The global providers hear nothing of it when others are given."""
    elsewhere = SpanRecorder()
    with as_global_providers(elsewhere):
        with otelier.context(agent="early"):
            init(spans)
        with otelier.context(agent="later"):
            pass
        assert told(elsewhere) == []
        assert counted(elsewhere) == {}
    assert told(spans) == ["early", "later"]


def test_global_providers():
    """Without given ones the global providers are told."""
    recorder = SpanRecorder()
    with as_global_providers(recorder):
        otelier.init()
        with otelier.context(agent="billing"):
            pass
        assert told(recorder) == ["billing"]
        assert counted(recorder) == {"agent": 1}


def test_while_no_provider_is_set_it_waits():
    """An agent seen between `init` and the provider is told once there is one."""
    otelier.init()
    with otelier.context(agent="early"):
        pass
    recorder = SpanRecorder()
    with as_global_providers(recorder), otelier.context(agent="later"):
        assert told(recorder) == ["early", "later"]


def test_providers_given_later():
    """A second `init` that gives providers tells them what waits."""
    otelier.init()
    with otelier.context(agent="early"):
        pass
    recorder = SpanRecorder()
    init(recorder)
    assert told(recorder) == ["early"]


def test_in_several_threads_once(spans):
    """Eight threads that name one agent at once tell of it once."""
    init(spans)
    barrier = threading.Barrier(8)

    def name():
        barrier.wait()
        for number in range(20):
            with otelier.context(agent=f"agent-{number}"):
                pass

    threads = [threading.Thread(target=name) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told(spans)) == sorted(f"agent-{number}" for number in range(20))
    assert counted(spans) == {"agent": 20}


def test_while_a_provider_is_set_once(spans):
    """Agents that threads name before, while and after providers are given are told once each, and none is lost."""
    barrier = threading.Barrier(9)

    def name(own):
        barrier.wait()
        for number in range(40):
            with otelier.context(agent=f"shared-{number}"):
                otelier.set_context(agent=f"{own}-{number}")

    threads = [threading.Thread(target=name, args=(own,)) for own in range(8)]
    for thread in threads:
        thread.start()
    barrier.wait()
    init(spans)
    for thread in threads:
        thread.join()
    wanted = [f"{own}-{number}" for own in ("shared", *range(8)) for number in range(40)]
    assert sorted(told(spans)) == sorted(wanted)
    assert counted(spans) == {"agent": len(wanted)}


def test_after_a_reset_once_more(spans):
    """`reset()` makes the process as if new: what it sees then it tells again, once."""
    for times in (1, 2):
        init(spans)
        for _ in range(2):
            with otelier.context(agent="billing"):
                pass
        assert told(spans) == ["billing"] * times
        reset()


LATE = """
import json, sys
import otelier
from otelier.testing import SpanRecorder
from opentelemetry import _logs, metrics

recorder = SpanRecorder()
otelier.init(app="shop")
with otelier.context(agent="early"):
    pass
for provider in sys.argv[1:]:
    if provider == "logs":
        _logs.set_logger_provider(recorder.logger_provider)
    else:
        metrics.set_meter_provider(recorder.meter_provider)
points = recorder.metrics().get("otelier.agent.registrations", [])
print(json.dumps([len(recorder.logs), sum(point["value"] for point in points)]))
"""


@pytest.mark.parametrize(
    ("providers", "found"),
    [
        ((), [0, 0]),
        (("logs",), [1, 0]),
        (("metrics",), [0, 1]),
        (("logs", "metrics"), [1, 1]),
        (("metrics", "logs"), [1, 1]),
    ],
    ids=str,
)
def test_providers_that_are_set_one_after_the_other(providers, found):
    """The event waits for a logger provider and the count for a meter provider, whichever comes first."""
    assert run(LATE, *providers).answer == found


FORK = """
import json, os, sys
import otelier
from otelier.testing import SpanRecorder

recorder = SpanRecorder()
otelier.init(app="shop", logger_provider=recorder.logger_provider, meter_provider=recorder.meter_provider)


def name(*agents):
    for agent in agents:
        with otelier.context(agent=agent):
            pass


def told():
    return [entry.attributes["gen_ai.agent.name"] for entry in recorder.logs]


name("one", "one")
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    recorder.clear()
    name("one", "two", "two")
    os.write(writing, json.dumps(told()).encode())
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
name("two", "one")
print(json.dumps([told(), json.loads(os.read(reading, 1000))]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_processes():
    """A new process tells what it sees; a forked one what its parent had not told before the fork."""
    for _ in range(2):
        assert run(FORK).answer == [["one", "two"], ["two"]]


class Broken:
    """A provider whose things raise."""

    def get_logger(self, *args, **kwargs):
        raise RuntimeError("no logger")

    def add_log_record_processor(self, processor):
        pass


def test_a_broken_provider_costs_the_report_only(spans, caplog):
    """The caller goes on, and what went wrong is logged once."""
    raise_faults(False)
    otelier.init(logger_provider=Broken(), tracer_provider=spans.tracer_provider)
    for agent in ("one", "two"):
        with otelier.context(agent=agent):
            assert spans.born_here()["gen_ai.agent.name"] == agent
    found = [record.getMessage() for record in caplog.records if "identity.register" in record.getMessage()]
    assert len(found) == 1


def test_a_log_processor_that_names_agents_itself(spans):
    """What runs while an agent is told may name others: none is lost, and nothing waits for itself."""

    class Naming:
        def on_emit(self, log_record):
            with otelier.context(agent="inner"):
                pass

        def shutdown(self):
            pass

        def force_flush(self, timeout_millis=30000):
            return True

    spans.logger_provider.add_log_record_processor(Naming())
    init(spans)
    with otelier.context(agent="outer"):
        pass
    assert sorted(told(spans)) == ["inner", "outer"]


def test_without_init_nothing_is_told():
    """Setting fields alone sends nothing."""
    recorder = SpanRecorder()
    with as_global_providers(recorder), otelier.context(agent="billing"):
        pass
    assert recorder.logs == ()
    assert names.AGENT_REGISTRATIONS not in recorder.metrics()


def test_switched_off_nothing_is_told(monkeypatch):
    """`OTELIER_DISABLED` and `OTEL_SDK_DISABLED` silence this, too."""
    monkeypatch.setenv("OTELIER_DISABLED", "true")
    recorder = SpanRecorder()
    with as_global_providers(recorder):
        otelier.init()
        with otelier.context(agent="billing"):
            pass
    assert recorder.logs == ()


def test_a_thousand_agents(spans, caplog):
    """Names that are as many as users are told up to 1,000, with one warning; they stay on the spans."""
    init(spans)
    for number in range(1_100):
        with otelier.context(agent=f"agent-{number}"):
            pass
    assert len(events(spans)) == 1_000
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 1
    assert "1000 agents" in warned[0]
    with otelier.context(agent="one-more"):
        assert spans.born_here()["gen_ai.agent.name"] == "one-more"


def test_the_stand_ins_of_the_api_are_what_we_think():
    """Where nothing is set, the API gives the stand-ins that registration waits behind."""
    assert type(_logs.get_logger_provider()).__name__ == "ProxyLoggerProvider"
    assert type(metrics.get_meter_provider()).__name__ == "_ProxyMeterProvider"
    assert isinstance(metrics.get_meter_provider(), MeterProvider)


def test_the_processes_own_agent_is_told_when_it_makes_a_call(spans):
    """Requests and spans that are no calls to a model are nobody's: the last tier is not told for them."""
    init(spans, app="orchestrator")
    with spans.open("request", kind=SpanKind.SERVER):
        otelier.set_context(user_id="alice")
        spans.born_here("work")
        assert told(spans) == []
        spans.born_here("chat", attributes={"gen_ai.operation.name": "chat"})
    assert told(spans) == ["orchestrator"]


PROMPT = "You are the billing agent. Today is {}."


def prompts_told(recorder):
    """Each event's agent and the fingerprint it has."""
    return [
        (entry.attributes["gen_ai.agent.name"], entry.attributes.get("otelier.agent.fingerprint"))
        for entry in events(recorder)
    ]


def ask(model, prompt):
    messages = [{"role": "system", "content": prompt}, {"role": "user", "content": "Hi"}]
    model.client.chat.completions.create(model="gpt-4.1", messages=messages)


def test_a_named_agents_prompt(otelier_spans, model):
    """A named agent is told again with each new fingerprint of its prompt, not with each day's, and counted once."""
    for prompt in (PROMPT.format("2026-11-16"), PROMPT.format("2026-11-17"), "You are the friendly billing agent."):
        for _ in range(2):
            with otelier.context(agent="billing"):
                ask(model, prompt)
    calls = [span.attributes["otelier.agent.fingerprint"] for span in otelier_spans.spans]
    assert len(set(calls)) == 2
    assert prompts_told(otelier_spans) == [("billing", None), ("billing", calls[0]), ("billing", calls[-1])]
    assert counted(otelier_spans) == {"agent": 1}


@pytest.mark.parametrize(
    ("fields", "source"), [({"agent": "billing"}, "agent"), ({"agent_id": "b-7"}, "agent_id"), ({}, "fingerprint")]
)
def test_the_fingerprint_stands_whichever_tier_named_the_agent(otelier_spans, model, fields, source):
    """The span of a call with a system prompt has its fingerprint beside any identity; another has none."""
    with otelier.context(**fields):
        ask(model, "You are the billing agent.")
        model.client.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": "Hi"}])
    prompted, plain = otelier_spans.spans
    assert prompted.attributes["otelier.agent.source"] == source
    assert prompted.attributes["otelier.agent.fingerprint"] == otelier.prompt_fingerprint("You are the billing agent.")
    assert "otelier.agent.fingerprint" not in plain.attributes


def test_an_agents_run(otelier_spans, model):
    """`invoke_agent` and the agent's one event have the fingerprint that the call of its model has."""
    model.says("Done.")
    model.agent(name="billing", instructions="You are the billing agent.").run("Hi").output  # noqa: B018
    run, call = otelier_spans.find("invoke_agent billing"), otelier_spans.find("chat gpt-4.1")
    fingerprint = otelier.prompt_fingerprint("You are the billing agent.")
    assert run.attributes["otelier.agent.fingerprint"] == call.attributes["otelier.agent.fingerprint"] == fingerprint
    assert prompts_told(otelier_spans) == [("billing", fingerprint)]
    assert counted(otelier_spans) == {"agent": 1}


def test_an_agent_without_instructions(otelier_spans, model):
    """Without a prompt there is nothing to know it by, and neither a span nor the event has a fingerprint."""
    model.says("Done.")
    model.agent(name="billing").run("Hi").output  # noqa: B018
    assert "otelier.agent.fingerprint" not in otelier_spans.find("invoke_agent billing").attributes
    assert prompts_told(otelier_spans) == [("billing", None)]


@pytest.fixture
def crowded(otelier_spans, model):
    """200 prompts that varied, each with a name of its own on metrics."""
    words = itertools.islice(itertools.product("abcdefgh", repeat=4), 200)
    for word in words:
        ask(model, f"You are the {''.join(word)} agent.")
    return otelier_spans


def names_on_metrics(recorder):
    points = recorder.metrics()["gen_ai.client.operation.duration"]
    return [point["attributes"].get("gen_ai.agent.name") for point in points]


def test_the_process_has_a_place_on_metrics(crowded, model):
    """However many prompts there were, metrics name the process's own agent, and agents that somebody named."""
    otelier.init(app="orchestrator")
    ask(model, "You are one too many.")
    with otelier.context(agent="billing"):
        ask(model, "You are one too many.")
    found = names_on_metrics(crowded)
    assert {"orchestrator", "billing"} <= set(found)
    assert len(found) == 202


def test_the_process_has_a_place_beside_named_agents(otelier_spans, model):
    """Nor do agents that were named take its place, on metrics or in the registry."""
    otelier.init(app="orchestrator")
    for number in range(1_001):
        with otelier.context(agent=f"billing-{number}"):
            if number < 210:
                model.client.embeddings.create(model="text-embedding-3-small", input="a")
    model.client.embeddings.create(model="text-embedding-3-small", input="a")
    points = otelier_spans.metrics()["gen_ai.client.operation.duration"]
    found = [point["attributes"].get("gen_ai.agent.name") for point in points]
    assert "orchestrator" in found
    assert len(found) == 202  # 200 that were named, the process, and nobody's
    assert told(otelier_spans)[-1] == "orchestrator"


def test_a_fault_in_reporting_an_agent(otelier_spans, monkeypatch, quiet_faults, caplog):
    """A fault of ours in telling of a new agent costs that event, and no field."""

    def broken(*_args):
        raise LookupError

    monkeypatch.setattr(telemetry, "has_provider", broken)
    otelier.init(app="shop")
    otelier.set_context(agent="billing", agent_id="a-1")
    assert otelier.get_agent().name == "billing"
    assert "identity.register" in caplog.text
