"""Marks in the OpenTelemetry Context that keep our signals back: of other instrumentations, and of a replay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from opentelemetry import context as context_api
from opentelemetry.context import Context

from otelier.telemetry._sdk import SUPPRESS_INSTRUMENTATION

LLM_CALL: Final = context_api.create_key("otelier-llm-call")
"""Key of the client's object whose call to a model is open: nothing of ours leaves with its requests."""
LLM_REPORTER: Final = context_api.create_key("otelier-llm-reporter")
"""Key of the package that reports the call instead of us: spans of its tracers are GenAI spans."""

_ALL: Final = frozenset((SUPPRESS_INSTRUMENTATION, "suppress_instrumentation"))
"""Both keys of `opentelemetry.instrumentation.utils.suppress_instrumentation`; the first has a random ending."""
# Traceloop's instrumentations of frameworks set this during a call to a model that they report.
_CALLS: Final = _ALL | {"suppress_language_model_instrumentation", LLM_CALL}
# opentelemetry-util-genai sets the last one during a call of its own, so that the call below is not reported again.
CALL_SUPPRESSORS: Final = {
    kind: _CALLS | {f"opentelemetry.genai.client.{kind}.context"}
    for kind in ("inference", "embedding", "fetch_response")
}
"""Keys that keep a call to a model from being reported again, by the kind of call; `LLM_CALL` is among them."""


def suppressed(context: Context, keys: frozenset[str] = _ALL) -> bool:
    """Tell whether one of *keys* is set in *context*: there, and neither `None` nor false.

    Example:
        >>> suppressed(Context({"suppress_instrumentation": True}))
        True
    """
    return any(context.get(key) for key in keys)


_REPLAYING: Final = context_api.create_key("otelier-replaying")
_is_marked = False
"""Whether a replay was ever marked in this process: most never replay, and are not to look for it at each call."""


def replayed(context: Context, is_so: Callable[[], bool] = lambda: True) -> Context:
    """Return *context* for code that runs again to find its place: what it reports was reported the first time.

    Operations that begin there have no span, metric points are dropped, and `emit_event` emits nothing. Spans of calls
    that really are made there again, also to a model, are spans as ever.

    Args:
        context: What holds around it.
        is_so: Tells whether that is still so; from when it no longer is, the code runs for the first time.

    Example:
        >>> is_replaying(replayed(Context()))
        True
    """
    global _is_marked
    _is_marked = True
    return context_api.set_value(_REPLAYING, is_so, context)


def live(context: Context) -> Context:
    """Return *context* for code that runs for the first time, though what is around it is replayed.

    Example:
        >>> is_replaying(live(replayed(Context())))
        False
    """
    return context_api.set_value(_REPLAYING, None, context) if _is_marked else context


def is_replaying(context: Context | None = None) -> bool:
    """Tell whether *context*, the current one if none is given, is one of a replay.

    Example:
        >>> is_replaying()
        False
    """
    if not _is_marked:
        return False
    is_so: Any = (context_api.get_current() if context is None else context).get(_REPLAYING)
    return is_so is not None and bool(is_so())
