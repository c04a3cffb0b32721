"""Tools for testing an instrumented program: a span recorder, a pytest plugin, `reset()` and local servers.

Names are loaded when they are first used, so that pytest starts without loading an SDK.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otelier.testing._recorder import SpanRecorder
    from otelier.testing._records import Exemplar, LogEntry, MetricPoint, SpanEvent, SpanLink, SpanRecord, trace_tree
    from otelier.testing._reset import reset
    from otelier.testing.receiver import OtlpReceiver
    from otelier.testing.server import OpenAIRequest, OpenAIServer

__all__ = [
    "Exemplar",
    "LogEntry",
    "MetricPoint",
    "OpenAIRequest",
    "OpenAIServer",
    "OtlpReceiver",
    "SpanEvent",
    "SpanLink",
    "SpanRecord",
    "SpanRecorder",
    "reset",
    "trace_tree",
]

_HOMES = {
    "OpenAIRequest": "server",
    "OpenAIServer": "server",
    "OtlpReceiver": "receiver",
    "SpanRecorder": "_recorder",
    "reset": "_reset",
}
"""Module of each name; what is not listed is a record."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, '_records')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
