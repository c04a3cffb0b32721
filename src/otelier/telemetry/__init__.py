"""Telemetry: providers, spans, metric points and events; knows no agent and needs the OpenTelemetry API only."""

from __future__ import annotations

from otelier.telemetry._aside import do_aside, finish_aside, on_a_loop
from otelier.telemetry._bounds import MAX_NUMBER, MAX_TEXTS, fit_count, fit_text, fit_texts, may_tell
from otelier.telemetry._by_identity import ByIdentity
from otelier.telemetry._events import emit_event, event_record, log_to, logger_of
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
from otelier.telemetry._meters import measure_to, measured_by, metering_of
from otelier.telemetry._point_queue import PointQueue
from otelier.telemetry._point_queues import drain_all, point_queue
from otelier.telemetry._spans import end_span, fail_span, foreign_fault, start_client_span
from otelier.telemetry._suppression import EMBEDDING_SUPPRESSORS, FETCH_SUPPRESSORS, INFERENCE_SUPPRESSORS, suppressed
from otelier.telemetry._threads import in_thread
from otelier.telemetry._tracers import trace_to, tracer

__all__ = [
    "EMBEDDING_SUPPRESSORS",
    "FETCH_SUPPRESSORS",
    "INFERENCE_SUPPRESSORS",
    "MAX_MEMBERS",
    "MAX_NUMBER",
    "MAX_TEXTS",
    "ByIdentity",
    "Failure",
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
    "is_leaving",
    "log_to",
    "logger_of",
    "lost",
    "may_tell",
    "measure_to",
    "measured_by",
    "metering_of",
    "observe_losses",
    "on_a_loop",
    "point_queue",
    "run_histogram",
    "say_late",
    "say_sum",
    "stack_of",
    "start_client_span",
    "suppressed",
    "token_histogram",
    "tool_calls_histogram",
    "tool_histogram",
    "trace_to",
    "tracer",
]
