"""Content: messages, instructions and tools, as the JSON schemas of the conventions have them."""

from __future__ import annotations
