"""The OpenAI instrumentation: GenAI spans, metrics and events for the calls of the openai client."""

from __future__ import annotations

from otelier.openai._coexistence import defers_to
from otelier.openai._instrumentor import OpenAIInstrumentor
from otelier.openai.content._chat import CallPieces

__all__ = ["CallPieces", "OpenAIInstrumentor", "defers_to"]
