"""`AgentSpanProcessor`: the fields on every instrumentation's spans, beside what those bring themselves."""

from __future__ import annotations

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Decision, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import SpanKind

import otelier
from otelier.faults import raise_faults
from otelier.identity import agent_id_for, name_process
from tests.fields.given import ATTRIBUTES, GIVEN
from tests.recording import Spans

NAMED = {
    "gen_ai.agent.name": "triage",
    "otelier.agent.source": "agent",
}


@pytest.mark.parametrize("kind", SpanKind, ids=lambda kind: kind.name)
def test_spans_of_every_kind(spans, kind):
    """Whatever a span is for, it carries the fields it was started with."""
    with otelier.context(**GIVEN):
        assert spans.born_here(kind=kind) == ATTRIBUTES


def test_spans_of_other_instrumentations(spans):
    """Spans that a library's own instrumentation makes carry the fields beside its attributes."""
    with (
        otelier.context(**GIVEN),
        httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200))) as client,
    ):
        HTTPXClientInstrumentor.instrument_client(client, tracer_provider=spans.tracer_provider)
        client.get("http://127.0.0.1/")
    attributes = spans["GET"]
    assert attributes.items() >= ATTRIBUTES.items()
    assert attributes["http.method" if "http.method" in attributes else "http.request.method"] == "GET"


def test_a_context_given_at_the_start(spans):
    """A span started in a context of its caller's choice has that context's fields, not the current one's."""
    with otelier.context(user_id="then"):
        then = trace.set_span_in_context(trace.INVALID_SPAN)
    with otelier.context(user_id="now"):
        assert spans.born_here(context=then) == {"user.id": "then"}
        assert spans.born_here(context=Context()) == {}


def test_a_span_that_ends_elsewhere_keeps_its_own(spans):
    """The fields are those of a span's start, wherever it ends."""
    with otelier.context(user_id="u-1"):
        span = spans.tracer.start_span("work")
    with otelier.context(user_id="u-2"):
        span.end()
    assert spans["work"] == {"user.id": "u-1"}


@pytest.mark.parametrize("key", ["user.id", "user.roles", "session.id", "otelier.workflow.id", "otelier.tenant.id"])
def test_start_attributes_are_kept(spans, key):
    """An attribute that the span was started with stays; the other fields stand beside it."""
    with otelier.context(**GIVEN):
        assert spans.born_here(attributes={key: "theirs"}) == {**ATTRIBUTES, key: "theirs"}


@pytest.mark.parametrize("key", ["gen_ai.agent.name", "gen_ai.agent.id", "otelier.agent.id", "otelier.agent.source"])
def test_a_foreign_agent_is_kept_whole(spans, key):
    """A span started with another agent keeps that one alone: nothing of ours names an agent beside it."""
    with otelier.context(**GIVEN):
        attributes = spans.born_here(attributes={key: "theirs"})
    assert {name: value for name, value in attributes.items() if "agent" in name} == {key: "theirs"}
    assert attributes["user.id"] == "u-1"


def test_a_foreign_agent_is_kept_from_the_process_too(spans):
    """The process's own agent does not stand beside a foreign one either."""
    name_process(app="orchestrator")
    started = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "theirs"}
    attributes = spans.born_here(attributes=started)
    assert attributes["gen_ai.agent.name"] == "theirs"
    assert attributes["otelier.agent.id"] == agent_id_for("theirs")
    assert attributes["otelier.agent.source"] == "agent"


def test_the_same_agent_named_by_another_library_is_completed(spans):
    """A span started with the very agent that the context names gets the rest of the identity."""
    with otelier.context(agent="triage"):
        attributes = spans.born_here(attributes={"gen_ai.agent.name": "triage"})
    assert attributes == {**NAMED, "otelier.agent.id": agent_id_for("triage")}


def test_the_conversation_stands_on_gen_ai_spans(spans):
    """On a GenAI span the session is also `gen_ai.conversation.id`; on others it is not."""
    with otelier.context(session_id="s-1"):
        assert spans.born_here() == {"session.id": "s-1"}
        started = {"gen_ai.operation.name": "chat"}
        assert spans.born_here(attributes=started) == {
            **started,
            "session.id": "s-1",
            "gen_ai.conversation.id": "s-1",
        }


def test_a_conversation_of_the_instrumentations_own_is_kept(spans):
    """A GenAI span that brings its own conversation keeps it."""
    started = {"gen_ai.operation.name": "chat", "gen_ai.conversation.id": "theirs"}
    with otelier.context(session_id="s-1"):
        assert spans.born_here(attributes=started) == {**started, "session.id": "s-1"}


@pytest.mark.parametrize("times", [2, 3])
def test_several_of_them_on_one_provider_change_nothing(times):
    """The processor may stand on a provider more than once, and anywhere."""
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for _ in range(times):
        provider.add_span_processor(otelier.AgentSpanProcessor())
    tracer = provider.get_tracer("tests")
    with otelier.context(**GIVEN), tracer.start_as_current_span("outer"):
        tracer.start_span("inner").end()
    assert [dict(span.attributes) for span in exporter.get_finished_spans()] == [ATTRIBUTES, ATTRIBUTES]


