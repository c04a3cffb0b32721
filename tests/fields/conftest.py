"""Providers of each test's own."""

from __future__ import annotations

from tests.recording import spans

__all__ = ["spans"]
