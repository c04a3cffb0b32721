"""Switch otelier on and off: only this package changes providers and applies patches."""

from __future__ import annotations

from otelier.setup._activation import Activator, activate, settle, shutdown
from otelier.setup._configurator import ProcessResourceDetector
from otelier.setup._init import init

__all__ = [
    "Activator",
    "ProcessResourceDetector",
    "activate",
    "init",
    "settle",
    "shutdown",
]
