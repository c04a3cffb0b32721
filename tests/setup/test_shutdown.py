"""`otelier.shutdown`: what was switched on is switched off, and providers stay their owners'."""

from __future__ import annotations

import openai
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otelier
from tests.recording import pools_carry


def batched(exporter):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=60_000))
    return provider


def test_shutdown_takes_the_patches_out():
    """After `shutdown` thread pools and openai are as they were; the context goes on working."""
    create = openai.resources.chat.Completions.create
    otelier.init()
    assert pools_carry()
    otelier.shutdown()
    assert not pools_carry()
    assert openai.resources.chat.Completions.create is create
    with otelier.context(user_id="u-1"):
        assert otelier.get_context().user_id == "u-1"


def test_shutdown_flushes_and_leaves_providers_to_their_owners():
    """`shutdown` sends what waits; a provider that was given goes on working."""
    exporter = InMemorySpanExporter()
    provider = batched(exporter)
    otelier.init(tracer_provider=provider)
    provider.get_tracer("tests").start_span("before").end()
    otelier.shutdown()
    assert len(exporter.get_finished_spans()) == 1
    provider.get_tracer("tests").start_span("after").end()
    provider.force_flush()
    assert len(exporter.get_finished_spans()) == 2
    provider.shutdown()


def test_shutdown_twice_and_before_init(caplog):
    """`shutdown` is allowed at any time, and logs nothing."""
    otelier.shutdown()
    otelier.init()
    caplog.clear()  # `init` warns that there is no provider
    otelier.shutdown()
    otelier.shutdown()
    assert caplog.messages == []


def test_init_again_after_shutdown():
    """After `shutdown` the process may switch otelier on again, and spans are still stamped by one processor."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for _ in range(3):
        otelier.init(app="orchestrator", tracer_provider=provider)
        assert pools_carry()
        with otelier.context(user_id="u-1"):
            provider.get_tracer("tests").start_span("work").end()
        otelier.shutdown()
    assert [span.attributes["user.id"] for span in exporter.get_finished_spans()] == ["u-1"] * 3
