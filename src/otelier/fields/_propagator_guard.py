"""The propagator never writes our entries: only the last hop of a client knows which host a request goes to.

The patch goes in with the import of this package and stays, see there: the entries stand in the baggage as soon as a
field is set, whether or not otelier is switched on, and also after it was switched off.

OpenTelemetry's propagators know no hosts:
https://github.com/open-telemetry/opentelemetry-specification/issues/3957
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import opentelemetry.baggage.propagation
from opentelemetry.context import Context, get_current

from otelier.fields._contexts import BAGGAGE, FieldText, not_ours
from otelier.patches import Patches, PatchPoint


def _inject_foreign(wrapped: Callable[..., Any], _self: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around `inject(carrier, context=None, setter=…)`."""
    given = args[1] if len(args) > 1 else kwargs.get("context")
    current = get_current() if given is None else given
    bag: Any = current.get(BAGGAGE)
    if bag and any(type(value) is FieldText for value in bag.values()):
        without = Context({**current, BAGGAGE: not_ours(bag)})
        if len(args) > 1:
            args = (args[0], without, *args[2:])
        else:
            kwargs = {**kwargs, "context": without}
    return wrapped(*args, **kwargs)


PROPAGATORS = {
    opentelemetry.baggage.propagation.__name__: "W3CBaggagePropagator",
    "opentelemetry.propagators.jaeger": "JaegerPropagator",
    "opentelemetry.propagators.ot_trace": "OTTracePropagator",
}
"""Every propagator of OpenTelemetry that carries baggage, by its module."""

_HELD_BACK = Patches(
    (PatchPoint(module, owner, "inject", _inject_foreign) for module, owner in PROPAGATORS.items()), place="fields"
)


def hold_back() -> None:
    """Keep our entries out of what every propagator writes that knows baggage, also of one that is loaded later.

    Once is enough, but another call mends what others have put out of its place since.
    """
    _HELD_BACK.apply()


def is_held_back() -> bool:
    """Return whether the patches are in place, also below another library's."""
    return _HELD_BACK.are_in()
