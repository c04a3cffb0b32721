"""The OpenAI instrumentation: GenAI spans, metrics and events for the calls of the openai client."""

from __future__ import annotations

from otelier.openai._instrumentor import OpenAIInstrumentor

__all__ = ["OpenAIInstrumentor"]
