"""Log events of our own."""

from __future__ import annotations

import time
from collections.abc import Mapping

from opentelemetry._logs import Logger, LoggerProvider, LogRecord, get_logger
from opentelemetry.context import Context
from opentelemetry.util.types import AnyValue

from otelier import names
from otelier.signals._guard import on_reset

_given: LoggerProvider | None = None


def log_to(provider: LoggerProvider | None) -> None:
    """Take loggers from *provider* from now on; `None` is the global one, also when it is set later.

    Example:
        >>> log_to(None)
    """
    global _given
    _given = provider


def logger_of(scope: str) -> Logger:
    """Return the logger of *scope* from the provider that holds now; ask for each record, and keep none.

    Example:
        >>> from opentelemetry import context
        >>> emit_event(logger_of("otelier.docs"), "docs.example", {"answer": 42}, context.get_current())
    """
    return get_logger(scope, "", _given, names.SCHEMA_URL)


def emit_event(logger: Logger, name: str, attributes: Mapping[str, AnyValue], context: Context) -> None:
    """Emit a log record that is an event; without a logger provider nothing happens.

    Args:
        logger: Where it goes.
        name: The event's name, from `otelier.names`.
        attributes: Its data, structured: lists and mappings stay what they are.
        context: Holds the span it belongs to, and the fields that the log processor stamps.

    Example:
        >>> from opentelemetry import _logs, context
        >>> emit_event(_logs.get_logger("docs"), "docs.example", {"answer": 42}, context.get_current())
    """
    logger.emit(event_record(name, attributes, context))


def event_record(name: str, attributes: Mapping[str, AnyValue], context: Context) -> LogRecord:
    """Return the log record that is an event, for a logger to emit; the arguments are those of `emit_event`.

    Example:
        >>> from opentelemetry import context
        >>> event_record("docs.example", {"answer": 42}, context.get_current()).event_name
        'docs.example'
    """
    now = time.time_ns()
    return LogRecord(timestamp=now, observed_timestamp=now, context=context, event_name=name, attributes=attributes)


@on_reset
def _forget() -> None:
    log_to(None)
