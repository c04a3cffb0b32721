"""Metrics of the open runs of an engine, and of what they ask people for."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import otelier
from otelier.telemetry import _bounds
from otelier.testing._reset import reset
from otelier.workflows import Client, Context, workflow
from otelier.workflows.engines.local import _counts
from tests.workflows.working import on_a_loop, opened, until, worker_of


class Collector:
    """Collects as an exporter does: each time only what is observed then."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader])

    def metrics(self) -> dict[str, list[tuple[dict[str, Any], float]]]:
        """Attributes and values of the points of each metric."""
        data = self.reader.get_metrics_data()
        return {
            metric.name: [(dict(point.attributes), point.value) for point in metric.data.data_points]
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if hasattr(metric.data.data_points[0], "value")
        }

    def runs(self) -> dict[tuple[str, str], float]:
        """Open runs by service and health, those of which there are some."""
        points = self.metrics().get("otelier.runs", ())
        return {(found["otelier.service"], found["otelier.run.health"]): value for found, value in points if value}

    def approvals(self, metric: str = "pending") -> dict[str, float]:
        """What is told of each approval."""
        points = self.metrics().get(f"otelier.approvals.{metric}", ())
        assert all(found["otelier.service"] == "shop" for found, _ in points)
        return {found["otelier.approval.name"]: value for found, value in points}


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A reader of the metrics of this process."""
    made = Collector()
    otelier.init(meter_provider=made.provider)
    yield made
    reset()


@workflow
async def asks(ctx: Context, name: str) -> str:
    return (await ctx.human.approval(name, timeout=timedelta(hours=2))).decision


@workflow
async def pauses(ctx: Context) -> None:
    await ctx.signal("go")


@workflow
async def fails(ctx: Context) -> None:
    def refuse() -> None:
        raise ValueError("not now")

    await ctx.step("charge", refuse, retries=1, backoff=3_000)


@pytest.mark.parametrize("kept", ["memory", "file"])
@on_a_loop
async def test_open_runs_are_observed_by_service_and_health(
    kept: str, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each health has a value, also 0, and each run counts once, also where there are many slices of them."""
    monkeypatch.setattr(_counts, "_SLICE", 2)
    path = None if kept == "memory" else str(tmp_path / "runs.db")
    async with opened(path) as engine, worker_of(engine, asks, pauses, fails) as worker:
        assert collector.runs() == {}
        for number in range(5):
            await worker.start(pauses, workflow_id=f"p{number}")
            await worker.start(asks, "refund", workflow_id=f"a{number}")
        await worker.start(fails)
        expected = {("shop", "waiting"): 5, ("shop", "waiting approval"): 5, ("shop", "retrying"): 1}
        await until(lambda: collector.runs() == expected)
        healths = {found["otelier.run.health"] for found, _ in collector.metrics()["otelier.runs"]}
        assert healths == {"blocked", "waiting approval", "retrying", "waiting", "running"}
        for number in range(5):
            await Client(engine).cancel(f"p{number}")
        await until(lambda: ("shop", "waiting") not in collector.runs())


@on_a_loop
async def test_approvals_are_observed_while_they_are_waited_for(collector: Collector):
    """How many by name, and the age of the oldest; both are 0 after the decision, and nothing before the first."""
    async with opened(None) as engine, worker_of(engine, asks) as worker:
        assert collector.approvals() == collector.approvals("oldest") == {}
        for name in ("refund", "refund", "ship"):
            await worker.start(asks, name)
        await until(lambda: collector.approvals() == {"refund": 2, "ship": 1})
        client = Client(engine)
        asked = await client.approvals()
        oldest_s = time.time() - min(one.asked_at.timestamp() for one in asked if one.name == "refund")
        await until(lambda: collector.approvals("oldest")["refund"] > oldest_s)
        for one in asked:
            await client.approve(one.workflow_id, one.name)
        await until(lambda: collector.approvals() == collector.approvals("oldest") == {"refund": 0, "ship": 0})


@on_a_loop
async def test_names_on_metrics_are_bounded(collector: Collector, monkeypatch: pytest.MonkeyPatch):
    """Approvals with more names than metrics carry are counted together, so they make no endless time series."""
    monkeypatch.setattr(_bounds, "MAX_VALUES", 2)
    async with opened(None) as engine, worker_of(engine, asks) as worker:
        for number in range(5):
            await worker.start(asks, f"refund {number}")
        await until(lambda: sum(collector.approvals().values()) == 5)
        assert sorted(collector.approvals().values()) == [1, 1, 3]
        assert collector.approvals()["_OTHER"] == 3


@on_a_loop
async def test_only_who_drives_observes(collector: Collector):
    """A client and a worker that has ended tell nothing."""
    async with opened(None) as engine:
        async with worker_of(engine, pauses) as worker:
            await worker.start(pauses)
            await until(lambda: collector.runs())
        await Client(engine).runs()
        assert collector.runs() == {}


@on_a_loop
async def test_a_file_that_cannot_be_read_costs_no_collection(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What is wrong with it is counted as a fault, and other metrics are collected."""

    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    async with opened(str(tmp_path / "runs.db")) as engine, worker_of(engine, pauses) as worker:
        await worker.start(pauses)
        await until(lambda: collector.metrics().keys() >= {"otelier.runs", "otelier.workflow.active"})
        monkeypatch.setattr(_counts, "_slice", refuse)
        assert collector.runs() == {}
        metrics = collector.metrics()
        assert metrics["otelier.workflow.active"]
        assert [found for found, _ in metrics["otelier.internal.errors"]] == [
            {"otelier.internal.place": "workflows.observed"}
        ]


@on_a_loop
async def test_a_collection_holds_up_no_loop(collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """While another thread counts, runs begin and end."""
    counting, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    count = _counts._slice

    def slow(*args: object) -> object:
        loop.call_soon_threadsafe(counting.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(60)
        return count(*args)  # pyright: ignore[reportArgumentType]

    async with opened(str(tmp_path / "runs.db")) as engine, worker_of(engine, pauses) as worker:
        monkeypatch.setattr(_counts, "_slice", slow)
        collection = asyncio.create_task(asyncio.to_thread(collector.metrics))
        await counting.wait()
        handle = await worker.start(pauses)
        await Client(engine).signal(handle.workflow_id, "go")
        await handle.result(60)
        go_on.set()
        await collection
