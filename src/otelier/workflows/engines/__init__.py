"""Engines: what keeps runs, and begins their bodies again."""

from __future__ import annotations

from otelier.workflows.engines.local import LocalEngine
from otelier.workflows.engines.local import open_engine as _open_local
from otelier.workflows.engines.protocol import Engine


def open_engine(address: str) -> Engine:
    """Return this process's engine of an address: `memory:` or `file:PATH`.

    Raises:
        EngineError: if the address is none, or what it names cannot be used.
    """
    return _open_local(address)


def fresh_engine() -> LocalEngine:
    """Return an engine in memory of its own, for one run."""
    return LocalEngine()


__all__ = ["Engine", "fresh_engine", "open_engine"]