def test_with_a_batch_exporter():
    """The fields are exported by a batch processor as by a simple one."""
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    provider.add_span_processor(otelier.AgentSpanProcessor())
    with otelier.context(**GIVEN):
        provider.get_tracer("tests").start_span("work").end()
    provider.shutdown()
    assert [dict(span.attributes) for span in exporter.get_finished_spans()] == [ATTRIBUTES]


class RecordOnly(Sampler):
    def should_sample(self, *args, **kwargs):
        return SamplingResult(Decision.RECORD_ONLY)

    def get_description(self):
        return "RecordOnly"


@pytest.mark.parametrize(
    ("sampler", "recorded"),
    [(ALWAYS_ON, True), (ALWAYS_OFF, False), (RecordOnly(), True), (TraceIdRatioBased(0), False)],
    ids=["on", "off", "record only", "ratio 0"],
)
def test_any_sampler_will_do(sampler, recorded):
    """Spans carry the fields whenever they are recorded, and unrecorded ones are no trouble."""
    provider = TracerProvider(sampler=sampler)
    provider.add_span_processor(otelier.AgentSpanProcessor())
    with otelier.context(**GIVEN), provider.get_tracer("tests").start_as_current_span("work") as span:
        assert span.is_recording() is recorded
        assert dict(getattr(span, "attributes", {})) == (ATTRIBUTES if recorded else {})
        otelier.set_context(user_id="u-2")
        assert otelier.get_context().user_id == "u-2"


def test_below_an_unsampled_span_the_fields_hold(spans):
    """Fields set below an unsampled request reach every span that is sampled later, and no other request."""
    unsampled = TracerProvider(sampler=ALWAYS_OFF)
    unsampled.add_span_processor(otelier.AgentSpanProcessor())
    with unsampled.get_tracer("tests").start_as_current_span("request", kind=SpanKind.SERVER):
        otelier.set_context(user_id="u-1")
        with spans.tracer.start_as_current_span("root", context=Context()):
            pass
        seen = otelier.get_context().user_id
    assert (seen, otelier.get_context().user_id) == ("u-1", None)
    assert spans["root"] == {}


@pytest.mark.parametrize("most", [0, 1, 3])
def test_attribute_limits_are_the_sdks_own_matter(most):
    """A provider that keeps only a few attributes keeps that few, and nothing fails."""
    recorded = Spans()
    provider = TracerProvider(span_limits=SpanLimits(max_span_attributes=most))
    provider.add_span_processor(otelier.AgentSpanProcessor())
    recorded.tracer = provider.get_tracer("tests")
    with otelier.context(**GIVEN), recorded.open("work") as span:
        otelier.set_context(user_id="u-2")
        assert len(span.attributes) <= most


def test_value_limits_are_the_sdks_own_matter():
    """A provider that shortens values shortens ours."""
    provider = TracerProvider(span_limits=SpanLimits(max_span_attribute_length=4))
    provider.add_span_processor(otelier.AgentSpanProcessor())
    with provider.get_tracer("tests").start_as_current_span("work") as span:
        otelier.set_context(user_id="first-user")
        assert span.attributes["user.id"] == "firs"


class Broken:
    """A span of some other make that fails whatever is asked of it."""

    kind = SpanKind.INTERNAL

    def __getattr__(self, name):
        raise LookupError(name)

    def set_attributes(self, attributes):
        raise LookupError("set_attributes")


def test_no_exception_ever_leaves(caplog):
    """A failure inside the processor is logged once and never reaches the program."""
    raise_faults(False)
    processor = otelier.AgentSpanProcessor()
    with otelier.context(**GIVEN):
        for _ in range(3):
            processor.on_start(Broken(), Context())
            processor.on_start(Broken())
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "u-1" not in caplog.text


def test_the_users_call_happens_once_beside_a_failing_processor(caplog):
    """With a processor that fails at each span, the traced function still runs once and gives its own result."""
    raise_faults(False)

    class Failing(otelier.AgentSpanProcessor):
        def on_start(self, span, parent_context=None):
            super().on_start(Broken(), parent_context)

    provider = TracerProvider()
    provider.add_span_processor(Failing())
    calls = []
    with otelier.context(**GIVEN), provider.get_tracer("tests").start_as_current_span("work"):
        calls.append("once")
    assert calls == ["once"]


def test_it_shuts_down_and_flushes_like_any_processor():
    """`shutdown` and `force_flush` are allowed at any time, and the processor goes on stamping."""
    processor = otelier.AgentSpanProcessor()
    provider = TracerProvider()
    provider.add_span_processor(processor)
    assert processor.force_flush() is not False
    processor.shutdown()
    with otelier.context(**GIVEN):
        assert dict(provider.get_tracer("tests").start_span("work").attributes) == ATTRIBUTES
