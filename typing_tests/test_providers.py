"""The processors and the instrumentor fit where OpenTelemetry's types are asked for; read by mypy, never run."""

from __future__ import annotations

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

import otelier
from otelier.openai import OpenAIInstrumentor

spans: SpanProcessor = otelier.AgentSpanProcessor()
logs: LogRecordProcessor = otelier.ContextLogProcessor()
instrumentor: BaseInstrumentor = OpenAIInstrumentor()

otelier.init(tracer_provider=TracerProvider(), meter_provider=MeterProvider(), logger_provider=LoggerProvider())
otelier.init(tracer_provider=MeterProvider())  # type: ignore[arg-type]
