"""The propagator never writes our entries: only the last hop of a client knows which host a request goes to."""

from __future__ import annotations

import functools
from typing import Any

from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context, get_current

from otelier.fields._contexts import not_ours
from otelier.fields._slots import BAGGAGE, FieldText

_HOLDS_BACK = "_otelier_holds_back"


def hold_back(propagator: Any = W3CBaggagePropagator) -> None:
    """Keep our entries out of what the class *propagator* writes of the baggage. Cannot be undone."""
    if is_held_back(propagator):
        return
    inject = propagator.inject

    @functools.wraps(inject)
    def inject_foreign(self: Any, carrier: Any, context: Context | None = None, *args: Any, **kwargs: Any) -> None:
        current = get_current() if context is None else context
        bag: Any = current.get(BAGGAGE)
        if bag and any(type(value) is FieldText for value in bag.values()):
            context = Context({**current, BAGGAGE: not_ours(bag)})
        inject(self, carrier, context, *args, **kwargs)

    setattr(inject_foreign, _HOLDS_BACK, True)
    propagator.inject = inject_foreign


def is_held_back(propagator: Any = W3CBaggagePropagator) -> bool:
    """Tell whether the patch is in place, also below another library's."""
    current: Any = propagator.inject
    while current is not None and not getattr(current, _HOLDS_BACK, False):
        current = getattr(current, "__wrapped__", None)
    return current is not None
