"""The patches of this room as a whole: put in, taken out, and shown."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from otelier.baggage._clients import PATCH_POINTS
from otelier.baggage._inbound import INBOUND
from otelier.baggage._switch import is_propagated, switch
from otelier.fields import hold_back
from otelier.patches import Patches, PatchPoint, is_patched

_OUTBOUND = Patches(PATCH_POINTS, place="baggage")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seam:
    """One place where an HTTP client hands a request to its connection."""

    name: str
    """Package and method, such as `httpcore ConnectionPool.handle_request`."""
    version: str | None
    """Installed release of the package; `None` when it is not installed."""
    patched: bool
    """Whether requests of this client carry the fields now."""
    why: str | None
    """Why not; `None` when they do."""
    failed: bool
    """Whether that is something to look at: the client is in use here, and gets nothing."""


def install() -> None:
    """Let the fields travel to hosts inside, and drop or take what comes in; before `uninstall`, more calls do nothing.

    Example:
        >>> install(); uninstall()
    """
    switch.on = True
    hold_back()
    INBOUND.apply()
    _OUTBOUND.apply()


def uninstall() -> None:
    """Take every patch out again, and forget what `configure` was told.

    The fields are still held back: they then leave to no host at all.
    """
    switch.turn_back()
    _OUTBOUND.remove()
    INBOUND.remove()


def summary() -> str:
    """Return in a few words where the fields go and what becomes of those that come in; it names no host.

    Example:
        >>> summary()
        'no field leaves this process'
    """
    if not switch.on:
        return "no field leaves this process"
    goes = "fields stay in this process, since baggage is no configured propagator"
    if is_propagated():
        named = len(switch.policy.patterns)
        goes = "fields go to hosts inside" + (f" and {named} named" if named else "")
    return f"{goes}; inbound fields are {'trusted' if switch.trusts_inbound else 'dropped'}"


def seams(*, load: bool = False) -> list[Seam]:
    """Return what became of each client's last hop.

    Args:
        load: Whether to import installed clients first, so that none is merely "not loaded yet".

    Example:
        >>> sorted({seam.name.partition(" ")[0] for seam in seams()})
        ['aiohttp', 'httpcore', 'httpcore2', 'urllib3']
    """
    return [_seam(point, load=load) for point in _OUTBOUND.points]


def _seam(point: PatchPoint, *, load: bool) -> Seam:
    package = point.module.partition(".")[0]
    try:
        release = version(package)
    except PackageNotFoundError:
        release = None
    if load and release is not None:
        try:
            import_module(point.module)
        except Exception:  # a broken client is told like one without the method
            pass
    method = point.found()
    loaded = point.module in sys.modules
    patched = switch.on and is_patched(method)
    why = None
    if not patched:
        if not switch.on:
            why = "otelier is not switched on here"
        elif loaded and method is None:
            why = f"this release has no {point.owner}.{point.method}"
        elif release is None:
            why = "not installed"
        else:
            why = "not loaded yet" if not loaded else "the patch did not go in"
    failed = switch.on and loaded and not patched
    name = f"{package} {point.owner}.{point.method}"
    return Seam(name=name, version=release, patched=patched, why=why, failed=failed)
