"""What is told of a run: errors of unknown, ended and other runs, and JSON as it is stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from otelier.codec import error_to_json, read_json, whole_text
from otelier.errors import (
    RunCancelled,
    RunExistsError,
    UnknownHandlerError,
    UnknownRunError,
    WorkflowUseError,
)
from otelier.workflows.engines.protocol import Json, Outcome, Target
from otelier.workflows.engines.shown import no_key, run_ended

UNSEEN: Final = 404
"""Restate's code where there is no such invocation, or not yet."""
CANCELLED: Final = 409
"""Restate's code of what was cancelled or killed."""
FAILED: Final = 500
MISMATCH: Final = 570
"""Restate's code of a body that does not fit its journal."""
dumps: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
"""Returns a value as JSON text, which a body gets back as it was."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A result that is the failure of another invocation."""

    code: int
    message: str


def to_bytes(value: Json) -> bytes:
    """Return *value* as JSON; half of a UTF-16 pair has no form there, and is replaced."""
    text = dumps(value)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return whole_text(text).encode()


def failure(error: BaseException) -> Outcome:
    """Return the outcome of what failed with *error*."""
    return [False, error_to_json(error)]


def cancelled(run_id: str) -> Outcome:
    """Return the outcome of a run that was cancelled."""
    return failure(RunCancelled(f"Run {run_id!r} was cancelled."))


def unknown_run(run_id: str) -> UnknownRunError:
    """Return the error for a run that is not known."""
    return UnknownRunError(
        f"There is no run {run_id!r}: it was never started here, or it ended so long ago that it was deleted. "
        "`otelier runs` lists those that are kept.",
        workflow_id=run_id,
    )


def refusal(run_id: str, answer: Mapping[str, Any], *, target: Target | None = None, signal: str = "") -> Exception:
    """Return the error for what `otelier.run` refused."""
    if "exists" in answer:
        service, handler = answer["exists"]
        return RunExistsError(
            f"Cannot start run {run_id!r}: there is one with that workflow id, of {service}/{handler}, with another "
            "handler or input. Give this one an id of its own, or the same input to get that run.",
            workflow_id=run_id,
        )
    if "ended" in answer:
        return run_ended(run_id, f"takes no signal {signal!r}", answer["ended"])
    if "no_key" in answer and target is not None:
        return WorkflowUseError(no_key(target.handler))
    if "handlers" in answer and target is not None:
        known: list[str] = answer["handlers"]
        return UnknownHandlerError(
            f"No worker has {target.service}/{target.handler}: registered with the server are "
            f"{', '.join(known) or 'none'}. Start a worker that has it, or correct the name.",
            service=target.service,
            handler=target.handler,
        )
    return unknown_run(run_id)


def outcome_of(run_id: str, value: Any) -> tuple[Outcome, int | None]:
    """Return the outcome that an invocation of a handler of ours ended with, and when that was."""
    if not isinstance(value, Failed):
        found = read_json(bytes(value).decode())
        return [True, found["value"]], found["at"]
    try:
        stored = read_json(value.message)
        at = stored.pop("at", None)
        if "type" in stored:
            return [False, stored], at
    except (ValueError, AttributeError, TypeError):
        pass
    if value.code == CANCELLED:
        return cancelled(run_id), None
    return failure(RuntimeError(value.message)), None
