"""Patches: what otelier has changed in this process, and what carries the context out of it."""

from __future__ import annotations

from collections.abc import Iterator

from otelier.cli.doctor._findings import Finding
from otelier.fields import is_carried, is_held_back
from otelier.settings import DISABLED_INSTRUMENTATIONS, patches_allowed
from otelier.telemetry import propagators_of

_AREA = "patches"


def patches(*, expected: bool) -> Iterator[Finding]:
    """Yield which patches are in place.

    Args:
        expected: Whether they should be: this process switched otelier on.
    """
    # Imported here: like `opentelemetry.propagate` it raises where OTEL_PROPAGATORS names what is not installed.
    from otelier.openai import OpenAIInstrumentor

    wanted = expected and patches_allowed()
    yield _patch(
        is_carried(),
        "thread pools carry the context",
        expected=wanted,
        why="What runs in a thread pool has no user, session and agent.",
    )
    yield _patch(
        OpenAIInstrumentor().is_instrumented_by_opentelemetry,
        "openai is instrumented",
        expected=wanted and "otelier-openai" not in DISABLED_INSTRUMENTATIONS.value(),
        why="Calls to openai make no spans and metrics of ours.",
    )
    if is_held_back():
        yield Finding(area=_AREA, severity="ok", what="the propagator keeps user, session and agent out of `baggage`")
    else:
        yield Finding(
            area=_AREA,
            severity="error",
            what="the propagator writes user, session and agent into `baggage`",
            why="Every host that is called would get them, the model's provider too.",
            do="Find who replaced W3CBaggagePropagator.inject, and import otelier after it.",
        )


def propagators() -> Iterator[Finding]:
    """Yield how trace and baggage travel to other processes."""
    # Imported here: it raises where OTEL_PROPAGATORS names what is not installed.
    from opentelemetry.propagate import get_global_textmap

    textmap = get_global_textmap()
    parts = propagators_of(textmap)
    shown = ", ".join(type(part).__name__ for part in parts)
    if not parts or "traceparent" in textmap.fields or len(textmap.fields - {"baggage"}) > 0:
        yield Finding(area="propagators", severity="ok" if parts else "note", what=shown or "none")
        return
    yield Finding(
        area="propagators",
        severity="warning",
        what=shown,
        why="None of them carries the trace: each process starts traces of its own.",
        do="Add tracecontext to OTEL_PROPAGATORS.",
    )


def _patch(there: bool, what: str, *, expected: bool, why: str) -> Finding:
    if there:
        return Finding(area=_AREA, severity="ok", what=what)
    if not expected:
        return Finding(area=_AREA, severity="note", what=f"not in this process: {what}")
    return Finding(
        area=_AREA, severity="error", what=f"not so: {what}", why=why, do="Look for an ERROR of the logger `otelier`."
    )
