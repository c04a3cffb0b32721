"""What the server answers of a run, as outcomes and errors, and the codes by which it tells them apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from otelier.codec import read_json
from otelier.errors import UnknownHandlerError
from otelier.workflows.engines.answers import cancelled, dumps, failure, no_key, run_ended, run_exists, unknown_run
from otelier.workflows.engines.protocol import Json, Outcome, Target

UNSEEN: Final = 404
"""Restate's code where there is no such invocation, or not yet."""
CANCELLED: Final = 409
"""Restate's code of what was cancelled or killed."""
FAILED: Final = 500
MISMATCH: Final = 570
"""Restate's code of a body that does not fit its journal."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A result that is the failure of another invocation."""

    code: int
    message: str


def to_bytes(value: Json) -> bytes:
    """Return *value* as JSON."""
    return dumps(value).encode()


def refusal(run_id: str, answer: Mapping[str, Any], *, target: Target | None = None, signal: str = "") -> Exception:
    """Return the error for what `otelier.run` refused."""
    if "exists" in answer:
        service, handler = answer["exists"]
        return run_exists(run_id, service, handler)
    if "ended" in answer:
        return run_ended(run_id, f"takes no signal {signal!r}", answer["ended"])
    if "no_key" in answer and target is not None:
        return no_key(target.handler)
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
