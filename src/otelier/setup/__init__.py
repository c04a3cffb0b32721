"""Switch otelier on and off: put processors on providers, and let the other packages apply their patches."""

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
