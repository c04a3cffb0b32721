"""Tracers for spans of our own, whose provider may be given when otelier is switched on."""

from __future__ import annotations

from typing import Final

from opentelemetry import trace
from opentelemetry.trace import Tracer, TracerProvider

from otelier import names
from otelier.faults import on_reset

_given: TracerProvider | None = None
_made: Final[dict[str, tuple[TracerProvider, Tracer]]] = {}
"""The last tracer of each scope, with its provider. The SDK changes the process's filters of warnings each time it is
asked for one: 40 us, and warnings that are shown once come again."""


def trace_to(provider: TracerProvider | None) -> None:
    """Take tracers from *provider* from now on; `None` is the global one, also when it is set later.

    Example:
        >>> trace_to(None)
    """
    global _given
    _given = provider


def tracer(scope: str) -> Tracer:
    """Return the tracer of *scope* from the provider that holds now; ask for each operation, and keep none.

    Example:
        >>> tracer("otelier.docs").start_span("work").end()
    """
    provider = trace.get_tracer_provider() if _given is None else _given
    made = _made.get(scope)
    if made is None or made[0] is not provider:
        made = _made[scope] = (provider, provider.get_tracer(scope, schema_url=names.SCHEMA_URL))
    return made[1]


@on_reset
def _forget() -> None:
    trace_to(None)
    _made.clear()
