"""Receivers and faults of the set-up tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otelier.testing import OtlpReceiver
from tests.recording import spans

__all__ = ["spans"]


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    """A real OTLP receiver; to the programs that export to it, it is another process."""
    with OtlpReceiver() as running:
        yield running
