"""What Jaeger shows of a run while it waits, over a kill, and after it went on."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from opentelemetry import trace

from otelier import names
from otelier.workflows import Client, Context, Worker, function, workflow
from tests.backends.clients import Jaeger, Span, tree
from tests.backends.programs import ROOT, environment, eventually

TOLD = (names.RUN_STATE,)
SEEN_WITHIN_S = 15.0
"""10 seconds of waiting, the exporter's delay, and what a busy machine needs."""
START_S = 120.0
WAITING = """\
invoke_workflow parcel  otelier.run.state=waiting
  pack
    run_step weigh
  call shop/label
    run_function label  otelier.run.state=waiting
      run_step print
"""
DONE = """\
invoke_workflow parcel  otelier.run.state=waiting
  pack
    run_step weigh
  call shop/label
    run_function label  otelier.run.state=waiting
      run_step print
      wait_signal stamp
      resume_function label  otelier.run.state=completed
        run_step stick
  wait_signal paid
  resume_workflow parcel  otelier.run.state=waiting
    run_step ship
    wait_timer
  resume_workflow parcel  otelier.run.state=completed
    bill
      run_step invoice
"""


@function
async def label(ctx: Context) -> None:
    """Wait for a signal beside whoever called this."""
    await ctx.step("print", lambda: None)
    await ctx.signal("stamp")
    await ctx.step("stick", lambda: None)


@workflow
async def parcel(ctx: Context) -> None:
    """Wait long for a signal and a function side by side, then for a timer."""
    tracer = trace.get_tracer("shop")
    with tracer.start_as_current_span("pack"):
        await ctx.step("weigh", lambda: None)
    await ctx.parallel(ctx.task("shop", "label"), ctx.signal("paid"))
    await ctx.step("ship", lambda: None)
    await ctx.sleep(11)
    with tracer.start_as_current_span("bill"):
        await ctx.step("invoice", lambda: None)


async def work(path: str) -> None:
    """Run the worker that the test kills."""
    async with Worker("shop", modules=[sys.modules[__name__]], engine=f"file:{path}"):
        await asyncio.Event().wait()


@contextmanager
def working(path: Path, jaeger: Jaeger) -> Iterator[None]:
    """Let a worker work until the block ends, and kill it then."""
    command = ["opentelemetry-instrument", sys.executable, "-m", "tests.backends.test_waits", str(path)]
    env = environment(
        OTEL_EXPORTER_OTLP_ENDPOINT=jaeger.otlp_http,
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        OTEL_BSP_SCHEDULE_DELAY="500",
        OTEL_METRICS_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
        OTEL_SERVICE_NAME="parcels",
    )
    process = subprocess.Popen(command, cwd=ROOT, env=env)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_a_run_that_waits_is_a_tree_in_jaeger(jaeger: Jaeger, tmp_path: Path) -> None:
    """Each span's parent is there soon after 10 seconds of waiting, after a kill in the wait, and after its end."""
    path = tmp_path / "runs.db"
    client = Client(f"file:{path}")

    def ask(what: Any) -> Any:
        return asyncio.run(what)

    def shown() -> str:
        found = jaeger.traces("parcels")
        assert len(found) < 2
        return tree(_once(found[0]), TOLD) if found else ""  # a span without its parent stands there like a root

    def seen(expected: str, what: str) -> None:
        try:
            eventually(lambda: shown() == expected, what, within_s=START_S)
        finally:
            sys.stdout.write(f"{what}:\n{shown()}\n")

    def wait_of(run: str, op: str) -> Any:
        with suppress(LookupError):  # it is not there yet
            return next((one for one in ask(client.run(run)).steps if one.name == op and one.end_ns is None), None)
        return None

    with working(path, jaeger):
        ask(client.start("shop", "parcel", workflow_id="p-1"))
        wait = eventually(lambda: wait_of("p-1.1", "stamp"), "the wait", within_s=START_S)
        seen(WAITING, "the run that waits")
        assert time.time() - wait.begin_ns / 1e9 < SEEN_WITHIN_S
    with working(path, jaeger):
        time.sleep(SEEN_WITHIN_S)
        assert shown() == WAITING
        for run, name in (("p-1.1", "stamp"), ("p-1", "paid")):
            ask(client.signal(run, name))
        seen(DONE, "the run that went on")


def _once(spans: list[Span]) -> list[Span]:
    return list({span["spanID"]: span for span in spans}.values())


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1]))
