"""Metrics of workflows: how long steps and waits take, how many bodies are in this process, and how runs stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation
from opentelemetry.util.types import AttributeValue

from otelier import names
from otelier.faults import on_fork, on_reset
from otelier.telemetry import Metering, OperationPoint, tenant_attributes, within_cardinality
from otelier.workflows._observed import observe, observe_engines
from otelier.workflows.engines import Engine

_STEP_SECONDS: Final = tuple(0.01 * 2**power for power in range(18))
"""0.01, doubling to 1310.72."""
_WAIT_SECONDS: Final = tuple(0.1 * 4**power for power in range(13))
"""0.1, times four each, to 1,677,721.6: 19 days."""
_active: Counter[str] = Counter()
"""Bodies in this process, by handler."""
on_fork(_active.clear)


@on_reset
def _forget_past() -> None:
    for handler in [handler for handler, count in _active.items() if not count]:
        del _active[handler]


@dataclass(frozen=True, slots=True)
class _Instruments:
    steps: Histogram
    waits: Histogram


def _instruments(meter: Meter) -> _Instruments:
    meter.create_observable_up_down_counter(
        names.WORKFLOW_ACTIVE, callbacks=[_observe], unit="{run}", description="Bodies of runs in this process."
    )
    observe_engines(meter)
    return _Instruments(
        steps=meter.create_histogram(
            names.STEP_DURATION,
            unit="s",
            description="Duration of executions of steps.",
            explicit_bucket_boundaries_advisory=_STEP_SECONDS,
        ),
        waits=meter.create_histogram(
            names.WAIT_DURATION,
            unit="s",
            description="Duration of waits of runs.",
            explicit_bucket_boundaries_advisory=_WAIT_SECONDS,
        ),
    )


_METERING: Final = Metering(names.SCOPE_WORKFLOWS, _instruments)


def _observe(_: CallbackOptions) -> Iterable[Observation]:
    bounded: Counter[str] = Counter()
    for handler, count in list(_active.items()):
        bounded[_bounded(names.HANDLER, handler)] += count
    return [Observation(count, {names.HANDLER: handler}) for handler, count in bounded.items()]


def body_entered(handler: str) -> None:
    """Count a body that is in this process from now on."""
    _METERING.now()
    _active[handler] += 1


def worker_entered(engine: Engine) -> None:
    """Observe the runs of an engine, as long as this process drives them."""
    _METERING.now()
    observe(engine)


def body_left(handler: str) -> None:
    """Count it no more; its handler is still observed, as 0."""
    _active[handler] -= 1


def _bounded(attribute: str, value: str) -> str:
    return value if within_cardinality(attribute, value) else names.OTHER


class StepPoint(OperationPoint[_Instruments]):
    """One execution of a step: its duration."""

    __slots__ = ("handler", "step", "tenant")

    def __init__(self, handler: str, step: str, tenant: str | None) -> None:
        super().__init__(_METERING)
        self.handler = handler
        self.step = step
        self.tenant = tenant

    def record_on(self, instruments: _Instruments, context: Context) -> None:
        """Record the execution."""
        attributes: dict[str, AttributeValue] = {
            names.HANDLER: _bounded(names.HANDLER, self.handler),
            names.STEP_NAME: _bounded(names.STEP_NAME, self.step),
            **tenant_attributes(self.tenant),
            **self.error_attributes(),
        }
        instruments.steps.record(self.seconds, attributes, context)


class WaitPoint(OperationPoint[_Instruments]):
    """One wait of a run: its duration."""

    __slots__ = ("handler", "kind", "outcome", "tenant")

    def __init__(self, handler: str, kind: str, outcome: str, tenant: str | None) -> None:
        super().__init__(_METERING)
        self.handler = handler
        self.kind = kind
        self.outcome = outcome
        self.tenant = tenant

    def record_on(self, instruments: _Instruments, context: Context) -> None:
        """Record the wait."""
        attributes: dict[str, AttributeValue] = {
            names.HANDLER: _bounded(names.HANDLER, self.handler),
            names.WAIT_KIND: self.kind,
            names.WAIT_OUTCOME: self.outcome,
            **tenant_attributes(self.tenant),
        }
        instruments.waits.record(self.seconds, attributes, context)
