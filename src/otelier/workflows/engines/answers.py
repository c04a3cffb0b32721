"""What every engine answers, whatever keeps its runs: JSON as it is stored, outcomes, and errors in the same words."""

from __future__ import annotations

import json
from typing import Final

from otelier.codec import error_to_json
from otelier.errors import (
    ReplayError,
    RunCancelled,
    RunEndedError,
    RunExistsError,
    UnknownRunError,
    WorkflowUseError,
)
from otelier.workflows.engines.protocol import Json, Outcome, Target
from otelier.workflows.engines.shown import how_ended

BRING_BACK: Final = "Bring back the code that it began with, or branch on `ctx.version`; then `otelier resume` it."
"""What lets a run go on whose code does not fit its journal."""
_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_encode_ascii: Final = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


# --- JSON ----------------------------------------------------------------------------------------------------------
def dumps(value: Json) -> str:
    """Return *value* as JSON text, which has a form in UTF-8, and which a body gets back as it was."""
    text = _encode(value)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:  # half of a pair, as in the text of an error
            return _encode_ascii(value)
    return text


def canonical(value: Json) -> str:
    """Return JSON text that is the same for equal values, and no other: `1`, `1.0` and `true` are three.

    Example:
        >>> canonical({"b": True, "a": 1})
        '{"a":1,"b":true}'
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":"), sort_keys=True)


# --- outcomes ------------------------------------------------------------------------------------------------------
def failure(error: BaseException) -> Outcome:
    """Return the outcome of what failed with *error*."""
    return [False, error_to_json(error)]


def cancelled(run_id: str) -> Outcome:
    """Return the outcome of a run that was cancelled."""
    return failure(RunCancelled(f"Run {run_id!r} was cancelled."))


# --- errors of who asks for a run ----------------------------------------------------------------------------------
def unknown_run(run_id: str) -> UnknownRunError:
    """Return the error for a run that is not known."""
    return UnknownRunError(
        f"There is no run {run_id!r}: it was never started here, or it ended so long ago that it was deleted. "
        "`otelier runs` lists those that are kept.",
        workflow_id=run_id,
    )


def run_exists(run_id: str, service: str, handler: str) -> RunExistsError:
    """Return the error for the start of a run whose id another one has."""
    return RunExistsError(
        f"Cannot start run {run_id!r}: there is one with that workflow id, of {service}/{handler}, with another "
        "handler or input. Give this one an id of its own, or the same input to get that run.",
        workflow_id=run_id,
    )


def run_ended(run_id: str, cannot: str, status: str) -> RunEndedError:
    """Return the error for what a run that has ended cannot do."""
    return RunEndedError(
        f"Run {run_id!r} {cannot}: it {how_ended(status)}, and an ended run takes nothing more. Start another run.",
        workflow_id=run_id,
        status=status,
    )


# --- errors of a body ----------------------------------------------------------------------------------------------
def no_key(handler: str) -> WorkflowUseError:
    """Return the error for a method of an entity, `type.method`, that was started by its name, as a workflow is."""
    kind, _, method = handler.partition(".")
    return WorkflowUseError(
        f"{handler} was started without a key: an entity has its state by key. Call it in a workflow, by "
        f"`ctx.entity({kind!r}, key).{method}(...)`."
    )


def no_state(kind: str, target: Target) -> WorkflowUseError:
    """Return the error for a body that asks for state and has no key."""
    return WorkflowUseError(
        f"Cannot read state in {target.service}/{target.handler}: it is a {kind}, and has no key. State belongs to an "
        "entity: see `entity.write` and `entity.read`."
    )


def no_change(kind: str, target: Target) -> WorkflowUseError:
    """Return the error for a body that changes state and that others run beside."""
    where = "a read of an entity" if kind == "read" else f"a {kind}"
    return WorkflowUseError(
        f"Cannot change state in {where}, {target.service}/{target.handler}: others run at the same time. Change it in "
        "a method decorated with `entity.write`."
    )


def waits_twice(signal: str) -> WorkflowUseError:
    """Return the error for a body that waits for a signal that it waits for already."""
    return WorkflowUseError(
        f"Cannot wait for signal {signal!r} twice at once: it is not told which of the waits gets the next one. "
        "Await the first, or give the signals names of their own."
    )


def all_given_up() -> WorkflowUseError:
    """Return the error for a body that waits for nothing that can be done."""
    return WorkflowUseError("Cannot wait for ops that were all given up: none of them is ever done.")


# --- errors of code that does not fit its journal ------------------------------------------------------------------
def another_op(run_id: str, number: int, kind: str, name: str, made: str) -> ReplayError:
    """Return the error for code that makes another op than the journal has at a number: *made*, in words."""
    return ReplayError(
        f"Run {run_id!r} is blocked: at op {number} its journal has {kind} {name!r}, and its code makes {made}, so "
        f"what was recorded does not fit. {BRING_BACK}"
    )


def ended_early(run_id: str, number: int, kind: str, name: str) -> ReplayError:
    """Return the error for code that ended before an op that the journal has."""
    return ReplayError(
        f"Run {run_id!r} is blocked: its journal has {kind} {name!r} at op {number}, and its code ended before it. "
        f"{BRING_BACK}"
    )
