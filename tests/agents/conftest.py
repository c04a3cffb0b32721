"""A scripted model for every test of this folder, and tools that wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from otelier import tool
from otelier.redaction import read_content_gate
from tests.scripted import Model, model

__all__ = ["model"]


@pytest.fixture
def capture_content(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let content go where the given mode says, as if otelier were switched on with it."""

    def capture(mode: str) -> None:
        monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", mode)
        read_content_gate()

    return capture


@dataclass
class Waiting:
    """Tools that wait until they are given up; the delegating one asks an agent whose tool waits."""

    plain: Any
    waits: Any
    delegates: Any
    started: threading.Semaphore
    """Has a place for each that waits."""


@pytest.fixture
def waiting(model: Model) -> Iterator[Waiting]:
    """A plain, an async and a delegating tool that do not end by themselves."""
    started, release = threading.Semaphore(0), threading.Event()

    @tool
    def plain() -> str:
        started.release()
        release.wait(300)
        return ""

    @tool
    async def waits() -> str:
        started.release()
        await asyncio.Event().wait()
        return ""

    specialist = model.agent(waits, name="specialist")

    @tool
    def delegates() -> str:
        return specialist.run("wait").output

    yield Waiting(plain, waits, delegates, started)
    release.set()
