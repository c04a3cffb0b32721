"""A day at the desk: 1,000 runs of five handlers, of which some wait, are tried again, or are blocked by a new version.

`python -m tests.cli.desk` makes them in a file, and with `restate` on a server of its own, and prints how long each
command takes on them, in a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from otelier.workflows import Client, Context, Worker, function, workflow
from tests.cli.children import OTELIER, environment
from tests.cli.working import engine_of, working
from tests.waiting import until
from tests.workflows.restating import RestateServer, free_port

NUMBERS: Final = {"refund": 250, "paid": 250, "flaky": 100, "changed": 50, "settle": 350}
FAILED: Final = 50
"""Of those that settle."""
HEALTHS: Final = {
    "blocked": 50,
    "waiting approval": 250,
    "retrying": 100,
    "waiting": 250,
    "failed": FAILED,
    "completed": 350 - FAILED,
}
"""What there is in the morning, the most urgent first."""
_CHANGED: Final = "DESK_CHANGED"


@workflow
async def refund(ctx: Context, minutes: float) -> str:
    """Wait for a decision, the hundredth first and the first last, or so."""
    roles = ["boss"] if minutes % 10 == 0 else []
    answer = await ctx.human.approval(
        "refund", payload={"euros": minutes}, timeout=timedelta(minutes=minutes), required_roles=roles
    )
    return answer.decision


@workflow
async def paid(ctx: Context, n: int) -> Any:
    return await ctx.signal("paid")


@function
async def flaky(ctx: Context, n: int) -> None:
    def call() -> None:
        raise ConnectionError(f"bank {n} does not answer")

    await ctx.step("call the bank", call, retries=3, backoff=3_000)


@workflow
async def changed(ctx: Context, n: int) -> None:
    await ctx.step("bill" if os.environ.get(_CHANGED) else "charge", lambda: n)
    await ctx.signal("sent")


@function
async def settle(ctx: Context, n: int) -> int:
    if n < FAILED:
        raise ValueError(f"account {n} is closed")
    return await ctx.step("book", lambda: n)


def minutes_of(n: int) -> int:
    """Return when a refund expires: in another order than that of the starts."""
    return 60 + n * 97 % 250


async def _fill(engine: str) -> None:
    handlers = (settle, refund, paid, flaky, changed)
    async with Worker("desk", modules=handlers, engine=engine) as worker:
        for handler in handlers:
            for first in range(0, NUMBERS[handler.name], 50):
                numbers = range(first, min(first + 50, NUMBERS[handler.name]))
                given = {n: minutes_of(n) if handler is refund else n for n in numbers}
                await asyncio.gather(
                    *(worker.start(handler, given[n], workflow_id=f"{handler.name}-{n}") for n in numbers)
                )
        client = Client(engine)
        # The blocked ones wait as well, until the code changes.
        expected = {"waiting approval": 250, "retrying": 100, "waiting": 300}
        while await _open(client) != expected:  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0.2)


async def _open(client: Client) -> dict[str, int]:
    found: dict[str, int] = {}
    for status in ("running", "waiting", "blocked"):
        for one in await client.runs(status=status, limit=1_000):
            found[one.health] = found.get(one.health, 0) + 1
    return found


async def _go_on(client: Client) -> None:
    """Wake what the code does not fit any more: on Restate nothing begins a suspended run again before it goes on."""
    await asyncio.gather(*(client.signal(f"changed-{n}", "sent") for n in range(NUMBERS["changed"])))


@contextmanager
def desk(place: Path | str) -> Iterator[str]:
    """Make the runs on a file or an engine, and serve them by a worker whose code has changed, until the block ends."""
    engine, bind = engine_of(place), f"127.0.0.1:{free_port()}"
    with patch.dict(os.environ, {"OTELIER_WORKER_BIND": bind}):
        asyncio.run(_fill(engine))
    client = Client(engine)
    with working(place, "tests.cli.desk:desk", bind=bind, **{_CHANGED: "1"}):
        asyncio.run(_go_on(client))
        until(lambda: asyncio.run(_open(client)).get("blocked") == NUMBERS["changed"], every_s=0.2)
        yield engine


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@contextmanager
def _place(kind: str) -> Iterator[Path | str]:
    if kind == "restate":
        server = RestateServer()
        try:
            server.start()
            yield server.address
        finally:
            server.close()
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / "runs.db"


def _main(kind: str) -> None:
    begun = time.perf_counter()
    with _place(kind) as place, desk(place) as engine:
        _tell(f"{time.perf_counter() - begun:6.2f} s  until the runs were there on {engine}")

        def timed(*command: str, stdin: str = "") -> str:
            begun = time.perf_counter()
            done = subprocess.run(
                [OTELIER, *command, "--engine", engine], input=stdin, text=True, capture_output=True, env=environment()
            )
            took = time.perf_counter() - begun
            lines = done.stdout.count("\n")
            _tell(f"{took:6.2f} s  exit {done.returncode}  {lines:5} lines  otelier {' '.join(command)}")
            if done.stderr:
                _tell(f"          stderr: {done.stderr[:300]}")
            return done.stdout

        begun = time.perf_counter()
        subprocess.run([OTELIER, "--version"], capture_output=True, env=environment())
        _tell(f"{time.perf_counter() - begun:6.2f} s  otelier --version")
        for command in (
            ("runs",),
            ("runs", "--limit", "1000"),
            ("runs", "--limit", "1000", "--json"),
            ("runs", "--health", "blocked"),
            ("runs", "--health", "retrying"),
            ("runs", "--handler", "settle", "--status", "failed"),
            ("runs", "--older", "1h"),
            ("show", "refund-0"),
        ):
            timed(*command)
        asked = [one["workflow_id"] for one in json.loads(timed("approvals", "--json"))]
        by_deadline = sorted(range(NUMBERS["refund"]), key=minutes_of)
        _tell(f"          in the order of their deadlines: {asked == [f'refund-{n}' for n in by_deadline]}")
        timed("approvals")
        decided = ("--name", "refund", "--role", "boss", "-")
        timed("approve", *decided, stdin="\n".join(asked[:200]))
        timed("reject", *decided, stdin="\n".join(asked[200:]))
        for verb, handler, more in (("signal", "paid", ("--name", "paid")), ("cancel", "flaky", ())):
            timed(verb, "-", *more, stdin="\n".join(f"{handler}-{n}" for n in range(NUMBERS[handler])))
        timed("resume", "-", stdin="\n".join(f"changed-{n}" for n in range(NUMBERS["changed"])))
        timed("runs", "--limit", "1000")


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:] or ["file"]))
