"""Model calls: answers, streams, structured output, and the registry of tools.

Every call goes through a client of the openai package, so it has one span from `otelier.openai`, and the client's
retries, timeouts and `base_url` apply. This package creates no spans itself.
"""

from __future__ import annotations

from otelier.llm._answers import Answer, Chunk, ToolCall, Usage, read_message
from otelier.llm._generate import generate, stream
from otelier.llm._stream import AnswerStream
from otelier.llm._tools import RegisteredTool, Tools, tools

__all__ = [
    "Answer",
    "AnswerStream",
    "Chunk",
    "RegisteredTool",
    "ToolCall",
    "Tools",
    "Usage",
    "generate",
    "read_message",
    "stream",
    "tools",
]
