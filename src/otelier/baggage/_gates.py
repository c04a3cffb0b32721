"""Whether our entries may leave now, whatever the host: the request carries this trace, and nothing forbids it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.propagate import get_global_textmap

from otelier.fields import LLM_CALL, SPAN
from otelier.signals import EMBEDDING_SUPPRESSORS, FETCH_SUPPRESSORS, INFERENCE_SUPPRESSORS, suppressed

HEADER: Final = "baggage"
_CLOSED = INFERENCE_SUPPRESSORS | EMBEDDING_SUPPRESSORS | FETCH_SUPPRESSORS | {LLM_CALL}


def is_open(current: Context) -> bool:
    """Tell whether no LLM call is open in *current*, and instrumentation is not suppressed there.

    Exporters send under suppression, and a model's host gets nothing even where it is inside.
    """
    return _CLOSED.isdisjoint(current) or not suppressed(current, _CLOSED)


def is_propagated() -> bool:
    """Tell whether `baggage` is a configured propagator."""
    return HEADER in get_global_textmap().fields


def carries_trace(current: Context, headers: Iterable[tuple[str, str]]) -> bool:
    """Tell whether a request with *headers*, by lower-case name, is one that baggage is propagated with.

    That is so where `baggage` is a configured propagator, and one of the others has written the trace of *current*.
    Clients' instrumentations inject both or, for excluded hosts and without a valid span, neither. A header that
    the application merely passes on from somewhere else shows another trace.
    """
    span: Any = current.get(SPAN)
    trace_id = 0 if span is None else span.get_span_context().trace_id
    if not trace_id:
        return False
    written = f"{trace_id:032x}"
    # Looked for by value first: the names are a set that every propagator makes anew.
    found = [name for name, value in headers if written in value]
    if not found:
        return False
    fields = get_global_textmap().fields
    return HEADER in fields and not {field.lower() for field in fields if field != HEADER}.isdisjoint(found)
