"""A program that logfire sets up, before or after otelier is switched on."""

from __future__ import annotations

import json
import sys

import logfire
from opentelemetry import trace
from opentelemetry._logs import LogRecord, get_logger
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otelier

SPANS, LOGS = InMemorySpanExporter(), InMemoryLogRecordExporter()


def configure() -> None:
    """Let logfire set up what exports here, and nowhere else; it shuts down what it had set up before."""
    global SPANS, LOGS
    SPANS, LOGS = InMemorySpanExporter(), InMemoryLogRecordExporter()
    logfire.configure(
        send_to_logfire=False,
        console=False,
        additional_span_processors=[SimpleSpanProcessor(SPANS)],
        advanced=logfire.AdvancedOptions(log_record_processors=[SimpleLogRecordProcessor(LOGS)]),
    )


def main() -> None:
    """Switch on in the order that was asked for, work, and print what was exported."""
    for step in sys.argv[1:]:
        configure() if step == "logfire" else otelier.init(app="shop")
    with otelier.context(user_id="u-1", agent="billing"):
        with trace.get_tracer("app").start_as_current_span("work"):
            get_logger("app").emit(LogRecord(body="said"))
        logfire.info("told")
    spans = {span.name: dict(span.attributes or {}) for span in SPANS.get_finished_spans()}
    records = [data.log_record for data in LOGS.get_finished_logs()]
    said = [dict(record.attributes or {}) for record in records if record.body == "said"]
    found = [[one.get("user.id"), one.get("otelier.agent.source")] for one in (spans["work"], spans["told"], *said)]
    print(json.dumps([found, otelier.flush()]), file=sys.stdout)  # noqa: T201


if __name__ == "__main__":
    main()
