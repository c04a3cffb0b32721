"""Log events of our own: emitted as log records with a name, and nested no deeper than OTLP allows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, cast

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.util.types import AnyValue

from otelier.redaction import json_of
from otelier.telemetry._providers import logger_for
from otelier.telemetry._suppression import is_replaying

MAX_LEVELS: Final = 80
"""Messages of protobuf that one attribute nests: for more than 100, six of them around it, a whole batch is refused."""
_OF_MAPPING: Final = 3
_OF_LIST: Final = 2
_FLAT: Final = frozenset((str, int, float, bool, type(None)))


def emit_event(
    scope: str, name: str, attributes: Mapping[str, AnyValue], context: Context, *, failure: str | None = None
) -> None:
    """Emit a log record that is an event; without a logger provider, and in a replay, nothing happens.

    Args:
        scope: Name of the instrumentation scope, from `otelier.names`.
        name: The event's name, from `otelier.names`.
        attributes: Its data, structured: lists and mappings stay what they are.
        context: Holds the span it belongs to, and the fields that the log processor stamps.
        failure: Sentence about what failed, the body of a record of severity ERROR; `None` where nothing failed.

    Example:
        >>> from opentelemetry import context
        >>> emit_event("otelier.docs", "docs.example", {"answer": 42}, context.get_current())
    """
    if not is_replaying(context):
        record = event_record(name, attributes, context)
        if failure is not None:
            record.body, record.severity_text = failure, "ERROR"
            record.severity_number = SeverityNumber.ERROR
        logger_for(scope).emit(record)


def event_record(name: str, attributes: Mapping[str, AnyValue], context: Context) -> LogRecord:
    """Return the log record that is an event, for a logger to emit; the arguments are as for `emit_event`.

    Data nested too deeply for OTLP is JSON text in it.

    Example:
        >>> from opentelemetry import context
        >>> event_record("docs.example", {"answer": 42}, context.get_current()).event_name
        'docs.example'
    """
    now = time.time_ns()
    if not _is_shallow(attributes):
        attributes = {name: _fit(value) for name, value in attributes.items()}
    return LogRecord(timestamp=now, observed_timestamp=now, context=context, event_name=name, attributes=attributes)


def _is_shallow(value: object) -> bool:
    """Tell whether *value* nests so little that nobody needs to count: that takes a third of the time."""
    below = [value]
    for _ in range(MAX_LEVELS // _OF_MAPPING):
        below = [item for each in below if type(each) not in _FLAT for item in _items_of(each)]
        if not below:
            return True
    return False


def _items_of(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return cast("dict[str, object]", value).values()
    return cast("Sequence[object]", value) if isinstance(value, (list, tuple)) else ()


def _fit(value: AnyValue) -> AnyValue:
    return _flattened(value, MAX_LEVELS) if _levels(value) > MAX_LEVELS else value


def _levels(value: object) -> int:
    if isinstance(value, dict):
        return _OF_MAPPING + max(map(_levels, cast("dict[str, object]", value).values()), default=0)
    if isinstance(value, (list, tuple)):
        return _OF_LIST + max(map(_levels, cast("Sequence[object]", value)), default=0)
    return 0


def _flattened(value: AnyValue, left: int) -> AnyValue:
    """Return *value* with JSON text in place of what takes more than *left* levels."""
    if isinstance(value, dict):
        if left < _OF_MAPPING:
            return json_of(value)
        return {name: _flattened(item, left - _OF_MAPPING) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        if left < _OF_LIST:
            return json_of(value)
        return [_flattened(item, left - _OF_LIST) for item in value]
    return value
