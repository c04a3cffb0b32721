"""Signals: the guard, patches, the queue of metric points, span and log helpers, content gate, redaction, and
threads that a loop waits for.

This room knows no agent and needs only the OpenTelemetry API. Importing it imports only the guard, which the context
rooms need and which is part of `import otelier`; every other name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from otelier.signals._guard import count_fault, on_fork, on_reset, raise_faults, report_fault, run_resets, warn_once

if TYPE_CHECKING:
    from otelier.signals._aside import do_aside, finish_aside, on_a_loop
    from otelier.signals._bounds import MAX_NUMBER, MAX_TEXTS, fit_count, fit_text, fit_texts, may_tell
    from otelier.signals._by_identity import ByIdentity
    from otelier.signals._content import MOST_ON_A_LOOP, ContentGate, ContentMode, content_gate, json_of
    from otelier.signals._events import emit_event, event_record, log_to, logger_of
    from otelier.signals._failures import (
        MAX_MEMBERS,
        Failure,
        error_type,
        errors_in,
        failure_of,
        group_members,
        is_leaving,
        stack_of,
    )
    from otelier.signals._instruments import (
        chunk_histogram,
        duration_histogram,
        first_chunk_histogram,
        inference_calls_histogram,
        run_histogram,
        token_histogram,
        tool_calls_histogram,
        tool_histogram,
    )
    from otelier.signals._losses import count_lost, lost, observe_losses, say_late, say_sum
    from otelier.signals._meters import measure_to, measured_by, metering_of
    from otelier.signals._nested import Later, TooLongError, copied, redact_value
    from otelier.signals._patches import Patches, PatchPoint, Wrapper, is_patch, is_patched
    from otelier.signals._point_queue import PointQueue
    from otelier.signals._point_queues import drain_all, point_queue
    from otelier.signals._points import Point
    from otelier.signals._reading import read_setting, warn_of_setting
    from otelier.signals._redaction import Redactor, redact, redact_start, set_redactions
    from otelier.signals._spans import end_span, fail_span, foreign_fault, start_client_span
    from otelier.signals._stream_room import StreamRoom
    from otelier.signals._suppression import (
        EMBEDDING_SUPPRESSORS,
        FETCH_SUPPRESSORS,
        INFERENCE_SUPPRESSORS,
        SUPPRESSORS,
        suppressed,
    )
    from otelier.signals._threads import in_thread
    from otelier.signals._tracers import trace_to, tracer

__all__ = [
    "EMBEDDING_SUPPRESSORS",
    "FETCH_SUPPRESSORS",
    "INFERENCE_SUPPRESSORS",
    "MAX_MEMBERS",
    "MAX_NUMBER",
    "MAX_TEXTS",
    "MOST_ON_A_LOOP",
    "SUPPRESSORS",
    "ByIdentity",
    "ContentGate",
    "ContentMode",
    "Failure",
    "Later",
    "PatchPoint",
    "Patches",
    "Point",
    "PointQueue",
    "Redactor",
    "StreamRoom",
    "TooLongError",
    "Wrapper",
    "chunk_histogram",
    "content_gate",
    "copied",
    "count_fault",
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
    "is_patch",
    "is_patched",
    "json_of",
    "log_to",
    "logger_of",
    "lost",
    "may_tell",
    "measure_to",
    "measured_by",
    "metering_of",
    "observe_losses",
    "on_a_loop",
    "on_fork",
    "on_reset",
    "point_queue",
    "raise_faults",
    "read_setting",
    "redact",
    "redact_start",
    "redact_value",
    "report_fault",
    "run_histogram",
    "run_resets",
    "say_late",
    "say_sum",
    "set_redactions",
    "stack_of",
    "start_client_span",
    "suppressed",
    "token_histogram",
    "tool_calls_histogram",
    "tool_histogram",
    "trace_to",
    "tracer",
    "warn_of_setting",
    "warn_once",
]

_HOMES = {
    "_aside": ("do_aside", "finish_aside", "on_a_loop"),
    "_bounds": ("MAX_NUMBER", "MAX_TEXTS", "fit_count", "fit_text", "fit_texts", "may_tell"),
    "_by_identity": ("ByIdentity",),
    "_content": ("MOST_ON_A_LOOP", "ContentGate", "ContentMode", "content_gate", "json_of"),
    "_events": ("emit_event", "event_record", "log_to", "logger_of"),
    "_failures": (
        "MAX_MEMBERS",
        "Failure",
        "error_type",
        "errors_in",
        "failure_of",
        "group_members",
        "is_leaving",
        "stack_of",
    ),
    "_instruments": (
        "chunk_histogram",
        "duration_histogram",
        "first_chunk_histogram",
        "inference_calls_histogram",
        "run_histogram",
        "token_histogram",
        "tool_calls_histogram",
        "tool_histogram",
    ),
    "_losses": ("count_lost", "lost", "observe_losses", "say_late", "say_sum"),
    "_meters": ("measure_to", "measured_by", "metering_of"),
    "_nested": ("Later", "TooLongError", "copied", "redact_value"),
    "_patches": ("PatchPoint", "Patches", "Wrapper", "is_patch", "is_patched"),
    "_point_queue": ("PointQueue",),
    "_point_queues": ("drain_all", "point_queue"),
    "_points": ("Point",),
    "_reading": ("read_setting", "warn_of_setting"),
    "_redaction": ("Redactor", "redact", "redact_start", "set_redactions"),
    "_spans": ("end_span", "fail_span", "foreign_fault", "start_client_span"),
    "_stream_room": ("StreamRoom",),
    "_suppression": (
        "EMBEDDING_SUPPRESSORS",
        "FETCH_SUPPRESSORS",
        "INFERENCE_SUPPRESSORS",
        "SUPPRESSORS",
        "suppressed",
    ),
    "_threads": ("in_thread",),
    "_tracers": ("trace_to", "tracer"),
}
_HOME_OF = {name: home for home, members in _HOMES.items() for name in members}


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value  # the next look-up is a plain one
    return value


def __dir__() -> list[str]:
    return __all__
