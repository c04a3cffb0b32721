"""OpenTelemetry's private names, read in this module and in `_sdk_spans` alone.

Neither API nor SDK shows publicly what stands behind a provider: its processors, readers and exporters, whether a
reader still collects, where the API keeps the global providers. The names below are those of the releases 1.39 to 1.45
of `opentelemetry-api` and `opentelemetry-sdk`; `tests/telemetry/test_sdk.py` has a case for each, which names what
stops working without it. Where a release lacks one, a WARNING names it and what is off, once, and all else goes on.

Code that each span or each call passes reads a few itself, since a function would cost it time: `fields/processors.py`
and `fields/_inheritance.py` (which also load nothing of this package) and `openai/_coexistence.py`. The test has a case
for theirs, too, and for the base classes in `testing/_global_providers.py`.
"""

from __future__ import annotations

import functools
import inspect
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import suppress
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from itertools import chain, islice
from operator import attrgetter
from typing import Any, Final, TypeAlias, cast

from opentelemetry import _logs, metrics, trace
from opentelemetry import context as context_api
from opentelemetry.metrics import MeterProvider

from otelier.faults import warn_once

_OPENTELEMETRY: Final = "opentelemetry."
_SDK: Final = "opentelemetry.sdk."
_SDK_METRICS: Final = "opentelemetry.sdk.metrics"
_MOST: Final = 32
"""Most parts of one provider: a mock has another processor below each one, without end."""


def warn_missing(owner: object, name: str, off: str, module: str = _SDK) -> None:
    """Warn once that *owner*, if its class is one of OpenTelemetry's *module*, lacks the private *name*.

    Objects of other classes are not expected to have any: what they lack is no news.
    """
    kind = next((kind for kind in type(owner).__mro__ if kind.__module__.startswith(module)), None)
    if kind is None:
        return
    warn_once(
        f"telemetry.sdk.{kind.__name__}.{name}",
        "OpenTelemetry %s has no `%s.%s`, which otelier knows of 1.39 to 1.45: %s. All else works. Update otelier, or "
        "pin opentelemetry-sdk to a release that it knows.",
        _release(),
        kind.__name__,
        name,
        off,
    )


@functools.cache  # asked at each call where a name is missing
def _release() -> str:
    try:
        return version("opentelemetry-sdk")
    except PackageNotFoundError:  # its files were copied, without their metadata
        return "of this release"


# Global providers.


class GlobalProvider(Enum):
    """The API's three global providers: where it keeps each, and the mark that it was set."""

    TRACER = "tracer", trace.get_tracer_provider, "opentelemetry.trace"
    METER = "meter", metrics.get_meter_provider, "opentelemetry.metrics"
    LOGGER = "logger", _logs.get_logger_provider, "opentelemetry._logs"

    def __init__(self, kind: str, get: Callable[[], Any], package: str) -> None:
        internal = sys.modules.get(f"{package}._internal")
        self.kind = kind
        self.get = get
        """The public function that returns it."""
        self._kept = f"_{kind.upper()}_PROVIDER"
        self.module = internal if internal is not None and hasattr(internal, self._kept) else sys.modules[package]

    @property
    def setter(self) -> str:
        """Name of the function in `module` that every way to set it calls; the public one where there is no other."""
        private = f"_set_{self.kind}_provider"  # also serves those who imported the public one before us
        return private if hasattr(self.module, private) else private.removeprefix("_")

    def read(self) -> tuple[Any, bool]:
        """Return the provider, and whether it was set."""
        return getattr(self.module, self._kept), self._once._done

    def write(self, provider: Any, done: bool) -> None:
        """Put *provider* in its place, as set if *done*."""
        setattr(self.module, self._kept, provider)
        self._once._done = done

    @property
    def _once(self) -> Any:
        return getattr(self.module, f"{self._kept}_SET_ONCE")


_EARLY_METERS: Final[Any] = getattr(GlobalProvider.METER.module, "_PROXY_METER_PROVIDER", None)
"""The API's stand-in while no meter provider is set; it remembers its meters, to let them follow one set later."""


