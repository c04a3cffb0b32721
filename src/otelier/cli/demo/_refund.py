"""The refund of the demonstration: its worker is killed in the middle, a new one goes on, and a person decides."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from otelier import Client
from otelier.cli._steps import Steps
from otelier.cli.demo._bank import Bank
from otelier.cli.demo._processes import REFUNDS, START_TIMEOUT_S, Program, inherited_environment
from otelier.cli.demo._report import service_of
from otelier.cli.demo._traffic import ORDER, REFUND, send
from otelier.errors import OtelierError
from otelier.names import OPERATION_DURATION
from otelier.testing import OtlpReceiver
from otelier.workflows import RunInfo

WORKFLOW_ID = f"refund-{ORDER}"
_POLL_S = 0.05
AT_ONCE = {"OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_BLRP_SCHEDULE_DELAY": "200", "OTEL_METRIC_EXPORT_INTERVAL": "500"}
"""Milliseconds of the worker that is killed: a kill loses what was not exported yet, and the page counts everything."""


class RefundError(OtelierError):
    """The run did not go on as it must."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """What became of the run, as the file and the bank tell it."""

    workflow_id: str
    exit_code: int
    """Exit code of the worker that was killed."""
    decided: str
    """The command that decided."""
    status: str
    result: str
    """What the run returned."""
    bank_requests: tuple[str, ...]
    """Idempotency keys of the requests to the bank."""
    bookings: tuple[str, ...]
    """Idempotency keys of what it booked."""


def refund(
    steps: Steps, helpdesk: int, first: Program, second: Program, bank: Bank, receiver: OtlpReceiver, engine: str
) -> Refund:
    """Ask the helpdesk for a refund, and bring it to its end.

    Args:
        steps: Shows what is done.
        helpdesk: Port of the helpdesk.
        first: The worker, which runs. It is killed once the bank has booked, and before it hears of it.
        second: The worker that goes on, which is not started yet.
        bank: The bank, which keeps its first answer back.
        receiver: Where the worker exports to.
        engine: Where runs are kept.

    Raises:
        OtelierError: if something does not happen.
    """
    with steps.step("refund", "asking for it") as show:
        send(helpdesk, *REFUND)
        show("assessed, waiting for the bank")
        if not bank.wait(START_TIMEOUT_S):
            raise RefundError(f"The bank was asked for nothing. Output of `{first.command}`:\n{first.output}")
        _until(lambda: _is_exported(receiver), "the first worker exported what the run did")
        exit_code = first.kill()
        show(f"{WORKFLOW_ID}: killed its worker once the bank had booked, before it answered")
    bank.answer()
    with steps.step(REFUNDS, "the same command in a new process"):
        second.start()
        second.wait()
    with steps.step("refund", "going on with the step that was cut off") as show:
        asyncio.run(_asked(Client(engine), second))
        show(f"{WORKFLOW_ID}: did the step that was cut off, and asks for a decision")
    words = ["approve", WORKFLOW_ID, "--name", "refund", "--approver", "ann", "--role", "billing"]
    decided = f"otelier {' '.join(words)}"
    with steps.step("decision", decided):
        _decide(words, engine)
    with steps.step("refund", f"{WORKFLOW_ID}: paying") as show:
        info = asyncio.run(_ended(Client(engine), second))
        show(f"{WORKFLOW_ID}: {info.status}, {info.result}")
    return Refund(
        workflow_id=WORKFLOW_ID,
        exit_code=exit_code,
        decided=decided,
        status=info.status,
        result=str(info.result),
        bank_requests=tuple(bank.requests),
        bookings=tuple(bank.bookings),
    )


def _is_exported(receiver: OtlpReceiver) -> bool:
    """Return whether the step before the bank is there in all three signals."""
    spans = any(span.name == "run_step assess" for span in receiver.spans)
    logs = any(entry.body == "assessed" for entry in receiver.logs)
    metrics = any(point.name == OPERATION_DURATION and service_of(point) == REFUNDS for point in receiver.metrics)
    return spans and logs and metrics


def _until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not holds():
        if time.monotonic() > deadline:
            raise RefundError(f"Waited in vain until {what}.")
        time.sleep(_POLL_S)


async def _asked(client: Client, worker: Program) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not await client.approvals():
        await _pause(client, worker, deadline)


async def _ended(client: Client, worker: Program) -> RunInfo:
    deadline = time.monotonic() + START_TIMEOUT_S
    while (info := await client.run(WORKFLOW_ID)).end_ns is None:
        await _pause(client, worker, deadline)
    return info


async def _pause(client: Client, worker: Program, deadline: float) -> None:
    """Wait a moment for the run.

    Raises:
        RefundError: if it has failed, or takes too long.
    """
    info = await client.run(WORKFLOW_ID)
    if info.status in ("failed", "blocked", "cancelled") or time.monotonic() > deadline:
        told = f"{info.health}, {info.error or info.waiting_for}"
        raise RefundError(f"Run {WORKFLOW_ID!r} does not go on: {told}. Output of its worker:\n{worker.output}")
    await asyncio.sleep(_POLL_S)


def _decide(words: list[str], engine: str) -> None:
    command = [sys.executable, "-c", "from otelier.cli import main; main()", *words]
    environment = {**inherited_environment(), "OTELIER_ENGINE": engine, "NO_COLOR": "1"}
    done = subprocess.run(  # noqa: S603 - the program is named here
        command, env=environment, capture_output=True, text=True, check=False, timeout=START_TIMEOUT_S
    )
    if done.returncode:
        raise RefundError(f"`otelier {' '.join(words)}` ended with {done.returncode}: {done.stderr.strip()}")
