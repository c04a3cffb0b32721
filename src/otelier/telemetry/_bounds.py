"""Bounds on values that others choose: providers, models, and whoever writes a request.

An exporter drops a whole batch for one text that is no Unicode, a receiver refuses it for one text of megabytes, and
each new value of a metric's attribute is one more time series.
"""

from __future__ import annotations

import re
from typing import Final

from opentelemetry.util.types import AttributeValue

from otelier import names
from otelier.faults import on_reset, read_setting, warn_once
from otelier.redaction import cut_text
from otelier.settings import METRIC_TENANTS

MAX_VALUES: Final = 200
"""Values that metrics of one process carry of each attribute that is not of a known few."""
_MAX_CHARS: Final = 256
MAX_TEXT_CHARS: Final = 1_024
"""Characters of a name, an id or the like that signals carry; the ids of real providers have at most a few hundred."""
_UNFIT: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_UNFIT_IN_LINES: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_STAND_IN: Final = "\ufffd"

_carried: dict[tuple[str, str], set[object]] = {}


def within_cardinality(attribute: str, value: object, kind: str = "") -> bool:
    """Tell whether metrics may carry *value* as *attribute*: one of the first 200 values, and no very long one.

    Others warn once for each attribute. Spans carry them all the same.

    Args:
        attribute: Name of the attribute.
        value: Its value.
        kind: The group that the value counts in: values of one group take no place of another's.

    Example:
        >>> within_cardinality("gen_ai.agent.name", "triage")
        True
    """
    carried = _carried.setdefault((attribute, kind), set())
    if value in carried:
        return True
    if len(carried) >= MAX_VALUES or len(str(value)) > _MAX_CHARS:
        warn_once(
            f"telemetry.bounds.{attribute}.{kind}",
            "There were more than %d values of %s, or a very long one: metrics do not carry further ones, spans do.",
            MAX_VALUES,
            attribute,
        )
        return False
    carried.add(value)
    return True


_tenants: frozenset[str] | None = None
"""Tenants that metrics name, once they were read."""


def read_metric_tenants() -> frozenset[str]:
    """Read `OTELIER_METRIC_TENANTS`, and keep it; for switching on. What cannot be read is none, with a warning.

    Example:
        >>> read_metric_tenants()
        frozenset()
    """
    global _tenants
    _tenants = read_setting(METRIC_TENANTS)
    return _tenants


def metric_tenants() -> frozenset[str]:
    """Return the tenants that metrics name, as they were when otelier was switched on.

    Example:
        >>> metric_tenants()
        frozenset()
    """
    return read_metric_tenants() if _tenants is None else _tenants


def tenant_attributes(tenant: object) -> dict[str, AttributeValue]:
    """Return what metrics carry of the *tenant* of a call: its id where it is one of `metric_tenants`, else `_OTHER`.

    Nothing where they are none, or where the call has no tenant, which is `None`.

    Example:
        >>> tenant_attributes("acme")
        {}
    """
    tenants = metric_tenants()
    if tenant is None or not tenants:
        return {}
    return {names.TENANT_ID: str(tenant) if tenant in tenants else names.OTHER}


def fit_text(value: object, *, lines: bool = False) -> str | None:
    """Return *value* as signals may carry it, `None` when it is no text or empty.

    Control characters and halves of UTF-16 pairs become U+FFFD, and what is longer than 1,024 characters is cut, with
    a note of how much.

    Args:
        value: A name, an id, a reason: what is one short text.
        lines: Whether tabs and ends of lines are among what it may hold.

    Example:
        >>> fit_text("gpt-4.1"), fit_text("gpt\\ud800"), fit_text(4.1)
        ('gpt-4.1', 'gpt\ufffd', None)
    """
    if type(value) is str and 0 < len(value) <= MAX_TEXT_CHARS and value.isprintable():
        return value
    if not isinstance(value, str) or not value:
        return None
    return (_UNFIT_IN_LINES if lines else _UNFIT).sub(_STAND_IN, cut_text(value, MAX_TEXT_CHARS))


@on_reset
def _forget() -> None:
    global _tenants
    _carried.clear()
    _tenants = None
