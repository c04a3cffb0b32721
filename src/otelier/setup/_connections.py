"""A forked child's own connections to the receiver of its telemetry.

An OTLP exporter over HTTP keeps its connection open. A child inherits it from a parent that has exported before: then
both write to one stream, their requests mix there, and batches are lost. OpenTelemetry gives a child new threads and
empty queues, but not new connections.
"""

from __future__ import annotations

from otelier.setup._pipelines import exporter_of, parts_of, sessions_of
from otelier.setup._providers import innermost_provider, known_providers
from otelier.signals import report_fault


def renew_connections() -> None:
    """Let every OTLP exporter of the known providers that sends over HTTP connect anew."""
    try:
        for provider in known_providers():
            for part in parts_of(innermost_provider(provider)):
                for session in sessions_of(exporter_of(part)):
                    for adapter in session.adapters.values():
                        # As if it had been pickled and sent here: the same settings, and pools that are empty. The
                        # old ones are not asked to close: their locks may be held by a thread that is not here.
                        adapter.__setstate__(adapter.__getstate__())
    except Exception as exc:
        report_fault("setup.connections", exc)
