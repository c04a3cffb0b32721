"""A small OTLP/HTTP receiver that keeps spans, metric points and log records as plain data."""

from __future__ import annotations

from otelier.testing.receiver._receiver import OtlpReceiver

__all__ = ["OtlpReceiver"]
