"""A tracer, a logger and a meter that look up at each use which provider they belong to."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from opentelemetry import _logs, metrics, trace
from opentelemetry.util._decorator import _agnosticcontextmanager  # pyright: ignore[reportPrivateUsage]

Find = Callable[[], Any]
Make = Callable[[Any], Any]


class Switch:
    """The thing that *make* makes of the provider that *find* finds; made once per provider."""

    def __init__(self, find: Find, make: Make) -> None:
        self.find = find
        self.make = make
        self._made: tuple[Any, Any] = (None, None)

    def now(self) -> Any:
        """Return the thing of the provider whose turn it is."""
        provider = self.find()
        made = self._made
        if made[0] is not provider:
            made = self._made = (provider, self.make(provider))
        return made[1]


class SwitchedTracer(trace.Tracer):
    """A tracer of whatever provider has its turn."""

    def __init__(self, find: Find, make: Make) -> None:
        self._switch = Switch(find, make)

    def start_span(self, *args: Any, **kwargs: Any) -> trace.Span:
        return self._switch.now().start_span(*args, **kwargs)

    # OpenTelemetry's own decorator, so that this is a decorator of async functions as well, asked at each call.
    @_agnosticcontextmanager
    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Iterator[trace.Span]:
        with self._switch.now().start_as_current_span(*args, **kwargs) as span:
            yield span


class SwitchedLogger(_logs.Logger):
    """A logger of whatever provider has its turn."""

    def __init__(self, name: str, find: Find, make: Make) -> None:
        super().__init__(name)
        self._switch = Switch(find, make)

    def emit(self, *args: Any, **kwargs: Any) -> None:
        self._switch.now().emit(*args, **kwargs)

    def enabled(self, *args: Any, **kwargs: Any) -> bool:
        asked = getattr(self._switch.now(), "enabled", None)  # since 1.40
        return asked is None or asked(*args, **kwargs)


class SwitchedMeter(metrics.Meter):
    """A meter of whatever provider has its turn."""

    alive: ClassVar[weakref.WeakSet[SwitchedMeter]] = weakref.WeakSet()
    """Meters that somebody holds: their observed instruments must be made anew on each provider."""

    def __init__(self, name: str, find: Find, make: Make) -> None:
        super().__init__(name)
        self._switch = Switch(find, make)
        self._observed: list[Make] = []
        self.alive.add(self)

    def enter(self, provider: metrics.MeterProvider) -> None:
        """Make the observed instruments of this meter on *provider*."""
        for make in self._observed:
            make(provider)

    def create_counter(self, name: str, *args: Any, **kwargs: Any) -> metrics.Counter:
        return _Counter(name, self._part("create_counter", name, *args, **kwargs))

    def create_up_down_counter(self, name: str, *args: Any, **kwargs: Any) -> metrics.UpDownCounter:
        return _UpDownCounter(name, self._part("create_up_down_counter", name, *args, **kwargs))

    def create_histogram(self, name: str, *args: Any, **kwargs: Any) -> metrics.Histogram:
        return _Histogram(name, self._part("create_histogram", name, *args, **kwargs))

    def create_gauge(self, name: str, *args: Any, **kwargs: Any) -> metrics._Gauge:  # pyright: ignore[reportPrivateUsage]
        return _Gauge(name, self._part("create_gauge", name, *args, **kwargs))

    def create_observable_counter(self, *args: Any, **kwargs: Any) -> metrics.ObservableCounter:
        return self._observe("create_observable_counter", *args, **kwargs)

    def create_observable_up_down_counter(self, *args: Any, **kwargs: Any) -> metrics.ObservableUpDownCounter:
        return self._observe("create_observable_up_down_counter", *args, **kwargs)

    def create_observable_gauge(self, *args: Any, **kwargs: Any) -> metrics.ObservableGauge:
        return self._observe("create_observable_gauge", *args, **kwargs)

    def _part(self, method: str, *args: Any, **kwargs: Any) -> Switch:
        """Return a switch for an instrument that *method* of a meter makes."""
        meter = self._switch.make
        return Switch(self._switch.find, lambda provider: getattr(meter(provider), method)(*args, **kwargs))

    def _observe(self, method: str, *args: Any, **kwargs: Any) -> Any:
        part = self._part(method, *args, **kwargs)
        self._observed.append(part.make)
        return part.now()


class _Counter(metrics.Counter):
    def __init__(self, name: str, switch: Switch) -> None:
        super().__init__(name)
        self._switch = switch

    def add(self, *args: Any, **kwargs: Any) -> None:
        self._switch.now().add(*args, **kwargs)


class _UpDownCounter(metrics.UpDownCounter):
    def __init__(self, name: str, switch: Switch) -> None:
        super().__init__(name)
        self._switch = switch

    def add(self, *args: Any, **kwargs: Any) -> None:
        self._switch.now().add(*args, **kwargs)


class _Histogram(metrics.Histogram):
    def __init__(self, name: str, switch: Switch) -> None:
        super().__init__(name)
        self._switch = switch

    def record(self, *args: Any, **kwargs: Any) -> None:
        self._switch.now().record(*args, **kwargs)


class _Gauge(metrics._Gauge):  # pyright: ignore[reportPrivateUsage] - public in newer releases only
    def __init__(self, name: str, switch: Switch) -> None:
        super().__init__(name)
        self._switch = switch

    def set(self, *args: Any, **kwargs: Any) -> None:
        self._switch.now().set(*args, **kwargs)
