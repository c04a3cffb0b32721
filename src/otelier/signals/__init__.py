"""Signals: the guard, the queue of metric points, span and log helpers, content gate and redaction.

This room knows no agent. Only the guard loads with it; the rest loads when it is first asked for, because the
context rooms need no more than the guard and must stay light.
"""

from __future__ import annotations

from otelier.signals._guard import on_reset, raise_faults, report_fault, run_resets, warn_once

__all__ = ["on_reset", "raise_faults", "report_fault", "run_resets", "warn_once"]
