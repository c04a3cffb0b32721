"""Where metrics of our own go: a provider may be given when otelier is switched on."""

from __future__ import annotations

from opentelemetry import metrics
from opentelemetry.metrics import Meter, MeterProvider

from otelier import names
from otelier.faults import count_faults_by, on_reset
from otelier.telemetry._point_queue import PointQueue
from otelier.telemetry._point_queues import point_queue

_given: MeterProvider | None = None


def measure_to(provider: MeterProvider | None) -> None:
    """Send metrics to *provider* from now on; `None` is the global one, also when it is set later.

    Example:
        >>> measure_to(None)
    """
    global _given
    _given = provider
    count_faults_by(provider)


def measured_by() -> MeterProvider:
    """Return the provider that holds now.

    Example:
        >>> measured_by() is metrics.get_meter_provider()
        True
    """
    return metrics.get_meter_provider() if _given is None else _given


def metering_of(scope: str) -> tuple[Meter, PointQueue]:
    """Return the meter of *scope* and the queue for its points, of the provider that holds now.

    Keep them as long as `measured_by` returns the same provider.

    Example:
        >>> meter, queue = metering_of("otelier.docs")
    """
    return metrics.get_meter(scope, meter_provider=_given, schema_url=names.SCHEMA_URL), point_queue(_given)


@on_reset
def _forget() -> None:
    measure_to(None)
