"""A day at the desk: 1,000 runs of five handlers, of which some wait, are tried again, or are blocked by a new version.

`python -m tests.cli.desk` makes them and prints how long each command takes on them, in a process of its own.
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
from tests.cli.working import working
from tests.waiting import until

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
async def refund(ctx: Context, minutes: int) -> str:
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


async def _fill(path: Path) -> None:
    handlers = (refund, paid, flaky, changed, settle)
    async with Worker("desk", modules=handlers, engine=f"file:{path}") as worker:
        for handler in handlers:
            numbers = range(NUMBERS[handler.name])
            await asyncio.gather(
                *(
                    worker.start(handler, minutes_of(n) if handler is refund else n, workflow_id=f"{handler.name}-{n}")
                    for n in numbers
                )
            )
        client = Client(f"file:{path}")
        # The blocked ones wait as well, until the code changes.
        expected = {"waiting approval": 250, "retrying": 100, "waiting": 300}
        while await _open(client) != expected:  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0.05)


async def _open(client: Client) -> dict[str, int]:
    found: dict[str, int] = {}
    for status in ("running", "waiting", "blocked"):
        for one in await client.runs(status=status, limit=1_000):
            found[one.health] = found.get(one.health, 0) + 1
    return found


@contextmanager
def desk(path: Path) -> Iterator[str]:
    """Make the runs, and serve them by a worker whose code has changed, until the block ends."""
    asyncio.run(_fill(path))
    client = Client(f"file:{path}")
    with patch.dict(os.environ, {_CHANGED: "1"}), working(path, "tests.cli.desk:desk"):
        until(lambda: asyncio.run(_open(client)).get("blocked") == NUMBERS["changed"])
        yield f"file:{path}"


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _main() -> None:
    with tempfile.TemporaryDirectory() as folder, desk(Path(folder) / "runs.db") as engine:

        def timed(*command: str, stdin: str = "") -> str:
            begun = time.perf_counter()
            done = subprocess.run(
                [OTELIER, *command, "--engine", engine], input=stdin, text=True, capture_output=True, env=environment()
            )
            took = time.perf_counter() - begun
            lines = done.stdout.count("\n")
            _tell(f"{took:6.2f} s  exit {done.returncode}  {lines:5} lines  otelier {' '.join(command)}")
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
        timed("approvals")
        decided = ("--name", "refund", "--role", "boss", "-")
        timed("approve", *decided, stdin="\n".join(asked[:200]))
        timed("reject", *decided, stdin="\n".join(asked[200:]))
        for verb, handler, more in (("signal", "paid", ("--name", "paid")), ("cancel", "flaky", ())):
            timed(verb, "-", *more, stdin="\n".join(f"{handler}-{n}" for n in range(NUMBERS[handler])))
        timed("resume", "-", stdin="\n".join(f"changed-{n}" for n in range(NUMBERS["changed"])))
        timed("runs", "--limit", "1000")


if __name__ == "__main__":
    sys.exit(_main())
