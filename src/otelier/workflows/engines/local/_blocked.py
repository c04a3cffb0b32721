"""Errors of runs that are blocked: each says what is wrong, and what lets the run go on."""

from __future__ import annotations

from otelier.errors import EngineError, ReplayError
from otelier.workflows.engines.local._journal import OpRow

_FIX = "Bring back the code that it began with, or branch on `ctx.version`; then `otelier resume` it."


def another_op(run_id: str, found: OpRow, kind: str, name: str) -> ReplayError:
    """Return the error of code that makes another op than the journal has there."""
    return ReplayError(
        f"Run {run_id!r} is blocked: at op {found.n} its journal has {found.kind} {found.name!r}, and its code makes "
        f"{kind} {name!r}, so what was recorded does not fit. {_FIX}"
    )


def ended_early(run_id: str, unmade: OpRow) -> ReplayError:
    """Return the error of code that ended before an op that the journal has."""
    return ReplayError(
        f"Run {run_id!r} is blocked: its journal has {unmade.kind} {unmade.name!r} at op {unmade.n}, and its code "
        f"ended before it. {_FIX}"
    )


def no_progress(run_id: str, lives: int) -> EngineError:
    """Return the error of a body that was begun too often without a new record."""
    return EngineError(
        f"Run {run_id!r} is blocked: its body was begun {lives} times without a new record, so it ends the process or "
        "never reaches its next step. Mend it, then `otelier resume` it."
    )


def damaged(run_id: str, kind: str, name: str, number: int, error: ValueError) -> EngineError:
    """Return the error of a journal that has no JSON for the result of an op."""
    return EngineError(
        f"Run {run_id!r} is blocked: what its journal has as the result of {kind} {name!r} at op {number} is no JSON "
        f"({error}), so the file was damaged. Restore a copy, or cancel the run."
    )


def no_json(run_id: str, error: Exception) -> EngineError:
    """Return the error of a run that ended with what has no form in JSON."""
    return EngineError(f"Run {run_id!r} is blocked: what it ended with is no JSON: {error}.")


def failed_inside(run_id: str, error: Exception) -> EngineError:
    """Return the error of a step that raised: its body gives failures as values."""
    return EngineError(
        f"Run {run_id!r} is blocked: {type(error).__name__} left the body of a step, which gives what it fails with as "
        f"its value: {error}. This is a fault of otelier; `otelier resume` begins the step again."
    )
