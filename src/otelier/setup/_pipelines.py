"""From a provider to what exports its signals: processors, readers, exporters, and the queues between them.

They are nowhere public. Private names are read here and nowhere else; they are those of the releases 1.39 to 1.45.
Where one is missing, there is nothing behind it: whoever asks does without.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from operator import attrgetter
from typing import Any

_PARTS = (
    "_active_span_processor._span_processors",
    "_multi_log_record_processor._log_record_processors",
    "_metric_readers",
    "_sdk_config.metric_readers",  # older releases
    "_span_processors",  # a processor that is several
    "_log_record_processors",
)
"""From a provider to its span processors, log record processors and metric readers."""
_WITHIN = ("processor", "_processor")
"""From a processor of somebody else's to the one it hands on to."""
_EXPORTERS = ("_batch_processor._exporter", "span_exporter", "_exporter")
"""From a processor or reader to its exporter."""
_BATCH = ("_batch_processor",)
"""From a batch processor to the part that has `emit` and the queue."""
_QUEUE = ("_queue",)


def parts_of(provider: Any) -> Iterator[Any]:
    """Yield the processors and readers of *provider*, those that stand in others too."""
    for parts in _found(provider, _PARTS):
        for part in parts:
            yield part
            yield from _within(part)


def _within(part: Any) -> Iterator[Any]:
    for inner in _found(part, _WITHIN):
        yield inner
        yield from _within(inner)
    yield from parts_of(part)


def exporter_of(part: Any) -> Any:
    """Return what *part* exports with; `None` where it does not, or that cannot be seen."""
    return next((exporter for exporter in _found(part, _EXPORTERS) if hasattr(exporter, "export")), None)


def batch_of(part: Any) -> tuple[Any, Sized] | None:
    """Return what takes the items of a batch processor, by `emit`, and the queue where they wait."""
    for batch in _found(part, _BATCH):
        for queue in _found(batch, _QUEUE):
            if hasattr(batch, "emit"):
                return batch, queue
    return None


def sessions_of(exporter: Any) -> Iterator[Any]:
    """Yield the `requests.Session` of an exporter that sends over HTTP."""
    yield from _found(exporter, ("_client._transport._session", "_session"))  # the second in older releases


def _found(owner: Any, paths: Iterable[str]) -> Iterator[Any]:
    """Yield what stands at those of *paths* that *owner* has."""
    for path in paths:
        try:
            yield attrgetter(path)(owner)
        except AttributeError:
            continue
