"""Metrics of what stands in the engines that this process drives: open runs, and what they ask people for.

The thread that collects reads them, never an event loop. Other processes with the same engine tell nothing of it, so
the sum over all processes is true.
"""

from __future__ import annotations

import time
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from otelier import names
from otelier.errors import EngineError
from otelier.faults import count_fault, on_fork, on_reset
from otelier.telemetry import within_cardinality
from otelier.workflows.engines import Engine
from otelier.workflows.engines.counting import CountingEngine

_engines: tuple[weakref.ref[CountingEngine], ...] = ()
"""A tuple, since other threads read it."""
_asked: set[tuple[str, str]] = set()
"""Services and names of approvals that were observed: they are 0 when nothing of that name is waited for any more."""


@on_fork
@on_reset
def _forget() -> None:
    global _engines
    _engines = ()
    _asked.clear()


def observe(engine: Engine) -> None:
    """Observe an engine while this process drives its runs, if it can count them."""
    global _engines
    if isinstance(engine, CountingEngine):
        others = (one for one in _engines if one() is not None and one() is not engine)
        _engines = (*others, weakref.ref(engine))


def observe_engines(meter: Meter) -> None:
    """Make the instruments that observe the engines."""
    meter.create_observable_up_down_counter(
        names.RUNS, callbacks=[_open_runs], unit="{run}", description="Runs that have not ended."
    )
    meter.create_observable_up_down_counter(
        names.APPROVALS_PENDING,
        callbacks=[_pending],
        unit="{approval}",
        description="Decisions that runs wait for.",
    )
    meter.create_observable_gauge(
        names.APPROVALS_OLDEST,
        callbacks=[_oldest],
        unit="s",
        description="How long the oldest decision has been waited for.",
    )


def _driven() -> list[CountingEngine]:
    return [engine for one in _engines if (engine := one()) is not None and engine.is_driving()]


def _open_runs(_: CallbackOptions) -> Iterable[Observation]:
    found: Counter[tuple[str, str]] = Counter()
    for engine in _driven():
        try:
            counts = engine.count_open()
        except EngineError:  # it cannot be read now, which the worker tells
            count_fault("workflows.observed")
            continue
        for (service, health), count in counts.items():
            found[_bounded(names.RUN_SERVICE, service), health] += count
    return [
        Observation(count, {names.RUN_SERVICE: service, names.RUN_HEALTH: health})
        for (service, health), count in found.items()
    ]


def _pending(_: CallbackOptions) -> Iterable[Observation]:
    return [Observation(count, _of(place)) for place, (count, _) in _waited_for().items()]


def _oldest(_: CallbackOptions) -> Iterable[Observation]:
    now = time.time_ns()
    return [
        Observation(max(now - first, 0) / 1e9 if count else 0.0, _of(place))
        for place, (count, first) in _waited_for().items()
    ]


def _waited_for() -> Mapping[tuple[str, str], tuple[int, int]]:
    """Return number and first time of the decisions that are waited for, by service and name."""
    engines = _driven()
    found: dict[tuple[str, str], tuple[int, int]] = {}
    if engines:
        found.update(dict.fromkeys(tuple(_asked), (0, 0)))
    for engine in engines:
        try:
            counts = engine.count_asked()
        except EngineError:
            count_fault("workflows.observed")
            continue
        for (service, name), (count, first) in counts.items():
            place = _bounded(names.RUN_SERVICE, service), _bounded(names.APPROVAL_NAME, name)
            before, earlier = found.get(place, (0, 0))
            found[place] = before + count, min(first, earlier) if before else first
    _asked.update(found)
    return found


def _of(place: tuple[str, str]) -> dict[str, str]:
    return {names.RUN_SERVICE: place[0], names.APPROVAL_NAME: place[1]}


def _bounded(attribute: str, value: str) -> str:
    return value if within_cardinality(attribute, value) else names.OTHER
