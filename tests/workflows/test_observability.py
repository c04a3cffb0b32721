"""Logs, metrics and spans of a body: `ctx.log`, `ctx.metrics`, `ctx.trace_span`."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from otelier.testing import SpanRecord
from otelier.workflows import Worker, function, workflow
from tests.workflows.asking import DEADLINE_S, address, in_two_lives, run, until

__all__ = ["address"]


@pytest.fixture(autouse=True)
def shown(otelier_spans, caplog):
    """Everything that bodies log is recorded."""
    caplog.set_level(logging.DEBUG, logger=__name__)


def test_a_replay_reports_nothing_again(otelier_spans, address):
    """What the first life logged and measured is not repeated by the second, and what follows is reported once."""

    @workflow
    async def body(ctx):
        log, metrics = ctx.log(), ctx.metrics()
        log.info("begins")
        metrics.increment("begun")
        await ctx.step("one", lambda: 1)
        log.info("did %s", "one", extra={"size": 1})
        metrics.observe("size", 2.5, unit="kB")
        await ctx.signal("go")
        log.info("goes on")
        metrics.increment("begun", 2)

    in_two_lives(body, address=address)
    assert [entry.body for entry in otelier_spans.logs if entry.scope == __name__] == ["begins", "did one", "goes on"]
    metrics = otelier_spans.metrics()
    assert [point["value"] for point in metrics["begun"]] == [3]
    assert [(point["count"], point["attributes"]) for point in metrics["size"]] == [(1, {"unit": "kB"})]


def test_steps_report_whenever_they_run(otelier_spans):
    """Inside a step the logger names it, and what a step reports is reported in each attempt."""
    attempts: list[int] = []

    @function
    async def body(ctx):
        def work() -> None:
            attempts.append(ctx.attempt)
            ctx.log().warning("at work", extra={"attempt": ctx.attempt})
            ctx.metrics().increment("attempts")
            if len(attempts) == 1:
                raise ValueError

        await ctx.step("work", work, retries=1, backoff=0)

    run(body, workflow_id="run-of-steps")
    entries = [entry for entry in otelier_spans.logs if entry.body == "at work"]
    assert [entry.attributes["attempt"] for entry in entries] == [1, 2]
    assert {entry.attributes["otelier.step.id"] for entry in entries} == {"work"}
    assert {entry.attributes["otelier.run.id"] for entry in entries} == {"run-of-steps"}
    steps = [span.span_id for span in otelier_spans.records if span.name == "run_step work"]
    assert [entry.span_id for entry in entries] == steps
    assert [point["value"] for point in otelier_spans.metrics()["attempts"]] == [2]


def test_the_logger_is_one_of_logging(caplog):
    """Levels, lazy arguments, `exc_info` and the place in the code are those of `logging`."""

    @function
    async def body(ctx):
        log = ctx.log()
        try:
            raise ValueError("no stock")
        except ValueError:
            log.exception("failed for %s", "a")
        log.log(logging.DEBUG, "fine")
        return log.isEnabledFor(logging.DEBUG), log.logger.name

    assert run(body) == [True, __name__]
    failed, fine = [record for record in caplog.records if record.name == __name__]
    assert (failed.getMessage(), failed.levelname, failed.exc_info[0]) == ("failed for a", "ERROR", ValueError)
    assert (failed.funcName, fine.levelname) == ("body", "DEBUG")


def test_metrics_have_bounds(otelier_spans, caplog):
    """What cannot be recorded warns once and raises nothing; names and values of attributes are bounded."""

    @function
    async def body(ctx):
        metrics = ctx.metrics()
        for name, value in (("", 1), ("1st", 1), ("a b", 1), (None, 1), ("n", -1), ("n", float("nan")), ("n", "x")):
            metrics.increment(name, value)
        metrics.increment("both")
        metrics.observe("both", 1)
        for number in range(150):
            metrics.increment(f"many.{number}")
        for number in range(300):
            metrics.observe("wide", number, item=f"i-{number}")

    run(body)
    metrics = otelier_spans.metrics()
    assert "n" not in metrics
    assert [point["value"] for point in metrics["both"]] == [1]
    assert len([name for name in metrics if name.startswith("many.")]) == 99
    assert "wide" not in metrics  # the names were used up
    for part in ("must begin with a letter", "a finite number", "only grows", "incremented and observed", "100 names"):
        assert len([record for record in caplog.records if part in record.getMessage()]) == 1


def test_values_of_an_attribute_have_a_bound(otelier_spans):
    """Of each attribute a metric carries 200 values, and others are counted without it."""

    @function
    async def body(ctx):
        for number in range(300):
            ctx.metrics().increment("wide", item=f"i-{number}")

    run(body)
    points = otelier_spans.metrics()["wide"]
    assert len(points) == 201
    assert sum(point["value"] for point in points) == 300


def test_a_span_of_a_body_is_exported_once(otelier_spans, address):
    """A span around what two lives do is exported by the one that ends it, and what stands below it has its parent."""

    @workflow
    async def body(ctx):
        with ctx.trace_span().start("done before", service="db"):
            await ctx.step("one", lambda: 1)
        with ctx.trace_span().start("around", service="payments", api_key="sk-canary-00000000000000000000") as span:
            span.set_attribute("seen", 1)
            await ctx.step("two", lambda: 2)
            await ctx.signal("go")
            with ctx.trace_span().start("after"):
                pass

    in_two_lives(body, address=address)
    exported = [SpanRecord.of(span) for span in otelier_spans.spans if span.context.trace_flags.sampled]
    assert sorted(record.name for record in exported) == sorted(
        ["invoke_workflow body", "done before", "run_step one", "around", "run_step two", "wait_signal go", "after"]
    )
    by_name = {record.name: record for record in exported}
    root = by_name["invoke_workflow body"]
    below = {"done before": root, "around": root, "run_step one": by_name["done before"]}
    below |= dict.fromkeys(("run_step two", "wait_signal go", "after"), by_name["around"])
    assert {name: by_name[name].parent_id for name in below} == {name: one.span_id for name, one in below.items()}
    assert by_name["around"].attributes["service"] == "payments"
    assert by_name["around"].attributes["api_key"] == "[REDACTED:secret]"


def test_a_span_of_a_failure(otelier_spans):
    """A span that an exception ends is failed, and its message is none of telemetry's while content is off."""

    @function
    async def body(ctx):
        with ctx.trace_span().start("work"):
            raise ValueError("canary")

    with pytest.raises(ValueError, match="canary"):
        run(body)
    span = next(span for span in otelier_spans.records if span.name == "work")
    assert (span.status, span.attributes["error.type"]) == ("ERROR", "ValueError")
    assert "canary" not in repr(otelier_spans.records)


