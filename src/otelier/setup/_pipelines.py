"""From a provider to what exports its signals: processors, readers, exporters, and the queues between them.

OpenTelemetry shows none of them by a public name. Private names are read here and nowhere else; they are those of the
releases 1.39 to 1.45. Where an object lacks one, the answer is as if there were nothing behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sized
from contextlib import suppress
from itertools import islice
from operator import attrgetter
from typing import Any, cast

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
_MOST = 32
"""Most parts of one provider: a mock has another processor below each one, without end."""


def parts_of(provider: Any) -> Iterator[Any]:
    """Yield the processors and readers of *provider*, also those that stand in others, each once."""
    waiting = deque(_held_by(provider))
    seen: dict[int, Any] = {}  # they may not be hashable; what is held here keeps its id
    while waiting and len(seen) < _MOST:
        part = waiting.popleft()
        if id(part) not in seen:
            seen[id(part)] = part
            yield part
            waiting.extend((*_found(part, _WITHIN), *_held_by(part)))


def _held_by(owner: Any) -> Iterator[Any]:
    for parts in _found(owner, _PARTS):
        if isinstance(parts, Iterable):
            yield from islice(cast("Iterable[Any]", parts), _MOST)


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


def _found(owner: Any, paths: Iterable[str]) -> list[Any]:
    """Return what stands at those of *paths* that *owner* has."""
    found: list[Any] = []
    for path in paths:
        with suppress(Exception):  # mostly it lacks one; but the owner is somebody else's, and may raise anything
            found.append(attrgetter(path)(owner))
    return found
