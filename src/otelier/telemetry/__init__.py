"""Telemetry: providers, operation spans, metric points and events. It knows no agent, and needs the API only."""

from __future__ import annotations

from otelier.telemetry._aside import do_aside, finish_aside, on_a_loop
from otelier.telemetry._bounds import MAX_NUMBER, MAX_TEXTS, fit_count, fit_text, fit_texts, may_tell
from otelier.telemetry._by_identity import ByIdentity
from otelier.telemetry._events import emit_event, event_record
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
from otelier.telemetry._instruments import (
    chunk_histogram,
    duration_histogram,
    first_chunk_histogram,
    inference_calls_histogram,
    run_histogram,
    token_histogram,
    tool_calls_histogram,
    tool_histogram,
)
from otelier.telemetry._losses import count_lost, lost, observe_losses, say_late, say_sum
from otelier.telemetry._operation import OTHER, OperationPoint, OperationSpan, operation_span, start_operation
from otelier.telemetry._point_queue import NOWHERE, PointQueue
from otelier.telemetry._point_queues import drain_all, point_queue
from otelier.telemetry._providers import (
    Metering,
    innermost_provider,
    is_set,
    known_providers,
    logger_for,
    logger_provider,
    meter_for,
    meter_provider,
    tracer_for,
    use_providers,
)
from otelier.telemetry._spans import end_span, fail_span, foreign_fault, start_client_span
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
    "EMBEDDING_SUPPRESSORS",
    "FETCH_SUPPRESSORS",
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
    "Metering",
    "OperationPoint",
    "OperationSpan",
    "PointQueue",
    "chunk_histogram",
    "count_lost",
    "do_aside",
    "drain_all",
    "duration_histogram",
    "emit_event",
    "end_span",
    "error_type",
    "errors_in",
    "event_record",
    "fail_span",
    "failure_of",
    "finish_aside",
    "first_chunk_histogram",
    "fit_count",
    "fit_text",
    "fit_texts",
    "foreign_fault",
    "group_members",
    "in_thread",
    "inference_calls_histogram",
    "innermost_provider",
    "is_leaving",
    "is_replaying",
    "is_set",
    "known_providers",
    "live",
    "logger_for",
    "logger_provider",
    "lost",
    "may_tell",
    "meter_for",
    "meter_provider",
    "observe_losses",
    "on_a_loop",
    "operation_span",
    "point_queue",
    "replayed",
    "run_histogram",
    "say_late",
    "say_sum",
    "stack_of",
    "start_client_span",
    "start_operation",
    "suppressed",
    "token_histogram",
    "tool_calls_histogram",
    "tool_histogram",
    "tracer_for",
    "use_providers",
]
