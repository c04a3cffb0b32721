"""Processors that write the fields onto spans and log records of every instrumentation."""

from __future__ import annotations

from otelier.processors._log import ContextLogProcessor
from otelier.processors._span import AgentSpanProcessor

__all__ = ["AgentSpanProcessor", "ContextLogProcessor"]
