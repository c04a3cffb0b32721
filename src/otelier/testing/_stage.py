"""A recorder as the process's global providers, for the time of one test.

OpenTelemetry lets a global provider be set once per process, and a tracer that was taken before that finds its real
one at first use and keeps it. So a test cannot simply set its providers: the next test's would be refused, and what
a library keeps in a module's variable would go on writing to the first. Here, for the time of one test, the globals
name providers that look like the recorder's but hand out tracers, loggers and meters which look up, at each use, whose
turn it is: the recorder on stage, else the application's own provider, else nobody. Afterwards the globals say again
what they said before. What the application took from a real provider of its own, it keeps.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import wrapt
from opentelemetry import _logs, metrics, trace

from otelier.telemetry import (
    EARLY_METER_PROVIDER,
    GLOBAL_LOGGER_PROVIDER,
    GLOBAL_METER_PROVIDER,
    GLOBAL_TRACER_PROVIDER,
    provider_of_early_meters,
)
from otelier.testing._recorder import SpanRecorder
from otelier.testing._switched import SwitchedLogger, SwitchedMeter, SwitchedTracer

if TYPE_CHECKING:
    _Proxy = wrapt.ObjectProxy[Any]
else:
    _Proxy = wrapt.ObjectProxy

_NOBODY = metrics.NoOpMeterProvider()

_recorder: SpanRecorder | None = None


_GLOBAL = (GLOBAL_TRACER_PROVIDER, GLOBAL_METER_PROVIDER, GLOBAL_LOGGER_PROVIDER)


@contextmanager
def on_stage(recorder: SpanRecorder) -> Generator[None]:
    """Make *recorder*'s providers the global ones until the block ends."""
    global _recorder
    former, former_recorder = [slot.read() for slot in _GLOBAL], _recorder
    stand_ins = (
        _TracerProvider(recorder.tracer_provider),
        _MeterProvider(recorder.meter_provider),
        _LoggerProvider(recorder.logger_provider),
    )
    _recorder = recorder
    for slot, stand_in in zip(_GLOBAL, stand_ins):
        slot.write(stand_in, done=True)
    for meter in tuple(SwitchedMeter.alive):
        meter.enter(recorder.meter_provider)
    _adopt_early_meters(stand_ins[1])
    try:
        yield
    finally:
        _recorder = former_recorder
        for slot, (provider, done) in zip(_GLOBAL, former):
            slot.write(provider, done)


def _adopt_early_meters(stand_in: Any) -> None:
    """Let meters that were taken before any provider was set follow the stage, too."""
    if not isinstance(provider_of_early_meters(), _MeterProvider):
        EARLY_METER_PROVIDER.on_set_meter_provider(stand_in)


class _TracerProvider(_Proxy):
    """Passes for the recorder's tracer provider, but its tracers follow the stage."""

    def get_tracer(self, *args: Any, **kwargs: Any) -> SwitchedTracer:
        return SwitchedTracer(_tracer_provider, lambda provider: provider.get_tracer(*args, **kwargs))


class _MeterProvider(_Proxy):
    """Passes for the recorder's meter provider, but its meters follow the stage."""

    def get_meter(self, name: str, *args: Any, **kwargs: Any) -> SwitchedMeter:
        return SwitchedMeter(name, _meter_provider, lambda provider: provider.get_meter(name, *args, **kwargs))


class _LoggerProvider(_Proxy):
    """Passes for the recorder's logger provider, but its loggers follow the stage."""

    def get_logger(self, name: str, *args: Any, **kwargs: Any) -> SwitchedLogger:
        return SwitchedLogger(name, _logger_provider, lambda provider: provider.get_logger(name, *args, **kwargs))


def _tracer_provider() -> trace.TracerProvider:
    return trace.get_tracer_provider() if _recorder is None else _recorder.tracer_provider


def _meter_provider() -> metrics.MeterProvider:
    if _recorder is not None:
        return _recorder.meter_provider
    provider = metrics.get_meter_provider()
    # The API's stand-in for a provider that is not set yet asks us since `_adopt_early_meters`.
    return _NOBODY if provider is EARLY_METER_PROVIDER else provider


def _logger_provider() -> _logs.LoggerProvider:
    return _logs.get_logger_provider() if _recorder is None else _recorder.logger_provider
