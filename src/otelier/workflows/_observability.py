"""Logs, metrics and spans of a body: reported once, however often the body runs."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Generator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry import context as context_api
from opentelemetry.metrics import Meter
from opentelemetry.trace import Span
from opentelemetry.util.types import AnyValue, AttributeValue

from otelier import names
from otelier.errors import RunCancelled, RunStopped
from otelier.faults import on_reset, warn_once
from otelier.redaction import content_gate, has_masks, json_of, masked, redact_value
from otelier.telemetry import Metering, live, start_operation, within_cardinality
from otelier.workflows._body import CURRENT_STEP, Body

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter

_MAX_METRICS: Final = 100
"""Names of metrics of one process: each is a set of time series."""
_METRIC_NAME: Final = re.compile(r"[A-Za-z][-_./A-Za-z0-9]{0,254}\Z")
_PLAIN: Final = (str, bool, int, float)


# --- logs --------------------------------------------------------------------------------------------------------
class RunLogger(_Adapter):
    """A logger of the handler's module, which is silent while the body runs again what it ran before.

    Records carry `otelier.run.id`, in a step `otelier.step.id` too, and what `extra=` says. Secrets that were read by
    `ctx.secrets()` are masked in them.
    """

    def __init__(self, body: Body) -> None:
        logger = logging.getLogger(body.handler.__module__)
        logger.addFilter(_mask_record)
        super().__init__(logger, {})
        self._body = body

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 -- of `logging`
        """Return whether a record of *level* is made: none in a replay."""
        return not self._body.is_silent() and super().isEnabledFor(level)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the ids of the run and the step to what `extra=` says."""
        extra: dict[str, Any] = {names.RUN_ID: self._body.run.id, **(kwargs.get("extra") or {})}
        scope = CURRENT_STEP.get()
        if scope is not None:
            extra.setdefault(names.STEP_ID, scope.step_id)
        kwargs["extra"] = extra
        return msg, kwargs


def _mask_record(record: logging.LogRecord) -> bool:
    """Mask in a record what was read as a secret; nothing is done where none was."""
    if has_masks():
        text = record.getMessage()
        if (shown := masked(text)) != text:
            record.msg, record.args = shown, ()
        for name, value in list(record.__dict__.items()):
            if isinstance(value, str):
                record.__dict__[name] = masked(value)
    return True


# --- metrics -----------------------------------------------------------------------------------------------------
class _Instruments:
    """Counters and histograms of one meter, by name."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.made: dict[tuple[str, str], Any] = {}


_metering: Final = Metering(names.SCOPE_WORKFLOWS, _Instruments)
_kinds: dict[str, str] = {}
"""Kind of each metric of this process."""
on_reset(_kinds.clear)


class RunMetrics:
    """Records metrics, but while the body runs again what it ran before.

    A process has at most 100 names of metrics, and of each attribute 200 values: others are left out, with a warning.
    What cannot be recorded warns once and raises nothing, since a replay would not raise it.
    """

    def __init__(self, body: Body) -> None:
        self._body = body

    def increment(self, name: str, value: float = 1, **attributes: AttributeValue) -> None:
        """Add *value*, 0 or more, to the counter of a name."""
        if self._takes(name, value, "counter", at_least=0):
            self._instrument(name, "counter").add(value, _metric_attributes(name, attributes))

    def observe(self, name: str, value: float, **attributes: AttributeValue) -> None:
        """Record *value* in the histogram of a name."""
        if self._takes(name, value, "histogram", at_least=-math.inf):
            self._instrument(name, "histogram").record(value, _metric_attributes(name, attributes))

    def _takes(self, name: Any, value: Any, kind: str, *, at_least: float) -> bool:
        if self._body.is_silent():
            return False
        if not isinstance(name, str) or _METRIC_NAME.match(name) is None:
            warn_once(
                "workflows.metric_name",
                "A metric of `ctx.metrics()` is not recorded: its name must begin with a letter, and have at most 255 "
                "letters, digits and characters of `_.-/`.",
            )
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or not _is_finite(value):
            warn_once("workflows.metric_value", "A metric of `ctx.metrics()` is not recorded: give a finite number.")
        elif value < at_least:
            warn_once(
                "workflows.metric_negative",
                "A metric of `ctx.metrics()` is not recorded: a counter only grows. Use `observe` for what falls, too.",
            )
        elif name not in _kinds and len(_kinds) >= _MAX_METRICS:
            warn_once(
                "workflows.metric_names",
                "Further metrics of `ctx.metrics()` are not recorded: %d names are the limit. Put what varies into "
                "attributes.",
                _MAX_METRICS,
            )
        elif _kinds.setdefault(name, kind) != kind:
            warn_once(
                "workflows.metric_kind",
                "A metric of `ctx.metrics()` is incremented and observed: the second is not recorded. Use two names.",
            )
        else:
            return True
        return False

    def _instrument(self, name: str, kind: str) -> Any:
        instruments, _ = _metering.now()
        found = instruments.made.get((name, kind))
        if found is None:
            meter = instruments.meter
            found = meter.create_counter(name) if kind == "counter" else meter.create_histogram(name)
            instruments.made[name, kind] = found
        return found


def _metric_attributes(metric: str, given: Mapping[str, Any]) -> dict[str, AttributeValue]:
    return {name: value for name, value in shown(given).items() if within_cardinality(name, value, metric)}


# --- spans -------------------------------------------------------------------------------------------------------
class Tracing:
    """Opens spans: `with ctx.trace_span().start("external_api_call", service="payments"):`."""

    def __init__(self, body: Body) -> None:
        self._body = body

    @contextmanager
    def start(self, name: str, **attributes: AttributeValue) -> Generator[Span]:
        """Open a span until the block ends, and return it.

        In a body it is exported once: by the life in which it ends, with the same id in each.

        Args:
            name: The span's name.
            **attributes: What it is born with.
        """
        body = self._body
        base = context_api.get_current()
        is_here, is_silent = body.is_here(), body.is_silent()
        operation = start_operation(
            name,
            live(base),
            scope=names.SCOPE_WORKFLOWS,
            attributes=shown(attributes),
            # An earlier life may have exported what stands below it, and the next one may end it.
            span_context=body.spans.next_span(name) if is_here else None,
            start_time_ns=body.spans.now_ns if is_here and is_silent else None,
            gate=content_gate(),
            is_failure=lambda error: not isinstance(error, RunStopped),
        )
        operation.base = base  # what is reported below is held back as before
        with operation:
            try:
                yield operation.span
            except RunStopped as exc:
                body.is_left = not isinstance(exc, RunCancelled)
                operation.attributes[names.CANCELLED] = True
                raise
            finally:
                operation.withheld = body.is_silent()  # another life reports it


def shown(given: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """Return attributes as signals carry them: redacted, and what is no plain value as JSON text."""
    redacted = cast("dict[str, Any]", redact_value(dict(given)))
    return {name: _shown(value) for name, value in redacted.items() if value is not None}


def _shown(value: Any) -> AttributeValue:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, list):
        items = cast("list[Any]", value)
        if items and type(items[0]) in _PLAIN and all(type(item) is type(items[0]) for item in items):
            return items
    return json_of(cast("AnyValue", value))


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False
