"""A tool that failed: what its model is told, and the log record by which its author finds the place."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import get_current
from opentelemetry.util.types import AnyValue

from otelier import names
from otelier.signals import (
    ContentGate,
    error_type,
    failure_of,
    fit_text,
    logger_of,
    redact_start,
    report_fault,
    stack_of,
)

MAX_CHARS: Final = 8_192
"""Longest message of an error that a log record tells."""
_MAX_MEMBERS: Final = 8
"""Errors of a group that are named."""


def told_of(error: BaseException, max_chars: int) -> str:
    """Return what a model is told of *error*: its class and its message, redacted; of a group what failed inside.

    Example:
        >>> told_of(KeyError("postgres://app:s3cret@db/orders"), 100)
        "Error: KeyError: 'postgres://app:[REDACTED:password]@db/orders'"
    """
    text = _words(error)
    members = [_words(one) for one in _members(error)]
    if members:
        more = len(members) - _MAX_MEMBERS
        text += f" [{'; '.join(members[:_MAX_MEMBERS])}{f'; and {more} more' if more > 0 else ''}]"
    return _whole(redact_start(f"Error: {text}", max_chars))


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
            attributes[names.EXCEPTION_MESSAGE] = _whole(gate.text(message, MAX_CHARS))
        now = time.time_ns()
        logger_of(names.SCOPE_AGENTS).emit(
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


def _whole(text: str) -> str:
    """Return *text* without halves of UTF-16 pairs, which no request and no exporter can carry."""
    return text.encode("utf-8", "replace").decode()


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {failure_of(error).message or ''}"


def _members(error: BaseException) -> Iterator[BaseException]:
    """Yield what failed inside a group, and inside groups in it."""
    # Python 3.10 knows no groups, and those of packages there have no common class: they are known by their members.
    members: Any = getattr(error, "exceptions", None)
    for one in members if isinstance(members, tuple) else ():  # pyright: ignore[reportUnknownVariableType]
        if isinstance(one, BaseException):
            below = list(_members(one))
            yield from below or [one]
