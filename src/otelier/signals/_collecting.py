"""The one look into the SDK's metrics: will anybody collect what a provider is given?

The API cannot tell. Private names are read here and nowhere else: `MeterProvider._shutdown` and
`._measurement_consumer`, that object's `_reader_storages` and `_lock`, an instrument's `_is_enabled`. They are the
same in the releases 1.39 to 1.45. Where one is missing, `collecting` answers `None` and points are recorded inline,
as everybody else records them.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any, cast

from opentelemetry.metrics import MeterProvider


def collecting(provider: MeterProvider) -> Callable[[], bool] | None:
    """Return a function that tells whether a reader of *provider* will still collect; `None` if that is unknown.

    The function is asked for every point, so it does as little as it can (0.1 us) and keeps no provider alive.
    """
    sdk = cast("Any", provider)
    try:
        consumer = sdk._measurement_consumer
        known = isinstance(sdk._shutdown, bool) and isinstance(consumer._reader_storages, Mapping)
        reference = weakref.ref(sdk)
    except (AttributeError, TypeError):
        return None
    if not known:
        return None

    def answer() -> bool:
        alive = reference()
        return alive is not None and not alive._shutdown and bool(consumer._reader_storages)

    return answer


def enabled(instrument: object) -> bool:
    """Tell whether *instrument* runs its callbacks: a meter configurator may have switched its meter off."""
    asked = getattr(instrument, "_is_enabled", None)  # since 1.40
    return asked is None or bool(asked())


def in_collection(provider: MeterProvider) -> bool:
    """Tell whether *provider* is collecting: registering a callback waits for that, in a callback for ever."""
    lock = getattr(getattr(provider, "_measurement_consumer", None), "_lock", None)
    return lock is not None and bool(lock.locked())
