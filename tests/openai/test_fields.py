"""The fields of the context on the spans, metrics and events of calls."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.context import get_current
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otelier
from otelier.openai import OpenAIInstrumentor
from otelier.telemetry import PointQueue
from tests.openai.conftest import instrumenting, known, serving
from tests.openai.instant import chat, model, replaying_async, waiting_call, waiting_calls

FIELDS = {
    "user_id": "bob",
    "user_role": "admin",
    "agent": "triage",
    "session_id": "s-1",
    "workflow_id": "w-1",
    "tenant_id": "t-1",
}
STAMPED = {
    "user.id": "bob",
    "user.roles": ("admin",),
    "gen_ai.agent.name": "triage",
    "otelier.agent.source": "agent",
    "session.id": "s-1",
    "gen_ai.conversation.id": "s-1",
    "otelier.workflow.id": "w-1",
    "otelier.tenant.id": "t-1",
}
ENDPOINTS = ("chat", "responses", "embeddings")
each_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS)


def fields_of(attributes: Any) -> dict[str, Any]:
    """What of *attributes* is a field, without the derived id."""
    return {key: attributes[key] for key in STAMPED if key in attributes}


def agents(recorder: Any) -> set[Any]:
    """The agents named on GenAI metrics."""
    points = [point for point in recorder.metric_points if point.name.startswith("gen_ai.")]
    return {point.attributes.get("gen_ai.agent.name") for point in points}


@pytest.fixture
def without_processor():
    """Spans of a provider that has no processor of ours."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    OpenAIInstrumentor().instrument(tracer_provider=provider)
    yield exporter
    OpenAIInstrumentor().uninstrument()


@each_endpoint
@pytest.mark.parametrize("stream", [False, True])
def test_fields_on_spans(api, recorder, endpoint, stream):
    """A call's span carries the fields of the context it was made in, streamed or not."""
    with otelier.context(**FIELDS):
        answer = api.call(endpoint, **({"stream": stream} if endpoint != "embeddings" else {}))
    list(answer if stream and endpoint != "embeddings" else ())
    assert fields_of(recorder.spans[0].attributes) == STAMPED


@each_endpoint
@pytest.mark.parametrize("stream", [False, True])
def test_fields_without_our_processor(without_processor, endpoint, stream):
    """Where no processor of ours sees the span, the fields are there all the same."""
    with serving() as api:
        with otelier.context(**FIELDS):
            answer = api.call(endpoint, **({"stream": stream} if endpoint != "embeddings" else {}))
        list(answer if stream and endpoint != "embeddings" else ())
    (span,) = without_processor.get_finished_spans()
    assert fields_of(span.attributes) == STAMPED
    assert span.attributes["otelier.agent.id"] == otelier.identity.agent_id_for("triage")


def test_fields_set_late_without_our_processor(without_processor):
    """A value set while the call runs is the newest, and stays."""
    with serving() as api:
        client = api.client.with_options(max_retries=0)
        client._client.event_hooks["request"].append(lambda _: otelier.set_context(user_id="carol"))
        with otelier.context(**FIELDS):
            client.chat.completions.create(**api.arguments["chat"])
    (span,) = without_processor.get_finished_spans()
    assert fields_of(span.attributes) == {**STAMPED, "user.id": "carol"}


def test_fields_set_during_the_call_end_with_it(api, recorder):
    """The call is a span's scope: what its hooks set does not reach the caller."""
    client = api.client.with_options(max_retries=0)
    client._client.event_hooks["request"].append(lambda _: otelier.set_context(user_id="carol"))
    with otelier.context(user_id="bob"):
        client.chat.completions.create(**api.arguments["chat"])
        assert otelier.get_context().user_id == "bob"
    assert recorder.spans[0].attributes["user.id"] == "carol"


def test_conversation_of_the_call_stands_before_the_session(api, recorder):
    """A conversation that the call names is the provider's own, and stands."""
    if not known(api.client.responses.create, conversation=None):
        pytest.skip("this release has no conversations")
    with otelier.context(session_id="s-1"):
        api.call("responses", conversation="conv_1")
        api.call("responses")
    assert [span.attributes["gen_ai.conversation.id"] for span in recorder.spans] == ["conv_1", "s-1"]
    assert [span.attributes["session.id"] for span in recorder.spans] == ["s-1", "s-1"]


