"""What these tests share."""

from __future__ import annotations

import pytest

from otelier.testing import OtlpReceiver


@pytest.fixture
def receiver():
    """A receiver of this process, for programs in processes of their own."""
    with OtlpReceiver() as receiver:
        yield receiver
