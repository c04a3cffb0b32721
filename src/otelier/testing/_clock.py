"""Ids and times that are the same in each run of a test.

The SDK takes an id generator, but no clock: it calls `time.time_ns` in the modules it is made of. Patching those would
change the clock of every provider in the process. So a recorder's own tracers and spans get a class of their own,
which passes the recorder's time wherever the caller gave none; no other provider notices.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Callable
from time import time_ns
from typing import Any

from opentelemetry.sdk.trace import Span, Tracer, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Span as ApiSpan
from opentelemetry.util.types import Attributes

from otelier.names import SCOPE_WORKFLOWS
from otelier.telemetry import repeated_start_ns

Clock = Callable[[], int]

SECOND_NS = 1_000_000_000


class CountingClock:
    """A clock that is one second later each time it is asked, beginning at 1."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin at one second again."""
        self._asked: list[int] = []

    def __call__(self) -> int:
        self._asked.append(time_ns())
        return len(self._asked) * SECOND_NS

    def at(self, time_ns: int) -> int:
        """Return what it showed at a time of the wall clock, such as one that the journal of a workflow has."""
        return bisect_right(self._asked, time_ns) * SECOND_NS


class CountedIds(IdGenerator):
    """Trace ids and span ids that count from 1."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin at 1 again."""
        self._traces = itertools.count(1)
        self._spans = itertools.count(1)

    def generate_trace_id(self) -> int:
        return next(self._traces)

    def generate_span_id(self) -> int:
        return next(self._spans)


class ClockedTracerProvider(TracerProvider):
    """A tracer provider whose spans take their times from a clock."""

    def __init__(self, *, clock: Clock, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._clock = clock

    def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
        tracer: Any = super().get_tracer(*args, **kwargs)
        if type(tracer) is Tracer:
            tracer.__class__ = _ClockedTracer
            vars(tracer)["clock"] = self._clock
            vars(tracer)["is_of_runs"] = SCOPE_WORKFLOWS in (*args, *kwargs.values())
        return tracer


class _ClockedTracer(Tracer):
    clock: Clock
    is_of_runs: bool

    def start_span(self, *args: Any, start_time: int | None = None, **kwargs: Any) -> ApiSpan:
        if start_time is None and len(args) <= _START_TIME:
            recorded = repeated_start_ns()
            start_time = self.clock() if recorded is None else _translated(recorded, self.clock)
        elif start_time is not None and self.is_of_runs:
            start_time = _translated(start_time, self.clock)
        return super().start_span(*args, **({} if start_time is None else {"start_time": start_time}), **kwargs)


_START_TIME = 5
"""Position of `start_time` among the arguments of `start_span`."""


class ClockedSpan(Span):
    """A span whose end and events take their times from its recorder's clock."""

    clock: Clock

    def end(self, end_time: int | None = None) -> None:
        super().end(self._time(end_time))

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        super().add_event(name, attributes, self._time(timestamp))

    def _time(self, given: int | None) -> int:
        if given is None:
            return self.clock()
        scope = self.instrumentation_scope
        return _translated(given, self.clock) if scope is not None and scope.name == SCOPE_WORKFLOWS else given


def _translated(time_ns: int, clock: Clock) -> int:
    """Return a time that a journal has as the recorder's clock showed it."""
    return clock.at(time_ns) if isinstance(clock, CountingClock) else time_ns


def set_clock(span: Span, clock: Clock) -> None:
    """Make *span*, which has just started, take its times from *clock*."""
    if not isinstance(span, ClockedSpan):
        span.__class__ = ClockedSpan
        vars(span)["clock"] = clock
