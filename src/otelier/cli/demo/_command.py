"""`otelier demo`: run two services and a worker, send them traffic, kill the worker, and show their telemetry."""

from __future__ import annotations

import json
import signal
from types import FrameType
from typing import Annotated, NoReturn

import typer

from otelier.cli._extras import require
from otelier.cli._steps import Steps, progress, results


def demo(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Show two services, a workflow that outlives its worker, and the telemetry of every call, in less than a minute.

    A FastAPI service runs under opentelemetry-instrument and calls a second one over HTTP; both call a model.
    It starts a refund, whose worker is killed in the middle; a new worker goes on, and a person decides.
    A local server replays recorded model answers, so no key and no network is needed.
    The exported telemetry is shown, and also sent to OTEL_EXPORTER_OTLP_ENDPOINT if that is set.
    """
    instrumentations = (f"opentelemetry.instrumentation.{name}" for name in ("fastapi", "httpx", "logging"))
    require("demo", "fastapi", "httpx", "uvicorn", *instrumentations)
    # Imported here: they load the SDK, which no other command needs.
    from otelier.cli.demo._run import run
    from otelier.cli.demo._show import as_data, show

    signal.signal(signal.SIGTERM, _end)  # then, too, the services are stopped
    outcome = run(Steps(progress()))
    if as_json:
        print(json.dumps(as_data(outcome), indent=2))
    else:
        show(outcome, results())
    for problem in outcome.problems:
        progress().print(f"otelier demo: {problem}", style="red", markup=False, soft_wrap=True)
    if outcome.problems:
        raise typer.Exit(1)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
