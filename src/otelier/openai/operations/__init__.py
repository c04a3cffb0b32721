"""The instrumented operations, and the readers of their answers, whole or in chunks."""

from __future__ import annotations
