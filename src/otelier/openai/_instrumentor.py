"""The switch of the OpenAI instrumentation."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from otelier.openai._patch import apply_patches, remove_patches
from otelier.openai._telemetry import make_telemetry, switch
from otelier.settings import patches_allowed
from otelier.signals import on_fork, on_reset

_lock = threading.Lock()


class OpenAIInstrumentor(BaseInstrumentor):
    """Reports calls of the openai client as GenAI spans and metrics, with the fields of their context.

    Chat completions, Responses, embeddings, legacy completions, images and audio, sync, async and streamed. What the
    caller gets, and what it costs the model's provider, is the same with and without. Content is left out unless
    `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` asks for it; the environment is read by `instrument`.

    `otelier.init` and `opentelemetry-instrument` switch it on; use it on its own for the spans and metrics alone.

    Example:
        >>> from otelier.openai import OpenAIInstrumentor
        >>> OpenAIInstrumentor().instrument()
        >>> OpenAIInstrumentor().uninstrument()

    See: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the openai releases that are known to work."""
        return ("openai >= 1.66, < 4",)

    def instrument(self, **kwargs: Any) -> None:
        """Switch it on; where patches are disabled this does nothing.

        Another call while it is on changes nothing either, but that patches are around those that other
        instrumentations of openai have put around ours since.

        Args:
            **kwargs: `tracer_provider`, `meter_provider` and `logger_provider`, each the global one unless given,
                also when that is set later; `stream_usage=True` asks the provider for usage in streams and keeps the
                chunk that brings it from the caller, `None` is `OTELIER_OPENAI_STREAM_USAGE`; `completion_hook` is a
                `CompletionHook` of `opentelemetry-util-genai`, `None` is the one that
                `OTEL_INSTRUMENTATION_GENAI_COMPLETION_HOOK` names.
        """
        with _lock:
            if not patches_allowed():
                return
            if self.is_instrumented_by_opentelemetry:
                apply_patches()
            else:
                super().instrument(**kwargs)

    def uninstrument(self, **kwargs: Any) -> None:
        """Switch it off: the client's methods are its own again. Streams that are open still end their calls."""
        with _lock:
            super().uninstrument(**kwargs)

    def _instrument(self, **kwargs: Any) -> None:
        switch.telemetry = make_telemetry(
            kwargs.get("tracer_provider"),
            kwargs.get("meter_provider"),
            kwargs.get("logger_provider"),
            stream_usage=kwargs.get("stream_usage"),
            hook=kwargs.get("completion_hook"),
        )
        apply_patches()

    def _uninstrument(self, **kwargs: Any) -> None:
        switch.telemetry = None
        remove_patches()


@on_fork
def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


@on_reset
def _switch_off() -> None:
    if OpenAIInstrumentor().is_instrumented_by_opentelemetry:
        OpenAIInstrumentor().uninstrument()
