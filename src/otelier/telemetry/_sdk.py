"""The one look into the SDK's metrics: will anybody collect what a provider is given, and may it be given now?

The API cannot tell. Private names are read here and nowhere else: `MeterProvider._shutdown` and
`._measurement_consumer`, that object's `_reader_storages` and `_lock`, an instrument's `_is_enabled`. They are the
same in the releases 1.39 to 1.45. Where one is missing, `collecting` answers `None` and points are recorded inline,
as everybody else records them.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias, cast

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Tracer

_SDK = "opentelemetry.sdk.metrics"

Collects: TypeAlias = "Callable[[], bool | None]"
"""Tells whether a reader will still collect: `False` where nothing holds the values, `None` where that is unknown, so
that recording one may take locks of the SDK's."""


def collecting(provider: MeterProvider) -> Collects | None:
    """Return a function that tells whether a reader of *provider* will still collect; `None` if that is unknown.

    The function is asked for every point, so it does as little as it can (0.1 us) and keeps no provider alive.
    """
    sdk = cast("Any", provider)
    try:
        consumer = sdk._measurement_consumer
        known = isinstance(sdk._shutdown, bool) and isinstance(consumer._reader_storages, Mapping)
        reference, collector = weakref.ref(sdk), weakref.ref(consumer)
    except (AttributeError, TypeError):
        return None
    if not known:
        return None

    def answer() -> bool | None:
        alive, collects = reference(), collector()
        if collects is None or not collects._reader_storages:
            return False
        return None if alive is None or alive._shutdown else True

    return answer


def collector_of(provider: MeterProvider) -> object:
    """Return what a provider that `collecting` knows hands its values to, also through what stands for it."""
    return cast("Any", provider)._measurement_consumer


def inside_sdk() -> bool:
    """Tell whether the SDK's metrics wait further out in this thread, maybe with a lock in hand that a record takes.

    So a garbage collection finds them that was started in their midst; what it ends must not record there. Their
    locks are not re-entrant, and whoever holds one stands in this thread's stack. 0.05 us a frame.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_SDK):
            return True
        frame = frame.f_back
    return False


def enabled(instrument: object) -> bool:
    """Tell whether *instrument* runs its callbacks: a meter configurator may have switched its meter off."""
    asked = getattr(instrument, "_is_enabled", None)  # since 1.40
    return asked is None or bool(asked())


def in_collection(provider: MeterProvider) -> bool:
    """Tell whether *provider* is collecting: registering a callback waits for that, in a callback for ever."""
    lock = getattr(getattr(provider, "_measurement_consumer", None), "_lock", None)
    return lock is not None and bool(lock.locked())


class _ForcedIds:
    """Stands for a tracer's id generator, and gives the id that is to be had next; all else is the generator's."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator

    def generate_span_id(self) -> int:
        wanted = _wanted_id.get()
        return self._generator.generate_span_id() if wanted is None else wanted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generator, name)


_wanted_id: ContextVar[int | None] = ContextVar("otelier-span-id", default=None)


@contextmanager
def forced_span_id(tracer: Tracer, span_id: int | None) -> Generator[None]:
    """Let the span that *tracer* starts in the block have *span_id*; `None`, or another tracer than the SDK's, changes
    nothing.

    `Tracer.id_generator` is public in the SDK; only to set it is not foreseen.
    """
    generator: Any = getattr(tracer, "id_generator", None)
    if span_id is None or generator is None:
        yield
        return
    if not isinstance(generator, _ForcedIds):
        cast("Any", tracer).id_generator = _ForcedIds(generator)
    token = _wanted_id.set(span_id)
    try:
        yield
    finally:
        _wanted_id.reset(token)
