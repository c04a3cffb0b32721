"""Every framework, with its own telemetry, OpenTelemetry's package or the middleware alone: whose spans are."""

from __future__ import annotations

import pytest

from tests.frameworks.table import AT_ONCE, PLACES, SETUPS, USERS, ask
from tests.running.stage import needs_fork

pytestmark = [pytest.mark.slow, needs_fork()]


@pytest.mark.parametrize("setup", SETUPS, ids=str)
def test_each_span_belongs_to_its_request(stage, setup):
    """From where a request says its user on, each of its spans has that user; no span ever has another's."""
    rows = ask(stage, setup)
    assert set(rows) == {(style, where) for style in setup.styles for where in PLACES[:2]}
    for (style, _), row in rows.items():
        assert set(row) == set(PLACES)
        for place, cell in row.items():
            assert (cell.right + cell.without, cell.wrong) == (len(USERS) + AT_ONCE, 0), (style, place)
            assert (cell.without > 0) == setup.loses(style, place), (style, place)
