"""The fields on every log record, written before it is exported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk._logs import LogRecordProcessor

from otelier.fields import fitting, state_of
from otelier.processors._present import without_present
from otelier.signals import report_fault

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import ReadWriteLogRecord


class ContextLogProcessor(LogRecordProcessor):
    """Stamp each log record with the fields of its context, sampled or not: the same attributes as on spans.

    Attributes that a record has are kept; under a limit on their number ours take the room that is left. The
    processor must stand before the ones that export, since a record may be gone after them; `otelier.init` and
    `opentelemetry-instrument` put it there.

    Example:
        >>> import otelier
        >>> from opentelemetry.sdk._logs import LoggerProvider
        >>> provider = LoggerProvider()
        >>> provider.add_log_record_processor(otelier.ContextLogProcessor())
    """

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Write the fields to *log_record*; see `LogRecordProcessor.on_emit`."""
        try:
            record = log_record.log_record
            attributes = state_of(record.context).attributes
            if not attributes:
                return
            present: Any = record.attributes
            if present is None:
                present = record.attributes = {}
            ours = without_present(attributes, present) if present else attributes
            # OpenTelemetry logs a warning for each value that it cuts or drops: where log records are exported, that is
            # one more record to stamp, with the same value.
            present.update(fitting(ours, present))
        except Exception as exc:
            report_fault("processors.log", exc)

    def shutdown(self) -> None:
        """Do nothing: the processor holds nothing."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Return `True`: nothing waits here."""
        return True
