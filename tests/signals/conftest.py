"""Fixtures of the signals tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otelier.signals import raise_faults


@pytest.fixture
def quiet_faults() -> Iterator[None]:
    """Faults are logged and counted, as they are outside our own tests."""
    raise_faults(False)
    yield
    raise_faults(True)
