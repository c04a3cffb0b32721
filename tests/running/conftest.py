"""The stage of the slow tests, and the environment that `make slow` makes for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from otelier.testing import OpenAIServer
from tests.receiving import receiver_process
from tests.running.stage import BIN, Stage


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(900))  # on a busy machine everything starts slowly


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A folder and an OTLP receiver in another process; commands find the programs of `.envs/running`."""
    if not BIN.exists():
        pytest.skip("there is no environment .envs/running: `make slow` makes it")
    with receiver_process(tmp_path) as receiver:
        yield Stage(tmp_path, receiver)


@pytest.fixture
def model(stage: Stage) -> Iterator[OpenAIServer]:
    """A local model that the stage's programs ask."""
    with OpenAIServer() as server:
        stage.variables |= {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "sk-none"}
        yield server
