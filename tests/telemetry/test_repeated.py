"""Spans that code starts which runs again after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otelier.telemetry import repeat_spans, repeated_start_ns, start_operation, use_providers, would_sample


class Life:
    """A life that has spans of the ids 7, 8 and so on."""

    def __init__(self, *, start_ns: int | None = None, is_withheld: bool = False) -> None:
        self._start_ns, self._is_withheld = start_ns, is_withheld
        self.names: list[str] = []

    def next_span_id(self, name: str) -> int:
        self.names.append(name)
        return 6 + len(self.names)

    def start_ns(self) -> int | None:
        return self._start_ns

    def is_withheld(self) -> bool:
        return self._is_withheld


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> Iterator[TracerProvider]:
    made = TracerProvider(shutdown_on_exit=False)
    made.add_span_processor(SimpleSpanProcessor(exporter))
    yield made
    repeat_spans(None)
    made.shutdown()


def test_spans_get_their_ids_in_each_life(provider: TracerProvider, exporter: InMemorySpanExporter):
    """Tracers that were made before or after it give the ids they are told, and the recorded start in a replay."""
    tracers = [provider.get_tracer("early")]
    repeat_spans(Life(start_ns=5))
    tracers.append(provider.get_tracer("late"))
    for tracer in tracers:
        with tracer.start_as_current_span("outer"):
            tracer.start_span("given", start_time=9).end()
    assert repeated_start_ns() == 5
    repeat_spans(None)
    assert repeated_start_ns() is None
    tracers[0].start_span("other").end()
    found = [(span.name, span.context.span_id, span.start_time) for span in exporter.get_finished_spans()]
    assert found[:4] == [("given", 8, 9), ("outer", 7, 5), ("given", 10, 9), ("outer", 9, 5)]
    assert found[4][0] == "other"
    assert found[4][1] > 10


def test_spans_of_another_life_are_withheld(provider: TracerProvider, exporter: InMemorySpanExporter):
    """What another life exports ends without its sampled flag; ending it twice is what it always was."""
    repeat_spans(Life(is_withheld=True))
    with provider.get_tracer("tests").start_as_current_span("work") as span:
        assert span.get_span_context().trace_flags.sampled
    assert not span.is_recording()
    assert not span.get_span_context().trace_flags.sampled
    assert exporter.get_finished_spans() == ()


def test_other_tasks_are_not_repeated(provider: TracerProvider):
    """It holds in the task that asked for it, and in those that it starts."""
    life = Life()

    async def body() -> None:
        repeat_spans(life)
        provider.get_tracer("tests").start_span("mine").end()

    async def main() -> None:
        await asyncio.create_task(body())
        provider.get_tracer("tests").start_span("other").end()

    asyncio.run(main())
    assert life.names == ["mine"]


def test_operations_with_ids_are_left_alone(provider: TracerProvider):
    """An operation that is given its ids is not asked about."""
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext

    use_providers(tracer_provider=provider)
    life = Life()
    repeat_spans(life)
    operation = start_operation("work", Context(), scope="tests", span_context=SpanContext(1, 2, is_remote=False))
    operation.end()
    assert operation.span.get_span_context().span_id == 2
    assert life.names == []


def test_a_sampler_is_asked_without_a_span(provider: TracerProvider, exporter: InMemorySpanExporter):
    """The provider in use says what its sampler would, and no span is made."""
    assert would_sample("tests", 1, "work", {}) is None
    use_providers(tracer_provider=provider)
    assert would_sample("tests", 1, "work", {}) is True
    use_providers(tracer_provider=TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False))
    assert would_sample("tests", 1, "work", {}) is False
    assert exporter.get_finished_spans() == ()
