"""Runs and their ops as they are shown, whatever engine keeps them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Final, Literal, TypeAlias

SAMPLED: Final = "otelier-sampled"
"""Header that tells whether a run without a caller's span is sampled: `1` or `0`; none where nobody could tell."""
HEALTHS: Final = ("blocked", "waiting approval", "retrying", "waiting", "running")
"""Healths of open runs, the most urgent first."""
Status: TypeAlias = Literal["running", "waiting", "blocked", "completed", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class StepInfo:
    """One op of a run, as it is shown.

    Example:
        >>> import asyncio
        >>> from otelier import Client, Worker, workflow
        >>> @workflow
        ... async def order(ctx):
        ...     return await ctx.step("charge", lambda: "charged")
        >>> async def main():
        ...     async with Worker("shop", modules=[order], engine="memory:") as worker:
        ...         await (await worker.start(order, workflow_id="order-3")).result()
        ...         return await Client("memory:").run("order-3")
        >>> run = asyncio.run(main())
        >>> [(step.name, step.kind, step.attempt, step.error) for step in run.steps]
        [('charge', 'step', 1, None)]
    """

    name: str
    kind: str
    """`step`, `sleep`, `signal`, `call`, `result` or `send`; of a client also `approval`."""
    attempt: int
    """Number of the attempt, from 1; the attempts of a step have its name."""
    executions: int
    """How often it was begun: more than once if a crash or a stop cut it."""
    begin_ns: int
    end_ns: int | None
    """`None` while it goes on."""
    error: str | None = None
    """First line of what it failed with."""
    run_id: str | None = None
    """The run that it called, or whose result it waits for; `None` for other kinds."""

    @property
    def begin(self) -> datetime:
        """Time of its first begin, in UTC."""
        return _time(self.begin_ns)

    @property
    def end(self) -> datetime | None:
        """Time of its end, in UTC; `None` while it goes on."""
        return None if self.end_ns is None else _time(self.end_ns)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One run, as it is shown.

    Example:
        >>> import asyncio
        >>> from otelier import Client, Worker, workflow
        >>> @workflow
        ... async def order(ctx):
        ...     return await ctx.step("charge", lambda: "charged")
        >>> async def main():
        ...     async with Worker("shop", modules=[order], engine="memory:") as worker:
        ...         await (await worker.start(order, workflow_id="order-2")).result()
        ...         return await Client("memory:").run("order-2")
        >>> run = asyncio.run(main())
        >>> run.status, run.service, run.handler, run.result
        ('completed', 'shop', 'order', 'charged')
    """

    workflow_id: str
    service: str
    handler: str
    status: Status
    health: str
    """`blocked`, `waiting approval`, `retrying`, `waiting`, `running`, `completed`, `failed` or `cancelled`."""
    version: int
    begin_ns: int
    end_ns: int | None = None
    key: str | None = None
    parent_id: str | None = None
    result: Any = None
    error: Mapping[str, Any] | None = None
    """What it failed with, why it is blocked, or what it tries again after; as `otelier.codec.error_to_json` has it."""
    steps: Sequence[StepInfo] = field(default_factory=tuple[StepInfo, ...])
    """Empty where many runs were asked for."""
    waiting_for: str | None = None
    """What it waits for, such as `signal manager_approved`; `None` where many runs were asked for."""
    trace_id: str | None = None
    """Its trace, in 32 hexadecimal digits; `None` for one that is not sampled, and where many runs were asked for."""

    @property
    def begin(self) -> datetime:
        """Time of its start, in UTC."""
        return _time(self.begin_ns)

    @property
    def end(self) -> datetime | None:
        """Time of its end, in UTC; `None` while it is open."""
        return None if self.end_ns is None else _time(self.end_ns)


def run_trace_id(run_id: str) -> int:
    """Return the trace id of a run that nobody's span started."""
    return int.from_bytes(hashlib.sha256(f"trace/{run_id}".encode()).digest()[:16], "big") or 1


def shown_trace_id(run_id: str, headers: Mapping[str, str]) -> str | None:
    """Return the trace id of a run with its stored headers: that of its caller's span, else its own.

    Example:
        >>> shown_trace_id("o-1", {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})
        '4bf92f3577b34da6a3ce929d0e0e4736'
        >>> shown_trace_id("o-1", {})
        '46feb97fafa811894f453bfffea42aad'
    """
    _, *fields = headers.get("traceparent", "").split("-")
    if len(fields) == 3:
        return fields[0] if int(fields[2], 16) & 1 else None
    return None if headers.get(SAMPLED) == "0" else f"{run_trace_id(run_id):032x}"


def how_ended(status: str) -> str:
    """Return how errors say that a run ended.

    Example:
        >>> how_ended("cancelled"), how_ended("failed")
        ('was cancelled', 'has failed')
    """
    return f"{'was' if status == 'cancelled' else 'has'} {status}"


def _time(ns: int) -> datetime:
    return datetime.fromtimestamp(ns / 1e9, timezone.utc)
