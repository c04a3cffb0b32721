"""Workflows: code that goes on where it was after a crash, and tells one trace of it."""

from __future__ import annotations

from otelier.workflows._calls import Call
from otelier.workflows._context import Context
from otelier.workflows._handlers import EntityType, Handler, entity, function, workflow
from otelier.workflows._headers import RequestHeaders
from otelier.workflows._waits import Handle
from otelier.workflows._worker import RunHandle, Worker

__all__ = [
    "Call",
    "Context",
    "EntityType",
    "Handle",
    "Handler",
    "RequestHeaders",
    "RunHandle",
    "Worker",
    "entity",
    "function",
    "workflow",
]
