"""The patches of HTTP clients and propagators: put in, taken out, and listed."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from otelier.baggage._clients import PATCH_POINTS
from otelier.baggage._config import config, is_propagated
from otelier.baggage._inbound import INBOUND
from otelier.fields import hold_back
from otelier.patches import Patches, PatchPoint, is_patched

_OUTBOUND = Patches(PATCH_POINTS, place="baggage")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientPatch:
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
    """Let requests carry the fields to internal hosts, and drop or accept inbound ones; a second call does nothing.

    Example:
        >>> install(); uninstall()
    """
    config.on = True
    hold_back()
    INBOUND.apply()
    _OUTBOUND.apply()


def uninstall() -> None:
    """Take every patch out again, and forget what `configure` was told.

    The fields are still held back: they then leave to no host at all.
    """
    config.reset()
    _OUTBOUND.remove()
    INBOUND.remove()


def summary() -> str:
    """Return in a few words where the fields go and what becomes of those that come in; it names no host.

    Example:
        >>> summary()
        'no field leaves this process'
    """
    if not config.on:
        return "no field leaves this process"
    goes = "fields stay in this process, since baggage is no configured propagator"
    if is_propagated():
        named = len(config.policy.patterns)
        goes = "fields go to internal hosts" + (f" and {named} named" if named else "")
    return f"{goes}; inbound fields are {'trusted' if config.trusts_inbound else 'dropped'}"


def client_patches(*, load: bool = False) -> list[ClientPatch]:
    """Return what became of each client's last hop.

    Args:
        load: Whether to import installed clients first, so that none is merely "not loaded yet".

    Example:
        >>> sorted({patch.name.partition(" ")[0] for patch in client_patches()})
        ['aiohttp', 'httpcore', 'httpcore2', 'urllib3']
    """
    return [_client_patch(point, load=load) for point in _OUTBOUND.points]


def _client_patch(point: PatchPoint, *, load: bool) -> ClientPatch:
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
    patched = config.on and is_patched(method)
    why = None
    if not patched:
        if not config.on:
            why = "otelier is not switched on here"
        elif loaded and method is None:
            why = f"this release has no {point.owner}.{point.method}"
        elif release is None:
            why = "not installed"
        else:
            why = "not loaded yet" if not loaded else "the patch did not go in"
    failed = config.on and loaded and not patched
    name = f"{package} {point.owner}.{point.method}"
    return ClientPatch(name=name, version=release, patched=patched, why=why, failed=failed)
