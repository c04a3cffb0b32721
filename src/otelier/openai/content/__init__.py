"""What is said: messages, instructions and tools, as the conventions' schemas have them, and where they go."""

from __future__ import annotations
