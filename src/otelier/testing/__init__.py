"""What tests of an instrumented program need: a span recorder, a pytest plugin, `reset()` and local servers.

The names are resolved when they are first used, so that pytest starts without loading an SDK.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otelier.testing.server import OpenAIRequest, OpenAIServer

__all__ = ["OpenAIRequest", "OpenAIServer"]

_ROOMS = {
    "OpenAIRequest": "otelier.testing.server",
    "OpenAIServer": "otelier.testing.server",
    "OtlpReceiver": "otelier.testing.receiver",
}


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_ROOMS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
