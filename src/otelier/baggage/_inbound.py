"""What comes with a request under our keys: dropped, or, where the application trusts it, checked and taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry.context import Context, get_current

from otelier import names
from otelier.baggage._switch import switch
from otelier.errors import ContextValueError
from otelier.faults import report_fault, warn_once
from otelier.fields import BAGGAGE, BAGGAGE_KEYS, FIELD_NAMES, PROPAGATORS, arrived, checked
from otelier.patches import Patches, PatchPoint


def _extract(wrapped: Callable[..., Any], _self: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around `extract(carrier, context=None, getter=…)`."""
    given = args[1] if len(args) > 1 else kwargs.get("context")
    extracted = wrapped(*args, **kwargs)
    if not switch.on:
        return extracted
    try:
        return _received(get_current() if given is None else given, extracted)
    except Exception as exc:
        report_fault("baggage.extract", exc)
        return extracted


def _received(before: Context, after: Context) -> Context:
    """Return *after* with what arrived under our keys since *before* taken out, and taken over where it is trusted."""
    there: Any = after.get(BAGGAGE)
    had: Mapping[str, object] = before.get(BAGGAGE) or {}  # pyright: ignore[reportAssignmentType]
    if not there or there is had:
        return after
    came = {key: there[key] for key in BAGGAGE_KEYS if key in there and there[key] is not had.get(key)}
    if not came:
        return after
    # What was here before under that key, ours or the application's, is there again.
    back = {key: had[key] for key in came if key in had}
    kept = {key: value for key, value in there.items() if key not in came}
    after = Context({**after, BAGGAGE: {**kept, **back}})
    return _trusted(after, came) if switch.trusts_inbound else after


def _trusted(context: Context, came: Mapping[str, object]) -> Context:
    values = {key: value for key, value in came.items() if _may_be_taken(key, value)}
    if not values:
        return context
    changes: Any = tuple(values.get(key) for key in BAGGAGE_KEYS)
    caller: Any = (values.get(names.AGENT_NAME), values.get(names.AGENT_ID))
    return arrived(context, changes, caller)


def _may_be_taken(key: str, value: object) -> bool:
    if not value:  # empty is no value; here it must not clear a field
        return False
    changes: Any = tuple(value if key == other else None for other in BAGGAGE_KEYS)
    try:
        checked(changes)
    except (ContextValueError, TypeError):
        field: Final = FIELD_NAMES[BAGGAGE_KEYS.index(key)]
        warn_once(f"baggage.inbound.{key}", "An inbound %s cannot be a field and is dropped.", field)
        return False
    return True


INBOUND = Patches(
    (PatchPoint(module, owner, "extract", _extract) for module, owner in PROPAGATORS.items()), place="baggage"
)
