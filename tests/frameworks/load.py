"""`python -m tests.frameworks.load --seconds 60 --users 50`: many users at once on FastAPI with its own telemetry.

Two uvicorn workers serve them under `opentelemetry-instrument`, without OpenTelemetry's package for FastAPI. Each user
asks again and again on one connection; the user is said by an `async` dependency, by one that runs in a thread, or by
the handler; the model is asked while the body is streamed, and a background task follows. Ends with 1 when a span of a
request has no user, or another's. Needs the environment that `make slow` makes.
"""
# ruff: noqa: T201 -- a command

from __future__ import annotations

import argparse
import contextlib
import itertools
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from otelier.testing import OpenAIServer
from tests.frameworks.table import PROGRAMS
from tests.receiving import receiver_process
from tests.running.stage import Stage
from tests.serving import Client

COMMAND = "opentelemetry-instrument uvicorn --workers 2 --log-level warning load_app:app"
WAYS = ("async", "sync", "handler")
IN_A_REQUEST = frozenset(
    ("fastapi.dependencies", "fastapi.endpoint", "prepare", "chat gpt-4.1", "fastapi.background_task", "later")
)
"""The spans that each request has below its own."""


@dataclass(frozen=True)
class Outcome:
    """Whose the spans of all requests were."""

    asked: int
    """Requests that were answered."""
    arrived: int
    """Requests of which every span arrived."""
    processes: int
    spans: int
    without: int
    """Spans that have no user, though their request has one by then."""
    mixed: int
    """Spans with another one's user."""

    def __str__(self) -> str:
        return (
            f"{self.asked} requests on {self.processes} workers, {self.arrived} arrived whole: {self.spans} spans, "
            f"{self.without} without their user, {self.mixed} with another's"
        )


def ask(stage: Stage, *, users: int, seconds: float) -> Outcome:
    """Let so many *users* ask for so many *seconds*, and look at every span."""
    shutil.copy(PROGRAMS / "load_app.py", stage.folder / "load_app.py")
    asked: Counter[str] = Counter()
    failed: list[Exception] = []

    def use(port: int, user: str, until: float) -> None:
        try:
            with Client(port) as client:
                for way in itertools.cycle(WAYS):
                    client.get(f"/{way}/{user}")
                    asked[user] += 1
                    if time.monotonic() > until:
                        return
        except Exception as exc:
            failed.append(exc)

    given = {"OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_BSP_MAX_QUEUE_SIZE": "100000"}
    with OpenAIServer() as model:
        given |= {"OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": "sk-none"}
        with stage.served(COMMAND, workers=2, **given) as port:
            until = time.monotonic() + seconds
            threads = [threading.Thread(target=use, args=(port, f"u-{number}", until)) for number in range(users)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    if failed:
        raise failed[0]
    return _judged(stage.receiver.spans, asked.total())


def _judged(spans: list[SimpleNamespace], asked: int) -> Outcome:
    requests = {span.trace_id: span for span in spans if span.kind == "SERVER" and "/who" not in span.name}
    mine = [span for span in spans if span.trace_id in requests]
    without = mixed = 0
    names: dict[str, Counter[str]] = {trace: Counter() for trace in requests}
    for span in mine:
        way, user = requests[span.trace_id].attributes["url.path"].strip("/").split("/")
        names[span.trace_id][span.name] += 1
        found = span.attributes.get("user.id")
        early = way == "handler" and span.name == "fastapi.dependencies"
        without += found is None and not early
        mixed += found is not None and found != user
    whole = sum(all(found[name] == 1 for name in IN_A_REQUEST) for found in names.values())
    processes = {span.resource["service.instance.id"] for span in requests.values()}
    return Outcome(asked, whole, len(processes), len(mine), without, mixed)


def main() -> int:
    """Ask, and tell the outcome."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--users", type=int, default=50)
    given = parser.parse_args()
    with (
        contextlib.redirect_stdout(sys.stderr),
        tempfile.TemporaryDirectory() as name,
        receiver_process(Path(name)) as receiver,
    ):
        outcome = ask(Stage(Path(name), receiver), users=given.users, seconds=given.seconds)
    print(outcome)
    return int(outcome.without + outcome.mixed > 0 or outcome.arrived != outcome.asked)


if __name__ == "__main__":
    sys.exit(main())
