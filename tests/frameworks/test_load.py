"""Many users at once on FastAPI with its own telemetry; `python -m tests.frameworks.load` does it for a minute."""

from __future__ import annotations

import pytest

from tests.frameworks.load import ask
from tests.running.stage import needs_fork

pytestmark = [pytest.mark.slow, needs_fork()]


def test_users_at_once_on_two_workers(stage):
    """Every request's spans arrive and have its own user: its model call, streamed body and background task too."""
    outcome = ask(stage, users=50, seconds=5)
    assert (outcome.without, outcome.mixed, outcome.processes) == (0, 0, 2), outcome
    assert outcome.arrived == outcome.asked > 0, outcome