def give_early_meters(provider: MeterProvider) -> None:
    """Let the meters that were taken before any provider was set follow *provider*, unless they follow its like."""
    if not isinstance(getattr(_EARLY_METERS, "_real_meter_provider", None), type(provider)):
        _EARLY_METERS.on_set_meter_provider(provider)


def is_set(provider: object) -> bool:
    """Tell whether *provider* is more than the API's stand-in for one that may be set later."""
    kind = provider.__class__
    return not (kind.__module__.startswith(_OPENTELEMETRY) and kind.__name__.lstrip("_").startswith("Proxy"))


SUPPRESS_INSTRUMENTATION: Final = getattr(context_api, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation")
"""Key by which `opentelemetry.instrumentation.utils.suppress_instrumentation` marks a context."""


def propagators_of(textmap: Any) -> list[Any]:
    """Return the propagators that *textmap* consists of; itself where it is a single one."""
    return list(getattr(textmap, "_propagators", (textmap,)))


# Pipelines: from a provider to its processors and readers, and from those to their exporters.

_LISTS: Final = {
    "add_span_processor": ("_active_span_processor._span_processors",),
    "add_log_record_processor": ("_multi_log_record_processor._log_record_processors",),
    "get_meter": ("_metric_readers", "_sdk_config.metric_readers"),  # the second in older releases
}
"""Paths from a provider to what stands on it, by a public method of its class."""
_LOG_CHAIN: Final = "_multi_log_record_processor"
_GROUPED: Final = ("_span_processors", "_log_record_processors")
"""From a processor that is several to each of them."""
_WITHIN: Final = ("processor", "_processor")
"""From a processor of somebody else's to the one it hands on to."""
_EXPORTERS: Final = ("_batch_processor._exporter", "span_exporter", "_exporter")
"""From a processor or reader to its exporter."""
_BATCH: Final = "_batch_processor"
"""From a batch processor to the part that has `emit` and the queue."""
_QUEUE: Final = "_queue"
_SESSIONS: Final = ("_client._transport._session", "_session")  # the second in older releases
_CONSUMER: Final = "_measurement_consumer"
"""From a meter provider to what collects for its readers."""

_EXPORTING: Final = frozenset(
    (
        "BatchSpanProcessor",
        "SimpleSpanProcessor",
        "BatchLogRecordProcessor",
        "SimpleLogRecordProcessor",
        "PeriodicExportingMetricReader",
    )
)
"""Classes of the SDK that hold an exporter."""
_NOT_COUNTED: Final = "what its exporter loses is not counted, and `flush` does not know of it"


def processors_of(provider: Any) -> list[Any] | None:
    """Return the processors, or metric readers, that stand on *provider* itself; `None` where they cannot be seen."""
    found = _found(provider, _all_lists())
    if found:
        return _listed(found[0])
    off = "what stands on it cannot be seen, so that losses are not counted"
    for method, paths in _LISTS.items():
        if hasattr(cast("object", type(provider)), method):
            warn_missing(provider, paths[0], off)
    return None


def pipeline_parts(provider: Any) -> Iterator[Any]:
    """Yield the processors and readers of *provider*, also those that stand in others, each once."""
    waiting = deque(processors_of(provider) or ())
    seen: dict[int, Any] = {}  # they may not be hashable; what is held here keeps its id
    while waiting and len(seen) < _MOST:
        part = waiting.popleft()
        if id(part) not in seen:
            seen[id(part)] = part
            yield part
            waiting.extend(_found(part, _WITHIN))
            for group in _found(part, (*_all_lists(), *_GROUPED)):
                waiting.extend(_listed(group))


def put_first(provider: Any, processor: Any) -> bool:
    """Put a log record *processor* before those of *provider*, whose public method appends; `False` if it cannot."""
    try:
        several = getattr(provider, _LOG_CHAIN)
        with several._lock:
            several._log_record_processors = (processor, *several._log_record_processors)
    except AttributeError:
        off = "log records that a processor exports at once go without the fields"
        warn_missing(provider, _LOG_CHAIN, off)
        return False
    return True


def exporter_of(part: Any) -> Any:
    """Return what *part* exports with; `None` where it does not, or that cannot be seen."""
    for exporter in _found(part, _EXPORTERS):
        if hasattr(exporter, "export"):
            return exporter
    if not _EXPORTING.isdisjoint(kind.__name__ for kind in type(part).__mro__):
        warn_missing(part, "_exporter", _NOT_COUNTED)
    return None


def batch_of(part: Any) -> tuple[Any, Sized] | None:
    """Return what takes the items of a batch processor, by `emit`, and the queue where they wait."""
    for batch in _found(part, (_BATCH,)):
        for queue in _found(batch, (_QUEUE,)):
            if hasattr(batch, "emit"):
                return batch, queue
    if any(kind.__name__.startswith("Batch") for kind in type(part).__mro__):
        warn_missing(part, f"{_BATCH}.{_QUEUE}", "what finds its queue full is not counted")
    return None


def sessions_of(exporter: Any) -> list[Any]:
    """Return the `requests.Session` of an exporter that sends over HTTP."""
    found = _found(exporter, _SESSIONS)
    if not found:
        off = "a forked child sends over its parent's connection until that breaks"
        warn_missing(exporter, "_session", off, "opentelemetry.exporter.otlp.proto.http.")
    return found


def _all_lists() -> Iterator[str]:
    return chain.from_iterable(_LISTS.values())


def _listed(parts: Any) -> list[Any]:
    return list(islice(cast("Iterable[Any]", parts), _MOST)) if isinstance(parts, Iterable) else []


def _found(owner: Any, paths: Iterable[str]) -> list[Any]:
    """Return what stands at those of *paths* that *owner* has."""
    found: list[Any] = []
    for path in paths:
        with suppress(Exception):  # mostly it lacks one; but the owner is somebody else's, and may raise anything
            found.append(attrgetter(path)(owner))
    return found


# Metrics: whether a reader will collect what is recorded, and whether a record may take the SDK's locks now.

HasReader: TypeAlias = "Callable[[], bool | None]"
"""Tells whether a reader will still collect: `False` where nothing holds the values, `None` where that is unknown, so
that recording one may take locks of the SDK's."""


def reader_check(provider: MeterProvider) -> HasReader | None:
    """Return a function that tells whether a reader of *provider* will still collect; `None` if that is unknown.

    The function is asked for every point, so it does as little as it can (0.1 us) and keeps no provider alive.
    """
    sdk = cast("Any", provider)
    try:
        consumer = getattr(sdk, _CONSUMER)
        known = isinstance(sdk._shutdown, bool) and isinstance(consumer._reader_storages, Mapping)
        references = (weakref.ref(sdk), weakref.ref(consumer)) if known else None
    except (AttributeError, TypeError):
        references = None
    if references is None:
        off = "each call of a model records its metrics itself, which takes it about 30 us longer"
        warn_missing(provider, _CONSUMER, off)
        return None
    reference, collector = references

    def answer() -> bool | None:
        alive, collects = reference(), collector()
        if collects is None or not collects._reader_storages:
            return False
        return None if alive is None or alive._shutdown else True

    return answer


def collector_of(provider: MeterProvider) -> object:
    """Return what a provider that `reader_check` knows hands its values to, also through what stands for it."""
    return getattr(cast("Any", provider), _CONSUMER)


def sdk_is_on_the_stack() -> bool:
    """Tell whether a frame of the SDK's metrics is on this thread's stack.

    A finaliser, started by a garbage collection in the midst of the SDK, finds it there. The SDK's locks are not
    re-entrant and a frame may hold one, so nothing may be recorded then. 0.05 us a frame.

    See: https://github.com/open-telemetry/opentelemetry-python/issues/4345 and issues/5313, such deadlocks.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_SDK_METRICS):
            return True
        frame = frame.f_back
    return False


def is_enabled(instrument: object) -> bool:
    """Tell whether *instrument* runs its callbacks: a meter configurator may have switched its meter off."""
    asked = getattr(instrument, "_is_enabled", None)  # since 1.40
    return asked is None or bool(asked())


def is_collecting(provider: MeterProvider) -> bool:
    """Tell whether *provider* is collecting: registering a callback waits for that, and from a callback for ever."""
    lock = getattr(getattr(provider, _CONSUMER, None), "_lock", None)
    return lock is not None and bool(lock.locked())
