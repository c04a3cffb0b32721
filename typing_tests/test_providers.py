"""The processors fit where OpenTelemetry's types are asked for; read by mypy, never run."""

from __future__ import annotations

from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

import otelier

spans: SpanProcessor = otelier.AgentSpanProcessor()
logs: LogRecordProcessor = otelier.ContextLogProcessor()

otelier.init(tracer_provider=TracerProvider(), meter_provider=MeterProvider(), logger_provider=LoggerProvider())
otelier.init(tracer_provider=MeterProvider())  # type: ignore[arg-type]
