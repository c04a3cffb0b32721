"""Baggage: which hosts get the fields, by which clients, and what becomes of fields that come in."""

from __future__ import annotations

from collections.abc import Iterator

from otelier.cli.doctor._findings import Finding
from otelier.settings import patches_allowed

_AREA = "baggage"


def baggage(*, expected: bool) -> Iterator[Finding]:
    """Yield where the fields go and what carries them there.

    Args:
        expected: Whether they should travel: this process switched otelier on.
    """
    if not (expected and patches_allowed()):
        yield Finding(area=_AREA, severity="note", what="not in this process: the fields travel with requests")
        return
    # Imported here: like `opentelemetry.propagate` it raises where OTEL_PROPAGATORS names what is not installed.
    from opentelemetry.propagate import get_global_textmap

    from otelier.baggage import propagated_to, seams, trusts_inbound

    if "baggage" not in get_global_textmap().fields:
        yield Finding(
            area=_AREA,
            severity="note",
            what="the fields stay in this process",
            why="`baggage` is no configured propagator.",
            do="Add baggage to OTEL_PROPAGATORS to let them travel.",
        )
    else:
        named = ", ".join(propagated_to()) or "none"
        yield Finding(area=_AREA, severity="ok", what=f"the fields go to hosts inside; further hosts: {named}")
    for seam in seams(load=True):
        if seam.patched:
            yield Finding(area=_AREA, severity="ok", what=f"{seam.name} {seam.version} carries them")
        elif seam.failed:
            yield Finding(
                area=_AREA,
                severity="warning",
                what=f"{seam.name} {seam.version} carries none of them: {seam.why}",
                why="Services called by this client do not learn user, session and agent; nobody else does either.",
                do="Use a release of the client that otelier knows, or pass the fields on yourself.",
            )
    taken = "taken for true" if trusts_inbound() else "dropped"
    yield Finding(area=_AREA, severity="ok", what=f"fields that come with a request are {taken}")
