"""Engines: what keeps runs, and begins their bodies again."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from otelier.errors import EngineError, MissingExtraError
from otelier.workflows.engines.local import LocalEngine
from otelier.workflows.engines.local import open_engine as _open_local
from otelier.workflows.engines.protocol import Engine

_RESTATE: Final = "restate:"


def open_engine(address: str) -> Engine:
    """Return this process's engine of an address: `memory:`, `file:PATH` or `restate://HOST[:8080][?admin=9070]`.

    Raises:
        EngineError: if the address is none, or what it names cannot be used.
        MissingExtraError: if it is a Restate server's, and the extra is not installed.
    """
    kind = address.partition(":")[0]
    if address.startswith(_RESTATE):
        missing = [module for module in ("restate", "hypercorn", "h11") if find_spec(module) is None]
        if missing:
            raise MissingExtraError(
                f'Cannot open engine {address!r} without {", ".join(missing)}. Run: pip install "otelier[restate]"',
                extra="restate",
            )
        from otelier.workflows.engines.restate import open_engine as open_restate  # an extra

        return open_restate(address)
    if kind not in {"memory", "file"}:
        raise EngineError(
            f"Cannot open engine {address!r}: it is neither `memory:`, `file:PATH` nor `restate://HOST`. Say where "
            "runs are kept, such as `file:.otelier/runs.db`."
        )
    return _open_local(address)


def fresh_engine() -> LocalEngine:
    """Return an engine in memory of its own, for one run."""
    return LocalEngine()


__all__ = ["Engine", "fresh_engine", "open_engine"]
