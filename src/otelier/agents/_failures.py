"""A tool that failed: what its model is told, and the log record by which its author finds the place."""

from __future__ import annotations

import time
from typing import Final

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import get_current
from opentelemetry.util.types import AnyValue

from otelier import names
from otelier.codec import whole_text
from otelier.faults import report_fault
from otelier.interceptors import StopExecution
from otelier.redaction import ContentGate, redact_start
from otelier.telemetry import (
    MAX_MEMBERS,
    error_type,
    errors_in,
    failure_of,
    fit_text,
    group_members,
    logger_for,
    stack_of,
)

MAX_CHARS: Final = 8_192
"""Longest message of an error that a log record tells."""


def told_of(error: BaseException, max_chars: int) -> str:
    """Return what a model is told of *error*: its class and its message, redacted; of a group what failed inside.

    Example:
        >>> told_of(KeyError("postgres://app:s3cret@db/orders"), 100)
        "Error: KeyError: 'postgres://app:[REDACTED:password]@db/orders'"
    """
    text = _words(error)
    members = [one for one in errors_in(error) if one is not error and not group_members(one)]
    if members:
        more = len(members) - MAX_MEMBERS
        text += f" [{'; '.join(map(_words, members[:MAX_MEMBERS]))}{f'; and {more} more' if more > 0 else ''}]"
    return whole_text(redact_start(f"Error: {text}", max_chars))


def tell_failure(tool: str, call_id: str, error: BaseException, gate: ContentGate) -> None:
    """Emit the log record of a call that failed, in the context of its span; never raises."""
    try:
        kind = error_type(error)
        attributes: dict[str, AnyValue] = {
            names.TOOL_NAME: tool,
            names.EXCEPTION_TYPE: kind,
            names.EXCEPTION_STACK: stack_of(error),
        }
        told_id = fit_text(call_id)
        if told_id:
            attributes[names.TOOL_CALL_ID] = told_id
        message = failure_of(error).message
        if message and gate.mode.on_event:
            attributes[names.EXCEPTION_MESSAGE] = whole_text(gate.text(message, MAX_CHARS))
        now = time.time_ns()
        logger_for(names.SCOPE_AGENTS).emit(
            LogRecord(
                timestamp=now,
                observed_timestamp=now,
                context=get_current(),
                severity_number=SeverityNumber.ERROR,
                severity_text="ERROR",
                event_name=names.TOOL_FAILED,
                body=f"Tool {tool!r} raised {kind}.",
                attributes=attributes,
            )
        )
    except Exception as exc:
        report_fault("agents.failures", exc)


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {failure_of(error).message or ''}"


def stop_in(error: BaseException) -> StopExecution | None:
    """Return the stop that *error* is, or holds: a task group raises those of its tasks in a group."""
    return next((one for one in errors_in(error) if isinstance(one, StopExecution)), None)
