"""Who may tell us to keep silent, through the OpenTelemetry Context."""

from __future__ import annotations

from typing import Final

from opentelemetry import context as context_api
from opentelemetry.context import Context

SUPPRESSORS: Final = frozenset(
    (getattr(context_api, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation"), "suppress_instrumentation")
)
"""Both keys of `opentelemetry.instrumentation.utils.suppress_instrumentation`; the first has a random ending."""
# Traceloop's instrumentations of frameworks put this while a call to a model runs that they report.
_CALLS: Final = SUPPRESSORS | {"suppress_language_model_instrumentation"}
# opentelemetry-util-genai puts these while a call of its own runs, so that what it calls is not reported again.
INFERENCE_SUPPRESSORS: Final = _CALLS | {"opentelemetry.genai.client.inference.context"}
EMBEDDING_SUPPRESSORS: Final = _CALLS | {"opentelemetry.genai.client.embedding.context"}
FETCH_SUPPRESSORS: Final = _CALLS | {"opentelemetry.genai.client.fetch_response.context"}


def suppressed(context: Context, keys: frozenset[str] = SUPPRESSORS) -> bool:
    """Tell whether one of *keys* is set in *context*: there, and neither `None` nor false.

    Example:
        >>> suppressed(Context({"suppress_instrumentation": True}))
        True
    """
    return any(context.get(key) for key in keys)
