"""A forked child's own connections to the receiver of its telemetry.

An OTLP exporter over HTTP keeps its connection open. A child inherits it from a parent that has exported before: then
both write to one stream, their requests mix there, and batches are lost. OpenTelemetry gives a child new threads and
empty queues, but not new connections.

The exporters of a provider are nowhere public. Private names are read here and nowhere else; they are those of the
releases 1.39 to 1.45. Where one is missing, the child goes on with what it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any

from otelier.setup._providers import innermost_provider, known_providers
from otelier.signals import report_fault

_PARTS = (
    "_active_span_processor._span_processors",
    "_multi_log_record_processor._log_record_processors",
    "_metric_readers",
    "_sdk_config.metric_readers",  # older releases
)
"""From a provider to its span processors, log record processors and metric readers."""
_SESSIONS = ("_client._transport._session", "_session")  # the second in older releases
"""From an exporter to its `requests.Session`."""
_EXPORTERS = ("_batch_processor._exporter", "span_exporter", "_exporter")
"""From a processor or reader to its exporter."""


def renew_connections() -> None:
    """Let every OTLP exporter of the known providers that sends over HTTP connect anew."""
    try:
        for session in _sessions(known_providers()):
            for adapter in session.adapters.values():
                # As if it had been pickled and sent here: the same settings, and pools that are empty. The old ones
                # are not asked to close: their locks may be held by a thread that this process does not have.
                adapter.__setstate__(adapter.__getstate__())
    except Exception as exc:
        report_fault("setup.connections", exc)


def _sessions(providers: Iterable[Any]) -> Iterator[Any]:
    for provider in providers:
        for parts in _found(innermost_provider(provider), _PARTS):
            for part in parts:
                for exporter in _found(part, _EXPORTERS):
                    yield from _found(exporter, _SESSIONS)


def _found(owner: Any, paths: Iterable[str]) -> Iterator[Any]:
    """Yield what stands at those of *paths* that *owner* has."""
    for path in paths:
        try:
            yield attrgetter(path)(owner)
        except AttributeError:
            continue
