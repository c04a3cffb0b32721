"""A span recorder with the few questions that the tests of the context rooms ask again and again."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.trace import SpanKind

import otelier
from otelier.testing import SpanRecorder


class Spans(SpanRecorder):
    """Fresh providers, and what was exported through them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.tracer = self.tracer_provider.get_tracer("tests")

    def open(self, name: str, kind: SpanKind = SpanKind.INTERNAL, **options: Any) -> Any:
        """Start a span and make it current for a `with` block."""
        return self.tracer.start_as_current_span(name, kind=kind, **options)

    def born_here(self, name: str = "probe", **options: Any) -> dict[str, Any]:
        """Return the attributes of a span that starts, and ends, here."""
        span = self.tracer.start_span(name, **options)
        span.end()
        return dict(span.attributes)

    def named(self, name: str) -> list[dict[str, Any]]:
        """Return the attributes of every finished span of that name."""
        return [dict(span.attributes) for span in self.spans if span.name == name]

    def __getitem__(self, name: str) -> dict[str, Any]:
        return dict(self.find(name).attributes)

    def users(self, name: str) -> list[Any]:
        """Return the user of every finished span of that name."""
        return [attributes.get("user.id") for attributes in self.named(name)]


class LogCopies(InMemoryLogRecordExporter):
    """Keeps what each log record had on it when it was exported, as an exporter does that sends bytes.

    The SDK's own keeps the record itself, on which whatever comes later is seen as well.
    """

    def __init__(self) -> None:
        super().__init__()
        self.attributes: list[dict[str, Any]] = []

    def export(self, batch: Any) -> Any:
        self.attributes += [dict(one.log_record.attributes or {}) for one in batch]
        return super().export(batch)


def pools_carry() -> bool:
    """Tell whether a job of a thread pool has the fields of the code that submits it, beside a job that has none."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()  # a thread that starts in no context
        with otelier.context(user_id="carried"):
            job = pool.submit(otelier.get_context)
        return job.result().user_id == "carried" and pool.submit(otelier.get_context).result().user_id is None


@pytest.fixture
def spans() -> Iterator[Spans]:
    """A recorder whose spans must all have ended with the test."""
    recorded = Spans()
    yield recorded
    assert [span.name for span in recorded.open_spans] == []
