"""Global providers of a test: a recorder's, and a handler that gives it the records of Python's `logging`.

OpenTelemetry lets a global provider be set once per process, and a tracer that was taken before that finds its real
one at first use and keeps it. So a test cannot simply set its providers: the next test's would be refused, and what
a library keeps in a module's variable would go on writing to the first. Here, for the time of one test, the globals
name providers that look like the recorder's but hand out tracers, loggers and meters which delegate, at each use, to
the provider that holds then: the recorder's, else the application's own, else none. Afterwards the globals name again
what they named before. What the application took from a real provider of its own, it keeps.
"""

from __future__ import annotations

import logging
import warnings
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, cast

import wrapt
from opentelemetry import _logs, metrics, trace
from opentelemetry.util._decorator import _agnosticcontextmanager  # pyright: ignore[reportPrivateUsage]

from otelier.telemetry import GlobalProvider, give_early_meters, is_set
from otelier.testing._recorder import SpanRecorder

if TYPE_CHECKING:
    _Proxy = wrapt.ObjectProxy[Any]
else:
    _Proxy = wrapt.ObjectProxy

_NOBODY = metrics.NoOpMeterProvider()

_recorder: SpanRecorder | None = None


@contextmanager
def as_global_providers(recorder: SpanRecorder) -> Generator[None]:
    """Make *recorder*'s providers the global ones until the block ends."""
    global _recorder
    former, former_recorder = [slot.read() for slot in GlobalProvider], _recorder
    stand_ins = (
        _TracerProvider(recorder.tracer_provider),
        _MeterProvider(recorder.meter_provider),
        _LoggerProvider(recorder.logger_provider),
    )
    _recorder = recorder
    for slot, stand_in in zip(GlobalProvider, stand_ins):
        slot.write(stand_in, done=True)
    for meter in tuple(DelegatingMeter.alive):
        meter.enter(recorder.meter_provider)
    give_early_meters(cast("metrics.MeterProvider", stand_ins[1]))
    try:
        yield
    finally:
        _recorder = former_recorder
        for slot, (provider, done) in zip(GlobalProvider, former):
            slot.write(provider, done)


class _TracerProvider(_Proxy):
    """Passes for the recorder's tracer provider, but its tracers delegate."""

    def get_tracer(self, *args: Any, **kwargs: Any) -> DelegatingTracer:
        return DelegatingTracer(_tracer_provider, lambda provider: provider.get_tracer(*args, **kwargs))


class _MeterProvider(_Proxy):
    """Passes for the recorder's meter provider, but its meters delegate."""

    def get_meter(self, name: str, *args: Any, **kwargs: Any) -> DelegatingMeter:
        return DelegatingMeter(name, _meter_provider, lambda provider: provider.get_meter(name, *args, **kwargs))


class _LoggerProvider(_Proxy):
    """Passes for the recorder's logger provider, but its loggers delegate."""

    def get_logger(self, name: str, *args: Any, **kwargs: Any) -> DelegatingLogger:
        return DelegatingLogger(name, _logger_provider, lambda provider: provider.get_logger(name, *args, **kwargs))


def _tracer_provider() -> trace.TracerProvider:
    return trace.get_tracer_provider() if _recorder is None else _recorder.tracer_provider


def _meter_provider() -> metrics.MeterProvider:
    if _recorder is not None:
        return _recorder.meter_provider
    provider = metrics.get_meter_provider()
    # The API's stand-in for a provider that is not set yet asks us since `give_early_meters`.
    return provider if is_set(provider) else _NOBODY


def _logger_provider() -> _logs.LoggerProvider:
    return _logs.get_logger_provider() if _recorder is None else _recorder.logger_provider


Find = Callable[[], Any]
Make = Callable[[Any], Any]


class _PerProvider:
    """An object that *make* makes of the provider that *find* returns; one per provider."""

    def __init__(self, find: Find, make: Make) -> None:
        self.find = find
        self.make = make
        self._made: tuple[Any, Any] = (None, None)

    def current(self) -> Any:
        """Return the object of the provider that holds now."""
        provider = self.find()
        made = self._made
        if made[0] is not provider:
            made = self._made = (provider, self.make(provider))
        return made[1]


class DelegatingTracer(trace.Tracer):
    """A tracer that delegates to one of the provider that holds now."""

    def __init__(self, find: Find, make: Make) -> None:
        self._delegate = _PerProvider(find, make)

    @property
    def _tracer(self) -> Any:
        """The tracer of now; called as the API calls that of its own stand-in."""
        return self._delegate.current()

    def start_span(self, *args: Any, **kwargs: Any) -> trace.Span:
        return self._delegate.current().start_span(*args, **kwargs)

    # OpenTelemetry's own decorator, so that this is a decorator of async functions as well, asked at each call.
    @_agnosticcontextmanager
    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Iterator[trace.Span]:
        with self._delegate.current().start_as_current_span(*args, **kwargs) as span:
            yield span