@each_endpoint
def test_agent_on_metrics(api, recorder, endpoint):
    """Metrics carry the agent's name, and no other field."""
    with otelier.context(**FIELDS):
        api.call(endpoint)
    points = [point for point in recorder.metric_points if point.name.startswith("gen_ai.")]
    assert len(points) > 1
    assert {point.attributes["gen_ai.agent.name"] for point in points} == {"triage"}
    told = {key for point in points for key in point.attributes}
    assert not {key for key in told if key.startswith(("user.", "session.", "otelier.", "gen_ai.conversation"))}


def test_agent_on_the_metrics_of_streams(api, recorder):
    """So do the chunk times of a stream, whatever the context is when it ends."""
    with otelier.context(agent="triage"):
        stream = api.call("chat", stream=True)
    with otelier.context(agent="billing"):
        list(stream)
    assert agents(recorder) == {"triage"}


def tenants(recorder: Any) -> dict[str, dict[Any, float]]:
    """Calls and tokens by tenant, and the number of chunks."""
    found: dict[str, dict[Any, float]] = {}
    for point in recorder.metric_points:
        value = point.sum if point.name.endswith("token.usage") else point.count
        by_tenant = found.setdefault(point.name.rpartition(".")[2], {})
        tenant = point.attributes.get("otelier.tenant.id")
        by_tenant[tenant] = by_tenant.get(tenant, 0) + value
    return found


@each_endpoint
def test_listed_tenants_on_metrics(recorder, endpoint, monkeypatch):
    """Metrics name the tenants of the list, call the rest `_OTHER`, and lose no call and no token; users stay off."""
    monkeypatch.setenv("OTELIER_METRIC_TENANTS", " acme,globex, ")
    calls = {"acme": 2, "globex": 1, "initech": 1, "umbrella": 1, None: 1}
    with instrumenting(recorder), serving() as api:
        api.server.reply("Hi", usage={"input_tokens": 10, "output_tokens": 5}, times=None)
        for tenant, count in calls.items():
            for _ in range(count):
                with otelier.context(**{**FIELDS, "tenant_id": tenant}):
                    api.call(endpoint)
    counted = tenants(recorder)
    assert counted["duration"] == {"acme": 2, "globex": 1, "_OTHER": 2, None: 1}
    tokens = counted["usage"]
    assert tokens == {tenant: tokens[None] * count for tenant, count in counted["duration"].items()}
    keys = {key for point in recorder.metric_points for key in point.attributes}
    assert not {key for key in keys if key.startswith(("user.", "session.", "otelier.workflow", "gen_ai.conversation"))}
    assert {span.attributes.get("otelier.tenant.id") for span in recorder.spans} == set(calls)


@pytest.mark.parametrize("waits", [True, False])
def test_listed_tenants_on_the_metrics_of_streams(recorder, monkeypatch, waits):
    """Chunk times name the tenant that the stream was asked for, also where they are recorded as the chunks come."""
    if not waits:
        monkeypatch.setattr(PointQueue, "reserve_for_stream", lambda _: None)
    monkeypatch.setenv("OTELIER_METRIC_TENANTS", "acme")
    with instrumenting(recorder), serving() as api:
        with otelier.context(tenant_id="acme"):
            stream = api.call("chat", stream=True)
        with otelier.context(tenant_id="initech"):
            list(stream)
    counted = tenants(recorder)
    assert set(counted) >= {"duration", "time_to_first_chunk", "time_per_output_chunk"}
    assert {tenant for by_tenant in counted.values() for tenant in by_tenant} == {"acme"}


