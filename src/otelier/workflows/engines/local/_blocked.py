"""Errors of runs that are blocked: each says what is wrong, and what lets the run go on."""

from __future__ import annotations

from otelier.errors import EngineError


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
