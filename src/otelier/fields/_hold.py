"""The propagator never writes our entries: only the last hop of a client knows which host a request goes to."""

from __future__ import annotations

import functools
from typing import Any

from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context, get_current

from otelier.fields._contexts import not_ours
from otelier.fields._slots import BAGGAGE, FieldText

_inject = W3CBaggagePropagator.inject


@functools.wraps(_inject)
def _inject_foreign(
    self: W3CBaggagePropagator, carrier: Any, context: Context | None = None, *args: Any, **kwargs: Any
) -> None:
    current = get_current() if context is None else context
    bag: Any = current.get(BAGGAGE)
    if bag and any(type(value) is FieldText for value in bag.values()):
        context = Context({**current, BAGGAGE: not_ours(bag)})
    _inject(self, carrier, context, *args, **kwargs)


def hold_back() -> None:
    """Keep our entries out of what OpenTelemetry's baggage propagator writes. Cannot be undone."""
    W3CBaggagePropagator.inject = _inject_foreign


def is_held_back() -> bool:
    """Tell whether the patch is in place, also below another library's."""
    current: Any = W3CBaggagePropagator.inject
    while current is not None and current is not _inject_foreign:
        current = getattr(current, "__wrapped__", None)
    return current is not None
