"""The agent that a call's prompt names, in the context that the call runs in."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.context import Context

from otelier.fields import FIELDS, SPAN, actor_named_late, state_of
from otelier.identity import process
from otelier.openai.reading._fields import Arguments
from otelier.signals import report_fault


def in_state_of_call(
    current: Context, recipe: Callable[[Arguments], str | None] | None, arguments: Arguments
) -> Context:
    """Return *current* with the state of a call of these *arguments*; unchanged where nothing is known by prompts."""
    if recipe is None or process() is None:
        return current
    try:
        fingerprint = recipe(arguments)
    except Exception as exc:
        report_fault("openai.fingerprint", exc)
        return current
    if fingerprint is None:
        return current
    state = state_of(current)
    if state.identity is None:
        state = state.below_span_of(actor_named_late(current.get(SPAN)))
    return Context({**current, FIELDS: state.for_call(fingerprint)})
