"""Fresh providers, an empty context for each test, and a watch on what must never be logged."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

import otelier
from otelier.signals import raise_faults, run_resets


class Spans:
    """A provider of its own with our processor, and what was exported through it."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(otelier.AgentSpanProcessor())
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("tests")

    def open(self, name: str, kind: SpanKind = SpanKind.INTERNAL, **options: Any) -> Any:
        """Start a span and make it current for a `with` block."""
        return self.tracer.start_as_current_span(name, kind=kind, **options)

    def born_here(self, name: str = "probe", **options: Any) -> dict[str, Any]:
        """Return the attributes of a span that starts, and ends, here."""
        span = self.tracer.start_span(name, **options)
        span.end()
        return dict(span.attributes)

    def named(self, name: str) -> list[dict[str, Any]]:
        """Return the attributes of every exported span of that name."""
        return [dict(span.attributes) for span in self.exporter.get_finished_spans() if span.name == name]

    def __getitem__(self, name: str) -> dict[str, Any]:
        (attributes,) = self.named(name)
        return attributes

    def users(self, name: str) -> list[Any]:
        """Return the user of every exported span of that name."""
        return [attributes.get("user.id") for attributes in self.named(name)]


@pytest.fixture
def spans() -> Iterator[Spans]:
    recorded = Spans()
    yield recorded
    recorded.provider.shutdown()


@pytest.fixture(autouse=True)
def empty_context() -> Iterator[None]:
    """Each test starts with nothing set, leaves nothing behind, and sees every fault of ours."""
    run_resets()
    raise_faults(True)
    token = attach(Context())
    yield
    detach(token)
    raise_faults(False)
    run_resets()


@pytest.fixture(autouse=True)
def foreign_detaches() -> Iterator[list[logging.LogRecord]]:
    """OpenTelemetry's complaints about contexts; a test that leaves one here fails."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logger = logging.getLogger("opentelemetry.context")
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)
    assert [record.getMessage() for record in records] == []