def test_too_many_tenants_are_none(recorder, monkeypatch, caplog):
    """More than 100 are refused with one warning, which names no tenant: calls are counted without."""
    monkeypatch.setenv("OTELIER_METRIC_TENANTS", ",".join(f"tenant-{number}" for number in range(101)))
    for _ in range(2):
        with instrumenting(recorder), serving() as api, otelier.context(tenant_id="tenant-7"):
            api.call("embeddings")
    assert tenants(recorder)["duration"] == {None: 2}
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "OTELIER_METRIC_TENANTS" in warning
    assert "101 tenants" in warning
    assert "at most 100" in warning
    assert "tenant-7" not in warning


def test_agent_on_unsampled_metrics(unsampled):
    """Metrics of calls that are not sampled name the agent too."""
    OpenAIInstrumentor().instrument(tracer_provider=unsampled.tracer_provider, meter_provider=unsampled.meter_provider)
    try:
        with serving() as api, otelier.context(agent="triage"):
            api.call("chat")
    finally:
        OpenAIInstrumentor().uninstrument()
    assert agents(unsampled) == {"triage"}


def test_agent_names_on_metrics_are_bounded(api, recorder, caplog):
    """After 200 names metrics carry no further one, with one warning; spans do."""
    api.server.reply("Hi", times=None)
    for number in range(203):
        with otelier.context(agent=f"agent-{number}"):
            api.call("embeddings")
    with otelier.context(agent="agent-7"):
        api.call("embeddings")
    named = agents(recorder)
    assert len(named - {None}) == 200
    assert None in named
    assert {span.attributes["gen_ai.agent.name"] for span in recorder.spans} >= {"agent-201", "agent-202"}
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "200" in warnings[0]


def test_own_agent_of_the_process(otelier_spans):
    """Once otelier is switched on, calls without an agent are those of the process's own."""
    otelier.init(app="orchestrator")
    with serving() as api:
        api.call("chat")
        with otelier.context(agent="triage"):
            api.call("chat")
    found = [span.attributes["gen_ai.agent.name"] for span in otelier_spans.spans]
    assert found == ["orchestrator", "triage"]
    assert agents(otelier_spans) == {"orchestrator", "triage"}


def test_fields_on_events(monkeypatch, recorder):
    """The event of a call carries what its span does."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "event_only")
    OpenAIInstrumentor().instrument(
        tracer_provider=recorder.tracer_provider,
        meter_provider=recorder.meter_provider,
        logger_provider=recorder.logger_provider,
    )
    try:
        with serving() as api, otelier.context(**FIELDS):
            api.call("chat")
    finally:
        OpenAIInstrumentor().uninstrument()
    assert fields_of(recorder.logs[0].attributes) == STAMPED


def test_tasks_never_mix(instrumented):
    """200 tasks with users of their own, and some with none, below one span: each call has its own user."""
    tracer = instrumented.tracer_provider.get_tracer("tests")
    users = {model(number): f"user-{number}" if number % 5 else None for number in range(200)}

    async def call(client: Any, number: int) -> None:
        with otelier.context(user_id=users[model(number)]):
            await asyncio.sleep(0)
            await client.chat.completions.create(**chat(number))

    async def main() -> None:
        async with replaying_async() as client:
            with tracer.start_as_current_span("batch"):
                await asyncio.gather(*(call(client, number) for number in range(200)))

    asyncio.run(main())
    calls = [span.attributes for span in instrumented.spans if span.name.startswith("chat")]
    assert {call["gen_ai.request.model"]: call.get("user.id") for call in calls} == users
    assert len(calls) == 200


def test_a_call_that_is_closed_elsewhere(instrumented):
    """A coroutine that is closed in another context than it ran in leaves that one as it is; its span is alice's."""
    with waiting_call() as call, otelier.context(user_id="bob"):
        before = get_current()
        call.close()
        assert get_current() is before
        assert otelier.get_context().user_id == "bob"
    (span,) = instrumented.spans
    assert span.attributes["user.id"] == "alice"


def test_a_call_that_is_closed_inside_another(instrumented):
    """A coroutine that is closed inside another call of the same client leaves that call's context as it is."""
    with waiting_calls("alice", "bob") as ((_, closed), (inside, _)):
        before = inside.run(get_current)
        inside.run(closed.close)
        assert inside.run(get_current) is before
    assert {span.attributes["user.id"] for span in instrumented.spans} == {"alice", "bob"}
