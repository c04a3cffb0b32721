"""Losses of telemetry: a count for each signal and reason, a metric of the counts, and a log line now and then.

Losses are counted in an exporter's thread, or in a finaliser that runs in the midst of the SDK. So counting takes no
lock but ours and calls nothing of the SDK; the metric is observed, at collection. It is a sum since the start of the
process, so that it arrives when the backend is back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Final

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from otelier import names
from otelier.faults import logger, on_fork, on_reset
from otelier.telemetry._by_identity import ByIdentity

QUEUE_FULL: Final = "queue_full"
"""Reason that the conventions have for a batch processor that is full; the others are ours."""
REPEAT_S: Final = 300.0
"""Between two lines of one kind: an outage of a day is 288 lines."""
_MINUTES: Final = REPEAT_S // 60

_WORDS: Final = {"traces": "spans", "logs": "log records", "metrics": "metric points"}
_ADVICE: Final = {
    QUEUE_FULL: "more came than the exporter sent. See to the receiver first; `OTEL_BSP_MAX_QUEUE_SIZE` and "
    "`OTEL_BLRP_MAX_QUEUE_SIZE` make room for longer outages",
    "already_shutdown": "they came after their provider's shutdown. End what makes them first",
    "shutdown": "they still waited when their provider's shutdown had no more time for them",
}
_FAILED: Final = (
    "the exporter could not deliver them. It says why in its own log lines; `otelier doctor` asks the receiver"
)

_lost: dict[tuple[str, str], int] = {}
_warned_s: dict[tuple[str, str], float] = {}
_summed: int = 0
_lock = threading.RLock()  # a finaliser may end a span in the middle, whose export fails at once
_observing: ByIdentity[None] = ByIdentity()


def count_lost(signal: str, reason: str, count: int, exporter: str) -> None:
    """Count that *count* items of *signal* are lost; the first time and every five minutes a WARNING says so.

    Args:
        signal: `traces`, `logs` or `metrics`.
        reason: `error.type` of the loss: `queue_full`, `already_shutdown`, `shutdown`, `export_failed`, or the class
            of what the exporter raised.
        count: How many spans, log records or metric points.
        exporter: Class of the exporter, for the line.

    Example:
        >>> count_lost("traces", "queue_full", 0, "ConsoleSpanExporter")
    """
    if count <= 0:
        return
    with _lock:
        total = _lost[signal, reason] = _lost.get((signal, reason), 0) + count
    _warn(
        (signal, reason),
        "%d %s are lost so far (%s, %s): %s. `%s` counts them; this line comes every %d minutes at most.",
        (
            total,
            _WORDS[signal],
            reason,
            exporter,
            _ADVICE.get(reason, _FAILED),
            names.TELEMETRY_LOST,
            _MINUTES,
        ),
    )


def lost(*signals: str) -> int:
    """Return how much this process has lost, of all *signals* if none is named.

    Example:
        >>> lost("traces")
        0
    """
    with _lock:
        return sum(count for (signal, _), count in _lost.items() if signal in signals or not signals)


def report_late(reason: str, exporter: str) -> None:
    """Warn that metrics did not arrive, as rarely as of losses; the sums come with the next collection.

    Example:
        >>> report_late("export_failed", "ConsoleMetricExporter")
    """
    _warn(
        ("metrics", f"late {reason}"),
        "Metrics did not arrive (%s, %s). Sums are not lost: the next collection sends them again. The exporter's own "
        "log lines say why; this line comes every %d minutes at most.",
        (reason, exporter, _MINUTES),
    )


def report_total() -> None:
    """Warn of the sum of all losses, unless an earlier line has it.

    Example:
        >>> report_total()
    """
    global _summed
    with _lock:
        total = sum(_lost.values())
        parts = [f"{count} {_WORDS[signal]} ({reason})" for (signal, reason), count in sorted(_lost.items())]
        if total == _summed:
            return
        _summed = total
    try:
        logger.warning("This process has lost telemetry: %s.", ", ".join(parts))
    except Exception:  # a broken log handler is not the caller's trouble
        pass


def observe_losses(provider: MeterProvider) -> None:
    """Let *provider* report the losses as `otelier.telemetry.lost`, once; nothing is reported while nothing is lost.

    Example:
        >>> from opentelemetry import metrics
        >>> observe_losses(metrics.get_meter_provider())
    """
    if provider in _observing:
        return
    _observing.setdefault(provider, None)
    provider.get_meter(names.SCOPE).create_observable_counter(
        names.TELEMETRY_LOST,
        callbacks=[_observe],
        unit="{item}",
        description="Spans, log records and metric points that no exporter delivered.",
    )


def _observe(_options: CallbackOptions) -> Iterable[Observation]:
    with _lock:
        found = list(_lost.items())
    return [
        Observation(count, {names.TELEMETRY_SIGNAL: signal, names.ERROR_TYPE: reason})
        for (signal, reason), count in found
    ]


def _warn(kind: tuple[str, str], message: str, values: tuple[object, ...]) -> None:
    now = time.monotonic()
    with _lock:
        if now - _warned_s.get(kind, -REPEAT_S) < REPEAT_S:
            return
        _warned_s[kind] = now  # first: the line may be exported itself, and that fail
    try:
        logger.warning(message, *values)
    except Exception:  # a broken log handler is not the caller's trouble
        pass


@on_fork
def _begin_anew() -> None:
    global _lock
    _lock = threading.RLock()  # a thread of the parent may have held it
    _forget()


@on_reset
def _forget() -> None:
    global _summed
    _lost.clear()
    _warned_s.clear()
    _summed = 0
