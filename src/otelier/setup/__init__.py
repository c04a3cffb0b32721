"""Switching otelier on and off: the one place that touches providers, patches and other people's processes."""

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
