"""The one look into the SDK's metrics: will anybody collect what a provider is given, and may it be given now?

The API cannot tell. Private names are read here and nowhere else: `MeterProvider._shutdown` and
`._measurement_consumer`, that object's `_reader_storages` and `_lock`, an instrument's `_is_enabled`. They are the
same in the releases 1.39 to 1.45. Where one is missing, `collecting` answers `None` and points are recorded inline,
as everybody else records them.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

from opentelemetry.metrics import MeterProvider

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