class DelegatingLogger(_logs.Logger):
    """A logger that delegates to one of the provider that holds now."""

    def __init__(self, name: str, find: Find, make: Make) -> None:
        super().__init__(name)
        self._delegate = _PerProvider(find, make)

    def emit(self, *args: Any, **kwargs: Any) -> None:
        self._delegate.current().emit(*args, **kwargs)

    def enabled(self, *args: Any, **kwargs: Any) -> bool:
        asked = getattr(self._delegate.current(), "enabled", None)  # since 1.40
        return asked is None or asked(*args, **kwargs)


class DelegatingMeter(metrics.Meter):
    """A meter that delegates to one of the provider that holds now."""

    alive: ClassVar[weakref.WeakSet[DelegatingMeter]] = weakref.WeakSet()
    """Meters that somebody holds: their observed instruments must be made anew on each provider."""

    def __init__(self, name: str, find: Find, make: Make) -> None:
        super().__init__(name)
        self._delegate = _PerProvider(find, make)
        self._observed: list[Make] = []
        self.alive.add(self)

    def enter(self, provider: metrics.MeterProvider) -> None:
        """Make the observed instruments of this meter on *provider*."""
        for make in self._observed:
            make(provider)

    def create_counter(self, name: str, *args: Any, **kwargs: Any) -> metrics.Counter:
        return _Counter(name, self._instrument("create_counter", name, *args, **kwargs))

    def create_up_down_counter(self, name: str, *args: Any, **kwargs: Any) -> metrics.UpDownCounter:
        return _UpDownCounter(name, self._instrument("create_up_down_counter", name, *args, **kwargs))

    def create_histogram(self, name: str, *args: Any, **kwargs: Any) -> metrics.Histogram:
        return _Histogram(name, self._instrument("create_histogram", name, *args, **kwargs))

    def create_gauge(self, name: str, *args: Any, **kwargs: Any) -> metrics._Gauge:  # pyright: ignore[reportPrivateUsage]
        return _Gauge(name, self._instrument("create_gauge", name, *args, **kwargs))

    def create_observable_counter(self, *args: Any, **kwargs: Any) -> metrics.ObservableCounter:
        return self._observe("create_observable_counter", *args, **kwargs)

    def create_observable_up_down_counter(self, *args: Any, **kwargs: Any) -> metrics.ObservableUpDownCounter:
        return self._observe("create_observable_up_down_counter", *args, **kwargs)

    def create_observable_gauge(self, *args: Any, **kwargs: Any) -> metrics.ObservableGauge:
        return self._observe("create_observable_gauge", *args, **kwargs)

    def _instrument(self, method: str, *args: Any, **kwargs: Any) -> _PerProvider:
        """Return the instrument that *method* of a meter makes, one per provider."""
        meter = self._delegate.make
        return _PerProvider(self._delegate.find, lambda provider: getattr(meter(provider), method)(*args, **kwargs))

    def _observe(self, method: str, *args: Any, **kwargs: Any) -> Any:
        part = self._instrument(method, *args, **kwargs)
        self._observed.append(part.make)
        return part.current()


class _Counter(metrics.Counter):
    def __init__(self, name: str, delegate: _PerProvider) -> None:
        super().__init__(name)
        self._delegate = delegate

    def add(self, *args: Any, **kwargs: Any) -> None:
        self._delegate.current().add(*args, **kwargs)


class _UpDownCounter(metrics.UpDownCounter):
    def __init__(self, name: str, delegate: _PerProvider) -> None:
        super().__init__(name)
        self._delegate = delegate

    def add(self, *args: Any, **kwargs: Any) -> None:
        self._delegate.current().add(*args, **kwargs)


class _Histogram(metrics.Histogram):
    def __init__(self, name: str, delegate: _PerProvider) -> None:
        super().__init__(name)
        self._delegate = delegate

    def record(self, *args: Any, **kwargs: Any) -> None:
        self._delegate.current().record(*args, **kwargs)


class _Gauge(metrics._Gauge):  # pyright: ignore[reportPrivateUsage] - public in newer releases only
    def __init__(self, name: str, delegate: _PerProvider) -> None:
        super().__init__(name)
        self._delegate = delegate

    def set(self, *args: Any, **kwargs: Any) -> None:
        self._delegate.current().set(*args, **kwargs)


@contextmanager
def logging_to(recorder: SpanRecorder) -> Generator[None]:
    """Let the root logger hand its records to *recorder* until the block ends.

    A handler of OpenTelemetry's that is there, or comes later, finds the recorder as the global provider: then this one
    keeps still, so that no record is there twice.
    """
    root = logging.getLogger()
    handler = _handler(recorder.logger_provider)
    handler.addFilter(lambda _record: not any(_is_another(other, handler) for other in root.handlers))
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def _is_another(other: logging.Handler, handler: logging.Handler) -> bool:
    return other is not handler and any(
        kind.__name__ == "LoggingHandler" and kind.__module__.startswith("opentelemetry.")
        for kind in type(other).__mro__
    )


def _handler(provider: Any) -> logging.Handler:
    try:
        from opentelemetry.instrumentation.logging.handler import (  # pyright: ignore[reportMissingTypeStubs] -- not a dependency of ours
            LoggingHandler,
        )
    except ImportError:  # pragma: no cover -- not installed, or an old release of it
        from opentelemetry.sdk._logs import LoggingHandler
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the SDK's own, which is used where the other is missing
        return LoggingHandler(logger_provider=provider)
