"""A scripted model for every test of this folder, and both ways to run an agent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import otelier
from tests.scripted import model  # noqa: F401 -- a fixture

Finish = Callable[..., otelier.agents.AgentResult]


def _run(agent: otelier.Agent, query: str, **options: Any) -> otelier.agents.AgentResult:
    return agent.run(query, **options).wait()


def _stream(agent: otelier.Agent, query: str, **options: Any) -> otelier.agents.AgentResult:
    async def drained() -> otelier.agents.AgentResult:
        events = agent.stream(query, **options)
        async for _ in events:
            pass
        return events.result

    return asyncio.run(drained())


@pytest.fixture(params=[_run, _stream], ids=["run", "stream"])
def finish(request: pytest.FixtureRequest) -> Finish:
    """Run an agent to its end, as a whole or as a stream."""
    return request.param
