"""Patches in this process, and what carries the trace and the fields out of it: propagators and HTTP clients."""

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
        "thread pools carry the context",
        is_carried(),
        missing="thread pools do not carry the context",
        expected=wanted,
        why="Jobs in a thread pool have no user, session or agent.",
    )
    yield _patch(
        "openai is instrumented",
        OpenAIInstrumentor().is_instrumented_by_opentelemetry,
        missing="openai is not instrumented",
        expected=wanted and "otelier-openai" not in DISABLED_INSTRUMENTATIONS.value(),
        why="otelier records no spans and metrics of openai calls.",
    )
    if is_held_back():
        yield Finding(area=_AREA, severity="ok", what="the propagator keeps user, session and agent out of `baggage`")
    else:
        yield Finding(
            area=_AREA,
            severity="error",
            what="the propagator writes user, session and agent into `baggage`",
            why="Every host that is called receives them, including the model's provider.",
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
        why="None of them carries the trace, so each process starts its own traces.",
        do="Add tracecontext to OTEL_PROPAGATORS.",
    )


def baggage(*, expected: bool) -> Iterator[Finding]:
    """Yield where the fields go and what carries them there.

    Args:
        expected: Whether they should travel: this process switched otelier on.
    """
    if not (expected and patches_allowed()):
        yield Finding(area="baggage", severity="note", what="the fields do not travel with requests in this process")
        return
    # Imported here: like `opentelemetry.propagate` it raises where OTEL_PROPAGATORS names what is not installed.
    from opentelemetry.propagate import get_global_textmap

    from otelier.baggage import client_patches, propagated_to, trusts_inbound

    if "baggage" not in get_global_textmap().fields:
        yield Finding(
            area="baggage",
            severity="note",
            what="the fields stay in this process",
            why="`baggage` is not among the configured propagators.",
            do="Add baggage to OTEL_PROPAGATORS to let them travel.",
        )
    else:
        named = ", ".join(propagated_to()) or "none"
        yield Finding(area="baggage", severity="ok", what=f"the fields go to internal hosts; further hosts: {named}")
    for patch in client_patches(load=True):
        if patch.patched:
            yield Finding(area="baggage", severity="ok", what=f"{patch.name} {patch.version} carries the fields")
        elif patch.failed:
            yield Finding(
                area="baggage",
                severity="warning",
                what=f"{patch.name} {patch.version} does not carry the fields: {patch.why}",
                why="Services called with this client receive no user, session and agent; nor does anyone else.",
                do="Use a supported release of the client, or pass the fields on yourself.",
            )
    treated = "trusted" if trusts_inbound() else "dropped"
    yield Finding(area="baggage", severity="ok", what=f"inbound fields are {treated}")


def _patch(present: str, there: bool, *, missing: str, expected: bool, why: str) -> Finding:
    if there:
        return Finding(area=_AREA, severity="ok", what=present)
    if not expected:
        return Finding(area=_AREA, severity="note", what=f"{missing} in this process")
    return Finding(
        area=_AREA, severity="error", what=missing, why=why, do="Look for an ERROR from the logger `otelier`."
    )
