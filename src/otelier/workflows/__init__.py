"""Workflows: code that goes on where it was after a crash, and tells one trace of it."""

from __future__ import annotations

from otelier.workflows import _direct as _direct  # lets handlers be called as functions
from otelier.workflows._approvals import Approval, PendingApproval
from otelier.workflows._calls import Call
from otelier.workflows._client import Client
from otelier.workflows._context import Context
from otelier.workflows._entities import EntityType, entity
from otelier.workflows._handlers import Handler, function, workflow
from otelier.workflows._headers import RequestHeaders
from otelier.workflows._waits import Handle
from otelier.workflows._worker import RunHandle, Worker
from otelier.workflows.engines.shown import RunInfo, StepInfo

__all__ = [
    "Approval",
    "Call",
    "Client",
    "Context",
    "EntityType",
    "Handle",
    "Handler",
    "PendingApproval",
    "RequestHeaders",
    "RunHandle",
    "RunInfo",
    "StepInfo",
    "Worker",
    "entity",
    "function",
    "workflow",
]
