"""Inbound entries under our keys: dropped, or checked and set where the application trusts them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry.context import Context, get_current

from otelier.baggage._policy import config
from otelier.errors import ContextValueError
from otelier.faults import report_fault, warn_once
from otelier.fields import BAGGAGE, FIELD_BY_KEY, PROPAGATORS, check_field, with_inbound
from otelier.patches import Patches, PatchPoint


def _extract(wrapped: Callable[..., Any], _self: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around `extract(carrier, context=None, getter=…)`."""
    given = args[1] if len(args) > 1 else kwargs.get("context")
    extracted = wrapped(*args, **kwargs)
    try:
        return _received(get_current() if given is None else given, extracted)
    except Exception as exc:
        report_fault("baggage.inbound", exc)
        return extracted


def _received(before: Context, after: Context) -> Context:
    """Return *after* without the entries under our keys that came since *before*; where they are trusted, as fields."""
    there: Any = after.get(BAGGAGE)
    had: Mapping[str, object] = before.get(BAGGAGE) or {}  # pyright: ignore[reportAssignmentType]
    if not there or there is had:
        return after
    came = {key: there[key] for key in FIELD_BY_KEY if key in there and there[key] is not had.get(key)}
    if not came:
        return after
    # What was here before under that key, ours or the application's, is there again.
    back = {key: had[key] for key in came if key in had}
    kept = {key: value for key, value in there.items() if key not in came}
    after = Context({**after, BAGGAGE: {**kept, **back}})
    return _trusted(after, came) if config.trusts_inbound else after


def _trusted(context: Context, came: Mapping[str, object]) -> Context:
    values: Any = {FIELD_BY_KEY[key]: value for key, value in came.items() if _may_be_taken(key, value)}
    return with_inbound(context, **values) if values else context


def _may_be_taken(key: str, value: object) -> bool:
    if not value:  # empty is no value; here it must not clear a field
        return False
    field: Final = FIELD_BY_KEY[key]
    try:
        check_field(field, value)
    except (ContextValueError, TypeError):
        warn_once(f"baggage.inbound.{key}", "An inbound %s cannot be a field and is dropped.", field)
        return False
    return True


INBOUND = Patches(
    (PatchPoint(module, owner, "extract", _extract) for module, owner in PROPAGATORS.items()), place="baggage"
)
