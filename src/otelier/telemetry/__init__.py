"""Telemetry: providers, operation spans, metric points and events. It knows no agent, and needs the API only."""

from __future__ import annotations

from otelier.telemetry._aside import do_aside, finish_aside, on_a_loop
from otelier.telemetry._bounds import MAX_NUMBER, MAX_TEXTS, OTHER, fit_count, fit_text, fit_texts, within_cardinality
from otelier.telemetry._by_identity import ByIdentity
from otelier.telemetry._events import emit_event, event_record
from otelier.telemetry._exports import (
    renew_connections,
    start_watching_exports,
    stop_watching_exports,
    watch_exports,
)
from otelier.telemetry._failures import (
    MAX_MEMBERS,
    Failure,
    error_type,
    errors_in,
    failure_of,
    group_members,
    is_leaving,
    stack_of,
)
from otelier.telemetry._flush import flush
from otelier.telemetry._losses import observe_losses, report_total
from otelier.telemetry._metering import Metering, genai_histogram
from otelier.telemetry._operation import OperationPoint, OperationSpan, start_operation
from otelier.telemetry._point_queue import NOWHERE, PointQueue, point_queue
from otelier.telemetry._providers import (
    innermost_provider,
    logger_for,
    logger_provider,
    meter_for,
    meter_provider,
    tracer_for,
    use_providers,
)
from otelier.telemetry._sdk import (
    EARLY_METER_PROVIDER,
    GLOBAL_LOGGER_PROVIDER,
    GLOBAL_METER_PROVIDER,
    GLOBAL_TRACER_PROVIDER,
    GlobalProvider,
    exporter_of,
    is_set,
    processors_of,
    propagators_of,
    provider_of_early_meters,
    put_first,
)
from otelier.telemetry._spans import end_span, fail_span, foreign_fault
from otelier.telemetry._suppression import (
    EMBEDDING_SUPPRESSORS,
    FETCH_SUPPRESSORS,
    INFERENCE_SUPPRESSORS,
    LLM_CALL,
    LLM_REPORTER,
    is_replaying,
    live,
    replayed,
    suppressed,
)
from otelier.telemetry._threads import in_thread

__all__ = [
    "EARLY_METER_PROVIDER",
    "EMBEDDING_SUPPRESSORS",
    "FETCH_SUPPRESSORS",
    "GLOBAL_LOGGER_PROVIDER",
    "GLOBAL_METER_PROVIDER",
    "GLOBAL_TRACER_PROVIDER",
    "INFERENCE_SUPPRESSORS",
    "LLM_CALL",
    "LLM_REPORTER",
    "MAX_MEMBERS",
    "MAX_NUMBER",
    "MAX_TEXTS",
    "NOWHERE",
    "OTHER",
    "ByIdentity",
    "Failure",
    "GlobalProvider",
    "Metering",
    "OperationPoint",
    "OperationSpan",
    "PointQueue",
    "do_aside",
    "emit_event",
    "end_span",
    "error_type",
    "errors_in",
    "event_record",
    "exporter_of",
    "fail_span",
    "failure_of",
    "finish_aside",
    "fit_count",
    "fit_text",
    "fit_texts",
    "flush",
    "foreign_fault",
    "genai_histogram",
    "group_members",
    "in_thread",
    "innermost_provider",
    "is_leaving",
    "is_replaying",
    "is_set",
    "live",
    "logger_for",
    "logger_provider",
    "meter_for",
    "meter_provider",
    "observe_losses",
    "on_a_loop",
    "point_queue",
    "processors_of",
    "propagators_of",
    "provider_of_early_meters",
    "put_first",
    "renew_connections",
    "replayed",
    "report_total",
    "stack_of",
    "start_operation",
    "start_watching_exports",
    "stop_watching_exports",
    "suppressed",
    "tracer_for",
    "use_providers",
    "watch_exports",
    "within_cardinality",
]
