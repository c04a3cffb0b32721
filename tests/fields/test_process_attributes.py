"""The process's own name and environment: on the resource, else on spans without a local parent and on GenAI spans."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.context import Context

import otelier
from otelier.identity import name_process
from tests.recording import Spans

CHAT = {"gen_ai.operation.name": "chat"}
APP, ENV = "gen_ai.main_agent.name", "deployment.environment.name"
BOTH = {APP: "orchestrator", ENV: "production"}


def process(attributes):
    return {key: attributes[key] for key in (APP, ENV) if key in attributes}


def below_another_process():
    """A context whose span is in another process."""
    sampled = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    return trace.set_span_in_context(
        trace.NonRecordingSpan(trace.SpanContext(1, 1, is_remote=True, trace_flags=sampled)), Context()
    )


def test_on_spans_without_a_local_parent(spans):
    """A root span, and one whose parent is in another process, says which process made it; its children do not."""
    name_process(app="orchestrator", env="production")
    with spans.open("root"), spans.open("child"):
        spans.born_here("grandchild")
    assert process(spans["root"]) == BOTH
    assert process(spans["child"]) == process(spans["grandchild"]) == {}
    assert process(spans.born_here(context=below_another_process())) == BOTH


def test_on_gen_ai_spans_at_any_depth(spans):
    """A GenAI span says it wherever it stands."""
    name_process(app="orchestrator", env="production")
    with spans.open("root"), spans.open("chat", attributes=CHAT):
        spans.born_here("http")
    assert process(spans["chat"]) == BOTH
    assert process(spans["http"]) == {}


def test_beside_the_fields(spans):
    """Fields and process stand on one span together."""
    name_process(app="orchestrator", env="production")
    with otelier.context(user_id="u-1"):
        assert spans.born_here() == {**BOTH, "user.id": "u-1"}


@pytest.mark.parametrize(
    ("resource", "added"),
    [
        ({}, BOTH),
        (BOTH, {}),
        ({APP: "orchestrator"}, {ENV: "production"}),
        ({ENV: "production"}, {APP: "orchestrator"}),
    ],
    ids=["neither", "both", "app", "env"],
)
def test_only_what_the_resource_lacks(resource, added):
    """What the resource says already is not repeated on spans."""
    spans = Spans(resource=resource)
    name_process(app="orchestrator", env="production")
    assert process(spans.born_here()) == added
    assert process(spans.born_here(attributes=CHAT)) == added


def test_each_provider_has_its_own_resource():
    """Providers with different resources get what each of them lacks."""
    first, second = Spans(resource={APP: "orchestrator"}), Spans()
    name_process(app="orchestrator", env="production")
    for _ in range(2):
        assert process(first.born_here()) == {ENV: "production"}
        assert process(second.born_here()) == BOTH


def test_start_attributes_are_kept(spans):
    """A span that brings its own environment keeps it."""
    name_process(app="orchestrator", env="production")
    assert process(spans.born_here(attributes={ENV: "theirs"})) == {APP: "orchestrator", ENV: "theirs"}


def test_nothing_before_the_process_was_named(spans):
    """While otelier is not switched on, spans say nothing of the process."""
    with otelier.context(user_id="u-1"):
        assert spans.born_here() == {"user.id": "u-1"}


def test_names_that_come_later_count_from_then_on(spans):
    """A later `init` adds to what spans say, and changes no span that has started."""
    name_process(env="production")
    assert process(spans.born_here()) == {ENV: "production"}
    name_process(app="orchestrator")
    assert process(spans.born_here()) == BOTH
    name_process(app="other")
    assert process(spans.born_here()) == {APP: "other", ENV: "production"}


def test_from_the_environment(spans, monkeypatch):
    """`OTELIER_APP` and `OTELIER_ENV` name the process."""
    monkeypatch.setenv("OTELIER_APP", "orchestrator")
    monkeypatch.setenv("OTELIER_ENV", "production")
    name_process()
    assert process(spans.born_here()) == BOTH


def test_an_argument_stands_before_the_environment(spans, monkeypatch):
    """What `init` is given stands before the variables, as with every setting."""
    monkeypatch.setenv("OTELIER_APP", "from environment")
    monkeypatch.setenv("OTELIER_ENV", "from environment")
    name_process(app="orchestrator", env="production")
    assert process(spans.born_here()) == BOTH


def test_the_service_names_the_agent_of_last_resort(spans, monkeypatch):
    """Without an app the service's name is the process's own agent on GenAI spans."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    name_process()
    attributes = spans.born_here(attributes=CHAT)
    assert (attributes["gen_ai.agent.name"], attributes["otelier.agent.source"]) == ("shop", "app")