def test_a_life_that_is_left_reports_nothing_of_its_end(otelier_spans, address):
    """What `finally` reports while the worker stops is left to the life that goes on."""
    lives: list[bool] = []

    @workflow
    async def body(ctx):
        try:
            await ctx.signal("go")
        finally:
            lives.append(True)
            ctx.log().info("ended")
            ctx.metrics().increment("ended")

    in_two_lives(body, address=address)
    assert len(lives) == 2
    assert [entry.body for entry in otelier_spans.logs if entry.scope == __name__] == ["ended"]
    assert [point["value"] for point in otelier_spans.metrics()["ended"]] == [1]


def test_a_run_that_is_cancelled_reports_its_end(otelier_spans, address):
    """Cancelled is an end: what `finally` logs is reported, and the open span is left, not failed."""

    @workflow
    async def body(ctx):
        with ctx.trace_span().start("open"):
            try:
                await ctx.signal("go")
            finally:
                ctx.log().info("cancelled")

    async def main() -> Any:
        async with Worker("tests", modules=[body], engine=address) as worker:
            handle = await worker.start(body)

            async def waits() -> bool:
                return bool((await worker.engine.run(handle.workflow_id)).steps)

            await until(waits)
            await worker.engine.cancel(handle.workflow_id)
            with pytest.raises(Exception, match="cancelled"):
                await handle.result(timeout_s=DEADLINE_S)

    asyncio.run(main())
    assert [entry.body for entry in otelier_spans.logs if entry.scope == __name__] == ["cancelled"]
    span = next(span for span in otelier_spans.records if span.name == "open")
    assert (span.status, span.attributes["otelier.cancelled"]) == ("UNSET", True)


def test_a_long_step_is_no_wait(otelier_spans, monkeypatch):
    """A step, such as a slow answer of a model, closes no span of the run, however long it takes; a wait does."""
    monkeypatch.setattr("otelier.workflows._trace.LONG_WAIT_NS", 50_000_000)

    @workflow
    async def body(ctx):
        async def work() -> None:
            await asyncio.sleep(0.1)

        await ctx.step("slow", work)
        await ctx.step("after", lambda: 1)
        await ctx.sleep(0.1)
        await ctx.step("later", lambda: 1)

    run(body)
    below = {
        span.name: next((one.name for one in otelier_spans.records if one.span_id == span.parent_id), None)
        for span in otelier_spans.records
    }
    assert below["run_step slow"] == below["run_step after"] == "invoke_workflow body"
    assert below["run_step later"] == "resume_workflow body"
