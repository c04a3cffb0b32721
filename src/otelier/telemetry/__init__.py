"""Telemetry: providers, operation spans, metric points and events. It knows no agent, and needs the API only."""

from __future__ import annotations

from otelier.telemetry._aside import do_aside, finish_aside, on_a_loop
from otelier.telemetry._bounds import (
    fit_text,
    metric_tenants,
    read_metric_tenants,
    tenant_attributes,
    within_cardinality,
)
from otelier.telemetry._by_identity import ByIdentity
from otelier.telemetry._events import emit_event, event_record
from otelier.telemetry._exports import (
    renew_connections,
    start_watching_exports,
    stop_watching_exports,
    watch_exports,
)
from otelier.telemetry._failures import (
    Failure,
    errors_in,
    failure_of,
    is_leaving,
    stack_of,
)
from otelier.telemetry._flush import flush
from otelier.telemetry._losses import report_total
from otelier.telemetry._metering import Metering, genai_histogram
from otelier.telemetry._operation import OperationPoint, OperationSpan, start_operation
from otelier.telemetry._point_queue import NOWHERE, PointQueue, point_queue
from otelier.telemetry._providers import (
    has_provider,
    innermost_provider,
    meter_for,
    use_providers,
    would_sample,
)
from otelier.telemetry._repeated import RepeatedSpans, repeat_spans, repeated_start_ns
from otelier.telemetry._sdk import (
    GlobalProvider,
    exporter_of,
    give_early_meters,
    is_set,
    processors_of,
    propagators_of,
    put_first,
)
from otelier.telemetry._spans import end_span, foreign_fault
from otelier.telemetry._suppression import (
    CALL_SUPPRESSORS,
    LLM_CALL,
    LLM_REPORTER,
    is_replaying,
    live,
    replayed,
    suppressed,
)
from otelier.telemetry._threads import in_thread

__all__ = [
    "CALL_SUPPRESSORS",
    "LLM_CALL",
    "LLM_REPORTER",
    "NOWHERE",
    "ByIdentity",
    "Failure",
    "GlobalProvider",
    "Metering",
    "OperationPoint",
    "OperationSpan",
    "PointQueue",
    "RepeatedSpans",
    "do_aside",
    "emit_event",
    "end_span",
    "errors_in",
    "event_record",
    "exporter_of",
    "failure_of",
    "finish_aside",
    "fit_text",
    "flush",
    "foreign_fault",
    "genai_histogram",
    "give_early_meters",
    "has_provider",
    "in_thread",
    "innermost_provider",
    "is_leaving",
    "is_replaying",
    "is_set",
    "live",
    "meter_for",
    "metric_tenants",
    "on_a_loop",
    "point_queue",
    "processors_of",
    "propagators_of",
    "put_first",
    "read_metric_tenants",
    "renew_connections",
    "repeat_spans",
    "repeated_start_ns",
    "replayed",
    "report_total",
    "stack_of",
    "start_operation",
    "start_watching_exports",
    "stop_watching_exports",
    "suppressed",
    "tenant_attributes",
    "use_providers",
    "watch_exports",
    "within_cardinality",
    "would_sample",
]
