"""OpenTelemetry Contexts as the store of the fields: our keys, our baggage entries, and Contexts that hold a state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from opentelemetry import baggage, trace
from opentelemetry.context import Context, create_key

if TYPE_CHECKING:

    class HoldsFields(Protocol):
        """A `State`, or the `Lease` of one."""

        @property
        def baggage(self) -> Mapping[str, object]:
            """Entries for the baggage."""
            ...


FIELDS: Final = create_key("otelier-fields")
"""Slot of the ready `State`."""
BLOCK: Final = create_key("otelier-block")
"""Slot of the innermost `context()` block or `Frame` that is open here."""
SETTING: Final = create_key("otelier-setting")
"""Slot of the `Setting` of the last `set_context` here."""
REQUEST: Final = create_key("otelier-request")
"""Slot of the `Request` that `ContextMiddleware` serves here."""

# The API keeps its own slots under private names but shows them in what it builds. Writing both slots and ours
# in one new Context costs 0.2 µs; set_baggage() costs 0.5 for each field.
(BAGGAGE,) = baggage.set_baggage("a", "b", Context())
(SPAN,) = trace.set_span_in_context(trace.INVALID_SPAN, Context())


class FieldText(str):
    """A baggage value that otelier put there.

    By its type an entry of ours is distinguished from the application's own, wherever it is copied to.
    """

    __slots__ = ()


def with_state(current: Context, state: HoldsFields) -> Context:
    """Return *current* with *state* in force."""
    bag: Any = current.get(BAGGAGE)
    return Context({**current, BAGGAGE: merge_baggage(bag, state) if bag else state.baggage, FIELDS: state})


def without_state(current: Context) -> Context:
    """Return *current* as if nothing of ours had ever been set in it."""
    rest = {key: value for key, value in current.items() if key not in (FIELDS, BLOCK, SETTING, REQUEST)}
    bag: Any = rest.get(BAGGAGE)
    if bag:
        rest[BAGGAGE] = not_ours(bag)
    return Context(rest)


def merge_baggage(bag: Mapping[str, object], state: HoldsFields) -> Mapping[str, object]:
    """Return *bag* with our entries replaced by those of *state*; the application's own stay."""
    foreign = not_ours(bag)
    return {**foreign, **state.baggage} if foreign else state.baggage


def not_ours(bag: Mapping[str, object]) -> dict[str, object]:
    """Return the entries of *bag* that the application put there."""
    return {key: value for key, value in bag.items() if type(value) is not FieldText}
