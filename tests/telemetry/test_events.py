"""Events: their structured attributes are such that no exporter refuses the batch for them."""

from __future__ import annotations

import json

import pytest
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from otelier.redaction import redact_value
from otelier.telemetry import emit_event, use_providers


def nested(depth, around):
    value = "end"
    for level in range(depth):
        value = around(level, value)
    return value


def made(depth, around):
    return [{"role": "assistant", "parts": [{"arguments": nested(depth, around)}]}]


SHAPES = {
    "objects": lambda _, value: {"a": value},
    "arrays": lambda _, value: [value],
    "both": lambda level, value: {"a": value} if level % 2 else [value],
    "wide": lambda _, value: {"a": value, "b": [1], "c": None},
}


@pytest.mark.parametrize("around", SHAPES.values(), ids=SHAPES)
def test_no_depth_costs_a_batch(around):
    """Whatever a model nests, OTLP takes it, and nothing of it is missing: what is deeper stands as JSON text."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    use_providers(logger_provider=provider)
    for depth in range(64):
        value = made(depth, around)
        emit_event("test", "test", {"messages": redact_value(value)}, Context())
    # As a receiver does it, which refuses a batch with too many levels in one record.
    request = ExportLogsServiceRequest.FromString(encode_logs(exporter.get_finished_logs()).SerializeToString())
    (scope,) = (scope for resource in request.resource_logs for scope in resource.scope_logs)
    assert [[one.key for one in record.attributes] for record in scope.log_records] == [["messages"]] * 64
    for depth, data in enumerate(exporter.get_finished_logs()):
        found = data.log_record.attributes["messages"]
        assert _read(found) == _read(redact_value(made(depth, around)))


def test_what_is_not_deep_stays_structured():
    """Ordinary messages are lists and mappings, not text."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    use_providers(logger_provider=provider)
    value = [{"role": "user", "parts": [{"content": nested(20, SHAPES["objects"])}]}]
    emit_event("test", "test", {"messages": value}, Context())
    (data,) = exporter.get_finished_logs()
    assert "\\" not in json.dumps(_plain(data.log_record.attributes["messages"]))


def _plain(value):
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return value
    return {key: _plain(item) for key, item in value.items()} if hasattr(value, "items") else [*map(_plain, value)]


def _read(value):
    """The data with the JSON text in it read."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return _read(json.loads(value))
        except ValueError:
            return value
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return value
    return {key: _read(item) for key, item in value.items()} if hasattr(value, "items") else [*map(_read, value)]
