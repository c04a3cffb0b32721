"""A local server that speaks the OpenAI API: recorded answers, scripted ones, and errors on demand."""

from __future__ import annotations

from otelier.testing.server._requests import OpenAIRequest
from otelier.testing.server._server import OpenAIServer

__all__ = ["OpenAIRequest", "OpenAIServer"]
