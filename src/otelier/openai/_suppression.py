"""Who may tell us to keep silent, through the OpenTelemetry Context."""

from __future__ import annotations

from typing import Final

from opentelemetry import context as context_api
from opentelemetry.context import Context

# Both keys that `opentelemetry.instrumentation.utils.suppress_instrumentation` sets; the first has a random ending.
_EVERYTHING = frozenset(
    (getattr(context_api, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation"), "suppress_instrumentation")
)
# opentelemetry-util-genai puts these while a call of its own runs, so that what it calls is not reported again.
INFERENCE_SUPPRESSORS: Final = _EVERYTHING | {"opentelemetry.genai.client.inference.context"}
EMBEDDING_SUPPRESSORS: Final = _EVERYTHING | {"opentelemetry.genai.client.embedding.context"}


def suppressed(context: Context, keys: frozenset[str]) -> bool:
    """Tell whether one of *keys* is set in *context*: there, and neither `None` nor false."""
    return any(context.get(key) for key in keys)
