"""Servers that stand for every host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from otelier.testing import reset
from tests.recording import spans

__all__ = ["here", "servers", "spans"]


@pytest.fixture(scope="module")
def servers() -> Iterator[Any]:
    kit = pytest.importorskip("tests.baggage.world", reason="needs the instrumentations of requests, urllib3, aiohttp")
    with kit.world() as here:
        yield here


@pytest.fixture
def here(servers: Any) -> Iterator[Any]:
    """The world, in which nobody has received anything yet."""
    servers.got.clear()
    yield servers
    reset()
