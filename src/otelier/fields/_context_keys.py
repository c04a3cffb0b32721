"""Keys of the OpenTelemetry Context that the fields use, and the type of our baggage entries."""

from __future__ import annotations

from typing import Final

from opentelemetry import baggage, trace
from opentelemetry.context import Context, create_key

FIELDS: Final = create_key("otelier-fields")
"""Slot of the ready `State`."""
BLOCK: Final = create_key("otelier-block")
"""Slot of the innermost `context()` block or `Frame` that is open here."""
SETTING: Final = create_key("otelier-setting")
"""Slot of the `Setting` that says where `set_context` was called here."""
REQUEST: Final = create_key("otelier-request")
"""Slot of the `Request` that `ContextMiddleware` serves here."""

# The API keeps its own slots under private names but shows them in what it builds. Writing both slots and ours
# in one new Context costs 0.2 µs; set_baggage() for six fields costs 3.2.
(BAGGAGE,) = baggage.set_baggage("a", "b", Context())
(SPAN,) = trace.set_span_in_context(trace.INVALID_SPAN, Context())


class FieldText(str):
    """A baggage value that otelier put there.

    Its type is how an entry of ours is told from the application's own, wherever the entry is copied to.
    """

    __slots__ = ()
