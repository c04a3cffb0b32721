"""The stage of the slow tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.running.conftest import model, stage

__all__ = ["model", "stage"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(300))  # on a busy machine everything starts slowly
